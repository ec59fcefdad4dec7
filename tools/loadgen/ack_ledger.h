#ifndef TOOLS_LOADGEN_ACK_LEDGER_H_
#define TOOLS_LOADGEN_ACK_LEDGER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/common.pb.h"
#include "tools/loadgen/recording.h"

namespace diptych::loadgen {

// Writes down what the archive has promised, as it promises it, for a checker
// that comes when everything else has been killed. README.md has the lines.
// Each is one write, which outlives this process. Thread-safe.
class AckLedger {
 public:
  // Appends; begins with what each packet of the recording is.
  static absl::StatusOr<std::unique_ptr<AckLedger>> Open(
      const std::string& path, const Recording& recording);
  ~AckLedger();
  AckLedger(const AckLedger&) = delete;
  AckLedger& operator=(const AckLedger&) = delete;

  // Packets `first` to `last` of a side are durable.
  void Acknowledged(absl::string_view session, api::v1::Side side,
                    uint64_t first, uint64_t last);
  // The receipt was there.
  void Closed(absl::string_view session, uint64_t resident, uint64_t clerk);

  // The first write that failed.
  absl::Status status() const;

 private:
  explicit AckLedger(int fd) : fd_(fd) {}
  void Write(const std::string& line);

  const int fd_;
  mutable base::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_ACK_LEDGER_H_
