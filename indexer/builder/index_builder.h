#ifndef INDEXER_BUILDER_INDEX_BUILDER_H_
#define INDEXER_BUILDER_INDEX_BUILDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/lru_cache.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Takes records of the log into the index. Not thread-safe: one thread builds.
class IndexBuilder {
 public:
  struct Options {
    base::Uuid archive_id;
    // These must outlive the builder.
    IndexStore* store = nullptr;
    const seal::IndexKeys* index_keys = nullptr;
    const log::LogReader* log = nullptr;
    const log::LogReader* key_store = nullptr;
    // Who the index is: keys that open metadata.
    std::vector<seal::KeyPair> recipient_keys;
  };

  // FAILED_PRECONDITION, asking for a rebuild, if the last record that the
  // index has is not the one that the log has there, or if it was made under
  // another index key.
  static absl::StatusOr<std::unique_ptr<IndexBuilder>> Create(Options options);

  // Where the next batch must begin.
  log::Position position() const { return state_.position(); }
  const stored::v1::IndexState& state() const { return state_; }

  // True for records whose bodies Apply needs. Others may come without.
  static bool NeedsBody(log::RecordType type);

  // Takes a batch, in the log's order, and what was damaged between, in one
  // write with the new position. What can't be opened or understood is counted
  // and passed over; an error is the store's own, and the batch is not in.
  absl::Status Apply(absl::Span<const log::StoredRecord> records,
                     absl::Span<const log::Damage> damages, log::Position next);

 private:
  // What one call of Apply gathers.
  struct Work {
    IndexBatch batch;
    stored::v1::IndexState state;
    std::set<base::Uuid> changed;
    std::unique_ptr<IndexView> view;
  };

  explicit IndexBuilder(Options options);

  absl::Status VerifyLastRecord() const;
  absl::Status VerifyIndexKeys(const IndexView& view) const;
  absl::Status ApplyAll(absl::Span<const log::StoredRecord> records,
                        absl::Span<const log::Damage> damages,
                        log::Position next, Work* work);
  absl::Status ApplyRecord(const log::StoredRecord& record, Work* work);
  absl::Status ApplySnapshot(const log::StoredRecord& record, Work* work);
  absl::Status ApplyKeysChanged(const log::StoredRecord& record, Work* work);

  // The session, as it is after the records so far. If it is not known and
  // `start_time_us` says when it began, it is made; otherwise nullptr.
  absl::StatusOr<SessionState*> FindSession(const base::Uuid& session,
                                            Work* work);
  absl::StatusOr<SessionState*> MakeSession(const base::Uuid& session,
                                            int64_t start_time_us,
                                            log::Position position, Work* work);
  // Parses a header with a session id; nullptr (and counted) if it is not one.
  // A session whose opening was lost gets a guessed start.
  template <typename Header>
  absl::StatusOr<SessionState*> ParseAndFind(const log::StoredRecord& record,
                                             Header* header, Work* work);
  // The opened body, or nullopt (and counted).
  template <typename Message>
  bool OpenBody(const SessionState& session, uint64_t epoch, uint32_t segment,
                const log::StoredRecord& record, Message* message, Work* work);
  absl::Status AddToDictionary(const stored::v1::NoteList& list, Work* work);

  const Options options_;
  OpenerCache openers_;
  stored::v1::IndexState state_;
  LruCache<base::Uuid, SessionState> sessions_;
  // Tokens of values per tag key that the dictionary has, up to one over its
  // limit.
  std::map<std::string, std::set<std::string>> dictionary_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_INDEX_BUILDER_H_
