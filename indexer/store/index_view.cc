#include "indexer/store/index_view.h"

#include <array>
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
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::ChunkRow;
using stored::v1::IndexState;
using stored::v1::RunRow;
using stored::v1::SegmentRow;
using stored::v1::SessionRow;

constexpr std::array<absl::string_view, kFamilies> kRowNames = {
    "meta", "id",     "session", "segment",    "chunk",
    "run",  "detail", "posting", "dictionary", "change"};

absl::string_view RowName(Family family) {
  return kRowNames[static_cast<size_t>(family)];
}

// Rows of one session whose keys end in a number from first to last.
template <typename Row>
absl::Status ReadNumbered(const IndexSnapshot& snapshot, Family family,
                          const base::Uuid& session, uint32_t first,
                          uint32_t last, absl::Status unreadable,
                          std::vector<Row>* rows) {
  const std::string lower = NumberedKey(session, first);
  const std::string upper = PrefixEnd(NumberedKey(session, last));
  const auto iterator = snapshot.NewIterator(family, lower, upper);
  for (iterator->Seek(lower); iterator->Valid(); iterator->Next()) {
    Row row;
    if (!row.ParseFromArray(iterator->value().data(),
                            static_cast<int>(iterator->value().size()))) {
      return unreadable;
    }
    rows->push_back(std::move(row));
  }
  return iterator->status();
}

}  // namespace

std::string RowContext(Family family, absl::string_view key) {
  return absl::StrCat(RowName(family), "/", key);
}

std::string UniversalToken(const seal::IndexKeys& keys) {
  // No tag has an empty key.
  return keys.Token("", "");
}

std::string DictionaryKey(const seal::IndexKeys& keys, absl::string_view key,
                          absl::string_view value) {
  return absl::StrCat(keys.Token(key, ""), keys.Token(key, value));
}

absl::Status IndexView::Unreadable(Family family) {
  return base::IntegrityError(absl::StrCat("a ", RowName(family),
                                           " row of the index is unreadable; "
                                           "run `diptych index rebuild`"));
}

absl::StatusOr<IndexState> IndexView::State() const {
  ASSIGN_OR_RETURN(const std::optional<std::string> stored,
                   snapshot_->Get(Family::kMeta, kStateKey));
  IndexState state;
  if (stored.has_value() && !state.ParseFromString(*stored)) {
    return Unreadable(Family::kMeta);
  }
  return state;
}

absl::StatusOr<std::optional<std::string>> IndexView::KeyFingerprint() const {
  return snapshot_->Get(Family::kMeta, kFingerprintKey);
}

absl::StatusOr<std::optional<SessionRow>> IndexView::Session(
    const base::Uuid& session) const {
  const std::string key = SessionKey(session);
  ASSIGN_OR_RETURN(const std::optional<std::string> sealed,
                   snapshot_->Get(Family::kSessions, key));
  if (!sealed.has_value()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string plain,
                   keys_->OpenRow(RowContext(Family::kSessions, key), *sealed));
  SessionRow row;
  if (!row.ParseFromString(plain)) return Unreadable(Family::kSessions);
  return row;
}

absl::StatusOr<std::vector<SegmentRow>> IndexView::Segments(
    const base::Uuid& session, uint32_t first, uint32_t last) const {
  std::vector<SegmentRow> rows;
  RETURN_IF_ERROR(ReadNumbered(*snapshot_, Family::kSegments, session, first,
                               last, Unreadable(Family::kSegments), &rows));
  return rows;
}

absl::StatusOr<std::vector<ChunkRow>> IndexView::Chunks(
    const base::Uuid& session) const {
  std::vector<ChunkRow> rows;
  RETURN_IF_ERROR(ReadNumbered(*snapshot_, Family::kChunks, session, 0,
                               UINT32_MAX, Unreadable(Family::kChunks), &rows));
  return rows;
}

absl::StatusOr<std::optional<RunRow>> IndexView::Run(const base::Uuid& session,
                                                     uint32_t run) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> stored,
                   snapshot_->Get(Family::kRuns, NumberedKey(session, run)));
  if (!stored.has_value()) return std::nullopt;
  RunRow row;
  if (!row.ParseFromString(*stored)) return Unreadable(Family::kRuns);
  return row;
}

std::unique_ptr<IndexIterator> IndexView::Postings(absl::string_view token,
                                                   const DocId& lower,
                                                   const DocId& upper) const {
  std::string end = PostingKey(token, upper);
  // The first key after the upper one.
  end.push_back('\0');
  return snapshot_->NewIterator(Family::kPostings, PostingKey(token, lower),
                                end);
}

absl::StatusOr<std::vector<std::string>> IndexView::DictionaryValues(
    absl::string_view key, size_t max) const {
  const std::string prefix = keys_->Token(key, "");
  std::vector<std::string> values;
  const auto iterator =
      snapshot_->NewIterator(Family::kDictionary, prefix, PrefixEnd(prefix));
  for (iterator->Seek(prefix); iterator->Valid() && values.size() < max;
       iterator->Next()) {
    ASSIGN_OR_RETURN(
        std::string value,
        keys_->OpenRow(RowContext(Family::kDictionary, iterator->key()),
                       iterator->value()));
    values.push_back(std::move(value));
  }
  RETURN_IF_ERROR(iterator->status());
  return values;
}

absl::StatusOr<std::vector<std::string>> IndexView::DictionaryTokens(
    absl::string_view key, size_t max) const {
  const std::string prefix = keys_->Token(key, "");
  std::vector<std::string> tokens;
  const auto iterator =
      snapshot_->NewIterator(Family::kDictionary, prefix, PrefixEnd(prefix));
  for (iterator->Seek(prefix); iterator->Valid() && tokens.size() < max;
       iterator->Next()) {
    tokens.emplace_back(iterator->key().substr(prefix.size()));
  }
  RETURN_IF_ERROR(iterator->status());
  return tokens;
}

}  // namespace diptych::indexer
