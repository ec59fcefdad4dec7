#ifndef ARCHIVER_LOG_OPEN_SESSIONS_H_
#define ARCHIVER_LOG_OPEN_SESSIONS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::log {

// What the log says of the sessions that are open: a fold over the headers of
// its records, which the writer keeps as it writes and a start makes again from
// the last volume's snapshot. Not thread-safe.
class OpenSessions {
 public:
  // Takes the next record of the log into account. INVALID_ARGUMENT if its
  // header does not parse or names a session that is not open; the fold is then
  // unchanged.
  absl::Status Apply(RecordType type, absl::string_view header,
                     absl::string_view body, Position position);

  // The record that begins the next volume.
  Record MakeSnapshot(int64_t record_time_us) const;

  const std::map<base::Uuid, stored::v1::OpenSession>& open() const {
    return open_;
  }

  // The closing record of a session that was closed lately.
  const stored::v1::ClosedSession* FindClosed(const base::Uuid& id) const;

  // Totals of a session's side; added if it is not there yet.
  static stored::v1::SideTotals* MutableSide(stored::v1::OpenSession* session,
                                             stored::v1::Side side);

 private:
  absl::StatusOr<stored::v1::OpenSession*> Find(absl::string_view session_id);
  void AddClosed(const base::Uuid& id, stored::v1::ClosedSession closed);

  std::map<base::Uuid, stored::v1::OpenSession> open_;
  std::map<base::Uuid, stored::v1::ClosedSession> closed_;
  std::deque<base::Uuid> closed_order_;
};

// Makes the fold of a whole store: from the newest volume that begins with a
// snapshot, or from the beginning. Records that do not fit are skipped and
// counted in `*skipped`; damage is left to whoever opened the store.
absl::StatusOr<OpenSessions> RecoverOpenSessions(const LogReader& reader,
                                                 uint64_t* skipped);

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_OPEN_SESSIONS_H_
