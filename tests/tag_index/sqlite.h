#ifndef TESTS_TAG_INDEX_SQLITE_H_
#define TESTS_TAG_INDEX_SQLITE_H_

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace diptych::bench {

// A prepared statement. Parameters are counted from 1, columns from 0. Not
// thread-safe.
class SqliteStatement {
 public:
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}
  ~SqliteStatement() { sqlite3_finalize(statement_); }
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  void Reset() { sqlite3_reset(statement_); }
  void Bind(int parameter, int64_t value) {
    sqlite3_bind_int64(statement_, parameter, value);
  }
  void BindText(int parameter, const std::string& value) {
    sqlite3_bind_text(statement_, parameter, value.data(),
                      static_cast<int>(value.size()), SQLITE_TRANSIENT);
  }
  void BindReal(int parameter, double value) {
    sqlite3_bind_double(statement_, parameter, value);
  }
  void BindNull(int parameter) { sqlite3_bind_null(statement_, parameter); }
  // True if there is a row.
  absl::StatusOr<bool> Step();
  int64_t Column(int column) {
    return sqlite3_column_int64(statement_, column);
  }
  std::string TextColumn(int column) {
    const unsigned char* const text = sqlite3_column_text(statement_, column);
    return text == nullptr ? "" : reinterpret_cast<const char*>(text);
  }

 private:
  sqlite3_stmt* const statement_;
};

// A database file. Not thread-safe.
class SqliteDatabase {
 public:
  // Makes it if it is not there.
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(
      const std::string& path);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  absl::Status Run(const std::string& sql);
  // Prepared once for each text, and reset.
  absl::StatusOr<SqliteStatement*> Prepare(const std::string& sql);
  // Good until the next one.
  absl::StatusOr<SqliteStatement*> PrepareOnce(const std::string& sql);

 private:
  explicit SqliteDatabase(sqlite3* database) : database_(database) {}
  absl::StatusOr<std::unique_ptr<SqliteStatement>> Make(const std::string& sql);

  sqlite3* const database_;
  std::map<std::string, std::unique_ptr<SqliteStatement>> statements_;
  std::unique_ptr<SqliteStatement> once_;
};

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_SQLITE_H_
