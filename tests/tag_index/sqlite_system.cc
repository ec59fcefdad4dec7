#include "tests/tag_index/sqlite_system.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/sqlite.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

// Before every session's rows, and behind them.
constexpr RowId kFirst = 0;
constexpr RowId kLast = INT64_MAX;

struct TagRow {
  uint32_t tag = 0;
  RowId id = 0;
  uint32_t last_segment = 0;
};

std::string PathOf(const std::string& folder, bool runs) {
  return absl::StrCat(folder, runs ? "/runs.sqlite" : "/segments.sqlite");
}

template <typename OnRow>
void ForEachRow(const City& city, bool runs, const OnRow& on_row) {
  for (uint64_t place = 0; place < city.sessions(); ++place) {
    const CitySession session = city.Session(place);
    for (const CityRun& run : session.runs) {
      for (uint32_t i = run.first_segment; i <= run.last_segment; ++i) {
        on_row(MakeRowId(session.number, i), runs ? run.last_segment : i, run);
        if (runs) break;
      }
    }
  }
}

absl::Status MakeDatabase(const City& city, const std::string& path,
                          bool runs) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  ASSIGN_OR_RETURN(const std::unique_ptr<SqliteDatabase> database,
                   SqliteDatabase::Open(path));
  RETURN_IF_ERROR(database->Run(
      "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
      "PRAGMA cache_size=-262144;"
      "CREATE TABLE row(id INTEGER PRIMARY KEY, last INTEGER, item INTEGER);"
      "CREATE TABLE tag(tag INTEGER, id INTEGER, last INTEGER,"
      " PRIMARY KEY(tag, id DESC)) WITHOUT ROWID;"
      "BEGIN;"));
  ASSIGN_OR_RETURN(SqliteStatement* const put_row,
                   database->Prepare("INSERT INTO row VALUES(?,?,?)"));
  absl::Status status;
  ForEachRow(city, runs, [&](RowId id, uint32_t last, const CityRun& run) {
    put_row->Reset();
    put_row->Bind(1, id);
    put_row->Bind(2, last);
    put_row->Bind(3, run.tag(Key::kItem).value());
    status.Update(put_row->Step().status());
  });
  ASSIGN_OR_RETURN(SqliteStatement* const put_tag,
                   database->Prepare("INSERT INTO tag VALUES(?,?,?)"));
  // In the order of the table, a key at a time.
  for (size_t key = 0; key < kKeys; ++key) {
    std::vector<TagRow> rows;
    ForEachRow(city, runs, [&](RowId id, uint32_t last, const CityRun& run) {
      rows.push_back({run.tags[key].code(), id, last});
    });
    std::sort(rows.begin(), rows.end(), [](const TagRow& a, const TagRow& b) {
      return a.tag != b.tag ? a.tag < b.tag : a.id > b.id;
    });
    for (const TagRow& row : rows) {
      put_tag->Reset();
      put_tag->Bind(1, row.tag);
      put_tag->Bind(2, row.id);
      put_tag->Bind(3, row.last_segment);
      status.Update(put_tag->Step().status());
    }
  }
  RETURN_IF_ERROR(status);
  return database->Run("COMMIT; ANALYZE;");
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> OpenToAsk(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> database,
                   SqliteDatabase::Open(path));
  RETURN_IF_ERROR(
      database->Run("PRAGMA query_only=ON; PRAGMA mmap_size=68719476736;"
                    "PRAGMA cache_size=-1048576;"));
  return database;
}

struct Bounds {
  RowId lower = kFirst;
  RowId upper = kLast;
};

Bounds BoundsOf(const Question& question) {
  Bounds bounds;
  if (question.in_window()) {
    bounds.lower = FirstRowIdOf(question.from_s);
    bounds.upper = FirstRowIdOf(question.to_s) - 1;
  }
  if (question.before != 0) {
    bounds.upper = std::min(bounds.upper, question.before - 1);
  }
  return bounds;
}

// One statement: the first clause's list with a probe for each other clause.
class JoinAsker final : public Asker {
 public:
  JoinAsker(std::unique_ptr<SqliteDatabase> database, std::string name)
      : database_(std::move(database)), name_(std::move(name)) {}

