#ifndef TOOLS_GATEWAY_FAKE_INGEST_H_
#define TOOLS_GATEWAY_FAKE_INGEST_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/base/thread_annotations.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/ingest.grpc.pb.h"

namespace diptych::gateway {

// An archive that remembers what it was sent, and whose streams end as the test
// says.
class FakeIngest : public api::v1::Ingest::Service {
 public:
  using RecordRequest = api::v1::RecordRequest;
  using RecordResponse = api::v1::RecordResponse;
  using ServerStream = grpc::ServerReaderWriter<RecordResponse, RecordRequest>;

  // What the n-th stream (from 0) does with each request; returns false to go
  // on, true to end the stream with `status`.
  using Script = std::function<bool(int stream, const RecordRequest& request,
                                    ServerStream* out, grpc::Status* status)>;

  grpc::Status Record(grpc::ServerContext*, ServerStream* stream) override {
    int number = 0;
    {
      base::MutexLock lock(&mutex_);
      number = streams_++;
    }
    RecordRequest request;
    while (stream->Read(&request)) {
      {
        base::MutexLock lock(&mutex_);
        Remember(request);
        changed_.NotifyAll();
      }
      grpc::Status status;
      if (script && script(number, request, stream, &status)) return status;
    }
    return grpc::Status::OK;
  }

  // What a well-behaved archive answers; everything is durable at once unless
  // `durable` is false.
  void Answer(const RecordRequest& request, ServerStream* out,
              bool durable = true) {
    RecordResponse response;
    base::MutexLock lock(&mutex_);
    if (request.has_open()) {
      for (const auto& side : request.open().sides()) {
        *response.mutable_opened()->add_progress() = Progress(side.side());
      }
      response.mutable_opened()->set_resumed(streams_ > 1);
    } else if (request.has_close()) {
      response.mutable_receipt()->set_session_id(session_id_);
    } else if (durable) {
      durable_ = received_;
      for (const auto& [side, progress] : durable_) {
        *response.mutable_durable()->add_progress() = Progress(side);
      }
    } else {
      return;
    }
    out->Write(response);
  }

  void WaitForPackets(api::v1::Side side, uint64_t count) {
    base::MutexLock lock(&mutex_);
    while (received_[side].sequence() < count) changed_.Wait(&mutex_);
  }

  std::vector<uint64_t> sequences(api::v1::Side side) {
    base::MutexLock lock(&mutex_);
    return sequences_[side];
  }
  std::vector<RecordRequest> requests() {
    base::MutexLock lock(&mutex_);
    return requests_;
  }
  // What the archive has of a side before anybody has sent anything.
  void Have(api::v1::Side side, uint64_t sequence, uint64_t notes = 0) {
    base::MutexLock lock(&mutex_);
    received_[side].set_sequence(sequence);
    received_[side].set_note_sequence(notes);
    durable_[side] = received_[side];
  }
  int streams() {
    base::MutexLock lock(&mutex_);
    return streams_;
  }

  Script script;

 private:
  static api::v1::Side SideOf(uint32_t track_id) {
    return track_id < 9 ? api::v1::SIDE_RESIDENT : api::v1::SIDE_CLERK;
  }

  api::v1::SideProgress Progress(api::v1::Side side)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    api::v1::SideProgress progress = durable_[side];
    progress.set_side(side);
    return progress;
  }

  void Remember(const RecordRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    requests_.push_back(request);
    if (request.has_open()) session_id_ = request.open().session_id();
    for (const auto& packet : request.packets().packets()) {
      const api::v1::Side side = SideOf(packet.track_id());
      sequences_[side].push_back(packet.sequence());
      received_[side].set_sequence(packet.sequence());
    }
    for (const auto& note : request.notes().notes()) {
      received_[request.notes().side()].set_note_sequence(std::max<uint64_t>(
          note.note_sequence(),
          received_[request.notes().side()].note_sequence()));
    }
  }

  base::Mutex mutex_;
  base::CondVar changed_;
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string session_id_ ABSL_GUARDED_BY(mutex_);
  std::vector<RecordRequest> requests_ ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, std::vector<uint64_t>> sequences_
      ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, api::v1::SideProgress> received_
      ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, api::v1::SideProgress> durable_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_FAKE_INGEST_H_
