#ifndef INDEXER_QUERY_ROW_CACHE_H_
#define INDEXER_QUERY_ROW_CACHE_H_

#include <optional>

#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/query_cost.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// The row of the session at hand, opened once however many ask. Not
// thread-safe.
class RowCache {
 public:
  // Both must outlive it.
  RowCache(const IndexView* view, QueryCost* cost) : view_(view), cost_(cost) {}

  // Good until another session's is asked for. DATA_LOSS if there is none.
  absl::StatusOr<const stored::v1::SessionRow*> At(SessionNumber session) {
    if (!row_.has_value() || session != session_) {
      ASSIGN_OR_RETURN(row_, view_->SessionAt(session));
      session_ = session;
      cost_->AddRows();
    }
    if (!row_.has_value()) {
      return base::IntegrityError(
          "the index has a posting of a session without its row; run `diptych "
          "index rebuild`");
    }
    return &*row_;
  }

 private:
  const IndexView* const view_;
  QueryCost* const cost_;
  SessionNumber session_;
  std::optional<stored::v1::SessionRow> row_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_ROW_CACHE_H_
