#include "tools/gateway/session_pump.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "tools/gateway/source_queue.h"

namespace diptych::gateway {
namespace {

// How often a wait looks whether it should end.
constexpr absl::Duration kStopCheck = absl::Milliseconds(50);
// How well a live packet's moment is known, by its arrival and by what its
// sender reports.
constexpr uint64_t kArrivalUncertainty_us = 200'000;
constexpr uint64_t kSenderUncertainty_us = 5'000;

using base::Clock;

// Why the archive would refuse a packet with these times, and with it all that
// follows; empty if it would not.
std::string WhatIsWrongWithTimes(const api::v1::Packet& packet) {
  if (packet.pts_us() < 0) return "it is shown before the session's start";
  if (packet.pts_us() > limits::kSessionMax_us) {
    return "it lies more than ten days after the session's start";
  }
  if (packet.dts_us() < -limits::kMaxReorder_us ||
      packet.pts_us() - packet.dts_us() > limits::kMaxReorder_us) {
    return "it is decoded long before it is shown";
  }
  return "";
}

class Pump {
 public:
  Pump(const PumpOptions& options, GatewaySession* session)
      : options_(options), session_(session) {
    for (const PumpInput& input : options.inputs) {
      Lane& lane = lanes_.emplace_back();
      lane.input = input;
      lane.queue = std::make_unique<SourceQueue>(input.source);
      lane.result.side = input.side;
      any_live_ = any_live_ || input.source->live();
    }
  }

  PumpResult Run();

 private:
  struct Lane {
    PumpInput input;
    std::unique_ptr<SourceQueue> queue;
    PumpResult::SideResult result;
    // Of live inputs: how a track's media clock lies to the wall's.
    struct Clock {
      // When its zero came, judged by the packet that took the least time.
      absl::Time zero;
      absl::Duration anchored;
      int64_t last_dts_us = 0;
      // When its zero was by the sender's clock, as the last anchor said.
      std::optional<absl::Time> sender_zero;
    };
    std::map<uint32_t, Clock> clocks;
    std::set<uint32_t> anchored_tracks;
    // At the pts of the packet that comes next.
    std::optional<SenderTime> sender_time;
  };

  bool Stopped() const { return options_.stop != nullptr && *options_.stop; }

  // The lane whose item goes next; null once all have ended.
  Lane* NextLane();
  void SendItem(Lane* lane);
  void SendPacket(Lane* lane, api::v1::Packet packet);
  absl::Status WaitForRoom(const Lane& lane);
  absl::Status SendAnchor(Lane* lane, const api::v1::Packet& packet);
  absl::Status SendLiveAnchor(Lane* lane, const api::v1::Packet& packet);
  absl::Status SendSenderAnchor(Lane* lane, const api::v1::Packet& packet,
                                absl::Time wall);
  absl::Status SendAnchorNote(Lane* lane, const api::v1::Packet& packet,
                              absl::Time wall, absl::string_view source,
                              uint64_t uncertainty_us);
  void MapIntoSession(Lane* lane, api::v1::Packet* packet);
  // Those that lie at or before `time_us`.
  void SendNotesUntil(int64_t time_us);
  absl::Status SendNote(const PumpNote& note);
  void Pace(const Lane& lane, int64_t dts_us);
  void LeaveOut(Lane* lane, const api::v1::Packet& packet,
                const std::string& why);

