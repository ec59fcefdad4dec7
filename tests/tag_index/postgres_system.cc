#include "tests/tag_index/postgres_system.h"

#include <postgresql/libpq-fe.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

enum class Column { kText, kInt, kPerKey };

struct Table {
  absl::string_view name;
  absl::string_view title;
  bool runs;
  Column column;
};

constexpr Table kTables[] = {
    {"segment_text", "rows per segment, text[] with GIN", false, Column::kText},
    {"segment_int", "rows per segment, int[] with GIN", false, Column::kInt},
    {"run_text", "rows per run, text[] with GIN", true, Column::kText},
    {"run_int", "rows per run, int[] with GIN", true, Column::kInt},
    {"run_column", "rows per run, a b-tree per key", true, Column::kPerKey},
};

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;
using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

absl::Status Failed(PGconn* connection) {
  return absl::InternalError(
      absl::StrCat("PostgreSQL: ", PQerrorMessage(connection)));
}

absl::StatusOr<Connection> Connect(const std::string& parameters) {
  Connection connection(PQconnectdb(parameters.c_str()), PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return Failed(connection.get());
  }
  return connection;
}

absl::StatusOr<Result> Run(PGconn* connection, const std::string& sql) {
  Result result(PQexec(connection, sql.c_str()), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
      status != PGRES_COPY_IN) {
    return Failed(connection);
  }
  return result;
}

std::string Value(Tag tag, Column column) {
  if (column == Column::kText) {
    return absl::StrCat(KeyName(tag.key()), "=", tag.Text());
  }
  return absl::StrCat(column == Column::kInt ? tag.code() : tag.value());
}

std::string Array(const std::vector<Tag>& tags, Column column) {
  return absl::StrCat("{",
                      absl::StrJoin(tags, ",",
                                    [&](std::string* out, Tag tag) {
                                      out->append(Value(tag, column));
                                    }),
                      "}");
}

absl::Status PutLine(PGconn* connection, absl::string_view text) {
  if (PQputCopyData(connection, text.data(), static_cast<int>(text.size())) !=
      1) {
    return Failed(connection);
  }
  return absl::OkStatus();
}

// id, last, item, and tags or columns.
std::string CopyLine(RowId id, uint32_t last, const CityRun& run,
                     Column column) {
  const std::vector<Tag> tags(run.tags.begin(), run.tags.end());
  std::string line =
      absl::StrCat(id, "\t", last, "\t", run.tag(Key::kItem).value(), "\t");
  if (column == Column::kPerKey) {
    absl::StrAppend(&line,
                    absl::StrJoin(tags, "\t", [&](std::string* out, Tag tag) {
                      out->append(Value(tag, column));
                    }));
  } else {
    absl::StrAppend(&line, Array(tags, column));
  }
  return line + "\n";
}

absl::Status Fill(PGconn* connection, const City& city, const Table& table) {
  RETURN_IF_ERROR(
      Run(connection, absl::StrCat("COPY ", table.name, " FROM STDIN"))
          .status());
  constexpr size_t kSend_bytes = 64 << 10;
  std::string lines;
  for (uint64_t place = 0; place < city.sessions(); ++place) {
    const CitySession session = city.Session(place);
    for (const CityRun& run : session.runs) {
      for (uint32_t i = run.first_segment; i <= run.last_segment; ++i) {
        lines += CopyLine(MakeRowId(session.number, i),
                          table.runs ? run.last_segment : i, run, table.column);
        if (table.runs) break;
      }
    }
    if (lines.size() < kSend_bytes) continue;
    RETURN_IF_ERROR(PutLine(connection, lines));
    lines.clear();
  }
  RETURN_IF_ERROR(PutLine(connection, lines));
  if (PQputCopyEnd(connection, nullptr) != 1) return Failed(connection);
  const Result end(PQgetResult(connection), PQclear);
  if (PQresultStatus(end.get()) != PGRES_COMMAND_OK) return Failed(connection);
  // The one that says that there is no more.
  const Result none(PQgetResult(connection), PQclear);
  return absl::OkStatus();
}

std::string KeyColumn(Key key) { return absl::StrCat("k_", KeyName(key)); }

