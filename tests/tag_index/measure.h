#ifndef TESTS_TAG_INDEX_MEASURE_H_
#define TESTS_TAG_INDEX_MEASURE_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {

struct Timing {
  size_t questions = 0;
  double p50_us = 0;
  double p99_us = 0;
};

// Sorts them. Zeros of none.
Timing TimingOf(std::vector<double> times_us);

// The answers to all of a shape's questions. Those for a second page get their
// `before`; where there is none they ask for the first.
absl::StatusOr<std::vector<Answer>> ReferenceAnswers(Asker* asker,
                                                     Shape* shape);

// Asks all questions once, which warms what can be warmed, and compares the
// answers; DATA_LOSS that names the place if one differs. Then asks again and
// takes the time. Each round ends after `budget`, so that what is slow answers
// fewer.
absl::StatusOr<Timing> Measure(Asker* asker, const Shape& shape,
                               const std::vector<Answer>& expected,
                               absl::Duration budget);

// One round alone, compared and timed: the first answers of what has just been
// opened.
absl::StatusOr<Timing> MeasureFirst(Asker* asker, const Shape& shape,
                                    const std::vector<Answer>& expected,
                                    absl::Duration budget);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_MEASURE_H_