  std::string name() const override { return name_; }

  absl::StatusOr<Answer> Ask(const Question& question) override {
    // Parameters, so that a shape is prepared once.
    std::vector<int64_t> values;
    const auto in = [&values](const std::vector<Tag>& tags) {
      for (const Tag tag : tags) values.push_back(tag.code());
      return tags.size() == 1
                 ? std::string("=?")
                 : absl::StrCat(
                       " IN (",
                       absl::StrJoin(std::vector<std::string>(tags.size(), "?"),
                                     ","),
                       ")");
    };
    std::string where = absl::StrCat("a.tag", in(question.clauses.front().any));
    for (size_t i = 1; i < question.clauses.size(); ++i) {
      const Clause& clause = question.clauses[i];
      absl::StrAppend(&where, " AND ", clause.negated ? "NOT " : "",
                      "EXISTS(SELECT 1 FROM tag b WHERE b.tag", in(clause.any),
                      " AND b.id=a.id)");
    }
    if (question.in_window() || question.before != 0) {
      const Bounds bounds = BoundsOf(question);
      absl::StrAppend(&where, " AND a.id BETWEEN ? AND ?");
      values.push_back(bounds.lower);
      values.push_back(bounds.upper);
    }
    std::string sql;
    switch (question.kind) {
      case Question::Kind::kSegments:
        sql = absl::StrCat("SELECT a.id,a.last FROM tag a WHERE ", where,
                           " ORDER BY a.id ",
                           question.oldest_first ? "ASC" : "DESC", " LIMIT ?");
        values.push_back(static_cast<int64_t>(question.limit));
        break;
      case Question::Kind::kCountSessions:
        sql = absl::StrCat("SELECT count(DISTINCT a.id>>", kSegmentBits,
                           ") FROM tag a WHERE ", where);
        break;
      case Question::Kind::kCountByItem:
        sql =
            absl::StrCat("SELECT r.item<<32|count(DISTINCT a.id>>",
                         kSegmentBits, ") FROM tag a JOIN row r ON r.id=a.id",
                         " WHERE ", where, " GROUP BY r.item ORDER BY r.item");
        break;
    }
    ASSIGN_OR_RETURN(SqliteStatement* const statement, database_->Prepare(sql));
    for (size_t i = 0; i < values.size(); ++i) {
      statement->Bind(static_cast<int>(i) + 1, values[i]);
    }
    Answer answer;
    const bool segments = question.kind == Question::Kind::kSegments;
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, statement->Step());
      if (!more) break;
      if (!segments) {
        answer.push_back(statement->Column(0));
      } else if (AppendRun(question, statement->Column(0),
                           static_cast<uint32_t>(statement->Column(1)),
                           &answer)) {
        break;
      }
    }
    statement->Reset();
    return answer;
  }

 private:
  const std::unique_ptr<SqliteDatabase> database_;
  const std::string name_;
};

// A place in one tag's list.
class TagCursor {
 public:
  TagCursor(SqliteStatement* statement, Tag tag, RowId end)
      : statement_(statement), tag_(tag), end_(end) {}

  // The first at or after `from` in the order.
  absl::Status Seek(RowId from) {
    statement_->Reset();
    statement_->Bind(1, tag_.code());
    statement_->Bind(2, from);
    statement_->Bind(3, end_);
    return Next();
  }
  absl::Status Next() {
    ASSIGN_OR_RETURN(valid_, statement_->Step());
    return absl::OkStatus();
  }
  bool valid() const { return valid_; }
  RowId id() { return statement_->Column(0); }
  uint32_t last_segment() {
    return static_cast<uint32_t>(statement_->Column(1));
  }

 private:
  SqliteStatement* const statement_;
  const Tag tag_;
  const RowId end_;
  bool valid_ = false;
};

// Leaps from list to list.
class ZigzagAsker final : public Asker {
 public:
  ZigzagAsker(std::unique_ptr<SqliteDatabase> database, std::string name)
      : database_(std::move(database)), name_(std::move(name)) {}

  std::string name() const override { return name_; }

