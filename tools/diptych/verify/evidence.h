#ifndef TOOLS_DIPTYCH_VERIFY_EVIDENCE_H_
#define TOOLS_DIPTYCH_VERIFY_EVIDENCE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"

namespace diptych::verify {

// evidence.json as it is written (archiver/evidence/BUNDLE_FORMAT.md): nothing
// of it is proven yet. Bytes are decoded, hashes have 32, indexes lie within
// their lists.

struct EvidenceTrack {
  uint32_t track_id = 0;
  std::string side;
  std::string source;
  std::string codec;
  bool video = false;
  // Session milliseconds to the gateway's own; still packed.
  std::string raw_ms;
};

struct PairRun {
  uint32_t track_id = 0;
  size_t stream = 0;
  uint32_t first = 0;
  std::vector<uint32_t> packets;
  uint64_t before = 0;
  uint64_t after = 0;
  std::string salt;
  std::vector<std::string> salts;
  std::vector<std::string> others;
};

struct EvidenceSegment {
  size_t manifest = 0;
  std::vector<PairRun> runs;
};

struct SourceRun {
  uint32_t track_id = 0;
  uint64_t packets = 0;
  std::optional<size_t> record;
  uint64_t first = 0;
  std::vector<std::string> others;
};

// A record that the tree itself proves, if `proof` is not empty.
struct ProvenHeader {
  std::string header;
  uint64_t position = 0;
  std::string proof;
};

struct DisclosedRecord {
  uint8_t type = 0;
  std::string header;
  std::string body_sha256;
};

struct DisclosedSpan {
  size_t record = 0;
  std::string salt;
  std::string description;
};

struct DisclosedNote {
  size_t record = 0;
  size_t at = 0;
  std::string salt;
  std::string note;
};

struct DisclosedPart {
  size_t record = 0;
  std::string salt;
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct AccessEvidence {
  ProvenHeader header;
  std::string body_sha256;
  std::string record;
};

struct Anchor {
  std::string checkpoint;
  std::string timestamp;
  std::vector<std::string> consistency;
};

struct Evidence {
  base::Uuid archive;
  base::Uuid session;
  // Their 16 bytes, as hashed forms and headers have them.
  std::string archive_bytes;
  std::string session_bytes;
  int64_t start_time_us = 0;
  int64_t from_us = 0;
  int64_t to_us = 0;
  std::string media_file;
  bool mp4 = false;
  int64_t origin_us = 0;
  std::vector<EvidenceTrack> tracks;
  std::vector<EvidenceSegment> segments;
  std::vector<SourceRun> sources;
  std::vector<ProvenHeader> manifests;
  ProvenHeader opened;
  std::optional<ProvenHeader> closed;
  std::vector<DisclosedRecord> records;
  std::vector<DisclosedSpan> spans;
  std::vector<DisclosedNote> notes;
  std::vector<DisclosedPart> parts;
  AccessEvidence access;
  std::vector<Anchor> anchors;

  // Null if there is no such track.
  const EvidenceTrack* FindTrack(uint32_t track_id) const;
};

// DATA_LOSS, naming the place, if it is not what the format says.
absl::StatusOr<Evidence> ParseEvidence(absl::string_view text);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_EVIDENCE_H_
