#ifndef INDEXER_BUILDER_OPENER_CACHE_H_
#define INDEXER_BUILDER_OPENER_CACHE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_positions.h"
#include "archiver/seal/session_opener.h"
#include "indexer/builder/lru_cache.h"

namespace diptych::indexer {

// Openers of the epochs that the index reads now, made from the key store's
// wraps. Where these were made again later in the log than what is read (a key
// was rotated), and the ones at hand do not open, the later ones are used. Not
// thread-safe.
class OpenerCache {
 public:
  // `log` and `key_store` must outlive it.
  OpenerCache(const base::Uuid& archive_id, const log::LogReader* log,
              const log::LogReader* key_store, std::vector<seal::KeyPair> keys)
      : archive_id_(archive_id),
        log_(log),
        key_store_(key_store),
        keys_(std::move(keys)) {}

  // The plaintext of a record's metadata body. Any error means that this record
  // stays closed: erased, sealed to others, or damaged.
  absl::StatusOr<std::string> OpenMetadata(const base::Uuid& session,
                                           uint64_t epoch,
                                           log::Position key_position,
                                           uint32_t segment,
                                           const log::StoredRecord& record);

  // The epoch's keys lie elsewhere now.
  void Forget(const base::Uuid& session, uint64_t epoch) {
    openers_.Erase({session, epoch});
  }

 private:
  using EpochId = std::pair<base::Uuid, uint64_t>;

  absl::StatusOr<const seal::SessionOpener*> Find(const base::Uuid& session,
                                                  uint64_t epoch,
                                                  log::Position key_position);
  absl::StatusOr<std::unique_ptr<seal::SessionOpener>> Make(
      const base::Uuid& session, uint64_t epoch,
      log::Position key_position) const;

  const base::Uuid archive_id_;
  const log::LogReader* const log_;
  const log::LogReader* const key_store_;
  const std::vector<seal::KeyPair> keys_;
  LruCache<EpochId, std::unique_ptr<seal::SessionOpener>> openers_;
  // Read from the log once it is first needed.
  std::optional<seal::KeyPositions> rewrapped_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_OPENER_CACHE_H_
