#include "indexer/store/index_view.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
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
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/change_row.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/run_pack.h"
#include "indexer/store/run_set.h"
#include "indexer/store/segment_pack.h"
#include "indexer/store/session_number.h"
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

// Calls `take` with the key and the value of each row from `lower` to `upper`,
// both in it. A row that is not what was written is noted as damage.
template <typename Take>
absl::Status ForEachRow(const IndexSnapshot& snapshot, Family family,
                        const std::string& lower, const std::string& upper,
                        const Take& take) {
  const auto taken = [&](absl::Status status) {
    if (absl::IsDataLoss(status)) snapshot.NoteDamage();
    return status;
  };
  if (lower == upper) {
    // Nearly always one row has it all, and an iterator costs more to make.
    ASSIGN_OR_RETURN(const std::optional<std::string> value,
                     snapshot.Get(family, lower));
    return value.has_value() ? taken(take(lower, *value)) : absl::OkStatus();
  }
  const auto iterator = snapshot.NewIterator(family, lower, PrefixEnd(upper));
  for (iterator->Seek(lower); iterator->Valid(); iterator->Next()) {
    RETURN_IF_ERROR(taken(take(iterator->key(), iterator->value())));
  }
  return iterator->status();
}

void SortDistinct(std::vector<SessionNumber>* sessions) {
  std::sort(sessions->begin(), sessions->end());
  sessions->erase(std::unique(sessions->begin(), sessions->end()),
                  sessions->end());
}

// What a group's key ends in.
uint32_t GroupOf(absl::string_view key) {
  return ReadBigEndian32(key.substr(key.size() - sizeof(uint32_t)));
}

}  // namespace

std::string RowContext(Family family, absl::string_view key) {
  return absl::StrCat(RowName(family), "/", key);
}

std::string DictionaryKey(const seal::IndexKeys& keys, absl::string_view key,
                          absl::string_view value) {
  return absl::StrCat(keys.Token(key, ""), keys.Token(key, value));
}

absl::StatusOr<std::string> IndexView::OpenRow(Family family,
                                               absl::string_view key,
                                               absl::string_view sealed) const {
  absl::StatusOr<std::string> plain =
      keys_->OpenRow(RowContext(family, key), sealed);
  if (!plain.ok()) snapshot_->NoteDamage();
  return plain;
}

absl::Status IndexView::Unreadable(Family family) const {
  snapshot_->NoteDamage();
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

absl::StatusOr<std::optional<SessionNumber>> IndexView::FindNumber(
    const base::Uuid& session) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> number,
                   snapshot_->Get(Family::kIds, IdKey(session)));
  if (!number.has_value()) return std::nullopt;
  if (number->size() != SessionNumber::kKey_bytes) {
    return Unreadable(Family::kIds);
  }
  return ReadSessionNumber(*number);
}

absl::StatusOr<std::optional<SessionRow>> IndexView::Session(
    const base::Uuid& session) const {
  ASSIGN_OR_RETURN(const std::optional<SessionNumber> number,
                   FindNumber(session));
  if (!number.has_value()) return std::nullopt;
  return SessionAt(*number);
}

absl::StatusOr<std::optional<SessionRow>> IndexView::SessionAt(
    SessionNumber session) const {
  const std::string key = SessionKey(session);
  ASSIGN_OR_RETURN(const std::optional<std::string> sealed,
                   snapshot_->Get(Family::kSessions, key));
  if (!sealed.has_value()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string plain,
                   OpenRow(Family::kSessions, key, *sealed));
  SessionRow row;
  if (!row.ParseFromString(plain)) return Unreadable(Family::kSessions);
  return row;
}

absl::StatusOr<uint32_t> IndexView::TurnsTaken(uint32_t second) const {
  const std::string first = SessionKey(SessionNumber(second, 0));
  const std::string last = SessionKey(SessionNumber(second, 0xffff));
  const auto rows =
      snapshot_->NewIterator(Family::kSessions, first, PrefixEnd(last));
  rows->SeekForPrev(last);
  if (!rows->Valid()) {
    RETURN_IF_ERROR(rows->status());
    return 0;
  }
  return uint32_t{ReadSessionNumber(rows->key()).turn()} + 1;
}

absl::StatusOr<std::vector<std::pair<uint32_t, std::string>>>
IndexView::SegmentPacks(SessionNumber session, uint32_t first_group,
                        uint32_t last_group) const {
  std::vector<std::pair<uint32_t, std::string>> packs;
  RETURN_IF_ERROR(
      ForEachRow(*snapshot_, Family::kSegments, GroupKey(session, first_group),
                 GroupKey(session, last_group),
                 [&](absl::string_view key, absl::string_view value) {
                   packs.emplace_back(GroupOf(key), value);
                   return absl::OkStatus();
                 }));
  return packs;
}

