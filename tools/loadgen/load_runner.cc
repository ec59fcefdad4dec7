#include "tools/loadgen/load_runner.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "tools/loadgen/load_session.h"
#include "tools/loadgen/session_plan.h"

namespace diptych::loadgen {
namespace {

class Load {
 public:
  Load(const LoadContext& context, const LoadPlan& plan,
       const std::atomic<bool>& stop)
      : context_(context), plan_(plan), stop_(stop), random_(plan.seed) {}

  void Run() {
    began_ = base::Clock::Real()->Monotonic();
    next_progress_ = began_ + plan_.progress_every;
    for (size_t i = 0; i < plan_.sessions; ++i) {
      Slot& slot = slots_.emplace_back();
      slot.starts = began_ + plan_.stagger * i / plan_.sessions;
    }
    while (Step()) absl::SleepFor(limits::kLoadTick);
  }

 private:
  struct Slot {
    absl::Duration starts;
    std::shared_ptr<LoadSession> session;
    absl::Duration give_up;
    bool aborted = false;
  };

  // False once nothing is left to do.
  bool Step() {
    const absl::Duration now = base::Clock::Real()->Monotonic();
    const bool stopping = stop_;
    bool busy = false;
    size_t open = 0;
    for (size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      if (slot.session == nullptr) {
        if (stopping || slot.starts == absl::InfiniteDuration()) continue;
        busy = true;
        if (now < slot.starts) continue;
        StartSession(&slot, i, now);
      }
      if (stopping && !stop_told_) EndEarly(&slot, now);
      if (now > slot.give_up && !slot.aborted) Abort(&slot);
      const int64_t now_us = absl::ToInt64Microseconds(now);
      if (slot.session->wake_at_us() <= now_us) slot.session->Wake(now);
      if (slot.session->ended()) EndSlot(&slot, now);
      if (slot.session != nullptr) ++open;
      busy = busy || slot.starts != absl::InfiniteDuration();
    }
    stop_told_ = stopping;
    context_.channels->DropUnused();
    if (plan_.progress_every > absl::ZeroDuration() && now >= next_progress_) {
      next_progress_ += plan_.progress_every;
      plan_.on_progress(open);
    }
    return busy;
  }

  void StartSession(Slot* slot, size_t index, absl::Duration now) {
    slot->session = LoadSession::Create(&context_, PlanSession(&random_), index,
                                        plan_.session_length);
    slot->give_up =
        now + plan_.finish_timeout +
        (context_.fast ? absl::ZeroDuration() : plan_.session_length);
    slot->aborted = false;
  }

  void EndEarly(Slot* slot, absl::Duration now) {
    slot->session->EndEarly();
    slot->give_up = now + plan_.finish_timeout;
  }

  void Abort(Slot* slot) {
    slot->aborted = true;
    context_.report->Add({.sessions_failed = 1});
    context_.report->AddProblem("a session did not end in time");
    slot->session->Abort();
  }

  void EndSlot(Slot* slot, absl::Duration now) {
    slot->session = nullptr;
    const bool again = plan_.replace && !stop_ && now < began_ + plan_.duration;
    slot->starts = again ? now : absl::InfiniteDuration();
  }

  const LoadContext& context_;
  const LoadPlan& plan_;
  const std::atomic<bool>& stop_;
  std::mt19937_64 random_;
  std::vector<Slot> slots_;
  absl::Duration began_;
  absl::Duration next_progress_;
  bool stop_told_ = false;
};

}  // namespace

void RunLoad(const LoadContext& context, const LoadPlan& plan,
             const std::atomic<bool>& stop) {
  Load(context, plan, stop).Run();
}

}  // namespace diptych::loadgen
