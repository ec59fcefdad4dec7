#ifndef INDEXER_STORE_INDEX_VIEW_H_
#define INDEXER_STORE_INDEX_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// The row's place, which its seal is bound to.
std::string RowContext(Family family, absl::string_view key);

// A dictionary's key: the tag key's token and the value's.
std::string DictionaryKey(const seal::IndexKeys& keys, absl::string_view key,
                          absl::string_view value);

// Some of a session's runs, ascending.
struct SessionRuns {
  struct Numbered {
    uint32_t run = 0;
    stored::v1::RunRow row;
  };
  base::Uuid session;
  std::vector<Numbered> runs;
};

// The index as it was at one moment, in words of its rows. Thread-safe; store
// and keys must outlive it. Errors: DATA_LOSS for a row that can't be read.
class IndexView {
 public:
  IndexView(const IndexStore* store, const seal::IndexKeys* keys)
      : keys_(keys), snapshot_(store->NewSnapshot()) {}

  const seal::IndexKeys& keys() const { return *keys_; }

  absl::StatusOr<stored::v1::IndexState> State() const;
  // Of the index keys that made it; nullopt if it is new.
  absl::StatusOr<std::optional<std::string>> KeyFingerprint() const;
  // nullopt if the index knows no such session.
  absl::StatusOr<std::optional<SessionNumber>> FindNumber(
      const base::Uuid& session) const;
  absl::StatusOr<std::optional<stored::v1::SessionRow>> Session(
      const base::Uuid& session) const;
  absl::StatusOr<std::optional<stored::v1::SessionRow>> SessionAt(
      SessionNumber session) const;
  // How many turns of a second are taken.
  absl::StatusOr<uint32_t> TurnsTaken(uint32_t second) const;
  // Those numbered first to last, in order.
  absl::StatusOr<std::vector<stored::v1::SegmentRow>> Segments(
      SessionNumber session, uint32_t first = 0,
      uint32_t last = UINT32_MAX) const;
  // The same as they lie, packed, each with its group.
  absl::StatusOr<std::vector<std::pair<uint32_t, std::string>>> SegmentPacks(
      SessionNumber session, uint32_t first_group = 0,
      uint32_t last_group = UINT32_MAX) const;
  // Those numbered first to last, in order.
  absl::StatusOr<std::vector<stored::v1::ChunkRow>> Chunks(
      const base::Uuid& session, uint32_t first = 0,
      uint32_t last = UINT32_MAX) const;
  // Of these runs those that there are; nullopt if the session has none.
  absl::StatusOr<std::optional<SessionRuns>> Runs(SessionNumber session,
                                                  const RunSet& runs) const;
  absl::StatusOr<std::optional<stored::v1::RunRow>> Run(SessionNumber session,
                                                        uint32_t run) const;

  // The sessions that records at or after `position` have touched, ascending;
  // maybe some more of just before. State().changes_from() says from where on
  // all of them are known. RESOURCE_EXHAUSTED if there are more than `max`.
  absl::StatusOr<std::vector<SessionNumber>> Changes(uint64_t position,
                                                     size_t max) const;

  // What a PostingCursor walks.
  const IndexSnapshot& snapshot() const { return *snapshot_; }

  // All detail rows whose keys begin with `prefix` (DetailPrefix and the like).
  template <typename Row>
  absl::StatusOr<std::vector<Row>> Details(absl::string_view prefix) const {
    std::vector<Row> rows;
    const auto iterator =
        snapshot_->NewIterator(Family::kDetails, prefix, PrefixEnd(prefix));
    for (iterator->Seek(prefix); iterator->Valid(); iterator->Next()) {
      ASSIGN_OR_RETURN(
          const std::string plain,
          OpenRow(Family::kDetails, iterator->key(), iterator->value()));
      Row row;
      if (!row.ParseFromString(plain)) return Unreadable(Family::kDetails);
      rows.push_back(std::move(row));
    }
    RETURN_IF_ERROR(iterator->status());
    return rows;
  }

  // Values that a key ever had, in no order; at most `max`.
  absl::StatusOr<std::vector<std::string>> DictionaryValues(
      absl::string_view key, size_t max) const;
  // Their tokens only.
  absl::StatusOr<std::vector<std::string>> DictionaryTokens(
      absl::string_view key, size_t max) const;

 private:
  // Rows that are not what was written are damage, and noted.
  absl::Status Unreadable(Family family) const;
  absl::StatusOr<std::string> OpenRow(Family family, absl::string_view key,
                                      absl::string_view sealed) const;

  const seal::IndexKeys* const keys_;
  const std::unique_ptr<IndexSnapshot> snapshot_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_INDEX_VIEW_H_
