#include "tests/tag_index/sqlite.h"

#include <sqlite3.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/status_macros.h"

namespace diptych::bench {
namespace {

absl::Status Failed(sqlite3* database) {
  return absl::InternalError(
      absl::StrCat("SQLite: ", sqlite3_errmsg(database)));
}

}  // namespace

absl::StatusOr<bool> SqliteStatement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return Failed(sqlite3_db_handle(statement_));
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(
    const std::string& path) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open(path.c_str(), &handle);
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(handle));
  if (code != SQLITE_OK) return Failed(handle);
  return database;
}

SqliteDatabase::~SqliteDatabase() {
  once_.reset();
  statements_.clear();
  sqlite3_close(database_);
}

absl::Status SqliteDatabase::Run(const std::string& sql) {
  if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) !=
      SQLITE_OK) {
    return Failed(database_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SqliteStatement>> SqliteDatabase::Make(
    const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT,
                         &statement, nullptr) != SQLITE_OK) {
    return Failed(database_);
  }
  return std::make_unique<SqliteStatement>(statement);
}

absl::StatusOr<SqliteStatement*> SqliteDatabase::Prepare(
    const std::string& sql) {
  const auto known = statements_.find(sql);
  if (known != statements_.end()) {
    known->second->Reset();
    return known->second.get();
  }
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteStatement> made, Make(sql));
  return (statements_[sql] = std::move(made)).get();
}

absl::StatusOr<SqliteStatement*> SqliteDatabase::PrepareOnce(
    const std::string& sql) {
  ASSIGN_OR_RETURN(once_, Make(sql));
  return once_.get();
}

}  // namespace diptych::bench
