#ifndef INDEXER_RETRIEVAL_SESSION_READER_H_
#define INDEXER_RETRIEVAL_SESSION_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/session_opener.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// Where sealed records are read from, and with what they are opened. All of it
// must outlive the readers made from it.
struct SealedArchive {
  base::Uuid archive_id;
  const log::LogReader* log = nullptr;
  const log::LogReader* key_store = nullptr;
  const std::vector<seal::KeyPair>* keys = nullptr;
};

// Opens one session's sealed records: each is read, its place and header
// compared with what the index says, verified and decrypted when asked for.
//
// A record that is not what was stored is DATA_LOSS, naming session, chunk
// number, session second and log position; PERMISSION_DENIED if no key opens
// it. Reads nothing before it is asked. Not thread-safe.
class SessionReader {
 public:
  SessionReader(const SealedArchive& archive, SessionMedia media);

  const SessionMedia& media() const { return media_; }

  // Kept after the first call; valid as long as this object.
  absl::StatusOr<const stored::v1::SpanDescription*> Span(uint32_t span);

  // A chunk's plaintext: see media::DecodeChunkBody, which is still to check
  // it.
  absl::StatusOr<std::string> OpenChunk(const ChunkRef& chunk);

  // The bytes of one part.
  absl::StatusOr<std::string> OpenAttachmentPart(uint32_t attachment_id,
                                                 const AttachmentPartRef& part);

  // The record at `position` as it lies there; anything but a whole record of
  // `type` is DATA_LOSS.
  absl::StatusOr<log::StoredRecord> Record(const RecordRef& record) const;

  // What is sealed in a record whose header names that epoch and segment.
  absl::StatusOr<std::string> OpenBody(stored::v1::KeyClass key_class,
                                       uint64_t epoch, uint32_t segment,
                                       const log::StoredRecord& record);

  // See seal::SessionOpener::SaltOf.
  absl::StatusOr<std::string> Salt(stored::v1::KeyClass key_class,
                                   uint64_t epoch, uint32_t segment,
                                   seal::SaltKind kind, uint64_t id);

  // `status` with the place put in front, if it is an integrity error.
  absl::Status AtChunk(const ChunkRef& chunk, const absl::Status& status) const;

 private:
  absl::StatusOr<const seal::SessionOpener*> Opener(uint64_t epoch);
  // The record at `position`; anything but a whole record of `type` there is
  // DATA_LOSS.
  absl::StatusOr<log::StoredRecord> ReadRecord(log::Position position,
                                               log::RecordType type,
                                               size_t size_hint_bytes) const;

  const SealedArchive archive_;
  const SessionMedia media_;
  std::map<uint64_t, std::unique_ptr<seal::SessionOpener>> openers_;
  std::map<uint32_t, stored::v1::SpanDescription> spans_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_SESSION_READER_H_
