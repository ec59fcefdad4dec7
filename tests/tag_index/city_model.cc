#include "tests/tag_index/city_model.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/session_number.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/sqlite.h"

namespace diptych::bench {

const Tag* ModelSession::Find(size_t segment, Key key) const {
  if (!has_outcome && (key == Key::kOutcome || key == Key::kRating)) {
    return nullptr;
  }
  return &run_of_segment[segment]->tags[static_cast<size_t>(key)];
}

absl::StatusOr<std::unique_ptr<CityModel>> CityModel::Make(
    const std::string& database) {
  std::unique_ptr<CityModel> model(new CityModel());
  ASSIGN_OR_RETURN(model->database_, SqliteDatabase::Open(database));
  RETURN_IF_ERROR(model->database_->Run(
      "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
      "PRAGMA case_sensitive_like=ON;"
      "CREATE TABLE run(id INTEGER PRIMARY KEY, last INTEGER, number INTEGER,"
      " start_us INTEGER, end_us INTEGER, duration_us INTEGER,"
      " closed INTEGER, session TEXT);"
      "CREATE TABLE tag(id INTEGER, key TEXT, value TEXT, num REAL,"
      " PRIMARY KEY(id, key, value)) WITHOUT ROWID;"));
  return model;
}

uint64_t CityModel::NextNumber(int64_t start_time_us) {
  const uint32_t second = indexer::SessionNumber::SecondOf(start_time_us);
  const auto turn = static_cast<uint16_t>(turns_[second]++);
  return indexer::SessionNumber(second, turn).value();
}

absl::Status CityModel::Put(const ModelSession& session) {
  RETURN_IF_ERROR(database_->Run("BEGIN"));
  const RowId first = MakeRowId(session.number, 0);
  const RowId last = MakeRowId(session.number + 1, 0) - 1;
  for (const char* sql : {"DELETE FROM run WHERE id BETWEEN ? AND ?",
                          "DELETE FROM tag WHERE id BETWEEN ? AND ?"}) {
    ASSIGN_OR_RETURN(SqliteStatement* const remove, database_->Prepare(sql));
    remove->Bind(1, first);
    remove->Bind(2, last);
    RETURN_IF_ERROR(remove->Step().status());
    remove->Reset();
  }
  for (const CityRun& run : session.whole->runs) {
    const uint32_t i = run.first_segment;
    if (i >= session.segments.size()) break;
    const RowId id = MakeRowId(session.number, i);
    ASSIGN_OR_RETURN(
        SqliteStatement* const put,
        database_->Prepare("INSERT INTO run VALUES(?,?,?,?,?,?,?,?)"));
    put->Bind(1, id);
    put->Bind(2, MakeRowId(session.number, session.LastSegment(run)));
    put->Bind(3, static_cast<int64_t>(session.number));
    put->Bind(4, session.start_time_us);
    put->Bind(5, session.start_time_us + session.end_us());
    put->Bind(6, session.end_us());
    put->Bind(7, session.closed ? 1 : 0);
    put->BindText(8, session.id.ToString());
    RETURN_IF_ERROR(put->Step().status());
    put->Reset();
    ASSIGN_OR_RETURN(SqliteStatement* const put_tag,
                     database_->Prepare("INSERT INTO tag VALUES(?,?,?,?)"));
    for (size_t key = 0; key < kKeys; ++key) {
      const Tag* const tag = session.Find(i, static_cast<Key>(key));
      if (tag == nullptr) continue;
      put_tag->Reset();
      put_tag->Bind(1, id);
      put_tag->BindText(2, std::string(KeyName(tag->key())));
      put_tag->BindText(3, tag->Text());
      double number = 0;
      if (absl::SimpleAtod(tag->Text(), &number)) {
        put_tag->BindReal(4, number);
      } else {
        put_tag->BindNull(4);
      }
      RETURN_IF_ERROR(put_tag->Step().status());
    }
    put_tag->Reset();
  }
  sessions_[session.number] = session;
  return database_->Run("COMMIT");
}

}  // namespace diptych::bench
