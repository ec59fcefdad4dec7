#include "indexer/query/filter_canonical.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "indexer/query/filter.h"
#include "indexer/query/filter_values.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;

std::unique_ptr<FilterNode> Of(absl::string_view text) {
  return Canonical(*ParseFilter(text).value());
}

size_t Leaves(const FilterNode& node) {
  if (node.children.empty()) return 1;
  size_t leaves = 0;
  for (const auto& child : node.children) leaves += Leaves(*child);
  return leaves;
}

TEST(FilterCanonicalTest, FoldsWhatIsDecided) {
  EXPECT_EQ(Of("")->kind, Kind::kAll);
  EXPECT_EQ(Of("a=1 NOT a=1")->kind, Kind::kNone);
  EXPECT_EQ(Of("a=1 OR NOT a=1")->kind, Kind::kAll);
  EXPECT_EQ(Of("NOT (a=1 NOT a=1)")->kind, Kind::kAll);
  EXPECT_EQ(Of("b=2 (a=1 OR NOT a=1)")->kind, Kind::kTagEquals);
  EXPECT_EQ(Of("b=2 OR (a=1 NOT a=1)")->kind, Kind::kTagEquals);
  EXPECT_EQ(Of("start_time > 2026-11-02 start_time < 2026-11-01")->kind,
            Kind::kNone);
  EXPECT_EQ(Of("duration > 5s a=1 duration <= 5s")->kind, Kind::kNone);
  EXPECT_EQ(Of("duration >= 5s duration <= 5s")->kind, Kind::kAnd);
}

TEST(FilterCanonicalTest, FlattensAndDropsWhatStandsTwice) {
  const auto flat = Of("a=1 (b=2 (c=3 a=1)) -(-d=4)");
  EXPECT_EQ(flat->kind, Kind::kAnd);
  ASSERT_EQ(flat->children.size(), 4u);
  EXPECT_EQ(Of("a=1 OR (b=2 OR a=1) OR b=2")->children.size(), 2u);
  EXPECT_EQ(Of("a=1 a=1")->kind, Kind::kTagEquals);
  // Text is the same only where its parts are.
  EXPECT_EQ(Leaves(*Of("a=\"b2\" ab=2 a=\"b\"")), 3u);
  EXPECT_EQ(Leaves(*Of("a < 1000000.1 a < 1000000.2")), 2u);
}

TEST(FilterCanonicalTest, MatchesTheSameRuns) {
  std::mt19937 random(5);
  const auto pick = [&](uint32_t n) { return random() % n; };
  const std::function<std::string(int)> text = [&](int depth) -> std::string {
    const uint32_t kind = depth == 0 ? 0 : pick(5);
    if (kind == 0) return absl::StrCat("k", pick(2), "=", pick(2));
    if (kind == 1) return absl::StrCat("duration >= ", pick(3), "s");
    if (kind == 2) return absl::StrCat("NOT (", text(depth - 1), ")");
    return absl::StrCat("(", text(depth - 1), kind == 3 ? " OR " : " AND ",
                        text(depth - 1), ")");
  };
  for (int round = 0; round < 3000; ++round) {
    const auto filter = ParseFilter(text(4)).value();
    const auto canonical = Canonical(*filter);
    for (int i = 0; i < 8; ++i) {
      stored::v1::SessionRow row;
      row.set_end_us(pick(3) * 1'000'000);
      std::vector<TagSpan> tags(2);
      tags[0].key = "k0";
      tags[0].value = absl::StrCat(pick(2));
      tags[1].key = "k1";
      tags[1].value = absl::StrCat(pick(2));
      std::vector<RunPlan> runs(4);
      runs[1].tags = {0};
      runs[2].tags = {1};
      runs[3].tags = {0, 1};
      EXPECT_EQ(MatchingRuns(*filter, row, tags, runs),
                MatchingRuns(*canonical, row, tags, runs));
    }
  }
}

TEST(FilterValuesTest, NumbersTellOfStartsButAtTheirEdges) {
  const auto term = [](absl::string_view text) {
    return ParseFilter(text).value();
  };
  const auto from = term("start_time >= 2026-11-01T00:00:00.5Z");
  const uint32_t second = SessionNumber::SecondOf(from->time_us);
  using Told = std::optional<bool>;
  const auto told = [&](uint32_t at, uint32_t displacement = 0) {
    return StartSatisfies(*from, SessionNumber(at, 3), displacement);
  };
  EXPECT_EQ(told(second - 1), Told(false));
  EXPECT_EQ(told(second), Told());
  EXPECT_EQ(told(second + 1), Told(true));
  // One that lent its place from a later second.
  EXPECT_EQ(told(second + 1, 1), Told());
  EXPECT_EQ(told(second + 2, 1), Told(true));
  const auto exactly = term("start_time = 2026-11-01T00:00:00.5Z");
  EXPECT_EQ(StartSatisfies(*exactly, SessionNumber(second, 0), 0), Told());
  EXPECT_EQ(StartSatisfies(*exactly, SessionNumber(second + 1, 0), 0),
            Told(false));
  // The first second has everything before it.
  EXPECT_EQ(
      StartSatisfies(*term("start_time < 1960-01-01"), SessionNumber(0, 0), 0),
      Told());
  EXPECT_EQ(
      StartSatisfies(*term("start_time < 1960-01-01"), SessionNumber(1, 0), 0),
      Told(false));
}

TEST(FilterValuesTest, TagsCompareAsWhatTheTermIs) {
  const auto compares = [](absl::string_view filter, absl::string_view value) {
    return ComparesAs(*ParseFilter(filter).value(), value);
  };
  EXPECT_TRUE(compares("due < 10", "9.5"));
  EXPECT_FALSE(compares("due < 10", "2026-11-01"));
  EXPECT_FALSE(compares("due < 10", "soon"));
  EXPECT_TRUE(compares("due < 2026-11-02", "2026-11-01"));
  EXPECT_TRUE(compares("due < 2026-11-02", "2026-11-02T00:00:00+08:00"));
  EXPECT_FALSE(compares("due < 2026-11-02", "5"));
}

}  // namespace
}  // namespace diptych::indexer
