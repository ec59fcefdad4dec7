#ifndef INDEXER_RETRIEVAL_BUNDLE_DISCLOSURE_H_
#define INDEXER_RETRIEVAL_BUNDLE_DISCLOSURE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/log/record.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/retrieval/source_runs.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// A record of the log as a bundle shows it.
struct DisclosedRecord {
  log::RecordType type = log::RecordType::kSessionOpened;
  std::string header;
  // Empty if it has no body.
  std::string body_sha256;
};

struct DisclosedSpan {
  log::Position record = 0;
  std::string salt;
  std::string description;
};

struct DisclosedNote {
  log::Position record = 0;
  // Its place in the record.
  uint32_t at = 0;
  std::string salt;
  std::string note;
};

struct DisclosedPart {
  log::Position record = 0;
  std::string salt;
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// What a bundle shows besides media, by the positions of records.
struct Disclosure {
  std::map<log::Position, DisclosedRecord> records;
  std::vector<DisclosedSpan> spans;
  std::vector<DisclosedNote> notes;
  std::vector<DisclosedPart> parts;
};

// What of a session is shown.
struct DisclosureScope {
  // Then everything, whatever the rest says.
  bool whole_session = false;
  int64_t from_us = 0;
  int64_t to_us = 0;
  // Nobody asked for a beginning, or an end: what has a time before `from_us`,
  // or after `to_us`, is in the range too.
  bool from_start = false;
  bool to_end = false;
  std::set<uint32_t> tracks;
  std::set<stored::v1::Side> sides;
  std::set<uint32_t> spans;
  // SourceDigest records that sign the clip's packets.
  std::set<log::Position> statements;
};

// Which manifest names a record, as a place in SessionRecords::manifests;
// manifests.size() for the closing.
using NamedBy = std::map<log::Position, size_t>;
NamedBy NameRecords(const SessionRecords& records);

// What gateways signed of the tracks of a session, by track id: all statements
// that a manifest or the closing names. Errors as SessionReader::Record.
absl::StatusOr<std::map<uint32_t, std::vector<SignedRun>>> ReadStatements(
    const SessionRecords& records, const SessionReader& session);

// Opens what `scope` says and compares it with the commitments in the log: of a
// clip all tags, and of events, attachments and clock anchors those of its
// sides in its range. Other notes stay what they are in their record,
// commitments. `chunks` are all of the session that a manifest names.
// Attachments are handed to `write_file` (a path below attachments/, an offset,
// bytes) while they are read. Errors as SessionReader; DATA_LOSS, with the
// place, for a body that is not what its header commits to.
using WriteAttachment = std::function<absl::Status(
    const std::string& path, uint64_t offset, absl::string_view bytes)>;
absl::StatusOr<Disclosure> Disclose(const DisclosureScope& scope,
                                    const SessionRecords& records,
                                    const std::vector<ChunkRef>& chunks,
                                    const WriteAttachment& write_file,
                                    SessionReader* session);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_BUNDLE_DISCLOSURE_H_
