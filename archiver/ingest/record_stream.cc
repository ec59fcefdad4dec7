#include "archiver/ingest/record_stream.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/request_check.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_registry.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {
namespace {

// What the session holds: outlives the reactor, and goes quiet when gRPC is
// done with it.
class StreamOutput final : public StreamSink {
 public:
  void Bind(RecordReactor* reactor, api::v1::RecordRequest* request)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    reactor_ = reactor;
    request_ = request;
  }
  void Unbind() ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    reactor_ = nullptr;
  }

  void Send(api::v1::RecordResponse response) override
      ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    if (reactor_ == nullptr || final_status_.has_value()) return;
    // A client that does not read needs no more wishes.
    const bool wish =
        response.has_slow_down() || response.has_keyframe_wanted();
    if (wish && queue_.size() >= limits::kMaxQueuedResponses) return;
    queue_.push_back(std::move(response));
    WriteNext();
  }

  void SendDurable(const api::v1::SideProgress& progress) override
      ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    if (reactor_ == nullptr || final_status_.has_value()) return;
    progress_[progress.side()] = progress;
    WriteNext();
  }

  void Finish(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    if (reactor_ == nullptr || final_status_.has_value()) return;
    // A side that was refused decides how a stream ends that went well
    // otherwise.
    final_status_ = status.ok() ? side_status_ : status;
    WriteNext();
  }

  void Resume() override ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    if (reactor_ == nullptr || final_status_.has_value()) return;
    reactor_->StartRead(request_);
  }

  void FailSide(api::v1::Side side, const absl::Status& status) override
      ABSL_LOCKS_EXCLUDED(mutex_) {
    api::v1::RecordResponse response;
    response.mutable_side_failed()->set_side(side);
    *response.mutable_side_failed()->mutable_status() =
        base::ToRpcStatus(status);
    {
      base::MutexLock lock(&mutex_);
      if (side_status_.ok()) side_status_ = status;
    }
    Send(std::move(response));
  }

  void OnWriteDone(bool ok) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) {
      // The call is broken: nothing more gets through.
      queue_.clear();
      progress_.clear();
      if (!final_status_.has_value()) {
        final_status_ = absl::CancelledError("the client went away");
      }
    }
    WriteNext();
  }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || reactor_ == nullptr || finished_) return;
    if (!progress_.empty()) {
      // Before anything queued later, so that a receipt comes last.
      outgoing_.Clear();
      for (const auto& [side, progress] : progress_) {
        *outgoing_.mutable_durable()->add_progress() = progress;
      }
      progress_.clear();
    } else if (!queue_.empty()) {
      outgoing_ = std::move(queue_.front());
      queue_.pop_front();
    } else if (final_status_.has_value()) {
      finished_ = true;
      reactor_->Finish(base::ToGrpcStatus(*final_status_));
      return;
    } else {
      return;
    }
    writing_ = true;
    reactor_->StartWrite(&outgoing_);
  }

  base::Mutex mutex_;
  RecordReactor* reactor_ ABSL_GUARDED_BY(mutex_) = nullptr;
  api::v1::RecordRequest* request_ ABSL_GUARDED_BY(mutex_) = nullptr;
  // Bounded: opened, receipt, draining once each, failures two a side, and
  // wishes up to limits::kMaxQueuedResponses.
  std::deque<api::v1::RecordResponse> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, api::v1::SideProgress> progress_
      ABSL_GUARDED_BY(mutex_);
  api::v1::RecordResponse outgoing_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status side_status_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mutex_);
};

class RecordStream final : public RecordReactor {
 public:
  RecordStream(SessionRegistry* registry, std::string gateway,
               const absl::Status& refusal)
      : registry_(registry),
        gateway_(std::move(gateway)),
        output_(std::make_shared<StreamOutput>()) {
    output_->Bind(this, &request_);
    if (refusal.ok()) {
      StartRead(&request_);
    } else {
      output_->Finish(refusal);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      OnInputEnd();
      return;
    }
    const absl::Status status = Handle();
    if (!status.ok()) {
      EndWith(status);
      return;
    }
    // A session that is closed takes no more; its receipt ends the stream.
    if (receipt_due_) return;
    if (session_ == nullptr || session_->ReadyForMore(output_)) {
      output_->Resume();
    }
  }

  void OnWriteDone(bool ok) override { output_->OnWriteDone(ok); }

  void OnCancel() override {
    // Ends the call, so that OnDone comes.
    output_->Finish(absl::CancelledError("the client went away"));
  }

  void OnDone() override {
    output_->Unbind();
    if (session_ != nullptr) session_->Detach(output_, std::nullopt);
    delete this;
  }

 private:
  void OnInputEnd() {
    if (session_ == nullptr) {
      output_->Finish(NotOpened());
      return;
    }
    // After close the receipt is on its way; nothing more has to come.
    if (!closed_) session_->Detach(output_, Named(EndedWithoutClose()));
  }

  void EndWith(const absl::Status& status) {
    if (session_ != nullptr) {
      session_->Detach(output_, Named(status));
    } else {
      output_->Finish(Named(status));
    }
  }

  // Says which session.
  absl::Status Named(const absl::Status& status) const {
    if (session_id_.empty()) return status;
    api::v1::ErrorDetail detail;
    detail.set_session_id(session_id_);
    return base::WithDetail(status, detail);
  }

