#ifndef TOOLS_DIPTYCH_CHECK_STORE_REPORT_H_
#define TOOLS_DIPTYCH_CHECK_STORE_REPORT_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "archiver/base/file.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::check {

struct Finding {
  // False: a remark (a tail that a crash has torn, a session id that was used
  // again); nothing stored is wrong.
  bool is_error = true;
  // "log" or "keys", and where in it.
  std::string store;
  log::Position position = 0;
  // "VOLUME at byte N".
  std::string place;
  std::string what;
};

// One store under check: where its positions lie, and what is false about it.
// Not thread-safe.
class StoreReport {
 public:
  // `name` is "log" or "keys".
  StoreReport(base::FileSystem* file_system, std::string name,
              const std::string& directory,
              std::function<void(const Finding&)> on_finding);

  // Finds the volumes. Call before all others.
  absl::Status Start();

  const log::LogReader& reader() const { return reader_; }
  const std::vector<log::VolumeInfo>& volumes() const { return volumes_; }
  bool BeginsVolume(log::Position position) const {
    return bases_.contains(position);
  }

  void False(log::Position position, const std::string& what) const;
  void Remark(log::Position position, const std::string& what) const;
  void Damaged(const log::Damage& damage) const;

  // A body that is not what was written. Whether it ever was durable, only a
  // later record can tell.
  void Suspect(log::Position position, const std::string& what);
  // A later record says that everything before this was durable.
  void Settle(log::Position durable_before);
  // There is no later record: what is still suspect is a torn tail.
  void End();

 private:
  // "VOLUME at byte N".
  std::string Place(log::Position position) const;

  const std::string name_;
  const log::LogReader reader_;
  const std::function<void(const Finding&)> on_finding_;
  std::vector<log::VolumeInfo> volumes_;
  std::set<log::Position> bases_;
  std::vector<std::pair<log::Position, std::string>> suspects_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_STORE_REPORT_H_
