#ifndef TOOLS_LOADGEN_CHANNEL_POOL_H_
#define TOOLS_LOADGEN_CHANNEL_POOL_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/mutex.h"

namespace diptych::loadgen {

// A number of connections to one archive, each a TCP connection of its own,
// made when first asked for and made anew after they failed, wherever the
// archive serves by then. Thread-safe.
class ChannelPool {
 public:
  ChannelPool(std::string profile_folder, size_t channels);

  // The channel number `index` modulo their number.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Get(size_t index);

  // A call is through with what Get gave it; `failed`: it found nobody there.
  void Return(size_t index, std::shared_ptr<grpc::Channel> channel,
              bool failed);

  // Lets go of channels that nobody uses. Not on a thread of gRPC's.
  void DropUnused();

 private:
  struct Entry {
    std::shared_ptr<grpc::Channel> channel;
    absl::Duration made;
  };

  const std::string profile_folder_;
  base::Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // To be dropped; as many as calls ended since the last DropUnused.
  std::vector<std::shared_ptr<grpc::Channel>> returned_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_CHANNEL_POOL_H_
