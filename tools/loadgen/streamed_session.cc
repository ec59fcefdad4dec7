#include "tools/loadgen/streamed_session.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/loadgen/load_call.h"

namespace diptych::loadgen {
namespace {

constexpr int64_t kNever_us = std::numeric_limits<int64_t>::max();

}  // namespace

StreamedSession::StreamedSession(const LoadContext* context, SessionPlan plan,
                                 size_t index, absl::Duration length)
    : context_(*context),
      plan_(std::move(plan)),
      index_(index),
      random_(std::hash<std::string>()(plan_.id)) {
  const int64_t length_us = absl::ToInt64Microseconds(length);
  const size_t count = context_.recording->sides().size();
  for (size_t i = 0; i < count; ++i) {
    Side& side = sides_.emplace_back();
    side.final = context_.recording->PacketsWithin(i, length_us);
    if (i == 0 || context_.stream_per_side) lanes_.emplace_back();
    lanes_.back().sides.push_back(i);
  }
}

void StreamedSession::Begin(int64_t now_us) {
  begun_ = true;
  zero_us_ = now_us;
  start_time_ = base::Clock::Real()->Now();
  for (size_t i = 0; i < sides_.size(); ++i) {
    sides_[i].notes = plan_.notes_at_start[i];
    for (api::v1::Note& note :
         AnchorNotes(context_.recording->sides()[i], start_time_)) {
      sides_[i].notes.push_back(std::move(note));
    }
  }
  context_.report->Add({.sessions_started = 1});
}

void StreamedSession::Wake(absl::Duration now) {
  const int64_t now_us = absl::ToInt64Microseconds(now);
  base::MutexLock lock(&mutex_);
  if (!begun_) Begin(now_us);
  RunLanes(now_us);
}

void StreamedSession::RunLanes(int64_t now_us) {
  int64_t wake_us = kNever_us;
  for (Lane& lane : lanes_) {
    wake_us = std::min(wake_us, RunLane(&lane, now_us));
  }
  wake_at_us_ = wake_us;
  NoteEnd();
}

int64_t StreamedSession::RunLane(Lane* lane, int64_t now_us) {
  if (lane->done) return kNever_us;
  if (lane->call == nullptr) {
    if (now_us < lane->retry_at_us) return lane->retry_at_us;
    Connect(lane, now_us);
    if (lane->call == nullptr) return lane->retry_at_us;
  }
  const int64_t stall_us = absl::ToInt64Microseconds(context_.stall);
  if (!lane->cancelled && IsOwedAnAnswer(*lane) &&
      now_us > lane->heard_us + stall_us) {
    context_.report->Add({.stalled = 1});
    Cancel(lane);
  }
  int64_t wake_us = std::max(lane->heard_us, now_us) + stall_us;
  if (lane->cancelled || lane->input_ended || !lane->opened || lane->sending) {
    return wake_us;
  }
  if (lane->draining || lane->close_sent) return wake_us;
  if (now_us < lane->paused_until_us) {
    return std::min(wake_us, lane->paused_until_us);
  }
  if (!NextRequest(lane, now_us, &wake_us)) return wake_us;
  lane->sending = true;
  lane->close_sent = lane->request.has_close();
  lane->call->Send(&lane->request, lane->close_sent);
  return wake_us;
}

bool StreamedSession::IsOwedAnAnswer(const Lane& lane) const {
  if (!lane.opened || lane.close_sent || lane.draining) return true;
  return std::any_of(lane.sides.begin(), lane.sides.end(),
                     [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                       return sides_[i].durable + 1 < sides_[i].next;
                     });
}

void StreamedSession::Cancel(Lane* lane) {
  lane->cancelled = true;
  if (lane->call != nullptr) lane->call->Cancel();
}

void StreamedSession::Connect(Lane* lane, int64_t now_us) {
  const size_t channel_index =
      index_ * lanes_.size() + static_cast<size_t>(lane - lanes_.data());
  auto channel = context_.channels->Get(channel_index);
  if (!channel.ok()) {
    // The profile may come.
    context_.report->AddProblem(std::string(channel.status().message()));
    context_.report->Add({.failed_attempts = 1});
    return RetryLater(lane, 0, now_us);
  }
  api::v1::Open* const open = lane->request.mutable_open();
  open->Clear();
  open->set_session_id(plan_.id);
  const int64_t start_us = absl::ToUnixMicros(start_time_);
  open->mutable_start_time()->set_seconds(start_us / 1'000'000);
  open->mutable_start_time()->set_nanos(
      static_cast<int32_t>(start_us % 1'000'000 * 1000));
  for (const size_t i : lane->sides) {
    sides_[i].next = sides_[i].durable + 1;
    AddOpenSide(i, open->add_sides());
  }
  lane->opened = lane->draining = lane->close_sent = false;
  lane->input_ended = lane->cancelled = false;
  lane->sending = true;
  lane->heard_us = now_us;
  lane->call = new LoadCall(shared_from_this(), *std::move(channel));
  lane->call->Start(&lane->request);
}

void StreamedSession::AddOpenSide(size_t index, api::v1::OpenSide* open) {
  const Recording::Side& recorded = context_.recording->sides()[index];
  Side& side = sides_[index];
  side.told_tracks = context_.recording->ItemOf(index, side.next).tracks;
  open->set_side(recorded.side);
  for (const api::v1::Track& track : recorded.tracks[side.told_tracks]) {
    *open->add_tracks() = track;
  }
}

int64_t StreamedSession::DueAt(size_t side) const {
  return zero_us_ + context_.recording->DueAt(side, sides_[side].next);
}

std::optional<size_t> StreamedSession::EarliestSide(const Lane& lane) const {
  std::optional<size_t> earliest;
  for (const size_t i : lane.sides) {
    if (sides_[i].next > sides_[i].final) continue;
    if (!earliest.has_value() || DueAt(i) < DueAt(*earliest)) earliest = i;
  }
  return earliest;
}

bool StreamedSession::NextRequest(Lane* lane, int64_t now_us,
                                  int64_t* wake_us) {
  if (TakeNotes(lane)) return true;
  if (EarliestSide(*lane).has_value()) {
    return TakePackets(lane, now_us, wake_us);
  }
  for (const size_t i : lane->sides) CompleteNotes(i);
  if (TakeNotes(lane)) return true;
  if (context_.close) {
    TakeClose(lane);
    return true;
  }
  const bool all_durable =
      std::all_of(lane->sides.begin(), lane->sides.end(),
                  [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                    return sides_[i].durable >= sides_[i].final;
                  });
  if (all_durable) {
    lane->done = true;
    Cancel(lane);
  }
  return false;
}

bool StreamedSession::TakeNotes(Lane* lane) {
  for (const size_t i : lane->sides) {
    Side& side = sides_[i];
    api::v1::Notes* notes = nullptr;
    while (side.notes_said < side.notes.size()) {
      const api::v1::Note& note = side.notes[side.notes_said++];
      // An archive that was restarted can't read which tags are in force.
      if (side.notes_said <= side.notes_durable && !note.has_tag()) continue;
      if (notes == nullptr) {
        notes = lane->request.mutable_notes();
        notes->Clear();
        notes->set_side(context_.recording->sides()[i].side);
      }
      *notes->add_notes() = note;
      notes->mutable_notes()->rbegin()->set_note_sequence(side.notes_said);
    }
    if (notes != nullptr) return true;
  }
  return false;
}

void StreamedSession::CompleteNotes(size_t index) {
  Side& side = sides_[index];
  if (side.notes_complete) return;
  side.notes_complete = true;
  const int64_t end_us =
      side.final == 0 ? 0 : context_.recording->DueAt(index, side.final);
  for (api::v1::Note note : plan_.notes_at_end[index]) {
    note.set_at_us(end_us);
    side.notes.push_back(std::move(note));
  }
}

bool StreamedSession::TakePackets(Lane* lane, int64_t now_us,
                                  int64_t* wake_us) {
  const std::optional<size_t> first = EarliestSide(*lane);
  const int64_t first_due_us = DueAt(*first);
  const int64_t batch_us = absl::ToInt64Microseconds(context_.batch);
  const int64_t send_us = context_.fast ? 0 : first_due_us + batch_us;
  if (now_us < send_us) {
    *wake_us = std::min(*wake_us, send_us);
    return false;
  }
  if (sides_[*first].told_tracks !=
      context_.recording->ItemOf(*first, sides_[*first].next).tracks) {
    api::v1::OpenSide* const side =
        lane->request.mutable_tracks_changed()->mutable_side();
    side->Clear();
    AddOpenSide(*first, side);
    return true;
  }
  api::v1::Packets* const packets = lane->request.mutable_packets();
  packets->Clear();
  std::vector<uint64_t> taken_new(sides_.size());
  size_t bytes = 0;
  Counts counts = {.messages_sent = 1};
  while (const std::optional<size_t> i = EarliestSide(*lane)) {
    Side& side = sides_[*i];
    const Recording::Item& item = context_.recording->ItemOf(*i, side.next);
    const int64_t due_us = DueAt(*i);
    if (due_us > first_due_us + batch_us ||
        (!context_.fast && due_us > now_us) ||
        item.tracks != side.told_tracks ||
        (bytes > 0 &&
         bytes + item.packet.payload().size() > limits::kBatchMax_bytes)) {
      break;
    }
    *packets->add_packets() = context_.recording->PacketAt(*i, side.next);
    bytes += item.packet.payload().size();
    if (side.next > side.sent) {
      side.sent = side.next;
      ++counts.packets_sent;
      ++taken_new[*i];
      counts.bytes_sent += item.packet.payload().size();
    } else {
      ++counts.packets_resent;
    }
    ++side.next;
  }
  for (const size_t i : lane->sides) {
    Side& side = sides_[i];
    if (taken_new[i] == 0 || side.timed.size() >= limits::kLoadTimedMessages) {
      continue;
    }
    side.timed.push_back({.last_sequence = side.sent,
                          .packets = taken_new[i],
                          .sent_us = now_us});
  }
  context_.report->Add(counts);
  return true;
}

void StreamedSession::TakeClose(Lane* lane) {
  api::v1::Close* const close = lane->request.mutable_close();
  close->Clear();
  for (const size_t i : lane->sides) {
    api::v1::CloseSide* const side = close->add_sides();
    side->set_side(context_.recording->sides()[i].side);
    side->set_final_sequence(sides_[i].final);
    side->set_final_note_sequence(sides_[i].notes.size());
  }
  close->set_more_sides_expected(
      std::any_of(lanes_.begin(), lanes_.end(),
                  [](const Lane& other) { return !other.ever_opened; }));
}

std::shared_ptr<LoadSession> LoadSession::Create(const LoadContext* context,
                                                 SessionPlan plan, size_t index,
                                                 absl::Duration length) {
  return std::make_shared<StreamedSession>(context, std::move(plan), index,
                                           length);
}

}  // namespace diptych::loadgen
