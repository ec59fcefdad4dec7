#include "archiver/seal/locked_memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/base/limits.h"

namespace diptych::seal {
namespace {

constexpr size_t kPerStep =
    limits::kLockedMemoryStep_bytes / LockedMemory::kSlot_bytes;

// What the kernel says of the mapping that holds `address`.
std::string MappingOf(const uint8_t* address, const std::string& field) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(maps, line)) {
    uintptr_t from = 0;
    uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      const auto at = reinterpret_cast<uintptr_t>(address);
      inside = from <= at && at < to;
    } else if (inside && line.rfind(field, 0) == 0) {
      return line;
    }
  }
  return "";
}

TEST(LockedMemoryTest, SlotsAreZeroAndApart) {
  LockedMemory memory;
  std::set<uint8_t*> slots;
  for (size_t i = 0; i < kPerStep + 10; ++i) {
    uint8_t* const slot = memory.Take();
    EXPECT_TRUE(std::all_of(slot, slot + LockedMemory::kSlot_bytes,
                            [](uint8_t byte) { return byte == 0; }));
    std::memset(slot, 0xab, LockedMemory::kSlot_bytes);
    EXPECT_TRUE(slots.insert(slot).second);
  }
  uint8_t* last = nullptr;
  for (uint8_t* const slot : slots) {
    if (last != nullptr) {
      EXPECT_GE(slot - last, static_cast<ptrdiff_t>(LockedMemory::kSlot_bytes));
    }
    last = slot;
  }
  for (uint8_t* const slot : slots) memory.GiveBack(slot);
  EXPECT_EQ(memory.slots_in_use(), 0u);
}

TEST(LockedMemoryTest, WhatIsGivenBackIsWipedAndUsedAgain) {
  LockedMemory memory;
  uint8_t* const slot = memory.Take();
  std::memset(slot, 0xab, LockedMemory::kSlot_bytes);
  memory.GiveBack(slot);
  // Still mapped: the arena keeps its pages.
  EXPECT_TRUE(std::all_of(slot, slot + LockedMemory::kSlot_bytes,
                          [](uint8_t byte) { return byte == 0; }));
  for (int i = 0; i < 100'000; ++i) memory.GiveBack(memory.Take());
  EXPECT_EQ(memory.Take(), slot);
  memory.GiveBack(slot);
}

TEST(LockedMemoryTest, PagesAreLockedAndLeftOutOfDumps) {
  LockedMemory memory;
  uint8_t* const slot = memory.Take();
  if (memory.status().ok()) {
    EXPECT_THAT(MappingOf(slot, "Locked:"),
                testing::Not(testing::HasSubstr(" 0 kB")));
  }
  // "dd": do not dump; "lo": locked.
  EXPECT_THAT(MappingOf(slot, "VmFlags:"), testing::HasSubstr(" dd"));
  memory.GiveBack(slot);
}

TEST(LockedMemoryDeathTest, NobodyTouchesWhatLiesAround) {
  LockedMemory memory;
  std::vector<uint8_t*> slots;
  for (size_t i = 0; i < kPerStep; ++i) slots.push_back(memory.Take());
  uint8_t* const first = *std::min_element(slots.begin(), slots.end());
  uint8_t* const last = *std::max_element(slots.begin(), slots.end());
  // Through a volatile pointer, so that the access is not left out.
  EXPECT_DEATH(*static_cast<volatile uint8_t*>(first - 1) = 1, "");
  EXPECT_DEATH(
      *static_cast<volatile uint8_t*>(last + LockedMemory::kSlot_bytes) = 1,
      "");
  for (uint8_t* const slot : slots) memory.GiveBack(slot);
}

TEST(LockedMemoryTest, WorksUnlockedAndSaysSo) {
  // In a process of its own: a limit that was lowered stays.
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_MEMLOCK, &none);
    // Root may lock what it wants; in a sandbox it can't become somebody else,
    // and needs not.
    const bool is_root = setresuid(65534, 65534, 65534) != 0;
    LockedMemory memory;
    uint8_t* const slot = memory.Take();
    std::memset(slot, 1, LockedMemory::kSlot_bytes);
    const absl::Status status = memory.status();
    memory.GiveBack(slot);
    if (is_root && status.ok()) _exit(7);
    const bool said =
        status.code() == absl::StatusCode::kFailedPrecondition &&
        std::string(status.message()).find("LimitMEMLOCK") != std::string::npos;
    _exit(said ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 7) {
    GTEST_SKIP() << "root that may lock memory without limit";
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(LockedMemoryTest, BeyondItsBoundItTakesFromTheHeapAndSaysSo) {
  LockedMemory memory(limits::kLockedMemoryStep_bytes);
  std::vector<uint8_t*> slots;
  for (size_t i = 0; i < kPerStep; ++i) slots.push_back(memory.Take());
  EXPECT_NE(memory.status().code(), absl::StatusCode::kResourceExhausted);
  slots.push_back(memory.Take());
  std::memset(slots.back(), 1, LockedMemory::kSlot_bytes);
  EXPECT_FALSE(memory.status().ok());
  for (uint8_t* const slot : slots) memory.GiveBack(slot);
  EXPECT_EQ(memory.slots_in_use(), 0u);
}

TEST(LockedMemoryTest, ManyThreadsGetSlotsOfTheirOwn) {
  LockedMemory memory;
  std::vector<std::thread> threads;
  std::array<bool, 8> well = {};
  for (size_t t = 0; t < well.size(); ++t) {
    threads.emplace_back([&memory, &well, t] {
      well[t] = true;
      for (int round = 0; round < 300; ++round) {
        std::vector<uint8_t*> slots;
        for (int i = 0; i < 40; ++i) {
          slots.push_back(memory.Take());
          std::memset(slots.back(), static_cast<int>(t + 1),
                      LockedMemory::kSlot_bytes);
        }
        for (uint8_t* const slot : slots) {
          well[t] = well[t] &&
                    std::all_of(slot, slot + LockedMemory::kSlot_bytes,
                                [t](uint8_t byte) { return byte == t + 1; });
          memory.GiveBack(slot);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const bool one : well) EXPECT_TRUE(one);
  EXPECT_EQ(memory.slots_in_use(), 0u);
}

}  // namespace
}  // namespace diptych::seal
