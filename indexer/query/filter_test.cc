#include "indexer/query/filter.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;

std::string Show(const FilterNode& node) {
  const auto children = [&](const char* name) {
    std::string text = absl::StrCat("(", name);
    for (const auto& child : node.children) {
      absl::StrAppend(&text, " ", Show(*child));
    }
    return text + ")";
  };
  const char* const ops[] = {"=", "<", "<=", ">", ">="};
  const char* const op = ops[static_cast<int>(node.comparison)];
  switch (node.kind) {
    case Kind::kAll:
      return "all";
    case Kind::kNone:
      return "none";
    case Kind::kAnd:
      return children("and");
    case Kind::kOr:
      return children("or");
    case Kind::kNot:
      return children("not");
    case Kind::kTagEquals:
      return absl::StrCat(node.key, "=", node.value);
    case Kind::kTagPresent:
      return absl::StrCat(node.key, ":*");
    case Kind::kTagCompares:
      return node.as_time ? absl::StrCat(node.key, op, "t", node.time_us)
                          : absl::StrCat(node.key, op, node.number);
    case Kind::kStartTime:
      return absl::StrCat("start", op, node.time_us);
    case Kind::kEndTime:
      return absl::StrCat("end", op, node.time_us);
    case Kind::kDuration:
      return absl::StrCat("duration", op, node.time_us);
    case Kind::kState:
      return absl::StrCat("state=", static_cast<int>(node.state), ".",
                          static_cast<int>(node.open_state));
    case Kind::kSession:
      return absl::StrCat("session=", node.session.ToString());
  }
  return "?";
}

std::string Parsed(absl::string_view text) {
  const auto filter = ParseFilter(text);
  return filter.ok() ? Show(**filter) : filter.status().ToString();
}

TEST(FilterTest, Grammar) {
  EXPECT_EQ(Parsed(""), "all");
  EXPECT_EQ(Parsed(" \t\n"), "all");
  EXPECT_EQ(Parsed("clerk = \"C0231\" AND item=\"0417\""),
            "(and clerk=C0231 item=0417)");
  // OR binds tighter than AND, and standing side by side is AND.
  EXPECT_EQ(Parsed("a=1 AND b=2 OR c=3"), "(and a=1 (or b=2 c=3))");
  EXPECT_EQ(Parsed("a=1 b=2 OR c=3 d=4"), "(and a=1 (or b=2 c=3) d=4)");
  EXPECT_EQ(Parsed("(a=1 AND b=2) OR c=3"), "(or (and a=1 b=2) c=3)");
  EXPECT_EQ(Parsed("NOT a=1 -b=2 -(c=3 OR d=4)"),
            "(and (not a=1) (not b=2) (not (or c=3 d=4)))");
  EXPECT_EQ(Parsed("outcome != accepted"), "(not outcome=accepted)");
  EXPECT_EQ(Parsed("resident:310106195202030021"),
            "resident=310106195202030021");
  EXPECT_EQ(Parsed("event:document_captured x:*"),
            "(and event=document_captured x:*)");
  EXPECT_EQ(Parsed("case=2023-0417-000981)").find("INVALID"), 0u);
  EXPECT_EQ(Parsed("case=2023-0417-000981"), "case=2023-0417-000981");
  EXPECT_EQ(Parsed("my-key.x_1='it\\'s \\\"so\\\\'"), "my-key.x_1=it's \"so\\");
  EXPECT_EQ(Parsed("a=\"AND\" b=\"*\""), "(and a=AND b=*)");
  EXPECT_EQ(Parsed("rating <= 2 OR rating>-1.5"), "(or rating<=2 rating>-1.5)");
}

TEST(FilterTest, ListsOfValues) {
  EXPECT_EQ(Parsed("a IN (\"x\", y,'z')"), "(or a=x a=y a=z)");
  EXPECT_EQ(Parsed("a IN(x)"), "a=x");
  EXPECT_EQ(Parsed("a:(x OR \"y\")"), "(or a=x a=y)");
  EXPECT_EQ(Parsed("a=(x OR y) b=1"), "(and (or a=x a=y) b=1)");
  EXPECT_EQ(Parsed("a != (x OR y)"), "(not (or a=x a=y))");
  EXPECT_EQ(Parsed("NOT a IN (x, y)"), "(not (or a=x a=y))");
  EXPECT_EQ(Parsed("state IN (open, closed)"), "(or state=0.0 state=1.0)");
  // A word like any other where no operator may stand.
  EXPECT_EQ(Parsed("a = IN"), "a=IN");
  EXPECT_EQ(Parsed("a IN (IN)"), "a=IN");
}

TEST(FilterTest, TagsCompareWithNumbersAndTimes) {
  EXPECT_EQ(Parsed("due < \"2026-11-01T00:00:00Z\""), "due<t1793491200000000");
  EXPECT_EQ(Parsed("due >= 2026-11-01"), "due>=t1793491200000000");
  EXPECT_EQ(Parsed("due < 2026"), "due<2026");
}