  absl::Status Handle() {
    if (request_.message_case() == api::v1::RecordRequest::kOpen) {
      return HandleOpen();
    }
    if (session_ == nullptr) return NotOpened();
    switch (request_.message_case()) {
      case api::v1::RecordRequest::kPackets:
        return HandlePackets();
      case api::v1::RecordRequest::kNotes:
        return HandleNotes();
      case api::v1::RecordRequest::kTracksChanged: {
        const api::v1::OpenSide& side = request_.tracks_changed().side();
        if (failed_.contains(side.side())) return absl::OkStatus();
        absl::Status status = CheckOpenSide(side);
        if (status.ok()) status = session_->OnTracksChanged(output_, side);
        if (status.ok()) AddTracks(side);
        return OfSide(side.side(), status);
      }
      case api::v1::RecordRequest::kClose: {
        const std::set<api::v1::Side> carried = session_->SidesOf(output_);
        for (const api::v1::Side side : sides_) {
          // A newer stream has it, and the gateway was told.
          if (!carried.contains(side)) failed_.insert(side);
        }
        if (carried.empty()) return TakenOver();
        RETURN_IF_ERROR(session_->OnClose(output_, request_.close(), failed_));
        ended_.insert(failed_.begin(), failed_.end());
        for (const api::v1::CloseSide& side : request_.close().sides()) {
          ended_.insert(side.side());
        }
        closed_ = std::includes(ended_.begin(), ended_.end(), sides_.begin(),
                                sides_.end());
        return absl::OkStatus();
      }
      default:
        return EmptyMessage();
    }
  }

  absl::Status HandleOpen() {
    if (session_ != nullptr) return OpenedTwice();
    const api::v1::Open& open = request_.open();
    // What is no id is not repeated in an error.
    if (base::Uuid::Parse(open.session_id()).ok()) {
      session_id_ = open.session_id();
    }
    ASSIGN_OR_RETURN(auto opened, registry_->Open(output_, open, gateway_));
    if (auto* receipt = std::get_if<api::v1::Receipt>(&opened)) {
      receipt_due_ = true;
      registry_->GiveReceipt(std::move(*receipt), output_);
      return absl::OkStatus();
    }
    session_ = std::get<std::shared_ptr<Session>>(std::move(opened));
    for (const api::v1::OpenSide& side : open.sides()) {
      sides_.insert(side.side());
      AddTracks(side);
    }
    return absl::OkStatus();
  }

  void AddTracks(const api::v1::OpenSide& side) {
    for (const api::v1::Track& track : side.tracks()) {
      side_of_track_[track.track_id()] = side.side();
    }
  }

  absl::Status HandlePackets() {
    api::v1::Packets* packets = request_.mutable_packets();
    if (static_cast<size_t>(packets->packets_size()) >
        limits::kMaxPacketsPerMessage) {
      return TooManyInMessage("TOO_MANY_PACKETS", "packets",
                              limits::kMaxPacketsPerMessage);
    }
    for (api::v1::Packet& packet : *packets->mutable_packets()) {
      const auto side = side_of_track_.find(packet.track_id());
      if (side != side_of_track_.end() && failed_.contains(side->second)) {
        continue;
      }
      const absl::Status status =
          session_->OnPacket(output_, std::move(packet));
      if (status.ok()) continue;
      const auto detail = base::GetErrorDetail(status);
      RETURN_IF_ERROR(OfSide(
          detail.has_value() ? detail->side() : api::v1::SIDE_UNSPECIFIED,
          status));
    }
    session_->Tick();
    return absl::OkStatus();
  }

  absl::Status HandleNotes() {
    const api::v1::Notes& notes = request_.notes();
    if (static_cast<size_t>(notes.notes_size()) > limits::kMaxNotesPerMessage) {
      return TooManyInMessage("TOO_MANY_NOTES", "notes",
                              limits::kMaxNotesPerMessage);
    }
    if (failed_.contains(notes.side())) return absl::OkStatus();
    return OfSide(notes.side(), session_->OnNotes(output_, notes));
  }

  // On a stream with both sides an error of one is told, and the other goes on;
  // otherwise it is the stream's.
  absl::Status OfSide(api::v1::Side side, const absl::Status& status) {
    if (status.ok()) return status;
    const auto detail = base::GetErrorDetail(status);
    const bool of_side = sides_.contains(side) && detail.has_value() &&
                         detail->side() == side && !detail->retryable();
    if (!of_side || failed_.size() + 1 >= sides_.size()) return status;
    failed_.insert(side);
    output_->FailSide(side, Named(status));
    return absl::OkStatus();
  }

  SessionRegistry* const registry_;
  const std::string gateway_;
  const std::shared_ptr<StreamOutput> output_;
  // Only touched by gRPC's read callbacks, one at a time.
  api::v1::RecordRequest request_;
  std::shared_ptr<Session> session_;
  std::string session_id_;
  std::set<api::v1::Side> sides_;
  std::map<uint32_t, api::v1::Side> side_of_track_;
  std::set<api::v1::Side> failed_;
  std::set<api::v1::Side> ended_;
  bool closed_ = false;
  // The session was closed before: its receipt is all that comes.
  bool receipt_due_ = false;
};

}  // namespace

RecordReactor* StartRecordStream(SessionRegistry* registry,
                                 const std::string& gateway,
                                 const absl::Status& refusal) {
  // gRPC deletes it by way of OnDone.
  return new RecordStream(registry, gateway, refusal);
}

}  // namespace diptych::ingest
