#include "tools/diptych/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "archiver/base/mutex.h"

namespace diptych::cli {
namespace {

TEST(InterruptTest, SignalRunsCallbacksOnce) {
  Interrupt interrupt;
  EXPECT_FALSE(interrupt.requested());
  EXPECT_TRUE(interrupt.Check().ok());
  base::Mutex mutex;
  base::CondVar called;
  int calls = 0;
  bool gone_called = false;
  {
    const Interrupt::ScopedCallback gone(&interrupt,
                                         [&] { gone_called = true; });
  }
  const Interrupt::ScopedCallback callback(&interrupt, [&] {
    base::MutexLock lock(&mutex);
    ++calls;
    called.NotifyAll();
  });
  kill(getpid(), SIGINT);
  {
    base::MutexLock lock(&mutex);
    while (calls == 0) {
      ASSERT_TRUE(called.WaitWithTimeout(&mutex, absl::Seconds(10)));
    }
  }
  EXPECT_TRUE(interrupt.requested());
  EXPECT_EQ(interrupt.Check().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(gone_called);
  // Too late to be told by the signal, so told at once.
  bool late_called = false;
  const Interrupt::ScopedCallback late(&interrupt, [&] { late_called = true; });
  EXPECT_TRUE(late_called);
}

TEST(InterruptDeathTest, TheSecondSignalEndsTheProgram) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Interrupt interrupt;
        base::Mutex mutex;
        base::CondVar called;
        bool done = false;
        const Interrupt::ScopedCallback callback(&interrupt, [&] {
          base::MutexLock lock(&mutex);
          done = true;
          called.NotifyAll();
        });
        kill(getpid(), SIGINT);
        {
          base::MutexLock lock(&mutex);
          while (!done) called.Wait(&mutex);
        }
        kill(getpid(), SIGTERM);
        while (true) pause();
      },
      testing::ExitedWithCode(130), "");
}

TEST(InterruptTest, EndsWithoutASignal) { const Interrupt interrupt; }

}  // namespace
}  // namespace diptych::cli
