#ifndef INDEXER_BUILDER_SESSION_PLAN_H_
#define INDEXER_BUILDER_SESSION_PLAN_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "archiver/base/ids.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_view.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// A session's segments and runs and what they are posted under: all that
// follows from its row and its segments. Holds of each segment its times and
// its packed row. One more segment at the end costs no more than its group. Not
// thread-safe.
class SessionPlan {
 public:
  SessionPlan(const seal::IndexKeys* keys, const base::Uuid& session,
              SessionNumber number)
      : keys_(keys), session_(session), number_(number) {}

  // Takes over what the index has. REQUIRES: it is new.
  absl::Status Load(const IndexView& view, const stored::v1::SessionRow& row);

  enum class Added {
    kNew,
    // Was there already.
    kKnown,
    // Its number has been another epoch's, whose segment stays.
    kOther
  };
  Added AddSegment(stored::v1::SegmentRow segment);
  // The row's tags, its state or its end are not what they were.
  void MarkRowChanged() { row_changed_ = true; }

  uint32_t segments() const { return static_cast<uint32_t>(segments_.size()); }
  uint32_t runs() const { return static_cast<uint32_t>(runs_.size()); }

  // Puts the difference to what was put or loaded before.
  void Flush(const stored::v1::SessionRow& row, RowSink* sink);

 private:
  enum class ListKind { kAll, kState, kKey, kValue, kPair, kPairOverflow };
  // What a posting list is of; its token is made only when it is needed.
  struct ListName {
    ListKind kind = ListKind::kAll;
    // Of kState alone.
    ListedState state = ListedState::kOpen;
    std::string first;
    std::string second;
    friend auto operator<=>(const ListName&, const ListName&) = default;
  };
  using Posted = std::map<ListName, RunSet>;

  // REQUIRES: the segment is there.
  uint64_t EpochOf(uint32_t segment) const;
  PostingList ListOf(const ListName& name) const;
  // What the planner's runs are to be posted under.
  Posted MakePosted(const stored::v1::SessionRow& row) const;
  // Adds the fresh segments to the plan; false if it must be made anew.
  bool Extend();
  // Makes the plan anew; adds the groups with other times than before.
  void Remake(const stored::v1::SessionRow& row, std::set<uint32_t>* groups);
  void FlushSegments(const std::set<uint32_t>& groups, RowSink* sink);
  // Runs before `first` are as they were.
  void FlushRuns(size_t first, RowSink* sink);
  void FlushPostings(const stored::v1::SessionRow& row, RowSink* sink);

  const seal::IndexKeys* keys_;
  base::Uuid session_;
  SessionNumber number_;
  // In order of their numbers.
  std::vector<SegmentTimes> segments_;
  // The segments' rows as the index has them, by group.
  std::map<uint32_t, std::string> packs_;
  // Those that it does not have yet, likewise.
  std::map<uint32_t, std::vector<stored::v1::SegmentRow>> fresh_;
  bool row_changed_ = true;
  std::optional<RunPlanner> planner_;
  // What the index has.
  std::vector<RunPlan> runs_;
  Posted posted_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_SESSION_PLAN_H_
