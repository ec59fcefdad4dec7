#include "tests/tag_index/question.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {
namespace {

constexpr size_t kPage = 50;
constexpr int64_t kMonth_s = int64_t{30} * 86'400;

std::string Quoted(Tag tag) {
  return absl::StrCat(KeyName(tag.key()), " = \"", tag.Text(), "\"");
}

std::string Time(int64_t second) {
  return absl::FormatTime(absl::RFC3339_full, absl::FromUnixSeconds(second),
                          absl::UTCTimeZone());
}

std::string Text(const Clause& clause) {
  std::vector<std::string> terms;
  for (const Tag tag : clause.any) terms.push_back(Quoted(tag));
  const std::string any =
      terms.size() == 1 ? terms.front()
                        : absl::StrCat("(", absl::StrJoin(terms, " OR "), ")");
  return clause.negated ? absl::StrCat("NOT ", any) : any;
}

// Draws one question after another.
class Drawer {
 public:
  Drawer(const City& city, uint64_t seed) : city_(city), chance_(seed) {}

  // The tags of some moment of some session.
  CityRun Run() {
    const auto place = static_cast<uint64_t>(
        chance_.Part() * static_cast<double>(city_.sessions()));
    const CitySession session = city_.Session(place);
    start_s_ = session.start_time_us / 1'000'000;
    return session
        .runs[chance_.Below(static_cast<uint32_t>(session.runs.size()))];
  }
  // When the session began that Run() was of.
  int64_t start_s() const { return start_s_; }
  Chance* chance() { return &chance_; }
  const City& city() const { return city_; }

 private:
  const City& city_;
  Chance chance_;
  int64_t start_s_ = 0;
};

Question Newest(std::vector<Clause> clauses) {
  Question question;
  question.clauses = std::move(clauses);
  question.limit = kPage;
  return question;
}

Question ClerkAndItem(Drawer* draw) {
  const CityRun run = draw->Run();
  return Newest({{{run.tag(Key::kClerk)}}, {{run.tag(Key::kItem)}}});
}

Question Nothing(Drawer* draw) {
  const CityRun a = draw->Run();
  // A terminal of another committee: two lists that never meet.
  const uint32_t committee = a.tag(Key::kCommittee).value();
  const uint32_t other =
      (committee + 1 + draw->chance()->Below(kCommittees - 1)) % kCommittees;
  return Newest({{{Tag(Key::kTerminal, other * kTerminalsOfACommittee)}},
                 {{a.tag(Key::kCommittee)}}});
}

Question Month(Drawer* draw) {
  const CityRun run = draw->Run();
  Question question;
  question.kind = Question::Kind::kCountByItem;
  question.clauses = {{{run.tag(Key::kCommittee)}}};
  question.from_s = kYearBegin_s + kMonth_s * draw->chance()->Below(12);
  question.to_s = question.from_s + kMonth_s;
  return question;
}

Question Poor(Drawer* draw) {
  const CityRun run = draw->Run();
  return Newest({{{Tag(Key::kRating, 0), Tag(Key::kRating, 1)}},
                 {{run.tag(Key::kCommittee)}}});
}

}  // namespace

std::string Question::Filter() const {
  std::vector<std::string> parts;
  for (const Clause& clause : clauses) {
    // The ratings 1 and 2 are a comparison.
    if (!clause.negated && clause.any.size() == 2 &&
        clause.any[0] == Tag(Key::kRating, 0) &&
        clause.any[1] == Tag(Key::kRating, 1)) {
      parts.push_back("rating <= 2");
      continue;
    }
    parts.push_back(Text(clause));
  }
  if (in_window()) {
    parts.push_back(absl::StrCat("start_time >= \"", Time(from_s), "\""));
    parts.push_back(absl::StrCat("start_time < \"", Time(to_s), "\""));
  }
  return absl::StrJoin(parts, " AND ");
}

std::vector<Shape> DrawShapes(const City& city, uint64_t seed, size_t count) {
  Drawer draw(city, seed);
  const std::vector<std::pair<std::string, std::function<Question()>>> kinds = {
      {"clerk AND item, newest 50", [&] { return ClerkAndItem(&draw); }},
      {"resident, newest 50",
       [&] { return Newest({{{draw.Run().tag(Key::kResident)}}}); }},
      {"clerk AND item AND channel=video, newest 50",
       [&] {
         Question question = ClerkAndItem(&draw);
         question.clauses.push_back({{Tag(Key::kChannel, 0)}});
         return question;
       }},
      {"nothing matches (terminal AND another committee)",
       [&] { return Nothing(&draw); }},
      {"count of sessions (committee AND accepted)",
       [&] {
         Question question;
         question.kind = Question::Kind::kCountSessions;
         question.clauses = {{{draw.Run().tag(Key::kCommittee)}},
                             {{Tag(Key::kOutcome, 0)}}};
         return question;
       }},
      {"count by item, a committee's month", [&] { return Month(&draw); }},
      {"clerk AND item, 30 days",
       [&] {
         Question question = ClerkAndItem(&draw);
         question.from_s = draw.start_s() - kMonth_s / 2;
         question.to_s = question.from_s + kMonth_s;
         return question;
       }},
      {"clerk AND item, oldest 50",
       [&] {
         Question question = ClerkAndItem(&draw);
         question.oldest_first = true;
         return question;
       }},
      {"(clerk OR clerk) AND item, newest 50",
       [&] {
         Question question = ClerkAndItem(&draw);
         question.clauses[0].any.push_back(draw.Run().tag(Key::kClerk));
         return question;
       }},
      {"clerk AND item AND NOT accepted, newest 50",
       [&] {
         Question question = ClerkAndItem(&draw);
         question.clauses.push_back({{Tag(Key::kOutcome, 0)}, true});
         return question;
       }},
      {"committee AND rating <= 2, newest 50", [&] { return Poor(&draw); }},
      {std::string(kSecondPage),
       [&] { return Newest({{{draw.Run().tag(Key::kCommittee)}}}); }},
  };
  std::vector<Shape> shapes;
  for (const auto& [name, next] : kinds) {
    Shape shape;
    shape.name = name;
    for (size_t i = 0; i < count; ++i) shape.questions.push_back(next());
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

}  // namespace diptych::bench
