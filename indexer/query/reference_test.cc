#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/query/catalog_fixture.h"
#include "proto/api/v1/catalog.pb.h"

namespace diptych::indexer {
namespace {

using ReferenceTest = CatalogTest;

// ---- Random filters against a reference that knows nothing of runs ----

struct ModelSegment {
  uint32_t number = 0;
  int64_t from_us = 0;
  int64_t to_us = 0;
};

struct ModelTag {
  std::string key;
  std::string value;
  int64_t at_us = 0;
};

// A session as plain lists: every tag is a SET in the order of its time.
struct ModelSession {
  std::string id;
  int64_t start_us = 0;
  int64_t end_us = 0;
  bool closed = false;
  std::vector<ModelSegment> segments;
  std::vector<ModelTag> tags;

  // Segments, and the open end behind them or, without any, all of it.
  size_t units() const {
    if (segments.empty()) return 1;
    return segments.size() + (closed ? 0 : 1);
  }

  // The values in force in unit i.
  std::set<std::string> ValuesAt(const std::string& key, size_t i) const {
    std::vector<ModelTag> sets;
    for (const ModelTag& tag : tags) {
      if (tag.key == key) sets.push_back(tag);
    }
    std::stable_sort(
        sets.begin(), sets.end(),
        [](const auto& a, const auto& b) { return a.at_us < b.at_us; });
    std::set<std::string> values;
    if (key == "event") {
      // Events add up.
      for (const ModelTag& tag : sets) values.insert(tag.value);
      return values;
    }
    if (key != "item" && key != "clerk" && key != "due") {
      if (!sets.empty()) values.insert(sets.back().value);
      return values;
    }
    for (size_t k = 0; k < sets.size(); ++k) {
      const int64_t from = sets[k].at_us;
      const int64_t to = k + 1 < sets.size() ? sets[k + 1].at_us : INT64_MAX;
      if (from == to) continue;
      int64_t window_from = INT64_MIN;
      int64_t window_to = INT64_MAX;
      if (!segments.empty()) {
        if (i > 0) window_from = segments[i - 1].to_us;
        if (i + 1 < units()) window_to = segments[i].to_us;
      }
      if (from < window_to && window_from < to) values.insert(sets[k].value);
    }
    return values;
  }
};

using Reference = std::function<bool(const ModelSession&, size_t)>;

struct RandomFilter {
  std::string text;
  Reference matches;
};

const char* const kKeys[] = {"item", "clerk", "outcome", "rating"};

RandomFilter MakeTerm(std::mt19937* random,
                      const std::vector<ModelSession>& sessions) {
  const auto pick = [&](int n) { return static_cast<int>((*random)() % n); };
  const int kind = pick(14);
  const std::string key = kKeys[pick(4)];
  const std::string value = absl::StrCat(pick(4));
  const ModelSession& some =
      sessions[static_cast<size_t>(pick(static_cast<int>(sessions.size())))];
  const char* const ops[] = {"<", "<=", ">", ">=", "="};
  const int op = pick(5);
  const auto compare = [op](double a, double b) {
    return op == 0   ? a < b
           : op == 1 ? a <= b
           : op == 2 ? a > b
           : op == 3 ? a >= b
                     : a == b;
  };
  switch (kind) {
    case 0:
      return {absl::StrCat(key, ":*"), [key](const auto& session, size_t i) {
                return !session.ValuesAt(key, i).empty();
              }};
    case 1:
      return {
          absl::StrCat(key, " ", ops[op % 4], " ", value),
          [=](const ModelSession& session, size_t i) {
            for (const std::string& v : session.ValuesAt(key, i)) {
              const int o = op % 4;
              const int a = std::stoi(v);
              const int b = std::stoi(value);
              if (o == 0 ? a < b : o == 1 ? a <= b : o == 2 ? a > b : a >= b)
                return true;
            }
            return false;
          }};
    case 2: {
      const int64_t time = some.start_us;
      return {absl::StrCat("start_time ", ops[op], " \"",
                           absl::FormatTime(absl::RFC3339_full,
                                            absl::FromUnixMicros(time),
                                            absl::UTCTimeZone()),
                           "\""),
              [=](const ModelSession& session, size_t) {
                return compare(static_cast<double>(session.start_us - time), 0);
              }};
    }
    case 3: {
      const int64_t seconds = some.end_us / kSecond_us;
      return {absl::StrCat("duration ", ops[op], " ", seconds, "s"),
              [=](const ModelSession& session, size_t) {
                return compare(static_cast<double>(session.end_us / kSecond_us),
                               static_cast<double>(seconds));
              }};
    }
    case 4:
      return {"state = open", [](const ModelSession& session, size_t) {
                return !session.closed;
              }};
    case 5:
      return {absl::StrCat("session = ", some.id),
              [id = some.id](const ModelSession& session, size_t) {
                return session.id == id;
              }};
    case 7: {
      const std::string other = absl::StrCat(pick(4));
      const char* const forms[] = {" IN (", ":(", " = (", " != ("};
      const int form = pick(4);
      return {absl::StrCat(key, forms[form], value, form == 0 ? ", " : " OR ",
                           other, ")"),
              [=](const ModelSession& session, size_t i) {
                const auto values = session.ValuesAt(key, i);
                const bool any =
                    values.count(value) > 0 || values.count(other) > 0;
                return form == 3 ? !any : any;
              }};
    }
    case 8:
      return {absl::StrCat("event:e", value),
              [=](const ModelSession& session, size_t i) {
                return session.ValuesAt("event", i).count("e" + value) > 0;
              }};
    case 9: {
      // Days of one month compare as text does.
      const std::string day = absl::StrCat("2026-11-0", 1 + pick(4));
      return {absl::StrCat("due ", ops[op % 4], " ", day),
              [=](const ModelSession& session, size_t i) {
                for (const std::string& v : session.ValuesAt("due", i)) {
                  const int o = op % 4;
                  if (o == 0   ? v < day
                      : o == 1 ? v <= day
                      : o == 2 ? v > day
                               : v >= day) {
                    return true;
                  }
                }
                return false;
              }};
    }
    case 10: {
      const int64_t time = some.start_us + some.end_us;
      return {absl::StrCat("end_time ", ops[op], " \"",
                           absl::FormatTime(absl::RFC3339_full,
                                            absl::FromUnixMicros(time),
                                            absl::UTCTimeZone()),
                           "\""),
              [=](const ModelSession& session, size_t) {
                return compare(static_cast<double>(session.start_us +
                                                   session.end_us - time),
                               0);
              }};
    }
    case 6:
      return {absl::StrCat(key, " != ", value),
              [=](const ModelSession& session, size_t i) {
                return session.ValuesAt(key, i).count(value) == 0;
              }};
    default:
      return {absl::StrCat(key, " = \"", value, "\""),
              [=](const ModelSession& session, size_t i) {
                return session.ValuesAt(key, i).count(value) > 0;
              }};
  }
}

RandomFilter MakeFilter(std::mt19937* random, int depth,
                        const std::vector<ModelSession>& sessions) {
  const int kind = static_cast<int>((*random)() % 6);
  if (depth == 0 || kind < 2) return MakeTerm(random, sessions);
  RandomFilter left = MakeFilter(random, depth - 1, sessions);
  if (kind == 2) {
    return {absl::StrCat("NOT (", left.text, ")"),
            [left](const ModelSession& session, size_t i) {
              return !left.matches(session, i);
            }};
  }
  RandomFilter right = MakeFilter(random, depth - 1, sessions);
  const bool both = kind < 5;
  return {absl::StrCat("(", left.text, ")", both ? " AND " : " OR ", "(",
                       right.text, ")"),
          [=](const ModelSession& session, size_t i) {
            return both ? left.matches(session, i) && right.matches(session, i)
                        : left.matches(session, i) || right.matches(session, i);
          }};
}

class RandomArchive {
 public:
  // `catch_up` is called now and then, so that the index grows in steps.
  RandomArchive(SyntheticArchive* archive, uint32_t seed, int sessions,
                std::function<void()> catch_up)
      : archive_(archive), random_(seed), catch_up_(std::move(catch_up)) {
    for (int i = 0; i < sessions; ++i) AddSession();
    // Newest first; of those that began in the same second the later one.
    std::reverse(model_.begin(), model_.end());
    std::stable_sort(
        model_.begin(), model_.end(),
        [](const auto& a, const auto& b) { return a.start_us > b.start_us; });
  }