absl::Status MakeTable(PGconn* connection, const City& city,
                       const Table& table) {
  std::string columns = "id bigint, last int, item int";
  if (table.column == Column::kPerKey) {
    for (size_t key = 0; key < kKeys; ++key) {
      absl::StrAppend(&columns, ", ", KeyColumn(static_cast<Key>(key)), " int");
    }
  } else {
    absl::StrAppend(&columns, ", tags ",
                    table.column == Column::kText ? "text[]" : "int[]");
  }
  RETURN_IF_ERROR(Run(connection, absl::StrCat("CREATE UNLOGGED TABLE ",
                                               table.name, "(", columns, ")"))
                      .status());
  RETURN_IF_ERROR(Fill(connection, city, table));
  RETURN_IF_ERROR(Run(connection, absl::StrCat("ALTER TABLE ", table.name,
                                               " ADD PRIMARY KEY (id)"))
                      .status());
  if (table.column == Column::kPerKey) {
    for (size_t key = 0; key < kKeys; ++key) {
      RETURN_IF_ERROR(
          Run(connection,
              absl::StrCat("CREATE INDEX ON ", table.name, "(",
                           KeyColumn(static_cast<Key>(key)), ", id)"))
              .status());
    }
  } else {
    RETURN_IF_ERROR(Run(connection, absl::StrCat("CREATE INDEX ON ", table.name,
                                                 " USING gin(tags)"))
                        .status());
  }
  return Run(connection, absl::StrCat("VACUUM ANALYZE ", table.name)).status();
}

// A prepared statement's parts.
struct Statement {
  std::string where;
  std::vector<std::string> values;

  std::string Add(std::string value) {
    values.push_back(std::move(value));
    return absl::StrCat("$", values.size());
  }
};

void AddArrayClauses(const Question& question, Column column,
                     Statement* statement) {
  const absl::string_view type = column == Column::kText ? "text[]" : "int[]";
  std::vector<Tag> all;
  for (const Clause& clause : question.clauses) {
    if (!clause.negated && clause.any.size() == 1) all.push_back(clause.any[0]);
  }
  std::vector<std::string> terms;
  if (!all.empty()) {
    terms.push_back(absl::StrCat("tags @> ", statement->Add(Array(all, column)),
                                 "::", type));
  }
  for (const Clause& clause : question.clauses) {
    if (!clause.negated && clause.any.size() == 1) continue;
    terms.push_back(absl::StrCat(clause.negated ? "NOT " : "", "tags && ",
                                 statement->Add(Array(clause.any, column)),
                                 "::", type));
  }
  statement->where = absl::StrJoin(terms, " AND ");
}

void AddColumnClauses(const Question& question, Statement* statement) {
  std::vector<std::string> terms;
  for (const Clause& clause : question.clauses) {
    std::vector<std::string> any;
    for (const Tag tag : clause.any) {
      any.push_back(absl::StrCat(KeyColumn(tag.key()), " = ",
                                 statement->Add(Value(tag, Column::kPerKey)),
                                 "::int"));
    }
    terms.push_back(absl::StrCat(clause.negated ? "NOT (" : "(",
                                 absl::StrJoin(any, " OR "), ")"));
  }
  statement->where = absl::StrJoin(terms, " AND ");
}

class PostgresAsker final : public Asker {
 public:
  PostgresAsker(Connection connection, const Table& table, std::string name)
      : connection_(std::move(connection)),
        table_(table),
        name_(std::move(name)) {}

  std::string name() const override { return name_; }

