#ifndef TOOLS_DIPTYCHD_WRITER_H_
#define TOOLS_DIPTYCHD_WRITER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tools/diptychd/daemon_options.h"

namespace diptych::daemon {

// The role archiver: the log, the key store, and the ingest port. Never opens
// the key folder.
class Writer {
 public:
  // Recovers the log and serves. REQUIRES: the caller holds the archive's lock.
  static absl::StatusOr<std::unique_ptr<Writer>> Start(
      const DaemonOptions& options);

  virtual ~Writer() = default;

  // Tells open sessions, makes durable what has come, and stops serving.
  virtual void Drain() = 0;
};

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_WRITER_H_
