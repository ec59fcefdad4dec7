#include "tests/tag_index/measure.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/status_macros.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

absl::Status Differs(const Asker& asker, const Shape& shape, size_t question,
                     const Answer& expected, const Answer& answer) {
  size_t place = 0;
  while (place < expected.size() && place < answer.size() &&
         expected[place] == answer[place]) {
    ++place;
  }
  return absl::DataLossError(absl::StrCat(
      asker.name(), " answers otherwise: ", shape.name, ", question ", question,
      " (", shape.questions[question].Filter(), "): ", answer.size(),
      " instead of ", expected.size(), " rows, other from row ", place, " on"));
}

absl::StatusOr<std::vector<double>> Round(Asker* asker, const Shape& shape,
                                          const std::vector<Answer>& expected,
                                          absl::Duration budget) {
  std::vector<double> times_us;
  const absl::Time end = absl::Now() + budget;
  for (size_t i = 0; i < shape.questions.size() && absl::Now() < end; ++i) {
    RETURN_IF_ERROR(asker->Prepare(shape.questions[i]));
    const auto begun = std::chrono::steady_clock::now();
    ASSIGN_OR_RETURN(const Answer answer, asker->Ask(shape.questions[i]));
    const std::chrono::duration<double, std::micro> took =
        std::chrono::steady_clock::now() - begun;
    times_us.push_back(took.count());
    if (answer != expected[i]) {
      return Differs(*asker, shape, i, expected[i], answer);
    }
  }
  return times_us;
}

}  // namespace

Timing TimingOf(std::vector<double> times_us) {
  Timing timing;
  timing.questions = times_us.size();
  if (times_us.empty()) return timing;
  std::sort(times_us.begin(), times_us.end());
  const auto at = [&times_us](double share) {
    return times_us[std::min(
        times_us.size() - 1,
        static_cast<size_t>(share * static_cast<double>(times_us.size())))];
  };
  timing.p50_us = at(0.5);
  timing.p99_us = at(0.99);
  return timing;
}

absl::StatusOr<std::vector<Answer>> ReferenceAnswers(Asker* asker,
                                                     Shape* shape) {
  std::vector<Answer> answers;
  for (Question& question : shape->questions) {
    ASSIGN_OR_RETURN(Answer answer, asker->Ask(question));
    if (shape->name == kSecondPage && answer.size() == question.limit) {
      question.before = answer.back();
      RETURN_IF_ERROR(asker->Prepare(question));
      ASSIGN_OR_RETURN(answer, asker->Ask(question));
    }
    answers.push_back(std::move(answer));
  }
  return answers;
}

absl::StatusOr<Timing> Measure(Asker* asker, const Shape& shape,
                               const std::vector<Answer>& expected,
                               absl::Duration budget) {
  RETURN_IF_ERROR(Round(asker, shape, expected, budget).status());
  return MeasureFirst(asker, shape, expected, budget);
}

absl::StatusOr<Timing> MeasureFirst(Asker* asker, const Shape& shape,
                                    const std::vector<Answer>& expected,
                                    absl::Duration budget) {
  ASSIGN_OR_RETURN(std::vector<double> times_us,
                   Round(asker, shape, expected, budget));
  return TimingOf(std::move(times_us));
}

}  // namespace diptych::bench