  absl::StatusOr<Answer> Ask(const Question& question) override {
    Statement statement;
    if (table_.column == Column::kPerKey) {
      AddColumnClauses(question, &statement);
    } else {
      AddArrayClauses(question, table_.column, &statement);
    }
    if (question.in_window()) {
      absl::StrAppend(
          &statement.where, " AND id >= ",
          statement.Add(absl::StrCat(FirstRowIdOf(question.from_s))),
          "::bigint AND id < ",
          statement.Add(absl::StrCat(FirstRowIdOf(question.to_s))), "::bigint");
    }
    if (question.before != 0) {
      absl::StrAppend(&statement.where, " AND id < ",
                      statement.Add(absl::StrCat(question.before)), "::bigint");
    }
    std::string sql;
    switch (question.kind) {
      case Question::Kind::kSegments:
        sql = absl::StrCat("SELECT id, last FROM ", table_.name, " WHERE ",
                           statement.where, " ORDER BY id",
                           question.oldest_first ? "" : " DESC", " LIMIT ",
                           question.limit);
        break;
      case Question::Kind::kCountSessions:
        sql = absl::StrCat("SELECT count(DISTINCT id >> ", kSegmentBits,
                           ") FROM ", table_.name, " WHERE ", statement.where);
        break;
      case Question::Kind::kCountByItem:
        sql = absl::StrCat("SELECT (item::bigint << 32) | count(DISTINCT id >>",
                           kSegmentBits, ") FROM ", table_.name, " WHERE ",
                           statement.where, " GROUP BY item ORDER BY item");
        break;
    }
    ASSIGN_OR_RETURN(const Result result, Execute(sql, statement.values));
    Answer answer;
    for (int row = 0; row < PQntuples(result.get()); ++row) {
      ASSIGN_OR_RETURN(const RowId first, Number(result.get(), row, 0));
      if (question.kind != Question::Kind::kSegments) {
        answer.push_back(first);
        continue;
      }
      ASSIGN_OR_RETURN(const int64_t last, Number(result.get(), row, 1));
      if (AppendRun(question, first, static_cast<uint32_t>(last), &answer)) {
        break;
      }
    }
    return answer;
  }

 private:
  static absl::StatusOr<int64_t> Number(PGresult* result, int row, int column) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(PQgetvalue(result, row, column), &number)) {
      return absl::InternalError("PostgreSQL: no number where one should be");
    }
    return number;
  }

  absl::StatusOr<Result> Execute(const std::string& sql,
                                 const std::vector<std::string>& values) {
    std::string& name = statements_[sql];
    if (name.empty()) {
      name = absl::StrCat("s", statements_.size());
      const Result prepared(
          PQprepare(connection_.get(), name.c_str(), sql.c_str(), 0, nullptr),
          PQclear);
      if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK) {
        return Failed(connection_.get());
      }
    }
    std::vector<const char*> pointers;
    for (const std::string& value : values) pointers.push_back(value.c_str());
    Result result(PQexecPrepared(connection_.get(), name.c_str(),
                                 static_cast<int>(pointers.size()),
                                 pointers.data(), nullptr, nullptr, 0),
                  PQclear);
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
      return Failed(connection_.get());
    }
    return result;
  }

  const Connection connection_;
  const Table table_;
  const std::string name_;
  std::map<std::string, std::string> statements_;
};

}  // namespace

absl::Status MakePostgres(const City& city, const std::string& connection) {
  ASSIGN_OR_RETURN(const Connection open, Connect(connection));
  for (const Table& table : kTables) {
    RETURN_IF_ERROR(MakeTable(open.get(), city, table));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, uint64_t>> SizesOfPostgres(
    const std::string& connection) {
  ASSIGN_OR_RETURN(const Connection open, Connect(connection));
  std::map<std::string, uint64_t> sizes;
  for (const Table& table : kTables) {
    ASSIGN_OR_RETURN(const Result result,
                     Run(open.get(), absl::StrCat("SELECT pg_total_relation_"
                                                  "size('",
                                                  table.name, "')")));
    uint64_t size = 0;
    if (!absl::SimpleAtoi(PQgetvalue(result.get(), 0, 0), &size)) {
      return absl::InternalError("PostgreSQL: a size is no number");
    }
    sizes[std::string(table.title)] = size;
  }
  return sizes;
}

absl::StatusOr<std::vector<std::unique_ptr<Asker>>> PostgresAskers(
    const std::string& connection) {
  std::vector<std::unique_ptr<Asker>> askers;
  for (const Table& table : kTables) {
    for (const bool custom : {false, true}) {
      if (custom && table.column == Column::kPerKey) continue;
      ASSIGN_OR_RETURN(Connection open, Connect(connection));
      RETURN_IF_ERROR(
          Run(open.get(), absl::StrCat("SET plan_cache_mode=",
                                       custom ? "force_custom_plan" : "auto",
                                       "; SET statement_timeout='30s'"))
              .status());
      askers.push_back(std::make_unique<PostgresAsker>(
          std::move(open), table,
          absl::StrCat(table.title, custom ? ", planned each time" : "")));
    }
  }
  return askers;
}

}  // namespace diptych::bench
