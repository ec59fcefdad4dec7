#ifndef TESTS_TAG_INDEX_SYSTEM_H_
#define TESTS_TAG_INDEX_SYSTEM_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/tag_index/question.h"

namespace diptych::bench {

// One way of one system to answer. Not thread-safe.
class Asker {
 public:
  virtual ~Asker() = default;
  // "rows per run, int[]".
  virtual std::string name() const = 0;
  // Whatever comes before the question itself and is no part of it: asking for
  // the page before.
  virtual absl::Status Prepare(const Question&) { return absl::OkStatus(); }
  // UNIMPLEMENTED if it has no way to answer this kind.
  virtual absl::StatusOr<Answer> Ask(const Question& question) = 0;
};

// What one row of a run stands for in an answer: appends its segments, in the
// question's order, as long as the answer is not full. True once it is.
inline bool AppendRun(const Question& question, RowId first,
                      uint32_t last_segment, Answer* answer) {
  constexpr RowId kMask = (RowId{1} << kSegmentBits) - 1;
  const RowId last = (first & ~kMask) | static_cast<RowId>(last_segment);
  for (RowId i = 0; i <= last - first; ++i) {
    const RowId id = question.oldest_first ? first + i : last - i;
    if (question.before != 0 && id >= question.before) continue;
    answer->push_back(id);
    if (answer->size() == question.limit) return true;
  }
  return false;
}

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_SYSTEM_H_
