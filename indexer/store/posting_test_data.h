#ifndef INDEXER_STORE_POSTING_TEST_DATA_H_
#define INDEXER_STORE_POSTING_TEST_DATA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "indexer/store/posting_entry.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Postings by dice, of all shapes that there are; for tests.
class PostingDice {
 public:
  explicit PostingDice(uint32_t seed) : random_(seed) {}

  uint64_t Below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

  RunSet Runs() {
    if (!OneIn(6)) {
      const auto first = static_cast<uint32_t>(Below(20));
      return RunSet(first, first + static_cast<uint32_t>(Below(10)));
    }
    RunSet runs;
    uint64_t next = 0;
    for (uint64_t ranges = 1 + Below(4); ranges > 0; --ranges) {
      const uint64_t first = next + Below(OneIn(4) ? 1U << 30 : 8);
      const uint64_t last = std::min<uint64_t>(first + Below(9), ~uint32_t{0});
      if (first > last) break;
      runs.Append(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
      next = last + 1;
    }
    return runs;
  }

  // Steps of up to `most_seconds`; several in a second now and then.
  std::vector<PostingEntry> Entries(size_t count, uint64_t most_seconds,
                                    bool short_runs = false) {
    std::vector<PostingEntry> entries;
    uint64_t second = Below(1U << 31);
    uint64_t turn = OneIn(3) ? Below(1000) : 0;
    while (entries.size() < count) {
      entries.push_back({SessionNumber(static_cast<uint32_t>(second),
                                       static_cast<uint16_t>(turn)),
                         short_runs ? RunSet(0, 0) : Runs()});
      if (OneIn(20) && turn < 60'000) {
        turn += 1 + Below(OneIn(3) ? 5000 : 2);
        continue;
      }
      turn = OneIn(30) ? Below(3) : 0;
      second += 1 + Below(most_seconds);
    }
    return entries;
  }

  std::mt19937& random() { return random_; }

 private:
  std::mt19937 random_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_TEST_DATA_H_
