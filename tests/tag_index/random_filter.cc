#include "tests/tag_index/random_filter.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/city_model.h"

namespace diptych::bench {
namespace {

constexpr int kMaxDepth = 3;

struct Operator {
  absl::string_view text;
  bool (*holds)(double, double);
};
constexpr Operator kOperators[] = {
    {"<", [](double a, double b) { return a < b; }},
    {"<=", [](double a, double b) { return a <= b; }},
    {">", [](double a, double b) { return a > b; }},
    {">=", [](double a, double b) { return a >= b; }},
    {"=", [](double a, double b) { return a == b; }},
    {"!=", [](double a, double b) { return a != b; }},
};
constexpr uint32_t kComparisons = 4;
constexpr uint32_t kTimeOperators = 6;

class Maker {
 public:
  Maker(Chance* chance, const CityModel& model)
      : chance_(chance), model_(model) {}

  RandomFilter Tree(int depth) {
    const uint32_t kind = chance_->Below(8);
    if (depth == 0 || kind < 3) return Term();
    RandomFilter left = Tree(depth - 1);
    if (kind == 3) {
      const bool minus = chance_->Below(4) == 0;
      return {absl::StrCat(minus ? "-(" : "NOT (", left.text, ")"),
              absl::StrCat("NOT (", left.sql, ")"),
              [left](const ModelSession& session, size_t i) {
                return !left.matches(session, i);
              }};
    }
    RandomFilter right = Tree(depth - 1);
    const bool both = kind < 6;
    // Terms side by side are AND too.
    const bool silent = both && chance_->Below(4) == 0;
    return {
        absl::StrCat("(", left.text, ")",
                     silent ? " "
                     : both ? " AND "
                            : " OR ",
                     "(", right.text, ")"),
        absl::StrCat("(", left.sql, ") ", both ? "AND" : "OR", " (", right.sql,
                     ")"),
        [left, right, both](const ModelSession& session, size_t i) {
          return both ? left.matches(session, i) && right.matches(session, i)
                      : left.matches(session, i) || right.matches(session, i);
        }};
  }

 private:
  const ModelSession& SomeSession() {
    auto it = model_.sessions().lower_bound(
        model_.sessions().begin()->first +
        static_cast<uint64_t>(
            chance_->Part() *
            static_cast<double>(model_.sessions().rbegin()->first -
                                model_.sessions().begin()->first)));
    if (it == model_.sessions().end()) --it;
    return it->second;
  }

  Tag SomeTag() {
    const ModelSession& session = SomeSession();
    const auto key = static_cast<Key>(chance_->Below(kKeys));
    if (session.segments.empty()) return Tag(key, 0);
    const size_t segment =
        chance_->Below(static_cast<uint32_t>(session.segments.size()));
    const Tag* const tag = session.Find(segment, key);
    return tag == nullptr ? Tag(key, 0) : *tag;
  }

  RandomFilter Term() {
    switch (chance_->Below(14)) {
      case 0:
        return Present();
      case 1:
      case 2:
        return Compares();
      case 3:
        return StartTime();
      case 4:
        return EndTime();
      case 5:
        return Duration();
      case 6:
        return State();
      case 7:
        return Session();
      case 8:
        return In();
      case 9:
        return Equals("!=");
      case 10:
        return Equals(":");
      default:
        return Equals("=");
    }
  }

  RandomFilter Equals(absl::string_view sign) {
    const Tag tag = SomeTag();
    const bool is_not = sign == "!=";
    return {
        absl::StrCat(KeyName(tag.key()), " ", sign, " \"", tag.Text(), "\""),
        absl::StrCat(
            is_not ? "NOT " : "",
            ExistsWith(tag.key(), absl::StrCat("t.value='", tag.Text(), "'"))),
        [tag, is_not](const ModelSession& session, size_t i) {
          const Tag* const has = session.Find(i, tag.key());
          return (has != nullptr && *has == tag) != is_not;
        }};
  }

  RandomFilter In() {
    const Tag first = SomeTag();
    std::vector<Tag> tags = {first};
    for (uint32_t i = chance_->Below(4); i > 0; --i) {
      const Tag tag = SomeTag();
      if (tag.key() == first.key()) tags.push_back(tag);
    }
    const auto joined = [&tags](absl::string_view quote,
                                absl::string_view between) {
      return absl::StrJoin(tags, between, [&](std::string* out, Tag tag) {
        absl::StrAppend(out, quote, tag.Text(), quote);
      });
    };
    const absl::string_view key = KeyName(first.key());
    std::string text;
    switch (chance_->Below(2)) {
      case 0:
        text = absl::StrCat(key, " IN (", joined("\"", ", "), ")");
        break;
      default:
        text = absl::StrCat(key, ":(", joined("\"", " OR "), ")");
        break;
    }
    return {text,
            ExistsWith(first.key(),
                       absl::StrCat("t.value IN (", joined("'", ","), ")")),
            [tags](const ModelSession& session, size_t i) {
              const Tag* const has = session.Find(i, tags.front().key());
              return has != nullptr &&
                     std::find(tags.begin(), tags.end(), *has) != tags.end();
            }};
  }

