#ifndef INDEXER_STORE_SESSION_TAGS_H_
#define INDEXER_STORE_SESSION_TAGS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
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

// Segments with equal tags that follow each other in session time.
struct RunPlan {
  // Numbers from first to last.
  struct Range {
    uint32_t first = 0;
    uint32_t last = 0;
    friend bool operator==(const Range&, const Range&) = default;
  };
  // In ascending order; none for the one run of a session without segments. A
  // side that sent late makes segments of an earlier time with higher numbers.
  std::vector<Range> segments;
  // The log record since which the run is there.
  uint64_t position = 0;
  // Indexes into the tags, the whole-session ones included; per distinct (key,
  // value) the one that came first.
  std::vector<size_t> tags;
};

// True if `a` comes before `b` in session time; of two that begin at once, the
// one that was written first.
bool IsEarlier(const stored::v1::SegmentRow& a,
               const stored::v1::SegmentRow& b);

// Cuts a session into runs of at most limits::kRunMax_us. `segments` are in
// order of their numbers; tags_from_us and tags_to_us are filled in. A session
// without segments has one run, with all its tags. A pure function too, so that
// what was posted earlier can be computed instead of stored.
std::vector<RunPlan> PlanRuns(const stored::v1::SessionRow& row,
                              const std::vector<TagSpan>& tags,
                              std::vector<stored::v1::SegmentRow>* segments);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_SESSION_TAGS_H_
