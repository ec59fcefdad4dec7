// Lists of a million sessions, from one in a few seconds to one a week.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "indexer/store/family.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_block.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_cursor.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/posting_merge.h"
#include "indexer/store/posting_test_data.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

constexpr size_t kSessions = 1'000'000;

// Steps of 1 to 2 * mean seconds; one to six runs, from the first or not.
std::vector<PostingEntry> MakeList(uint64_t mean_seconds, size_t sessions) {
  PostingDice dice(1);
  std::vector<PostingEntry> entries;
  uint64_t second = 1'000'000'000;
  while (entries.size() < sessions) {
    second += 1 + dice.Below(2 * mean_seconds);
    if (second > std::numeric_limits<uint32_t>::max()) break;
    const auto first = static_cast<uint32_t>(dice.OneIn(2) ? 0 : dice.Below(4));
    entries.push_back(
        {SessionNumber(static_cast<uint32_t>(second), 0),
         RunSet(first, first + static_cast<uint32_t>(dice.Below(3)))});
  }
  return entries;
}

void BM_EncodeBlock(benchmark::State& state) {
  const std::vector<PostingEntry> entries =
      MakeList(static_cast<uint64_t>(state.range(0)), 10'000);
  size_t bytes = 0;
  for (auto _ : state) {
    const std::string block = EncodePostingBlock(entries);
    bytes = block.size();
    benchmark::DoNotOptimize(block.data());
  }
  uint64_t runs = 0;
  for (const PostingEntry& entry : entries) runs += entry.runs.size();
  state.counters["bytes_a_session"] =
      static_cast<double>(bytes) / static_cast<double>(entries.size());
  state.counters["bytes_a_posting"] =
      static_cast<double>(bytes) / static_cast<double>(runs);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) *
                          static_cast<int64_t>(entries.size()));
}
BENCHMARK(BM_EncodeBlock)->Arg(20)->Arg(1000)->Arg(100'000);

void BM_SeekInBlock(benchmark::State& state) {
  const std::vector<PostingEntry> entries = MakeList(20, 10'000);
  const std::string block = EncodePostingBlock(entries);
  PostingBlockReader reader = PostingBlockReader::Open(block).value();
  PostingDice dice(2);
  std::vector<SessionNumber> targets;
  for (int i = 0; i < 1024; ++i) {
    targets.push_back(entries[dice.Below(entries.size())].session);
  }
  size_t at = 0;
  for (auto _ : state) {
    reader.Seek(targets[at++ % targets.size()]);
    benchmark::DoNotOptimize(reader.Valid());
  }
}
BENCHMARK(BM_SeekInBlock);

// One more session at the end of a long block.
void BM_MergeAtTheEnd(benchmark::State& state) {
  std::vector<PostingEntry> entries =
      MakeList(20, static_cast<size_t>(state.range(0)));
  const std::string change = EncodePostingChange({entries.back()});
  entries.pop_back();
  const std::string block = EncodePostingBlock(entries);
  for (auto _ : state) {
    benchmark::DoNotOptimize(MergePostingBlock(block, {change}).value());
  }
}
BENCHMARK(BM_MergeAtTheEnd)->Arg(50)->Arg(1000)->Arg(50'000);

// A store with lists of several densities, their blocks as a rebuild puts them.
class Lists {
 public:
  Lists() {
    const std::string folder = absl::StrCat(
        std::filesystem::temp_directory_path().string(), "/posting_benchmark");
    std::filesystem::remove_all(folder);
    store_ = IndexStore::Open(folder, base::Uuid::Random()).value();
    Fill(Broad(), MakeList(20, kSessions));
    Fill(Medium(), MakeList(1000, kSessions / 50));
    Fill(Rare(), MakeList(600'000, 30));
    if (!store_->Flush().ok()) std::abort();
    snapshot_ = store_->NewSnapshot();
  }

  static PostingList Broad() { return {std::string(16, 'b'), 18}; }
  static PostingList Medium() { return {std::string(16, 'm'), 21}; }
  static PostingList Rare() { return {std::string(16, 'r'), 25}; }
  static PostingList None() { return {std::string(16, 'n'), 25}; }

  std::unique_ptr<PostingCursor> Open(const PostingList& list,
                                      Order order) const {
    return NewPostingCursor(snapshot_.get(), list, order, SessionNumber(),
                            SessionNumber::Largest());
  }

 private:
  void Fill(const PostingList& list, const std::vector<PostingEntry>& entries) {
    IndexBatch batch;
    for (size_t begin = 0, end = 0; begin < entries.size(); begin = end) {
      const std::string key =
          PostingBlockKey(list, entries[begin].session.second());
      while (end < entries.size() &&
             PostingBlockKey(list, entries[end].session.second()) == key) {
        ++end;
      }
      batch.Put(Family::kPostings, key,
                EncodePostingBlock(
                    absl::MakeConstSpan(entries).subspan(begin, end - begin)));
    }
    if (!store_->Write(batch).ok()) std::abort();
  }

  std::unique_ptr<IndexStore> store_;
  std::unique_ptr<IndexSnapshot> snapshot_;
};

const Lists& TheLists() {
  static const Lists* const lists = new Lists();
  return *lists;
}

Order OrderOf(const benchmark::State& state) {
  return state.range(0) == 0 ? Order::kNewestFirst : Order::kOldestFirst;
}

void BM_OpenNothing(benchmark::State& state) {
  for (auto _ : state) {
    const auto cursor = TheLists().Open(Lists::None(), OrderOf(state));
    benchmark::DoNotOptimize(cursor->Valid());
  }
}
BENCHMARK(BM_OpenNothing)->Arg(0)->Arg(1);

void BM_WalkRareList(benchmark::State& state) {
  for (auto _ : state) {
    const auto cursor = TheLists().Open(Lists::Rare(), OrderOf(state));
    for (; cursor->Valid(); cursor->Next()) {
      benchmark::DoNotOptimize(cursor->runs());
    }
  }
}
BENCHMARK(BM_WalkRareList)->Arg(0)->Arg(1);

void BM_Next(benchmark::State& state) {
  auto cursor = TheLists().Open(Lists::Broad(), OrderOf(state));
  for (auto _ : state) {
    benchmark::DoNotOptimize(cursor->session());
    cursor->Next();
    if (!cursor->Valid()) {
      cursor = TheLists().Open(Lists::Broad(), OrderOf(state));
    }
  }
}
BENCHMARK(BM_Next)->Arg(0)->Arg(1);

// The medium list leads through the broad one, each seek far ahead.
void BM_Leapfrog(benchmark::State& state) {
  const Order order = OrderOf(state);
  int64_t seeks = 0;
  for (auto _ : state) {
    const auto lead = TheLists().Open(Lists::Medium(), order);
    const auto other = TheLists().Open(Lists::Broad(), order);
    uint64_t both = 0;
    while (lead->Valid()) {
      other->Seek(lead->session());
      ++seeks;
      if (!other->Valid()) break;
      if (other->session() == lead->session()) {
        ++both;
        lead->Next();
      } else {
        lead->Seek(other->session());
      }
    }
    benchmark::DoNotOptimize(both);
  }
  state.SetItemsProcessed(seeks);
}
BENCHMARK(BM_Leapfrog)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace diptych::indexer