  absl::StatusOr<Answer> Ask(const Question& question) override {
    if (question.kind == Question::Kind::kCountByItem) {
      return absl::UnimplementedError("counts nothing by a key");
    }
    for (const Clause& clause : question.clauses) {
      if (clause.negated || clause.any.size() != 1) {
        return absl::UnimplementedError("knows conjunctions alone");
      }
    }
    const Bounds bounds = BoundsOf(question);
    const bool up = question.oldest_first;
    std::vector<TagCursor> cursors;
    for (size_t i = 0; i < question.clauses.size(); ++i) {
      // The number makes a statement of each list's own.
      ASSIGN_OR_RETURN(SqliteStatement* const statement,
                       database_->Prepare(absl::StrCat(
                           "SELECT id,last FROM tag WHERE tag=? AND id",
                           up ? ">=? AND id<=? ORDER BY id ASC"
                              : "<=? AND id>=? ORDER BY id DESC",
                           " -- ", i)));
      cursors.emplace_back(statement, question.clauses[i].any.front(),
                           up ? bounds.upper : bounds.lower);
      RETURN_IF_ERROR(cursors.back().Seek(up ? bounds.lower : bounds.upper));
    }
    return Leap(question, &cursors);
  }

 private:
  static absl::StatusOr<Answer> Leap(const Question& question,
                                     std::vector<TagCursor>* cursors) {
    Answer answer;
    int64_t sessions = 0;
    RowId session = -1;
    TagCursor& lead = cursors->front();
    while (lead.valid()) {
      const RowId id = lead.id();
      bool met = true;
      for (size_t i = 1; i < cursors->size(); ++i) {
        TagCursor& other = (*cursors)[i];
        if (!other.valid()) break;
        if (other.id() == id) continue;
        const bool behind =
            question.oldest_first ? other.id() < id : other.id() > id;
        if (behind) RETURN_IF_ERROR(other.Seek(id));
        if (!other.valid()) break;
        if (other.id() == id) continue;
        met = false;
        RETURN_IF_ERROR(lead.Seek(other.id()));
        break;
      }
      if (std::any_of(cursors->begin() + 1, cursors->end(),
                      [](const TagCursor& c) { return !c.valid(); })) {
        break;
      }
      if (!met) continue;
      if (question.kind == Question::Kind::kSegments) {
        if (AppendRun(question, id, lead.last_segment(), &answer)) break;
      } else if (id >> kSegmentBits != session) {
        session = id >> kSegmentBits;
        ++sessions;
      }
      RETURN_IF_ERROR(lead.Next());
    }
    if (question.kind == Question::Kind::kCountSessions) {
      answer.push_back(sessions);
    }
    return answer;
  }

  const std::unique_ptr<SqliteDatabase> database_;
  const std::string name_;
};

absl::StatusOr<uint64_t> SizeOf(const std::string& path) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat("no database ", path));
  return size;
}

}  // namespace

absl::Status MakeSqlite(const City& city, const std::string& folder) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  RETURN_IF_ERROR(MakeDatabase(city, PathOf(folder, false), false));
  return MakeDatabase(city, PathOf(folder, true), true);
}

absl::StatusOr<SqliteSizes> SizesOfSqlite(const std::string& folder) {
  SqliteSizes sizes;
  ASSIGN_OR_RETURN(sizes.segments_bytes, SizeOf(PathOf(folder, false)));
  ASSIGN_OR_RETURN(sizes.runs_bytes, SizeOf(PathOf(folder, true)));
  return sizes;
}

absl::StatusOr<std::vector<std::unique_ptr<Asker>>> SqliteAskers(
    const std::string& folder) {
  std::vector<std::unique_ptr<Asker>> askers;
  for (const bool runs : {false, true}) {
    const std::string rows = runs ? "rows per run" : "rows per segment";
    ASSIGN_OR_RETURN(auto join, OpenToAsk(PathOf(folder, runs)));
    askers.push_back(std::make_unique<JoinAsker>(std::move(join),
                                                 absl::StrCat(rows, ", join")));
    ASSIGN_OR_RETURN(auto zigzag, OpenToAsk(PathOf(folder, runs)));
    askers.push_back(std::make_unique<ZigzagAsker>(
        std::move(zigzag), absl::StrCat(rows, ", zigzag")));
  }
  return askers;
}

}  // namespace diptych::bench
