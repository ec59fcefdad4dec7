#include "tools/diptych/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "archiver/base/mutex.h"
#include "tools/diptych/exit_codes.h"

namespace diptych::cli {
namespace {

// Wakes the waiting thread at the program's end; means nothing else here.
constexpr int kStopSignal = SIGUSR2;

sigset_t WaitedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, kStopSignal);
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t signals = WaitedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { Wait(); });
}

Interrupt::~Interrupt() {
  stopping_.store(true, std::memory_order_release);
  pthread_kill(thread_.native_handle(), kStopSignal);
  thread_.join();
}

absl::Status Interrupt::Check() const {
  return requested() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

void Interrupt::Wait() {
  const sigset_t signals = WaitedSignals();
  while (true) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) return;
    if (signal == kStopSignal) {
      if (stopping_.load(std::memory_order_acquire)) return;
      continue;
    }
    if (requested()) _exit(static_cast<int>(ExitCode::kInterrupted));
    base::MutexLock lock(&mutex_);
    requested_.store(true, std::memory_order_release);
    for (const auto& [id, callback] : callbacks_) callback();
  }
}

uint64_t Interrupt::Add(std::function<void()> callback) {
  base::MutexLock lock(&mutex_);
  const uint64_t id = next_id_++;
  if (requested()) callback();
  callbacks_.emplace(id, std::move(callback));
  return id;
}

void Interrupt::Remove(uint64_t id) {
  base::MutexLock lock(&mutex_);
  callbacks_.erase(id);
}

Interrupt::ScopedCallback::ScopedCallback(Interrupt* interrupt,
                                          std::function<void()> callback)
    : interrupt_(interrupt), id_(interrupt->Add(std::move(callback))) {}

Interrupt::ScopedCallback::~ScopedCallback() { interrupt_->Remove(id_); }

}  // namespace diptych::cli