  const std::vector<ModelSession>& model() const { return model_; }
  std::mt19937* random() { return &random_; }

 private:
  int Pick(int n) { return static_cast<int>(random_() % n); }

  void AddTag(const base::Uuid& id, ModelSession* session, int64_t until_us) {
    ModelTag tag;
    const int kind = Pick(8);
    tag.at_us = Pick(static_cast<int>(until_us / kSecond_us) + 1) * kSecond_us;
    if (kind == 0) {
      tag.key = "event";
      tag.value = absl::StrCat("e", Pick(4));
      archive_->Event(id, tag.value, tag.at_us);
    } else {
      tag.key = kind == 1 ? "due" : kKeys[Pick(4)];
      tag.value = kind == 1 ? absl::StrCat("2026-11-0", 1 + Pick(4))
                            : absl::StrCat(Pick(4));
      archive_->Tag(id, tag.key, {tag.value}, tag.at_us);
    }
    session->tags.push_back(tag);
    if (Pick(3) == 0) catch_up_();
  }

  void AddSession() {
    ModelSession session;
    // Several sessions begin at the same time.
    session.start_us = kStart_us + Pick(20) * 60 * kSecond_us;
    const base::Uuid id = archive_->Open(session.start_us);
    session.id = id.ToString();
    const int segments = Pick(5);
    for (int i = 0; i < Pick(3); ++i) AddTag(id, &session, 50 * kSecond_us);
    for (int i = 0; i < segments; ++i) {
      ModelSegment segment;
      segment.number = static_cast<uint32_t>(i);
      segment.from_us = i * 10 * kSecond_us;
      segment.to_us = (i + 1) * 10 * kSecond_us;
      archive_->Segment(id, segment.from_us, segment.to_us);
      session.segments.push_back(segment);
      session.end_us = segment.to_us;
      if (Pick(3) == 0) catch_up_();
      // Some of them late.
      for (int k = 0; k < Pick(3); ++k) AddTag(id, &session, 60 * kSecond_us);
    }
    session.closed = Pick(3) > 0;
    if (session.closed) archive_->Close(id);
    model_.push_back(std::move(session));
  }

