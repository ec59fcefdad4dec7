// Random filters over a city that grows while it is asked: the index, SQLite
// and a loop over plain lists give the same answers. DIPTYCH_EQUAL_FILTERS and
// DIPTYCH_EQUAL_SESSIONS make it long.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "proto/api/v1/catalog.pb.h"
#include "tests/tag_index/catalog_asker.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/city_log.h"
#include "tests/tag_index/city_model.h"
#include "tests/tag_index/growing_archive.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/random_filter.h"
#include "tests/tag_index/sqlite.h"

namespace diptych::bench {
namespace {

constexpr uint64_t kSeed = 20260101;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t number = 0;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number
                                                            : otherwise;
}

// Sessions come in any order, whole or in parts.
class Growth {
 public:
  Growth(const City& city, GrowingArchive* archive, CityModel* model)
      : city_(city), archive_(archive), model_(model), chance_(kSeed) {
    for (uint64_t place = 0; place < city.sessions(); ++place) {
      places_.push_back(place);
    }
    for (size_t i = places_.size(); i > 1; --i) {
      std::swap(places_[i - 1],
                places_[chance_.Below(static_cast<uint32_t>(i))]);
    }
  }

  bool done() const { return next_ == places_.size(); }
  // How much of the city has begun, from 0 to 1.
  double part() const {
    return static_cast<double>(next_) / static_cast<double>(places_.size());
  }

  // A session begins, or one goes on. The index does not know of it yet.
  absl::Status Step() {
    if (!open_.empty() && (done() || chance_.Below(2) == 0)) {
      return GoOn(chance_.Below(static_cast<uint32_t>(open_.size())));
    }
    if (done()) return absl::OkStatus();
    auto whole =
        std::make_shared<const CitySession>(city_.Session(places_[next_++]));
    Open open;
    ASSIGN_OR_RETURN(open.records,
                     MakeRecordsWithChunks(archive_->config(), *whole));
    open.session.id = whole->id;
    open.session.number = model_->NextNumber(whole->start_time_us);
    open.session.start_time_us = whole->start_time_us;
    open.session.whole = std::move(whole);
    open_.push_back(std::move(open));
    return GoOn(open_.size() - 1);
  }

 private:
  struct Open {
    SessionRecords records;
    size_t written = 0;
    ModelSession session;
  };

  absl::Status GoOn(size_t which) {
    Open& open = open_[which];
    const auto& records = open.records.records;
    // Up to behind some manifest, or all of it.
    size_t end = records.size();
    if (chance_.Below(3) == 0) {
      size_t manifests = 1 + chance_.Below(20);
      for (end = open.written; end < records.size() && manifests > 0; ++end) {
        manifests -= records[end].record.type == log::RecordType::kSegment;
      }
    }
    RETURN_IF_ERROR(archive_->Append(open.records, open.written, end));
    const CitySession& whole = *open.session.whole;
    for (; open.written < end; ++open.written) {
      switch (records[open.written].record.type) {
        case log::RecordType::kSegment: {
          const auto segment =
              static_cast<uint32_t>(open.session.segments.size());
          open.session.segments.push_back(whole.segments[segment]);
          const auto run = std::find_if(
              whole.runs.begin(), whole.runs.end(),
              [&](const CityRun& r) { return segment <= r.last_segment; });
          open.session.run_of_segment.push_back(&*run);
          open.session.has_outcome = segment + 1 == whole.segments.size();
          break;
        }
        case log::RecordType::kSessionClosed:
          open.session.closed = true;
          break;
        default:
          break;
      }
    }
    RETURN_IF_ERROR(model_->Put(open.session));
    if (open.written == records.size()) {
      open_.erase(open_.begin() + static_cast<ptrdiff_t>(which));
    }
    return absl::OkStatus();
  }

  const City& city_;
  GrowingArchive* const archive_;
  CityModel* const model_;
  Chance chance_;
  std::vector<uint64_t> places_;
  size_t next_ = 0;
  std::vector<Open> open_;
};

// What a filter finds: segments, and of each session and value of a key whether
// they are found together, all oldest first.
struct Found {
  std::vector<RowId> segments;
  std::vector<uint64_t> sessions;
  std::map<std::string, uint64_t> by_key;

