#ifndef INDEXER_RETRIEVAL_TEST_ARCHIVE_H_
#define INDEXER_RETRIEVAL_TEST_ARCHIVE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/retrieval/test_media.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// For tests: an archive on disk, with really sealed sessions, and the index
// that goes with it.
class TestArchive : public MediaIndex {
 public:
  struct SpanOfMedia {
    TestMedia media;
    // Each span under an epoch of its own, as after restarts.
    bool new_epoch = false;
    // An earlier span of the epoch that comes again, with its tracks.
    std::optional<uint32_t> again = std::nullopt;
  };

  TestArchive();
  ~TestArchive() override;

  // Writes a session of these spans, one after the other, in chunks of at most
  // 1 s; returns its id. Chunks in `tampered` are changed before they are
  // stored, so that only the seal can tell.
  base::Uuid AddSession(const std::vector<SpanOfMedia>& spans,
                        const std::set<uint32_t>& tampered = {});

  // Writes an attachment of `parts` to that session.
  void AddAttachment(const base::Uuid& session_id, uint32_t attachment_id,
                     const std::vector<std::string>& parts);

  // Changes a stored byte of the record at `position`.
  void DamageRecord(log::Position position, uint32_t at_byte);

  absl::StatusOr<SessionMedia> GetSessionMedia(
      const base::Uuid& session_id) const override;
  absl::StatusOr<SessionRecords> GetSessionRecords(
      const base::Uuid& session_id) const override;
  absl::StatusOr<AttachmentRef> GetAttachment(
      const base::Uuid& session_id, uint32_t attachment_id) const override;

  // What tests may bend.
  SessionMedia& media(const base::Uuid& session_id) {
    return media_[session_id];
  }
  AttachmentRef& attachment() { return attachment_; }

  SealedArchive sealed() const {
    return {archive_id_, log_.get(), key_store_.get(), &keys_};
  }
  const base::Uuid& archive_id() const { return archive_id_; }
  const log::LogReader& log() const { return *log_; }
  const log::LogReader& key_store() const { return *key_store_; }
  std::vector<seal::KeyPair> CloneKeys() const;

 private:
  log::Position Append(log::LogStore* store, log::Record record);
  // Makes the sealer of a new epoch and writes its keys.
  void BeginEpoch(SessionMedia* media, uint32_t segment);
  // Returns the new span's number.
  uint32_t StartSpan(const TestMedia& span_media, std::string container_header,
                     SessionMedia* media);
  void AddSpan(const SpanOfMedia& added, const std::set<uint32_t>& tampered,
               SessionMedia* media);

  const base::Uuid archive_id_;
  const std::string folder_;
  std::vector<seal::KeyPair> keys_;
  stored::v1::ArchiveConfig config_;
  std::unique_ptr<log::LogStore> log_store_;
  std::unique_ptr<log::LogStore> keys_log_store_;
  std::unique_ptr<log::LogReader> log_;
  std::unique_ptr<log::LogReader> key_store_;
  std::unique_ptr<seal::SessionSealer> sealer_;
  uint64_t epoch_ = 0;
  std::map<base::Uuid, SessionMedia> media_;
  AttachmentRef attachment_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_TEST_ARCHIVE_H_
