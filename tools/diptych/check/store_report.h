#ifndef TOOLS_DIPTYCH_CHECK_STORE_REPORT_H_
#define TOOLS_DIPTYCH_CHECK_STORE_REPORT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "archiver/base/file.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::check {

enum class Severity {
  // Something is not what was stored.
  kError,
  // A tail that a crash has torn, seconds that no source signed: nothing stored
  // is wrong.
  kRemark,
  // Something could not be looked at.
  kUnread,
};

// Where in a session a record belongs, as far as that is known.
struct Where {
  std::string session;
  std::optional<uint32_t> chunk;
  // Session time.
  std::optional<int64_t> at_us;
};

struct Finding {
  Severity severity = Severity::kError;
  // "log", "keys" or "tree", and where in it: a position, or a leaf's number.
  std::string store;
  uint64_t position = 0;
  // "VOLUME at byte N", or a file.
  std::string place;
  Where where;
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

  // What the findings at `position` are about, until the next call.
  void At(log::Position position, Where where);

  void False(log::Position position, const std::string& what) const;
  void Remark(log::Position position, const std::string& what) const;
  void Unread(log::Position position, const std::string& what) const;
  void Damaged(const log::Damage& damage);

  // Something that is not what was written. Whether it ever was durable, only a
  // later record or a checkpoint can tell.
  void Suspect(log::Position position, const std::string& what);
  // A later record, or a checkpoint, says that everything before this was
  // durable.
  void Settle(log::Position durable_before);
  // Nothing stands for what is still suspect: it is a torn tail.
  void End();

 private:
  // "VOLUME at byte N".
  std::string Place(log::Position position) const;
  Finding Make(Severity severity, log::Position position,
               const std::string& what) const;

  struct Suspected {
    log::Position position = 0;
    Where where;
    std::string what;
  };

  const std::string name_;
  const log::LogReader reader_;
  const std::function<void(const Finding&)> on_finding_;
  std::vector<log::VolumeInfo> volumes_;
  std::set<log::Position> bases_;
  std::vector<Suspected> suspects_;
  log::Position at_ = 0;
  Where where_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_STORE_REPORT_H_
