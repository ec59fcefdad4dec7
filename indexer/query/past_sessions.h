#ifndef INDEXER_QUERY_PAST_SESSIONS_H_
#define INDEXER_QUERY_PAST_SESSIONS_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/log/record.h"
#include "indexer/query/query_cost.h"
#include "indexer/query/session_as_of.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// The sessions that have changed since a position of the log: what an answer of
// that moment can't take from the lists, and takes from their rows instead.
class PastSessions {
 public:
  // `view` must outlive it. OUT_OF_RANGE if the index does not know any more,
  // or too many have changed.
  static absl::StatusOr<std::unique_ptr<PastSessions>> Load(
      const IndexView* view, log::Position position);

  log::Position position() const { return position_; }
  // Ascending.
  const std::vector<SessionNumber>& numbers() const { return numbers_; }

  // What must be known of a session.
  struct Needs {
    bool end = false;
    bool state = false;
  };
  // nullptr if it was not known then. OUT_OF_RANGE as above.
  absl::StatusOr<std::shared_ptr<PastSession>> At(SessionNumber session,
                                                  const Needs& needs,
                                                  QueryCost* cost) const;
  // Its end and its sides as they were then, from all its chunks.
  absl::Status AddEnd(PastSession* past, QueryCost* cost) const;
  // OUT_OF_RANGE.
  static absl::Status ForgottenState();

 private:
  PastSessions(const IndexView* view, log::Position position,
               std::vector<SessionNumber> numbers)
      : view_(view), position_(position), numbers_(std::move(numbers)) {}

  const IndexView* const view_;
  const log::Position position_;
  const std::vector<SessionNumber> numbers_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_PAST_SESSIONS_H_