absl::StatusOr<std::vector<SegmentRow>> IndexView::Segments(
    SessionNumber session, uint32_t first, uint32_t last) const {
  std::vector<SegmentRow> rows;
  RETURN_IF_ERROR(ForEachRow(
      *snapshot_, Family::kSegments,
      GroupKey(session, first / limits::kSegmentsPerPack),
      GroupKey(session, last / limits::kSegmentsPerPack),
      [&](absl::string_view, absl::string_view value) -> absl::Status {
        ASSIGN_OR_RETURN(std::vector<SegmentRow> pack,
                         UnpackSegments(value, first, last));
        std::move(pack.begin(), pack.end(), std::back_inserter(rows));
        return absl::OkStatus();
      }));
  return rows;
}

absl::StatusOr<std::vector<ChunkRow>> IndexView::Chunks(
    const base::Uuid& session, uint32_t first, uint32_t last) const {
  std::vector<ChunkRow> rows;
  RETURN_IF_ERROR(ForEachRow(
      *snapshot_, Family::kChunks,
      ChunkGroupKey(session, first / limits::kChunksPerPack),
      ChunkGroupKey(session, last / limits::kChunksPerPack),
      [&](absl::string_view, absl::string_view value) -> absl::Status {
        ASSIGN_OR_RETURN(std::vector<ChunkRow> pack, UnpackChunks(value));
        for (ChunkRow& row : pack) {
          if (row.chunk() < first || row.chunk() > last) continue;
          rows.push_back(std::move(row));
        }
        return absl::OkStatus();
      }));
  return rows;
}

absl::StatusOr<std::optional<SessionRuns>> IndexView::Runs(
    SessionNumber session, const RunSet& runs) const {
  std::optional<SessionRuns> found;
  if (runs.empty()) return found;
  const uint32_t first = runs.ranges().front().first / limits::kRunsPerPack;
  const uint32_t last = runs.ranges().back().last / limits::kRunsPerPack;
  RunSteps wanted(runs);
  RETURN_IF_ERROR(
      ForEachRow(*snapshot_, Family::kRuns, GroupKey(session, first),
                 GroupKey(session, last),
                 [&](absl::string_view key, absl::string_view value) {
                   absl::StatusOr<RunPack> pack = UnpackRuns(value);
                   RETURN_IF_ERROR(pack.status());
                   if (!found.has_value()) found.emplace();
                   found->session = pack->session;
                   uint32_t number = GroupOf(key) * limits::kRunsPerPack;
                   for (RunRow& run : pack->runs) {
                     if (wanted.Contains(number)) {
                       found->runs.push_back({number, std::move(run)});
                     }
                     ++number;
                   }
                   return absl::OkStatus();
                 }));
  return found;
}

absl::StatusOr<std::optional<RunRow>> IndexView::Run(SessionNumber session,
                                                     uint32_t run) const {
  ASSIGN_OR_RETURN(std::optional<SessionRuns> found,
                   Runs(session, RunSet(run, run)));
  if (!found.has_value() || found->runs.empty()) return std::nullopt;
  return std::move(found->runs.front().row);
}

absl::StatusOr<std::vector<SessionNumber>> IndexView::Changes(
    uint64_t position, size_t max) const {
  std::vector<SessionNumber> sessions;
  // A batch that ended there has nothing of what comes after.
  const std::string lower = ChangesKey(position + 1);
  // Rows name a session each time: distinct ones are counted now and then.
  size_t distinct = 0;
  const auto iterator = snapshot_->NewIterator(Family::kChanges, lower, "");
  for (iterator->Seek(lower); iterator->Valid(); iterator->Next()) {
    const absl::StatusOr<ChangeRow> row = UnpackChange(iterator->value());
    if (absl::IsDataLoss(row.status())) snapshot_->NoteDamage();
    RETURN_IF_ERROR(row.status());
    sessions.insert(sessions.end(), row->sessions.begin(), row->sessions.end());
    if (sessions.size() <= 2 * std::max(distinct, max)) continue;
    SortDistinct(&sessions);
    distinct = sessions.size();
    if (distinct > max) break;
  }
  RETURN_IF_ERROR(iterator->status());
  SortDistinct(&sessions);
  if (sessions.size() > max) {
    return absl::ResourceExhaustedError(
        "more sessions have changed than one answer looks at");
  }
  return sessions;
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
        OpenRow(Family::kDictionary, iterator->key(), iterator->value()));
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