  friend bool operator==(const Found&, const Found&) = default;
};

Found FindInLists(const RandomFilter& filter, Key key, const CityModel& model) {
  Found found;
  for (const auto& [number, session] : model.sessions()) {
    std::map<std::string, bool> values;
    bool any = false;
    for (const CityRun& run : session.whole->runs) {
      const uint32_t first = run.first_segment;
      if (first >= session.segments.size()) break;
      // Its segments have equal tags.
      if (!filter.matches(session, first)) continue;
      any = true;
      for (uint32_t i = first; i <= session.LastSegment(run); ++i) {
        found.segments.push_back(MakeRowId(number, i));
      }
      const Tag* const tag = session.Find(first, key);
      if (tag != nullptr) values[tag->Text()] = true;
    }
    if (any) found.sessions.push_back(number);
    for (const auto& [value, unused] : values) ++found.by_key[value];
  }
  return found;
}

absl::StatusOr<Found> FindInSqlite(const RandomFilter& filter, Key key,
                                   CityModel* model) {
  Found found;
  ASSIGN_OR_RETURN(SqliteStatement* const segments,
                   model->database()->PrepareOnce(absl::StrCat(
                       "SELECT s.id, s.number, s.last FROM run s WHERE ",
                       filter.sql, " ORDER BY s.id")));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, segments->Step());
    if (!more) break;
    for (RowId id = segments->Column(0); id <= segments->Column(2); ++id) {
      found.segments.push_back(id);
    }
    const auto number = static_cast<uint64_t>(segments->Column(1));
    if (found.sessions.empty() || found.sessions.back() != number) {
      found.sessions.push_back(number);
    }
  }
  ASSIGN_OR_RETURN(
      SqliteStatement* const groups,
      model->database()->PrepareOnce(absl::StrCat(
          "SELECT g.value, count(DISTINCT s.number) FROM run s JOIN tag g ",
          "ON g.id=s.id AND g.key='", KeyName(key), "' WHERE ", filter.sql,
          " GROUP BY g.value")));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, groups->Step());
    if (!more) break;
    found.by_key[groups->TextColumn(0)] =
        static_cast<uint64_t>(groups->Column(1));
  }
  return found;
}

class EqualAnswersTest : public ::testing::Test {
 protected:
  EqualAnswersTest()
      : folder_(absl::StrCat(::testing::TempDir(), "/equal_answers")),
        city_(
            {.seed = kSeed,
             .segments = 30 * FromEnvironment("DIPTYCH_EQUAL_SESSIONS", 250)}) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~EqualAnswersTest() override { std::filesystem::remove_all(folder_); }

  // A few of the year's sessions more; they are in the index afterwards.
  absl::Status Grow(uint32_t steps) {
    for (uint32_t i = 0; i < steps; ++i) RETURN_IF_ERROR(growth_->Step());
    return archive_->CatchUp();
  }

  absl::StatusOr<uint64_t> NumberOf(const std::string& id) {
    ASSIGN_OR_RETURN(const base::Uuid uuid, base::Uuid::Parse(id));
    return numbers_.at(uuid);
  }

  // All pages of the filter's segments; the archive grows between two.
  absl::StatusOr<std::vector<RowId>> ListSegments(const std::string& filter,
                                                  bool oldest_first,
                                                  uint32_t page_size) {
    std::vector<RowId> rows;
    api::v1::ListSegmentsRequest request;
    request.set_filter(filter);
    request.set_oldest_first(oldest_first);
    request.set_page_size(page_size);
    do {
      ASSIGN_OR_RETURN(const auto page, door_.list_segments(request));
      if (!page.complete()) return absl::DataLossError("not complete");
      for (const auto& segment : page.segments()) {
        ASSIGN_OR_RETURN(const uint64_t number, NumberOf(segment.session_id()));
        rows.push_back(MakeRowId(number, segment.segment()));
      }
      request.set_page_token(page.next_page_token());
      RETURN_IF_ERROR(GrowBetweenPages());
    } while (!request.page_token().empty());
    return rows;
  }

  absl::StatusOr<std::vector<uint64_t>> ListSessions(const std::string& filter,
                                                     bool oldest_first,
                                                     uint32_t page_size) {
    std::vector<uint64_t> rows;
    api::v1::ListSessionsRequest request;
    request.set_filter(filter);
    request.set_oldest_first(oldest_first);
    request.set_page_size(page_size);
    do {
      ASSIGN_OR_RETURN(const auto page, door_.list_sessions(request));
      if (!page.complete()) return absl::DataLossError("not complete");
      for (const auto& session : page.sessions()) {
        ASSIGN_OR_RETURN(rows.emplace_back(), NumberOf(session.session_id()));
      }
      request.set_page_token(page.next_page_token());
      RETURN_IF_ERROR(GrowBetweenPages());
    } while (!request.page_token().empty());
    return rows;
  }

  // Now and then, so that there is something left for the last filter.
  absl::Status GrowBetweenPages() {
    if (growth_->part() > grown_by_now_ || chance_.Below(3) != 0) {
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Grow(1 + chance_.Below(3)));
    RememberNumbers();
    return absl::OkStatus();
  }

