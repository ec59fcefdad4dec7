#include "tests/tag_index/sustained.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "tests/tag_index/local_index.h"
#include "tests/tag_index/measure.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/search_asker.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

constexpr absl::Duration kIdle = absl::Seconds(10);

// Threads that are made later are bound too.
absl::Status BindToCore(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof(cores), &cores) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("no core ", core, " to run on"));
  }
  return absl::OkStatus();
}

// Asks until `done`.
absl::StatusOr<Timing> AskUntil(Asker* asker, const Shape& shape,
                                const std::function<bool()>& done) {
  std::vector<double> times_us;
  for (size_t i = 0; !done(); ++i) {
    const Question& question = shape.questions[i % shape.questions.size()];
    const auto begun = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(asker->Ask(question).status());
    const std::chrono::duration<double, std::micro> took =
        std::chrono::steady_clock::now() - begun;
    times_us.push_back(took.count());
  }
  return TimingOf(std::move(times_us));
}

// Where the log ends, and how many manifests lie from a position on.
absl::StatusOr<std::pair<log::Position, uint64_t>> LookAhead(
    const std::string& data_folder, log::Position from) {
  const log::LogReader log(base::FileSystem::Real(),
                           absl::StrCat(data_folder, "/volumes"));
  uint64_t segments = 0;
  ASSIGN_OR_RETURN(const log::Position end,
                   log.Scan(
                       {.from = from},
                       [&segments](const log::StoredRecord& record) {
                         segments +=
                             record.type == log::RecordType::kSegment ? 1 : 0;
                         return absl::OkStatus();
                       },
                       [](const log::Damage&) {
                         return absl::DataLossError("the log is damaged");
                       }));
  return std::pair(end, segments);
}

}  // namespace

absl::StatusOr<SustainedReport> MeasureSustained(const std::string& data_folder,
                                                 const Shape& shape) {
  RETURN_IF_ERROR(BindToCore(1));
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalIndex> index,
                   LocalIndex::Open(data_folder));
  ASSIGN_OR_RETURN(const auto ahead,
                   LookAhead(data_folder, index->state().position()));
  const std::unique_ptr<Asker> asker = NewSearchAsker(index.get());
  SustainedReport report;
  report.segments = ahead.second;
  std::atomic<bool> done = false;
  absl::Status taken_in;
  std::thread taking_in;
  RETURN_IF_ERROR(BindToCore(0));
  // Once to warm it.
  for (const Question& question : shape.questions) {
    RETURN_IF_ERROR(asker->Ask(question).status());
  }
  const absl::Time idle_end = absl::Now() + kIdle;
  ASSIGN_OR_RETURN(report.idle, AskUntil(asker.get(), shape, [&] {
                     return absl::Now() > idle_end;
                   }));
  const absl::Time begun = absl::Now();
  taking_in = std::thread([&] {
    taken_in = index->CatchUp(ahead.first);
    report.seconds = absl::ToDoubleSeconds(absl::Now() - begun);
    done = true;
  });
  const absl::StatusOr<Timing> busy =
      AskUntil(asker.get(), shape, [&done] { return done.load(); });
  taking_in.join();
  RETURN_IF_ERROR(taken_in);
  RETURN_IF_ERROR(busy.status());
  report.busy = *busy;
  return report;
}

}  // namespace diptych::bench