  const PumpOptions& options_;
  GatewaySession* const session_;
  std::vector<Lane> lanes_;
  bool any_live_ = false;
  size_t notes_sent_ = 0;
  absl::Status notes_status_;
  std::optional<absl::Duration> began_;
  int64_t began_at_us_ = 0;
};

PumpResult Pump::Run() {
  while (Lane* const lane = NextLane()) SendItem(lane);
  if (!Stopped()) SendNotesUntil(limits::kSessionMax_us);
  PumpResult result;
  for (Lane& lane : lanes_) {
    lane.queue.reset();
    result.sides.push_back(std::move(lane.result));
  }
  result.notes = notes_status_;
  return result;
}

Pump::Lane* Pump::NextLane() {
  while (!Stopped()) {
    Lane* next = nullptr;
    Lane* waiting = nullptr;
    int64_t next_time_us = 0;
    for (Lane& lane : lanes_) {
      const SourceItem* const item = lane.queue->Front();
      if (item == nullptr) {
        if (!lane.queue->finished()) waiting = &lane;
        continue;
      }
      const auto* const packet = std::get_if<api::v1::Packet>(item);
      // A change of tracks belongs to the packet after it.
      const int64_t time_us = packet == nullptr
                                  ? INT64_MIN
                                  : packet->dts_us() + lane.input.shift_us;
      if (next == nullptr || time_us < next_time_us) {
        next = &lane;
        next_time_us = time_us;
      }
    }
    if (waiting == nullptr) return next;
    // Nobody waits for a live side that is silent.
    if (next != nullptr && any_live_) return next;
    waiting->queue->Wait(kStopCheck);
  }
  return nullptr;
}

void Pump::SendItem(Lane* lane) {
  SourceItem item = lane->queue->Pop();
  if (auto* const tracks = std::get_if<std::vector<api::v1::Track>>(&item)) {
    const absl::Status status =
        session_->ChangeTracks(lane->input.side, *tracks);
    if (!status.ok()) {
      lane->result.refused = status;
      lane->queue->Stop();
    }
    return;
  }
  if (const auto* const sender = std::get_if<SenderTime>(&item)) {
    lane->sender_time = *sender;
    return;
  }
  SendPacket(lane, std::get<api::v1::Packet>(std::move(item)));
  lane->sender_time.reset();
}

void Pump::SendPacket(Lane* lane, api::v1::Packet packet) {
  packet.set_pts_us(packet.pts_us() + lane->input.shift_us);
  packet.set_dts_us(packet.dts_us() + lane->input.shift_us);
  if (lane->input.source->live()) MapIntoSession(lane, &packet);
  if (std::string wrong = WhatIsWrongWithTimes(packet); !wrong.empty()) {
    return LeaveOut(lane, packet, wrong);
  }
  Pace(*lane, packet.dts_us());
  if (Stopped()) return;
  SendNotesUntil(std::max<int64_t>(packet.dts_us(), 0));
  const int64_t dts_us = packet.dts_us();
  const size_t bytes = packet.payload().size();
  absl::Status status = WaitForRoom(*lane);
  if (status.ok()) status = SendAnchor(lane, packet);
  if (status.ok()) {
    status = session_->SendPacket(lane->input.side, packet);
  }
  if (absl::IsResourceExhausted(status) &&
      session_->side_status(lane->input.side).ok()) {
    return LeaveOut(lane, packet, "the gateway's memory and spool are full");
  }
  if (!status.ok()) {
    lane->result.refused = status;
    lane->queue->Stop();
    return;
  }
  ++lane->result.packets;
  lane->result.payload_bytes += bytes;
  if (options_.on_progress) options_.on_progress(dts_us);
}

absl::Status Pump::WaitForRoom(const Lane& lane) {
  if (lane.input.source->live() || !options_.wait_for_room) {
    return absl::OkStatus();
  }
  while (true) {
    const absl::Status room =
        session_->WaitForRoom(lane.input.side, kStopCheck);
    if (!absl::IsDeadlineExceeded(room) || Stopped()) return room;
  }
}

absl::Status Pump::SendAnchor(Lane* lane, const api::v1::Packet& packet) {
  if (lane->sender_time.has_value()) {
    return SendSenderAnchor(lane, packet, lane->sender_time->wall);
  }
  if (lane->input.source->live()) return SendLiveAnchor(lane, packet);
  if (!lane->anchored_tracks.insert(packet.track_id()).second) {
    return absl::OkStatus();
  }
  return SendAnchorNote(
      lane, packet, options_.start_time + absl::Microseconds(packet.pts_us()),
      "file", 0);
}

absl::Status Pump::SendSenderAnchor(Lane* lane, const api::v1::Packet& packet,
                                    absl::Time wall) {
  const absl::Duration now = Clock::Real()->Monotonic();
  const absl::Time zero = wall - absl::Microseconds(packet.pts_us());
  Lane::Clock& clock = lane->clocks[packet.track_id()];
  if (clock.sender_zero.has_value()) {
    const absl::Duration moved = absl::AbsDuration(zero - *clock.sender_zero);
    const absl::Duration since = now - clock.anchored;
    // What reads as a jump must be told before the packet that jumped.
    const bool due = moved >= absl::Microseconds(limits::kClockJump_us) ||
                     (moved > limits::kSenderClockMoved &&
                      since >= limits::kSenderAnchorNotBefore) ||
                     since >= limits::kAnchorEvery;
    if (!due) return absl::OkStatus();
  }
  clock.sender_zero = zero;
  clock.anchored = now;
  return SendAnchorNote(lane, packet, wall, "rtcp", kSenderUncertainty_us);
}

absl::Status Pump::SendLiveAnchor(Lane* lane, const api::v1::Packet& packet) {
  const absl::Duration now = Clock::Real()->Monotonic();
  // No packet comes before its time: the earliest zero is the best one.
  const absl::Time zero =
      Clock::Real()->Now() - absl::Microseconds(packet.pts_us());
  const auto [found, first] = lane->clocks.try_emplace(packet.track_id());
  Lane::Clock& clock = found->second;
  // Its sender tells it better.
  if (clock.sender_zero.has_value()) return absl::OkStatus();
  bool due = first;
  if (first) {
    clock.zero = options_.start_time;
  } else {
    const absl::Duration jump = absl::Microseconds(limits::kClockJump_us);
    const bool jumped =
        zero < clock.zero - jump ||
        packet.dts_us() <= clock.last_dts_us - limits::kClockJump_us;
    clock.zero = jumped ? zero : std::min(clock.zero, zero);
    due = jumped || now >= clock.anchored + limits::kAnchorEvery;
  }
  clock.last_dts_us = packet.dts_us();
  if (!due) return absl::OkStatus();
  const absl::Time wall = clock.zero + absl::Microseconds(packet.pts_us());
  clock.anchored = now;
  // What came late from here on tells of drift, not of the past.
  if (!first) clock.zero = zero;
  return SendAnchorNote(lane, packet, wall, "arrival", kArrivalUncertainty_us);
}

void Pump::MapIntoSession(Lane* lane, api::v1::Packet* packet) {
  if (packet->pts_us() >= 0 && packet->pts_us() <= limits::kSessionMax_us) {
    return;
  }
  // A clock that began anew, or ran away: from here on it lies where it came.
  const int64_t move_us =
      absl::ToInt64Microseconds(Clock::Real()->Now() - options_.start_time) -
      packet->pts_us();
  lane->input.shift_us += move_us;
  packet->set_pts_us(packet->pts_us() + move_us);
  packet->set_dts_us(packet->dts_us() + move_us);
}

absl::Status Pump::SendAnchorNote(Lane* lane, const api::v1::Packet& packet,
                                  absl::Time wall, absl::string_view source,
                                  uint64_t uncertainty_us) {
  api::v1::Note note;
  note.set_at_us(packet.pts_us());
  api::v1::ClockAnchor* const anchor = note.mutable_clock_anchor();
  anchor->set_track_id(packet.track_id());
  anchor->set_media_us(packet.pts_us());
  anchor->mutable_wall_time()->set_seconds(absl::ToUnixSeconds(wall));
  anchor->mutable_wall_time()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(
          wall - absl::FromUnixSeconds(absl::ToUnixSeconds(wall)))));
  anchor->set_source(std::string(source));
  anchor->set_uncertainty_us(uncertainty_us);
  return session_->SendNote(lane->input.side, std::move(note));
}