  void RememberNumbers() {
    for (const auto& [number, session] : model_->sessions()) {
      numbers_[session.id] = number;
    }
  }

  absl::Status Check(const RandomFilter& filter, bool* found_any);

  const std::string folder_;
  const City city_;
  std::unique_ptr<GrowingArchive> archive_;
  std::unique_ptr<CityModel> model_;
  std::unique_ptr<Growth> growth_;
  CatalogDoor door_;
  Chance chance_{kSeed + 1};
  SessionNumbers numbers_;
  double grown_by_now_ = 0;
};

template <typename Row>
absl::Status Same(std::vector<Row> expected, bool oldest_first,
                  const std::vector<Row>& rows, const std::string& what) {
  if (!oldest_first) std::reverse(expected.begin(), expected.end());
  if (rows == expected) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(what, ": ", rows.size(), " rows, not ", expected.size(),
                   rows.size() == expected.size() ? ", in another order" : ""));
}

absl::Status EqualAnswersTest::Check(const RandomFilter& filter,
                                     bool* found_any) {
  const auto key = static_cast<Key>(chance_.Below(kKeys));
  const Found lists = FindInLists(filter, key, *model_);
  ASSIGN_OR_RETURN(const Found sqlite, FindInSqlite(filter, key, model_.get()));
  if (!(lists == sqlite)) {
    return absl::InternalError("SQLite and plain lists differ");
  }
  *found_any = !lists.segments.empty();
  api::v1::CountSessionsRequest count;
  count.set_filter(filter.text);
  count.set_group_by(std::string(KeyName(key)));
  ASSIGN_OR_RETURN(const auto counted, door_.count_sessions(count));
  if (!counted.complete() || counted.sessions() != lists.sessions.size()) {
    return absl::DataLossError(absl::StrCat("counts ", counted.sessions(),
                                            ", not ", lists.sessions.size()));
  }
  std::map<std::string, uint64_t> groups;
  for (const auto& group : counted.groups()) {
    groups[group.value()] = group.sessions();
  }
  if (groups != lists.by_key) {
    return absl::DataLossError(
        absl::StrCat("counts by ", KeyName(key), " differ"));
  }
  // Few pages: each of them may wait for the index.
  const bool oldest_first = chance_.Below(2) == 0;
  const auto sizes = [this](size_t rows) {
    return std::min<uint32_t>(
        1000, 1 + static_cast<uint32_t>(rows) / (1 + chance_.Below(6)));
  };
  ASSIGN_OR_RETURN(
      const std::vector<RowId> segments,
      ListSegments(filter.text, oldest_first, sizes(lists.segments.size())));
  RETURN_IF_ERROR(Same(lists.segments, oldest_first, segments, "segments"));
  // The archive may have grown since.
  const Found now = FindInLists(filter, key, *model_);
  ASSIGN_OR_RETURN(
      const std::vector<uint64_t> sessions,
      ListSessions(filter.text, !oldest_first, sizes(now.sessions.size())));
  return Same(now.sessions, !oldest_first, sessions, "sessions");
}

TEST_F(EqualAnswersTest, OfRandomFiltersWhileTheArchiveGrows) {
  const uint64_t filters = FromEnvironment("DIPTYCH_EQUAL_FILTERS", 200);
  auto archive = GrowingArchive::Make(absl::StrCat(folder_, "/archive"));
  ASSERT_TRUE(archive.ok()) << archive.status();
  archive_ = *std::move(archive);
  auto model = CityModel::Make(absl::StrCat(folder_, "/model.sqlite"));
  ASSERT_TRUE(model.ok()) << model.status();
  model_ = *std::move(model);
  growth_ = std::make_unique<Growth>(city_, archive_.get(), model_.get());
  door_ = archive_->index()->door();
  // Half of the city is there at first, the rest comes while it is asked.
  ASSERT_EQ(Grow(static_cast<uint32_t>(city_.sessions() / 2)),
            absl::OkStatus());
  RememberNumbers();
  uint64_t not_empty = 0;
  for (uint64_t i = 0; i < filters; ++i) {
    const RandomFilter filter = MakeRandomFilter(&chance_, *model_);
    SCOPED_TRACE(absl::StrCat(i, ": ", filter.text));
    grown_by_now_ =
        0.5 + 0.5 * static_cast<double>(i + 1) / static_cast<double>(filters);
    bool found_any = false;
    ASSERT_EQ(Check(filter, &found_any), absl::OkStatus());
    not_empty += found_any ? 1 : 0;
  }
  // The filters are worth asking.
  EXPECT_GT(not_empty, filters / 3);
}

}  // namespace
}  // namespace diptych::bench
