#include "archiver/seal/secret.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace diptych::seal {
namespace {

bool IsZero(const uint8_t* bytes) {
  return std::all_of(bytes, bytes + SecretKey::kSize,
                     [](uint8_t byte) { return byte == 0; });
}

TEST(SecretKeyTest, MovesAndClones) {
  SecretKey key = SecretKey::Random();
  const std::string bytes(key.bytes());
  EXPECT_NE(bytes, std::string(SecretKey::kSize, '\0'));
  const SecretKey clone = key.Clone();
  EXPECT_NE(clone.data(), key.data());
  SecretKey moved = std::move(key);
  EXPECT_TRUE(IsZero(key.data()));  // NOLINT: a key that moved is zeros
  EXPECT_EQ(moved.bytes(), bytes);
  EXPECT_EQ(clone.bytes(), bytes);
  SecretKey assigned = SecretKey::Random();
  assigned = std::move(moved);
  EXPECT_EQ(assigned.bytes(), bytes);
  SecretKey& same = assigned;
  assigned = std::move(same);
  EXPECT_EQ(assigned.bytes(), bytes);
}

TEST(SecretKeyTest, IsWipedWhereItLayWhenItGoes) {
  const uint8_t* place = nullptr;
  {
    const SecretKey key = SecretKey::Random();
    place = key.data();
    EXPECT_FALSE(IsZero(place));
  }
  // Locked memory stays mapped.
  EXPECT_TRUE(IsZero(place));
  SecretKey overwritten = SecretKey::Random();
  place = overwritten.data();
  overwritten = SecretKey::Random();
  EXPECT_TRUE(IsZero(place));
}

TEST(SecretKeyTest, TakesExactlyItsSize) {
  EXPECT_EQ(SecretKey::FromBytes(std::string(32, 'k'))->bytes(),
            std::string(32, 'k'));
  for (const size_t size : {0, 31, 33}) {
    EXPECT_EQ(SecretKey::FromBytes(std::string(size, 'k')).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(IsZero(SecretKey().data()));
}

TEST(SecretTextTest, TakesAStringOverAndWipesIt) {
  std::string text(1000, 'x');
  const char* const place = text.data();
  const SecretText secret(std::move(text));
  EXPECT_EQ(secret.view(), std::string(1000, 'x'));
  // The string still owns its buffer.
  EXPECT_TRUE(
      std::all_of(place, place + 1000, [](char c) { return c == '\0'; }));
}

TEST(SecretTextTest, ShrinksMovesAndClones) {
  SecretText secret(std::string("open sesame and more"));
  secret.Shrink(11);
  EXPECT_EQ(secret.view(), "open sesame");
  SecretText clone = secret.Clone();
  const SecretText moved = std::move(secret);
  EXPECT_EQ(moved.view(), "open sesame");
  clone.mutable_data()[0] = 'O';
  EXPECT_EQ(clone.view(), "Open sesame");
  clone = SecretText(std::string());
  EXPECT_EQ(clone.view(), "");
  EXPECT_EQ(SecretText().view(), "");
}

TEST(SecretTest, HidesTheMemory) {
  // In a process of its own: there is no way back.
  const pid_t child = fork();
  if (child == 0) {
    HideMemory();
    rlimit limit = {1, 1};
    getrlimit(RLIMIT_CORE, &limit);
    _exit(limit.rlim_cur == 0 && limit.rlim_max == 0 &&
                  prctl(PR_GET_DUMPABLE) == 0
              ? 0
              : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// A function whose frame is dead once it returned, with a secret in it.
__attribute__((noinline)) const volatile char* LeaveOnStack() {
  volatile char frame[256];
  for (volatile char& byte : frame) byte = 'S';
  const volatile char* volatile place = frame;
  return place;
}

__attribute__((noinline)) size_t CountLeft(const volatile char* place) {
  size_t left = 0;
  for (size_t i = 0; i < 256; ++i) left += place[i] == 'S' ? 1 : 0;
  return left;
}

TEST(SecretTest, WipesTheStackBelow) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "reads a dead frame, which AddressSanitizer forbids";
#endif
#endif
  const volatile char* place = LeaveOnStack();
  // Most is there: what looks has a frame of its own.
  ASSERT_GT(CountLeft(place), 100u);
  place = LeaveOnStack();
  WipeStack();
  EXPECT_EQ(CountLeft(place), 0u);
}

}  // namespace
}  // namespace diptych::seal