  SyntheticArchive* const archive_;
  std::mt19937 random_;
  const std::function<void()> catch_up_;
  std::vector<ModelSession> model_;
};

// A few hundred, or as many as the environment wants.
int Filters() {
  const char* const wanted = std::getenv("DIPTYCH_FILTERS");
  return wanted == nullptr ? 500 : std::atoi(wanted);
}

TEST_F(ReferenceTest, AnswersAsAReferenceDoes) {
  RandomArchive archive(archive_.get(), 20230329, 60, [this] {
    follower_->SetDurableEnd(archive_->durable_end());
    ASSERT_TRUE(
        follower_->WaitUntil(archive_->durable_end(), absl::Seconds(30)));
  });
  const std::vector<ModelSession>& model = archive.model();
  const char* const group_keys[] = {"item", "clerk", "outcome", "event", "due"};
  size_t not_empty = 0;
  const int filters = Filters();
  for (int round = 0; round < filters; ++round) {
    const RandomFilter filter = MakeFilter(archive.random(), 3, model);
    const std::string group_by = group_keys[(*archive.random())() % 5];
    std::vector<std::string> sessions;
    std::vector<std::string> segments;
    std::map<std::string, uint64_t> groups;
    uint64_t without = 0;
    for (const ModelSession& session : model) {
      bool any = false;
      std::set<std::string> values;
      for (size_t i = session.units(); i-- > 0;) {
        if (!filter.matches(session, i)) continue;
        any = true;
        values.merge(session.ValuesAt(group_by, i));
        if (i >= session.segments.size()) continue;
        segments.push_back(absl::StrCat(session.id, " ", i));
      }
      if (!any) continue;
      sessions.push_back(session.id);
      for (const std::string& value : values) ++groups[value];
      without += values.empty() ? 1 : 0;
    }
    not_empty += sessions.empty() ? 0 : 1;
    SCOPED_TRACE(filter.text);
    const uint32_t page_size = 1 + (*archive.random())() % 20;
    EXPECT_EQ(List(filter.text), sessions);
    EXPECT_EQ(List(filter.text, page_size), sessions);
    EXPECT_EQ(ListSegments(filter.text, page_size), segments);
    api::v1::SummarizeRequest request;
    request.set_filter(filter.text);
    request.add_keys(group_by);
    request.add_keys("no_such_key");
    request.set_max_values(100);
    const auto summary = catalog_->Summarize(request, caller_);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->sessions(), sessions.size());
    std::map<std::string, uint64_t> counted;
    for (const auto& group : summary->facets(0).groups()) {
      counted[group.value()] = group.sessions();
    }
    EXPECT_EQ(counted, groups) << group_by;
    EXPECT_EQ(summary->facets(0).without(), without);
    EXPECT_EQ(summary->facets(1).without(), sessions.size());
    std::reverse(sessions.begin(), sessions.end());
    std::reverse(segments.begin(), segments.end());
    EXPECT_EQ(List(filter.text, page_size, true), sessions);
    EXPECT_EQ(ListSegments(filter.text, page_size, true), segments);
    if (HasFailure()) return;
  }
  // The filters are worth asking.
  EXPECT_GT(not_empty, static_cast<size_t>(filters) / 4);
}

}  // namespace
}  // namespace diptych::indexer
