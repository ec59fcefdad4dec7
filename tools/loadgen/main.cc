// loadgen: many sessions at once against one archive, with every answer
// checked. README.md says what it reports.

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "tools/diptych/profile.h"
#include "tools/loadgen/ack_ledger.h"
#include "tools/loadgen/channel_pool.h"
#include "tools/loadgen/load_runner.h"
#include "tools/loadgen/load_session.h"
#include "tools/loadgen/recording.h"
#include "tools/loadgen/report.h"

namespace diptych::loadgen {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDone = 0;
constexpr int kFailed = 1;

// Set by signals.
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free);

struct Options {
  std::string profile;
  std::string resident;
  std::string clerk;
  std::string ledger;
  size_t sessions = 1;
  int channels = 1;
  double session_s = 60;
  double duration_s = 0;
  double stagger_s = 0;
  double finish_s = 60;
  double stall_s = 10;
  double progress_s = 0;
  int batch_ms = 250;
  uint64_t seed = 0;
  bool fast = false;
  bool replace = false;
  bool stream_per_side = false;
  bool leave_open = false;
};

void AddOptions(CLI::App* app, Options* options) {
  app->add_option("--profile", options->profile,
                  "a gateway's profile folder (default: DIPTYCH_PROFILE)");
  app->add_option("--resident", options->resident, "a recording of this side")
      ->required();
  app->add_option("--clerk", options->clerk, "a recording of this side")
      ->required();
  app->add_option("--sessions", options->sessions, "sessions at once")
      ->check(CLI::Range(size_t{1}, limits::kLoadSessions))
      ->capture_default_str();
  app->add_option("--session_s", options->session_s,
                  "seconds of media in a session; recordings are repeated")
      ->capture_default_str();
  app->add_option("--duration_s", options->duration_s,
                  "with --replace: how long sessions that end are replaced");
  app->add_flag("--replace", options->replace,
                "start a new session for each that ends");
  app->add_option("--stagger_s", options->stagger_s,
                  "the first sessions start over this many seconds");
  app->add_option("--channels", options->channels, "connections")
      ->check(CLI::Range(1, limits::kLoadChannels))
      ->capture_default_str();
  app->add_flag("--stream_per_side", options->stream_per_side,
                "two streams a session instead of one");
  app->add_flag("--fast", options->fast, "not in real time: flat out");
  app->add_flag("--leave_open", options->leave_open,
                "end sessions without closing them");
  app->add_option("--batch_ms", options->batch_ms, "media in a message")
      ->check(CLI::Range(0, 250))
      ->capture_default_str();
  app->add_option("--stall_s", options->stall_s,
                  "a stream without an answer for so long is given up")
      ->capture_default_str();
  app->add_option("--finish_s", options->finish_s,
                  "how much longer than its media a session may take")
      ->capture_default_str();
  app->add_option("--ledger", options->ledger,
                  "append what was acknowledged to this file");
  app->add_option("--progress_s", options->progress_s,
                  "a line of JSON this often");
  app->add_option("--seed", options->seed, "of tags and of chance");
}

void PrintLine(const Json& json) {
  std::printf("%s\n", json.dump(-1, ' ', /*ensure_ascii=*/false,
                                Json::error_handler_t::replace)
                          .c_str());
  std::fflush(stdout);
}

absl::StatusOr<int> Run(const Options& options) {
  const absl::StatusOr<std::string> profile =
      cli::ProfileFolder(options.profile);
  if (!profile.ok()) return profile.status();
  const auto loaded = cli::LoadProfile(*profile);
  if (!loaded.ok()) return loaded.status();
  const auto recording = Recording::Load(options.resident, options.clerk);
  if (!recording.ok()) return recording.status();
  std::unique_ptr<AckLedger> ledger;
  if (!options.ledger.empty()) {
    auto opened = AckLedger::Open(options.ledger, *recording);
    if (!opened.ok()) return opened.status();
    ledger = *std::move(opened);
  }
  ChannelPool channels(*profile, static_cast<size_t>(options.channels));
  Report report;
  LoadContext context;
  context.recording = &*recording;
  context.channels = &channels;
  context.report = &report;
  context.ledger = ledger.get();
  context.fast = options.fast;
  context.stream_per_side = options.stream_per_side;
  context.close = !options.leave_open;
  context.batch = absl::Milliseconds(options.batch_ms);
  context.stall = absl::Seconds(options.stall_s);

  const absl::Duration began = base::Clock::Real()->Monotonic();
  const auto elapsed_s = [&] {
    return absl::ToDoubleSeconds(base::Clock::Real()->Monotonic() - began);
  };
  LoadPlan plan;
  plan.sessions = options.sessions;
  plan.session_length = absl::Seconds(options.session_s);
  plan.stagger = absl::Seconds(options.stagger_s);
  plan.duration = absl::Seconds(options.duration_s);
  plan.replace = options.replace;
  plan.finish_timeout = absl::Seconds(options.finish_s);
  plan.seed = options.seed;
  plan.progress_every = absl::Seconds(options.progress_s);
  plan.on_progress = [&](size_t open_sessions) {
    const Counts counts = report.counts();
    PrintLine({{"message_type", "progress"},
               {"elapsed_s", elapsed_s()},
               {"open_sessions", open_sessions},
               {"sessions_opened", counts.sessions_opened},
               {"packets_sent", counts.packets_sent},
               {"packets_durable", counts.packets_durable},
               {"reconnects", counts.reconnects},
               {"refused", counts.refused},
               {"violations", counts.violations}});
  };
  RunLoad(context, plan, stop_requested);

  Json summary = {{"message_type", "summary"}};
  summary.update(report.ToJson(elapsed_s()));
  PrintLine(summary);
  if (ledger != nullptr && !ledger->status().ok()) return ledger->status();
  const Counts counts = report.counts();
  return counts.violations == 0 && counts.sessions_failed == 0 ? kDone
                                                               : kFailed;
}

}  // namespace
}  // namespace diptych::loadgen

int main(int argc, char** argv) {
  CLI::App app(
      "Streams many two-sided sessions from two recordings to an archive, "
      "checks every answer, and reports rates and latencies as JSON.",
      "loadgen");
  diptych::loadgen::Options options;
  diptych::loadgen::AddOptions(&app, &options);
  CLI11_PARSE(app, argc, argv);
  for (const int number : {SIGINT, SIGTERM}) {
    std::signal(number, [](int) { diptych::loadgen::stop_requested = true; });
  }
  const absl::StatusOr<int> code = diptych::loadgen::Run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "loadgen: %s\n",
               std::string(code.status().message()).c_str());
  return diptych::loadgen::kFailed;
}
