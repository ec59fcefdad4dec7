#include "indexer/query/past_sessions.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/query/query_cost.h"
#include "indexer/query/session_as_of.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

absl::StatusOr<std::unique_ptr<PastSessions>> PastSessions::Load(
    const IndexView* view, log::Position position) {
  ASSIGN_OR_RETURN(const stored::v1::IndexState state, view->State());
  if (position < state.changes_from()) {
    return absl::OutOfRangeError(
        "the index has forgotten what has changed since");
  }
  std::vector<SessionNumber> numbers;
  // Nothing can have changed since what is not there yet.
  if (position < state.position()) {
    auto changed = view->Changes(position, limits::kMaxPageChanges);
    if (absl::IsResourceExhausted(changed.status())) {
      return absl::OutOfRangeError("too many sessions have changed since");
    }
    RETURN_IF_ERROR(changed.status());
    numbers = *std::move(changed);
  }
  return absl::WrapUnique(new PastSessions(view, position, std::move(numbers)));
}

absl::Status PastSessions::ForgottenState() {
  return absl::OutOfRangeError(
      "the index has forgotten in which state a session was");
}

absl::StatusOr<std::shared_ptr<PastSession>> PastSessions::At(
    SessionNumber session, const Needs& needs, QueryCost* cost) const {
  ASSIGN_OR_RETURN(const auto row, view_->SessionAt(session));
  cost->AddRows();
  if (!row.has_value()) {
    return base::IntegrityError(
        "the index names a session without having its row; run `diptych index "
        "rebuild`");
  }
  if (row->opened_position() >= position_) return nullptr;
  if (needs.state && !KnowsStateAsOf(position_, *row)) return ForgottenState();
  ASSIGN_OR_RETURN(const auto segments, view_->Segments(session));
  cost->AddRows(1 + segments.size() / limits::kSegmentsPerPack);
  std::optional<PastSession> past = SessionAsOf(position_, *row, segments);
  if (!past.has_value()) return nullptr;
  const auto made = std::make_shared<PastSession>(*std::move(past));
  if (needs.end) RETURN_IF_ERROR(AddEnd(made.get(), cost));
  return made;
}

absl::Status PastSessions::AddEnd(PastSession* past, QueryCost* cost) const {
  ASSIGN_OR_RETURN(const auto chunks, view_->Chunks(past->id));
  cost->AddRows(1 + chunks.size() / limits::kChunksPerPack);
  SetPastEnd(position_, chunks, past);
  return absl::OkStatus();
}

}  // namespace diptych::indexer
