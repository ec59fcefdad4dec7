#include "indexer/builder/external_sort.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace diptych::indexer {
namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;

std::string Path(const std::string& name) {
  return absl::StrCat(::testing::TempDir(), "/external_sort_", name);
}

Rows ReadAll(const std::vector<SortedRun>& runs) {
  Rows rows;
  auto merger = RunMerger::Open(runs).value();
  while (merger->Valid()) {
    rows.emplace_back(merger->key(), merger->value());
    EXPECT_TRUE(merger->Next().ok());
  }
  return rows;
}

TEST(ExternalSortTest, MergesAnyRunsInOrderAndKeepsEqualKeysInTheirs) {
  std::mt19937 random(7);
  Rows model;
  std::vector<SortedRun> runs;
  RunWriter writer;
  for (int i = 0; i < 20'000; ++i) {
    std::string key = absl::StrCat(random() % 5000);
    // Keys that differ in nothing but trailing zero bytes, and long ones.
    if (random() % 3 == 0) key.append(random() % 12, '\0');
    std::string value(random() % 40, static_cast<char>(i));
    writer.Add(key, value);
    model.emplace_back(std::move(key), std::move(value));
    if (random() % 700 == 0) {
      runs.push_back(
          writer.WriteTo(Path(absl::StrCat("run", runs.size()))).value());
    }
  }
  runs.push_back(writer.WriteTo(Path("last")).value());
  std::stable_sort(
      model.begin(), model.end(),
      [](const auto& a, const auto& b) { return a.first < b.first; });
  EXPECT_EQ(ReadAll(runs), model);

  std::vector<SortedRun> fewer = runs;
  ASSERT_GT(fewer.size(), 5u);
  ASSERT_TRUE(ReduceRuns(5, Path("reduced"), nullptr, &fewer).ok());
  EXPECT_LE(fewer.size(), 5u);
  EXPECT_EQ(ReadAll(fewer), model);
  // What a checkpoint names stays.
  EXPECT_EQ(ReadAll(runs), model);
}

TEST(ExternalSortTest, NothingIsNothing) {
  EXPECT_FALSE(RunMerger::Open({}).value()->Valid());
  RunWriter writer;
  const SortedRun empty = writer.WriteTo(Path("empty")).value();
  EXPECT_EQ(empty.rows, 0u);
  EXPECT_FALSE(RunMerger::Open({empty}).value()->Valid());
}

TEST(ExternalSortTest, ARunThatIsNotWhatWasWrittenIsRefused) {
  RunWriter writer;
  for (int i = 0; i < 5000; ++i) {
    writer.Add(absl::StrCat("key", i), std::string(100, 'v'));
  }
  const SortedRun run = writer.WriteTo(Path("damaged")).value();
  const auto read = [&] {
    auto merger = RunMerger::Open({run});
    if (!merger.ok()) return merger.status();
    while ((*merger)->Valid()) {
      const absl::Status status = (*merger)->Next();
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  };
  EXPECT_TRUE(read().ok());
  for (const std::streamoff place :
       {std::streamoff{0}, std::streamoff{9}, std::streamoff{5000},
        static_cast<std::streamoff>(run.bytes) - 1}) {
    std::fstream file(run.path,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(place);
    const int byte = file.get();
    file.seekp(place);
    file.put(static_cast<char>(byte ^ 4));
    file.close();
    EXPECT_TRUE(absl::IsDataLoss(read())) << place;
    file.open(run.path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(place);
    file.put(static_cast<char>(byte));
  }
  EXPECT_TRUE(read().ok());
  std::filesystem::resize_file(run.path, run.bytes - 1);
  EXPECT_TRUE(absl::IsDataLoss(read()));
}

}  // namespace
}  // namespace diptych::indexer