void Pump::SendNotesUntil(int64_t time_us) {
  while (notes_status_.ok() && notes_sent_ < options_.notes.size() &&
         options_.notes[notes_sent_].note.at_us() <= time_us) {
    notes_status_ = SendNote(options_.notes[notes_sent_++]);
  }
}

absl::Status Pump::SendNote(const PumpNote& planned) {
  const api::v1::Side side = lanes_.front().input.side;
  RETURN_IF_ERROR(WaitForRoom(lanes_.front()));
  RETURN_IF_ERROR(session_->SendNote(side, planned.note));
  for (size_t offset = 0; offset < planned.attachment.size();
       offset += limits::kPushAttachmentPart_bytes) {
    api::v1::Note part;
    part.set_at_us(planned.note.at_us());
    part.mutable_attachment_part()->set_attachment_id(
        planned.note.event().attachment_id());
    part.mutable_attachment_part()->set_offset(offset);
    part.mutable_attachment_part()->set_data(
        planned.attachment.substr(offset, limits::kPushAttachmentPart_bytes));
    RETURN_IF_ERROR(WaitForRoom(lanes_.front()));
    RETURN_IF_ERROR(session_->SendNote(side, std::move(part)));
  }
  return absl::OkStatus();
}

void Pump::Pace(const Lane& lane, int64_t dts_us) {
  if (!options_.paced || lane.input.source->live()) return;
  if (!began_.has_value()) {
    began_ = Clock::Real()->Monotonic();
    began_at_us_ = dts_us;
  }
  const absl::Duration due =
      *began_ + absl::Microseconds(dts_us - began_at_us_);
  while (!Stopped()) {
    const absl::Duration left = due - Clock::Real()->Monotonic();
    if (left <= absl::ZeroDuration()) return;
    absl::SleepFor(std::min(left, kStopCheck));
  }
}

void Pump::LeaveOut(Lane* lane, const api::v1::Packet& packet,
                    const std::string& why) {
  ++lane->result.left_out;
  if (lane->result.problems.size() >= limits::kMaxProblems) return;
  lane->result.problems.push_back(
      {.what = absl::StrCat("a packet is left out: ", why),
       .place = absl::StrFormat("track %d at %.3f s", packet.track_id(),
                                packet.pts_us() / 1e6)});
}

}  // namespace

std::vector<int64_t> PlaceInputs(const std::vector<MediaSource*>& sources) {
  absl::Time first_live = absl::InfiniteFuture();
  for (const MediaSource* const source : sources) {
    if (!source->live()) continue;
    first_live = std::min(first_live, source->zero_arrival());
  }
  std::vector<int64_t> shifts_us;
  int64_t earliest_us = 0;
  for (const MediaSource* const source : sources) {
    const int64_t shift_us =
        source->live()
            ? absl::ToInt64Microseconds(source->zero_arrival() - first_live)
            : 0;
    shifts_us.push_back(shift_us);
    earliest_us = std::min(earliest_us, source->earliest_pts_us() + shift_us);
  }
  for (int64_t& shift_us : shifts_us) shift_us -= earliest_us;
  return shifts_us;
}

PumpResult RunPump(const PumpOptions& options, GatewaySession* session) {
  return Pump(options, session).Run();
}

}  // namespace diptych::gateway
