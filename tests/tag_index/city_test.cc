#include "tests/tag_index/city.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "indexer/store/session_number.h"

namespace diptych::bench {
namespace {

TEST(CityTest, SessionsAreInOrderAndWithinTheYear) {
  const City city({.seed = 1, .segments = 300'000});
  EXPECT_EQ(city.sessions(), 10'000u);
  uint64_t number = 0;
  int64_t start_us = 0;
  uint64_t segments = 0;
  uint64_t runs = 0;
  std::map<uint32_t, uint64_t> items;
  std::set<std::string> ids;
  for (uint64_t place = 0; place < city.sessions(); ++place) {
    const CitySession session = city.Session(place);
    EXPECT_GT(session.number, number);
    EXPECT_GE(session.start_time_us, start_us);
    number = session.number;
    start_us = session.start_time_us;
    EXPECT_EQ(indexer::SessionNumber::FromValue(number).second(),
              indexer::SessionNumber::SecondOf(start_us));
    ids.insert(session.id.ToString());
    segments += session.segments.size();
    runs += session.runs.size();
    uint32_t next = 0;
    const CityRun* before = nullptr;
    for (const CityRun& run : session.runs) {
      EXPECT_EQ(run.first_segment, next);
      EXPECT_GE(run.last_segment, run.first_segment);
      EXPECT_EQ(session.segments[run.first_segment].from_us, run.from_us);
      next = run.last_segment + 1;
      if (before != nullptr) EXPECT_NE(before->tags, run.tags);
      before = &run;
      for (size_t key = 0; key < kKeys; ++key) {
        EXPECT_EQ(static_cast<size_t>(run.tags[key].key()), key);
        EXPECT_FALSE(run.tags[key].Text().empty());
      }
      ++items[run.tag(Key::kItem).value()];
    }
    EXPECT_EQ(next, session.segments.size());
    int64_t from_us = 0;
    for (const CitySegment& segment : session.segments) {
      EXPECT_EQ(segment.from_us, from_us);
      EXPECT_GT(segment.to_us, from_us);
      EXPECT_LE(segment.to_us - from_us, 10'000'000);
      from_us = segment.to_us;
    }
  }
  EXPECT_EQ(ids.size(), city.sessions());
  EXPECT_GE(start_us, kYearBegin_s * 1'000'000);
  EXPECT_LT(start_us, (kYearBegin_s + kYear_s) * 1'000'000);
  const double mean =
      static_cast<double>(segments) / static_cast<double>(city.sessions());
  EXPECT_GT(mean, 28);
  EXPECT_LT(mean, 36);
  const double changes =
      static_cast<double>(runs) / static_cast<double>(city.sessions());
  EXPECT_GT(changes, 2.5);
  EXPECT_LT(changes, 3.2);
  // Zipf: the first item is nearly twice as frequent as the second.
  EXPECT_GT(items[0], items[1] * 3 / 2);
  EXPECT_GT(items.size(), 120u);
}

TEST(CityTest, TheSameSeedIsTheSameCity) {
  const City a({.seed = 7, .segments = 30'000});
  const City b({.seed = 7, .segments = 30'000});
  const City c({.seed = 8, .segments = 30'000});
  for (uint64_t place = 0; place < a.sessions(); place += 97) {
    EXPECT_EQ(a.Session(place).id, b.Session(place).id);
    EXPECT_EQ(a.Session(place).runs.back().tags,
              b.Session(place).runs.back().tags);
    EXPECT_NE(a.Session(place).id, c.Session(place).id);
  }
}

}  // namespace
}  // namespace diptych::bench