TEST(FilterTest, FieldsOfTheSession) {
  EXPECT_EQ(Parsed("start_time >= \"2026-11-01T00:00:00Z\""),
            "start>=1793491200000000");
  EXPECT_EQ(Parsed("end_time < 2026-11-01T08:00:00+08:00"),
            "end<1793491200000000");
  EXPECT_EQ(Parsed("start_time < \"2026-11-01\""), "start<1793491200000000");
  EXPECT_EQ(Parsed("duration > 600s"), "duration>600000000");
  EXPECT_EQ(Parsed("duration = 1h30m"), "duration=5400000000");
  EXPECT_EQ(Parsed("state = open OR state:ABANDONED"),
            "(or state=0.0 state=2.0)");
  EXPECT_EQ(Parsed("state = degraded OR state:RECOVERED"),
            "(or state=0.2 state=0.3)");
  EXPECT_EQ(Parsed("session = \"0192A0B0-0000-7000-8000-00000000000a\""),
            "session=0192a0b0-0000-7000-8000-00000000000a");
}

struct Bad {
  const char* text;
  uint32_t offset;
};

TEST(FilterTest, ErrorsNameTheirPlaceAndNeverTheValue) {
  const Bad cases[] = {
      {"secret", 0},
      {"\"secret\"", 0},
      {"a = 1 secret", 6},
      {"a = \"secret", 4},
      {"a = \"se\\qcret\"", 7},
      {"a = ", 4},
      {"a =", 3},
      {"= secret", 0},
      {"A = secret", 0},
      {"(a = secret", 0},
      {"a = secret)", 10},
      {"a = secret AND", 14},
      {"a = secret OR", 13},
      {"AND a = secret", 0},
      {"NOT", 3},
      {"NOT NOT a = secret", 4},
      {"a = secret = b", 11},
      {"()", 1},
      {"a = *", 4},
      {"a = \"\"", 4},
      {"a < secret", 4},
      {"a < 1e3", 4},
      {"a < inf", 4},
      {"resident < 3", 9},
      {"start_time > secret", 13},
      {"start_time > infinite-future", 13},
      {"start_time : \"2026-11-01\"", 11},
      {"duration > 600", 11},
      {"duration > -5s", 11},
      {"duration > inf", 11},
      {"state = secret", 8},
      {"state < open", 6},
      {"session = secret", 10},
      {"a = 1, b = secret", 5},
      {"a IN secret", 5},
      {"a IN (secret", 5},
      {"a IN (secret OR x)", 13},
      {"a IN (secret x)", 13},
      {"a IN ()", 6},
      {"a:(secret, x)", 9},
      {"a:(secret OR )", 13},
      {"a < (secret)", 4},
      {"a IN (*)", 6},
      {"start_time IN (2026-11-01)", 11},
  };
  for (const Bad& bad : cases) {
    const absl::Status status = ParseFilter(bad.text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.text;
    const auto detail = base::GetErrorDetail(status);
    ASSERT_TRUE(detail.has_value()) << bad.text;
    EXPECT_EQ(detail->reason(), "BAD_FILTER");
    EXPECT_EQ(detail->field(), "filter");
    EXPECT_EQ(detail->field_offset(), bad.offset)
        << bad.text << ": " << status.message();
    EXPECT_EQ(status.message().find("secret"), absl::string_view::npos)
        << bad.text;
  }
}

TEST(FilterTest, BoundsHold) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '(') + "a=1" +
           std::string(static_cast<size_t>(depth), ')');
  };
  EXPECT_EQ(Parsed(nested(limits::kMaxFilterDepth)), "a=1");
  EXPECT_FALSE(ParseFilter(nested(limits::kMaxFilterDepth + 1)).ok());
  EXPECT_FALSE(ParseFilter(std::string(limits::kMaxFilter_bytes, '(')).ok());
  std::string many;
  for (size_t i = 0; i < limits::kMaxFilterTerms; ++i) many += "a=1 ";
  EXPECT_TRUE(ParseFilter(many).ok());
  EXPECT_FALSE(ParseFilter(many + "a=1").ok());
  EXPECT_FALSE(
      ParseFilter(std::string(limits::kMaxFilter_bytes + 1, ' ')).ok());
  EXPECT_TRUE(ParseFilter(absl::StrCat("a=", std::string(256, 'x'))).ok());
  EXPECT_FALSE(ParseFilter(absl::StrCat("a=", std::string(257, 'x'))).ok());
}

TEST(FilterTest, AnyBytesAreAnsweredWithinTheText) {
  std::mt19937 random(417);
  const std::string pieces[] = {
      "a", "=",    "!=",    ":",  "<=", "(",  ")",    "-",   "NOT ",
      " ", " OR ", " AND ", "\"", "\\", "'",  "*",    "1",   "duration",
      ",", "\n",   "state", "5s", ".",  "x1", " IN ", "IN ("};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    const int length = static_cast<int>(random() % 12);
    for (int i = 0; i < length; ++i) {
      if (random() % 8 == 0) {
        text.push_back(static_cast<char>(random() % 256));
      } else {
        text += pieces[random() % std::size(pieces)];
      }
    }
    const auto filter = ParseFilter(text);
    if (filter.ok()) continue;
    const auto detail = base::GetErrorDetail(filter.status());
    ASSERT_TRUE(detail.has_value());
    ASSERT_LE(detail->field_offset(), text.size());
  }
}

}  // namespace
}  // namespace diptych::indexer
