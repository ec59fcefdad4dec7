#ifndef TOOLS_DIPTYCHD_READER_H_
#define TOOLS_DIPTYCHD_READER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tools/diptychd/daemon_options.h"

namespace diptych::daemon {

// The role indexer: the index, the keys, and the audit port. Writes nothing but
// its index.
class Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Start(
      const DaemonOptions& options);

  virtual ~Reader() = default;

  // Lets reads at hand end for a moment, and stops serving.
  virtual void Stop() = 0;

  // It has asked this process to end (SIGTERM), since only a new start makes
  // its index good again.
  virtual bool failed() const = 0;
};

}  // namespace diptych::daemon

#endif  // TOOLS_DIPTYCHD_READER_H_
