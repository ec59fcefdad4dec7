#ifndef TOOLS_LOADGEN_LOAD_CALL_H_
#define TOOLS_LOADGEN_LOAD_CALL_H_

#include <memory>
#include <utility>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/status.h>

#include "proto/api/v1/ingest.grpc.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::loadgen {

// One stream, from its start to its end. It is gone when OnEnd is called, the
// last of the owner's functions; the owner lives until then.
class LoadCall final : public grpc::ClientBidiReactor<api::v1::RecordRequest,
                                                      api::v1::RecordResponse> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnResponse(LoadCall* call,
                            const api::v1::RecordResponse& response) = 0;
    virtual void OnSent(LoadCall* call, bool ok) = 0;
    // No more may be sent.
    virtual void OnInputEnd(LoadCall* call) = 0;
    // `call` is only a name by now. Whoever gets the channel must not let go
    // of it here: gRPC 1.51 ends the thread that this runs on with the last
    // channel, and waits for it.
    virtual void OnEnd(const LoadCall* call, const grpc::Status& status,
                       std::shared_ptr<grpc::Channel> channel) = 0;
  };

  LoadCall(std::shared_ptr<Owner> owner, std::shared_ptr<grpc::Channel> channel)
      : owner_(std::move(owner)),
        channel_(std::move(channel)),
        stub_(api::v1::Ingest::NewStub(channel_)) {}

  // `first` lives until OnSent, and so does what Send is given.
  void Start(const api::v1::RecordRequest* first) {
    stub_->async()->Record(&context_, this);
    // Until the input ends: Send is called from outside of the reactions.
    AddHold();
    StartRead(&response_);
    StartWrite(first);
    StartCall();
  }
  void Send(const api::v1::RecordRequest* request, bool last) {
    if (last) {
      StartWriteLast(request, grpc::WriteOptions());
    } else {
      StartWrite(request);
    }
  }
  void Cancel() { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) {
      owner_->OnInputEnd(this);
      RemoveHold();
      return;
    }
    owner_->OnResponse(this, response_);
    StartRead(&response_);
  }
  void OnWriteDone(bool ok) override { owner_->OnSent(this, ok); }
  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Owner> owner = owner_;
    std::shared_ptr<grpc::Channel> channel = std::move(channel_);
    const grpc::Status ended = status;
    const LoadCall* const name = this;
    delete this;
    owner->OnEnd(name, ended, std::move(channel));
  }

  const std::shared_ptr<Owner> owner_;
  std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<api::v1::Ingest::Stub> stub_;
  grpc::ClientContext context_;
  api::v1::RecordResponse response_;
};

}  // namespace diptych::loadgen

#endif  // TOOLS_LOADGEN_LOAD_CALL_H_
