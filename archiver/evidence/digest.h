#ifndef ARCHIVER_EVIDENCE_DIGEST_H_
#define ARCHIVER_EVIDENCE_DIGEST_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/log/record.h"

namespace diptych::evidence {

// What stands for what (FORMAT.md). Ids are the 16 bytes of UUIDs, salts and
// results 32 bytes.

// What the next manifest of a session names as previous_manifest_sha256, and a
// receipt as the last: SHA-256 over the Segment record's header as it lies in
// the log.
std::string ManifestHash(absl::string_view segment_header);

// Of a record as it lies in its store.
std::string RecordDigest(log::RecordType type, absl::string_view header,
                         absl::string_view body);
// The same for somebody who has the body's SHA-256 alone.
std::string RecordDigestOf(log::RecordType type, absl::string_view header,
                           absl::string_view body_sha256);

// True for records that are leaves of the log tree.
bool IsLogLeaf(log::RecordType type);
std::string LogLeafData(log::Position position, absl::string_view digest);

// The packets of one track in one chunk.
class TrackLeaf {
 public:
  void Add(const PacketLine& line);
  size_t packets() const { return packets_; }
  std::string Finish(absl::string_view salt, absl::string_view session_id,
                     uint32_t chunk, uint32_t track_id) const;

 private:
  std::string lines_;
  uint32_t packets_ = 0;
};

// The salt of one chunk under that of its track.
std::string ChunkSalt(absl::string_view track_salt, uint32_t chunk);

std::string SpanCommitment(absl::string_view salt, absl::string_view session_id,
                           uint32_t span, absl::string_view description);
std::string NoteCommitment(absl::string_view salt, absl::string_view session_id,
                           uint8_t side, uint64_t number,
                           absl::string_view note);
std::string PartCommitment(absl::string_view salt, absl::string_view session_id,
                           uint32_t attachment_id, uint64_t offset,
                           absl::string_view data);
// `record` is a serialized AccessRecord, with its salt.
std::string AccessCommitment(absl::string_view record);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_DIGEST_H_
