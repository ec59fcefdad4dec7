#include "tools/loadgen/channel_pool.h"

#include <memory>
#include <string>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/status/statusor.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/profile.h"

namespace diptych::loadgen {
namespace {

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(
    const std::string& profile_folder) {
  ASSIGN_OR_RETURN(const cli::Profile profile,
                   cli::LoadProfile(profile_folder));
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = profile.ca_pem;
  options.pem_cert_chain = profile.certificate_pem;
  options.pem_private_key = profile.private_key_pem;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(limits::kMaxMessage_bytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Otherwise channels to one address share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(profile.ingest_address,
                                   grpc::SslCredentials(options), arguments);
}

}  // namespace

ChannelPool::ChannelPool(std::string profile_folder, size_t channels)
    : profile_folder_(std::move(profile_folder)), entries_(channels) {}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelPool::Get(size_t index) {
  base::MutexLock lock(&mutex_);
  Entry& entry = entries_[index % entries_.size()];
  if (entry.channel == nullptr) {
    ASSIGN_OR_RETURN(entry.channel, Connect(profile_folder_));
    entry.made = base::Clock::Real()->Monotonic();
  }
  return entry.channel;
}

void ChannelPool::Return(size_t index, std::shared_ptr<grpc::Channel> channel,
                         bool failed) {
  base::MutexLock lock(&mutex_);
  Entry& entry = entries_[index % entries_.size()];
  const bool fresh = base::Clock::Real()->Monotonic() <
                     entry.made + limits::kLoadChannelRenewal;
  if (failed && entry.channel == channel && !fresh) entry.channel = nullptr;
  returned_.push_back(std::move(channel));
}

void ChannelPool::DropUnused() {
  // Goes after the lock: the end of a channel takes a while.
  std::vector<std::shared_ptr<grpc::Channel>> dropped;
  base::MutexLock lock(&mutex_);
  dropped.swap(returned_);
}

}  // namespace diptych::loadgen
