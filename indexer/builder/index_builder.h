#ifndef INDEXER_BUILDER_INDEX_BUILDER_H_
#define INDEXER_BUILDER_INDEX_BUILDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/lru_cache.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/session_record.h"
#include "indexer/builder/session_state.h"
#include "indexer/builder/turn_allocator.h"
#include "indexer/store/batch_sink.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
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
    base::Clock* clock = base::Clock::Real();
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
    BatchSink sink{&batch};
    stored::v1::IndexState state;
    RecordCounts counts;
    // Sessions at hand that are not as the store has them.
    absl::flat_hash_map<base::Uuid, SessionState*> changed;
    // Those of them that may be found otherwise than before.
    std::vector<SessionNumber> touched;
    std::unique_ptr<IndexView> view;
    std::unique_ptr<TurnAllocator> turns;
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

  // The session, as it is after the records so far; nullptr if it is not known.
  absl::StatusOr<SessionState*> FindSession(const base::Uuid& session,
                                            Work* work);
  // REQUIRES: it is not known. nullptr, and counted, if no number is left for
  // it.
  absl::StatusOr<SessionState*> MakeSession(const base::Uuid& session,
                                            int64_t start_time_us,
                                            log::Position position, Work* work);
  absl::Status AddToDictionary(TagNotes notes, Work* work);
  // Notes which sessions the batch has touched, and forgets what is too old.
  absl::Status PutChanges(log::Position next, Work* work);
  absl::Status TrimChanges(int64_t now_us, Work* work);

  const Options options_;
  OpenerCache openers_;
  stored::v1::IndexState state_;
  LruCache<base::Uuid, SessionState> sessions_;
  // Tokens of values per tag key that the dictionary has, up to one over its
  // limit.
  std::map<std::string, std::set<std::string>> dictionary_;
  // When the oldest row of changes was written; none is older than that.
  int64_t oldest_change_us_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_INDEX_BUILDER_H_