  RandomFilter Present() {
    const auto key = static_cast<Key>(chance_->Below(kKeys));
    return {absl::StrCat(KeyName(key), ":*"), ExistsWith(key, "1"),
            [key](const ModelSession& session, size_t i) {
              return session.Find(i, key) != nullptr;
            }};
  }

  RandomFilter Compares() {
    // Keys whose values are numbers.
    const Key key = chance_->Below(2) == 0 ? Key::kRating : Key::kItem;
    const uint32_t limit =
        chance_->Below(key == Key::kRating ? kRatings + 2 : kItems);
    const Operator op = kOperators[chance_->Below(kComparisons)];
    return {absl::StrCat(KeyName(key), " ", op.text, " ", limit),
            ExistsWith(key, absl::StrCat("t.num ", op.text, " ", limit)),
            [key, op, limit](const ModelSession& session, size_t i) {
              const Tag* const has = session.Find(i, key);
              double number = 0;
              return has != nullptr && absl::SimpleAtod(has->Text(), &number) &&
                     op.holds(number, limit);
            }};
  }

  RandomFilter StartTime() {
    int64_t time_us = SomeSession().start_time_us;
    // At its second's edge too.
    if (chance_->Below(3) == 0) time_us = time_us / 1'000'000 * 1'000'000;
    return OfTime(
        "start_time", "s.start_us", time_us,
        [](const ModelSession& session) { return session.start_time_us; });
  }

  RandomFilter EndTime() {
    const ModelSession& session = SomeSession();
    return OfTime("end_time", "s.end_us",
                  session.start_time_us + session.end_us(),
                  [](const ModelSession& other) {
                    return other.start_time_us + other.end_us();
                  });
  }

  RandomFilter OfTime(absl::string_view field, absl::string_view column,
                      int64_t time_us,
                      int64_t (*time_of)(const ModelSession&)) {
    const Operator op = kOperators[chance_->Below(kTimeOperators)];
    return {
        absl::StrCat(
            field, " ", op.text, " \"",
            absl::FormatTime(absl::RFC3339_full, absl::FromUnixMicros(time_us),
                             absl::UTCTimeZone()),
            "\""),
        absl::StrCat(column, " ", op.text, " ", time_us),
        [op, time_us, time_of](const ModelSession& session, size_t) {
          // Differences fit a double's 53 bits.
          return op.holds(static_cast<double>(time_of(session) - time_us), 0);
        }};
  }

  RandomFilter Duration() {
    const Operator op = kOperators[chance_->Below(kTimeOperators)];
    const int64_t seconds = SomeSession().end_us() / 1'000'000;
    return {absl::StrCat("duration ", op.text, " ", seconds, "s"),
            absl::StrCat("s.duration_us ", op.text, " ", seconds * 1'000'000),
            [op, seconds](const ModelSession& session, size_t) {
              return op.holds(
                  static_cast<double>(session.end_us() - seconds * 1'000'000),
                  0);
            }};
  }

  RandomFilter State() {
    const bool closed = chance_->Below(2) == 0;
    return {absl::StrCat("state = ", closed ? "closed" : "open"),
            closed ? "s.closed" : "NOT s.closed",
            [closed](const ModelSession& session, size_t) {
              return session.closed == closed;
            }};
  }

  RandomFilter Session() {
    const base::Uuid id = SomeSession().id;
    return {
        absl::StrCat("session = ", id.ToString()),
        absl::StrCat("s.session = '", id.ToString(), "'"),
        [id](const ModelSession& session, size_t) { return session.id == id; }};
  }

  static std::string ExistsWith(Key key, absl::string_view condition) {
    return absl::StrCat("EXISTS(SELECT 1 FROM tag t WHERE t.id=s.id AND ",
                        "t.key='", KeyName(key), "' AND ", condition, ")");
  }

  Chance* const chance_;
  const CityModel& model_;
};

}  // namespace

RandomFilter MakeRandomFilter(Chance* chance, const CityModel& model) {
  return Maker(chance, model).Tree(kMaxDepth);
}

}  // namespace diptych::bench
