#ifndef INDEXER_STORE_SESSION_TAGS_H_
#define INDEXER_STORE_SESSION_TAGS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Keys whose values are personal: only equality is answered, and their values
// are in no dictionary.
bool IsPersonalKey(absl::string_view key);

inline constexpr int64_t kAlways_us = std::numeric_limits<int64_t>::min();
inline constexpr int64_t kForever_us = std::numeric_limits<int64_t>::max();

// One value of one key and when it holds, on the session timeline.
struct TagSpan {
  std::string key;
  std::string value;
  bool whole_session = false;
  // [from_us, to_us); kAlways_us and kForever_us for whole-session tags.
  int64_t from_us = 0;
  int64_t to_us = 0;
  // The log record that brought it.
  uint64_t position = 0;
};

// What a session's tag notes come to, sorted by key, value and time. Notes
// count in the order of their times and, at the same time, of the log; so a
// late one finds its place. A pure function of the row.
std::vector<TagSpan> FoldTags(const stored::v1::SessionRow& row);

// What a run's plan needs of a segment.
struct SegmentTimes {
  uint32_t segment = 0;
  int64_t window_start_us = 0;
  int64_t window_end_us = 0;
  // Tags that hold in [tags_from_us, tags_to_us) count for it.
  int64_t tags_from_us = 0;
  int64_t tags_to_us = 0;

  friend bool operator==(const SegmentTimes&, const SegmentTimes&) = default;
};

SegmentTimes TimesOf(const stored::v1::SegmentRow& row);

// True if `a` comes before `b` in session time; of two that begin at once, the
// one that was written first.
bool IsEarlier(const SegmentTimes& a, const SegmentTimes& b);

// Segments with equal tags that follow each other in session time.
struct RunPlan {
  // Numbers from first to last.
  struct Range {
    uint32_t first = 0;
    uint32_t last = 0;
    friend bool operator==(const Range&, const Range&) = default;
  };
  // In ascending order; none for the one run of a session without segments, and
  // for an open end. A side that sent late makes segments of an earlier time
  // with higher numbers.
  std::vector<Range> segments;
  // From the first window's start to the last one's end. Both are where an open
  // end begins; 0 in a session without segments.
  int64_t from_us = 0;
  int64_t to_us = 0;
  // Indexes into the tags, ascending, the whole-session ones included; of a
  // (key, value) that comes more than once the first.
  std::vector<size_t> tags;

  friend bool operator==(const RunPlan&, const RunPlan&) = default;
};

// Cuts a session into runs of at most limits::kRunMax_us, segment by segment;
// so one more at the end costs no more than itself. A session without segments
// has one run, with all its tags. The last of limits::kMaxRunsPerSession runs
// takes in whatever comes, with all the tags that it has.
class RunPlanner {
 public:
  // `tags` are FoldTags of the session's row.
  explicit RunPlanner(std::vector<TagSpan> tags);

  const std::vector<TagSpan>& tags() const { return tags_; }
  // At least one.
  const std::vector<RunPlan>& runs() const { return runs_; }

  // Whether the segment may be added to those that were.
  bool ComesNext(const SegmentTimes& segment) const;
  // Fills in when tags count for it: its own window, and what lies between it
  // and the ones before; for the first one everything before it. `to_the_end`:
  // everything after it as well. REQUIRES: ComesNext(*segment).
  void Add(bool to_the_end, SegmentTimes* segment);

  // The session goes on: if other tags hold from the end of all windows on than
  // in the last run, these are a run of their own, which has no segments yet.
  // That end goes again with the next Add. REQUIRES: at most once between two.
  void AddOpenEnd();

 private:
  void RemoveOpenEnd();

  // Of the timed tags.
  std::vector<size_t> TagsIn(const SegmentTimes& segment);

  std::vector<TagSpan> tags_;
  // Of each tag the first one with its key and value.
  std::vector<size_t> identity_;
  // Indexes of tags, these in the order of their times.
  std::vector<size_t> whole_;
  std::vector<size_t> timed_;
  std::vector<RunPlan> runs_;
  std::optional<SegmentTimes> latest_;
  int64_t covered_us_ = kAlways_us;
  // The first timed tag that has not begun, and those that have and go on.
  size_t next_ = 0;
  std::vector<size_t> active_;
  // Of the run at hand.
  std::vector<size_t> run_tags_;
  int64_t run_start_us_ = 0;
  // The last of the runs is an open end, or has the tags of one.
  bool open_end_ = false;
};

// Plans all at once. `segments` are in order of their numbers; their
// tags_from_us and tags_to_us are filled in, those of a closed session's last
// one to the end. A pure function of the rows, so that what was posted earlier
// can be computed instead of stored.
RunPlanner PlanRuns(const stored::v1::SessionRow& row,
                    std::vector<TagSpan> tags,
                    std::vector<SegmentTimes>* segments);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_SESSION_TAGS_H_
