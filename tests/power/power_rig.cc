#include "tests/power/power_rig.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/session_opener.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::power {
namespace {

using api::v1::Side;

constexpr Side kResident = api::v1::SIDE_RESIDENT;
constexpr Side kClerk = api::v1::SIDE_CLERK;
constexpr uint64_t kBurst = 50;
constexpr int64_t kPacket_us = 20'000;
constexpr size_t kPayload_bytes = 160;
constexpr size_t kAttachment_bytes = 3000;
constexpr int kWorkers = 8;
// Small, so that volumes end while a session runs.
constexpr uint64_t kVolume_bytes = 12 << 10;
constexpr uint64_t kKeyVolume_bytes = 500;

api::v1::Note Tag(uint64_t number, int64_t at_us, const std::string& key,
                  const std::string& value) {
  api::v1::Note note;
  note.set_note_sequence(number);
  note.set_at_us(at_us);
  note.mutable_tag()->set_key(key);
  note.mutable_tag()->add_values(value);
  note.mutable_tag()->set_operation(api::v1::TAG_OPERATION_SET);
  return note;
}

std::vector<api::v1::Note> EventWithAttachment(uint64_t first) {
  api::v1::Note event;
  event.set_note_sequence(first);
  event.set_at_us(1000);
  event.mutable_event()->set_type("document_captured");
  event.mutable_event()->set_attachment_id(1);
  event.mutable_event()->set_attachment_bytes(kAttachment_bytes);
  event.mutable_event()->set_attachment_media_type("image/png");
  api::v1::Note part;
  part.set_note_sequence(first + 1);
  part.set_at_us(1000);
  part.mutable_attachment_part()->set_attachment_id(1);
  part.mutable_attachment_part()->set_data(std::string(kAttachment_bytes, 'p'));
  return {event, part};
}

api::v1::Open MakeOpen(const Plan& plan, const std::vector<Side>& sides) {
  api::v1::Open open;
  open.set_session_id(plan.id.ToString());
  for (const Side side : sides) {
    api::v1::OpenSide* added = open.add_sides();
    added->set_side(side);
    api::v1::Track* track = added->add_tracks();
    track->set_track_id(side);
    track->set_side(side);
    track->set_source(api::v1::SOURCE_MICROPHONE);
    track->set_codec(api::v1::CODEC_G711_ALAW);
    track->set_sample_rate_hz(8000);
    track->set_channels(1);
  }
  return open;
}

api::v1::Packet MakePacket(const Plan& plan, Side side, uint64_t sequence) {
  api::v1::Packet packet;
  packet.set_track_id(side);
  packet.set_sequence(sequence);
  packet.set_pts_us(static_cast<int64_t>(sequence - 1) * kPacket_us);
  packet.set_dts_us(packet.pts_us());
  packet.set_duration_us(kPacket_us);
  packet.set_key_frame(true);
  packet.set_payload(Script::Payload(plan, side, sequence));
  return packet;
}

// Which notes go out ahead of a burst: the last one of a side in mid-session.
uint64_t NotesUntil(const std::vector<api::v1::Note>& notes, size_t burst) {
  return burst == 0 && notes.size() > 1 ? notes.size() - 1 : notes.size();
}

struct OpenStream {
  size_t plan = 0;
  std::vector<Side> sides;
  std::shared_ptr<Sink> sink = std::make_shared<Sink>();
  std::shared_ptr<ingest::Session> session;
  std::map<Side, uint64_t> sent;
};

class Driver {
 public:
  Driver(const Script& script, Writer* writer, base::FakeClock* clock,
         std::vector<Promised>* promised)
      : script_(script), writer_(writer), clock_(clock), promised_(promised) {}

  bool Run(const std::function<void(size_t)>& before_burst) {
    const bool through = Try(before_burst);
    for (const OpenStream& stream : streams_) Note(stream);
    return through;
  }

 private:
  bool Try(const std::function<void(size_t)>& before_burst) {
    for (size_t i = 0; i < script_.plans.size(); ++i) {
      if (!OpenStreams(i)) return false;
    }
    size_t bursts = 1;
    for (const Plan& plan : script_.plans) {
      bursts = std::max<size_t>(bursts, plan.packets / kBurst);
    }
    for (size_t burst = 0; burst < bursts; ++burst) {
      if (before_burst) before_burst(burst);
      for (OpenStream& stream : streams_) {
        if (!SendNotes(stream, burst) || !SendBurst(stream, burst)) {
          return false;
        }
      }
      clock_->Advance(absl::Milliseconds(1100));
      for (OpenStream& stream : streams_) stream.session->Tick();
      for (OpenStream& stream : streams_) {
        for (const Side side : stream.sides) {
          const auto& notes = NotesOf(stream, side);
          if (!stream.sink->WaitDurable(side, stream.sent[side],
                                        NotesUntil(notes, burst))) {
            return false;
          }
        }
      }
    }
    return Close();
  }

  const std::vector<api::v1::Note>& NotesOf(const OpenStream& stream,
                                            Side side) {
    static const std::vector<api::v1::Note> none;
    const auto& notes = script_.plans[stream.plan].notes;
    const auto found = notes.find(side);
    return found == notes.end() ? none : found->second;
  }

  bool OpenStreams(size_t index) {
    const Plan& plan = script_.plans[index];
    Promised& promised = (*promised_)[index];
    if (promised.receipt.has_value()) return true;
    for (const std::vector<Side>& sides : plan.streams) {
      OpenStream stream;
      stream.plan = index;
      stream.sides = sides;
      auto opened = writer_->registry()->Open(stream.sink,
                                              MakeOpen(plan, sides), "gateway");
      if (!opened.ok()) return false;
      if (auto* receipt = std::get_if<api::v1::Receipt>(&*opened)) {
        promised.receipt = std::move(*receipt);
        return true;
      }
      stream.session = std::get<std::shared_ptr<ingest::Session>>(*opened);
      api::v1::Opened answer;
      if (!stream.sink->WaitOpened(&answer)) return false;
      for (const api::v1::SideProgress& side : answer.progress()) {
        stream.sent[side.side()] = side.sequence();
      }
      streams_.push_back(std::move(stream));
    }
    return true;
  }

  bool SendNotes(OpenStream& stream, size_t burst) {
    for (const Side side : stream.sides) {
      const auto& notes = NotesOf(stream, side);
      api::v1::Notes message;
      message.set_side(side);
      // From the first on: what is known is acknowledged again.
      for (size_t i = 0; i < NotesUntil(notes, burst); ++i) {
        *message.add_notes() = notes[i];
      }
      if (message.notes_size() == 0) continue;
      if (!stream.session->OnNotes(stream.sink, message).ok()) return false;
    }
    return true;
  }

  bool SendBurst(OpenStream& stream, size_t burst) {
    const Plan& plan = script_.plans[stream.plan];
    for (const Side side : stream.sides) {
      const uint64_t until = std::min((burst + 1) * kBurst, plan.packets);
      while (stream.sent[side] < until) {
        if (!stream.session
                 ->OnPacket(stream.sink,
                            MakePacket(plan, side, stream.sent[side] + 1))
                 .ok()) {
          return false;
        }
        ++stream.sent[side];
      }
    }
    return true;
  }

  bool Close() {
    for (OpenStream& stream : streams_) {
      api::v1::Close close;
      for (const Side side : stream.sides) {
        api::v1::CloseSide* end = close.add_sides();
        end->set_side(side);
        end->set_final_sequence(script_.plans[stream.plan].packets);
        end->set_final_note_sequence(NotesOf(stream, side).size());
      }
      if (!stream.session->OnClose(stream.sink, close, {}).ok()) return false;
    }
    bool through = true;
    for (OpenStream& stream : streams_) {
      through = stream.sink->WaitEnd() && through;
      through = through && stream.sink->receipt().has_value();
    }
    return through;
  }

  void Note(const OpenStream& stream) {
    Promised& promised = (*promised_)[stream.plan];
    for (const auto& [side, progress] : stream.sink->durable()) {
      promised.packets[side] =
          std::max(promised.packets[side], progress.sequence());
      promised.notes[side] =
          std::max(promised.notes[side], progress.note_sequence());
    }
    if (auto receipt = stream.sink->receipt()) promised.receipt = receipt;
  }

  const Script& script_;
  Writer* const writer_;
  base::FakeClock* const clock_;
  std::vector<Promised>* const promised_;
  std::vector<OpenStream> streams_;
};

}  // namespace

std::vector<Side> Plan::Sides() const {
  std::vector<Side> sides;
  for (const auto& stream : streams) {
    sides.insert(sides.end(), stream.begin(), stream.end());
  }
  return sides;
}

Script::Script() {
  archive.set_archive_id(std::string(archive_id.bytes()));
  archive.set_suite(1);
  stored::v1::Recipient* recipient = archive.add_recipients();
  recipient->set_name("audit");
  recipient->set_public_key(audit.public_key);
  recipient->add_classes(stored::v1::KEY_CLASS_MEDIA);
  recipient->add_classes(stored::v1::KEY_CLASS_METADATA);

  // Both sides on one stream, tags that change in mid-session, a document.
  Plan both = {base::Uuid::Random(), {{kResident, kClerk}}, 5 * kBurst, {}};
  both.notes[kResident] = EventWithAttachment(1);
  both.notes[kResident].push_back(Tag(3, 1'500'000, "item", "0500"));
  both.notes[kClerk] = {Tag(1, 0, "clerk", "C0231"),
                        Tag(2, 1'400'000, "clerk", "C0232")};
  plans.push_back(std::move(both));
  // A stream for each side.
  Plan apart = {base::Uuid::Random(), {{kResident}, {kClerk}}, 3 * kBurst, {}};
  apart.notes[kClerk] = {Tag(1, 0, "item", "0417")};
  plans.push_back(std::move(apart));
  // Announced, and then nobody came.
  Plan announced = {base::Uuid::Random(), {{kResident}}, 0, {}};
  announced.notes[kResident] = {Tag(1, 0, "ticket", "A052")};
  plans.push_back(std::move(announced));
}

std::string Script::Payload(const Plan& plan, Side side, uint64_t sequence) {
  std::string payload(kPayload_bytes, '\0');
  const std::string seed =
      absl::StrCat(plan.id.ToString(), "/", side, "/", sequence, ";");
  for (size_t i = 0; i < payload.size(); ++i) {
    payload[i] = seed[i % seed.size()];
  }
  return payload;
}

absl::StatusOr<std::unique_ptr<Writer>> Writer::Start(
    const Script* script, base::FaultyFileSystem* files,
    base::FakeClock* clock) {
  auto writer = absl::WrapUnique(new Writer);
  const auto open = [&](const std::string& folder, const std::string& store,
                        uint64_t volume_max_bytes) {
    log::RecoveryReport report;
    return log::OpenLocalLogStore(files, clock,
                                  {.directory = "/archive/" + folder,
                                   .lost_and_found = "/archive/lost+found",
                                   .archive_id = script->archive_id,
                                   .store = store,
                                   .volume_max_bytes = volume_max_bytes},
                                  &report);
  };
  ASSIGN_OR_RETURN(writer->keys_, open("keystore", "keys", kKeyVolume_bytes));
  ASSIGN_OR_RETURN(writer->log_, open("volumes", "log", kVolume_bytes));
  writer->reader_ = std::make_unique<log::LogReader>(files, "/archive/volumes");
  uint64_t skipped = 0;
  ASSIGN_OR_RETURN(log::OpenSessions sessions,
                   log::RecoverOpenSessions(*writer->reader_, &skipped));
  if (skipped > 0) {
    return absl::InternalError(
        absl::StrCat(skipped, " records do not fit the log"));
  }
  writer->registry_ =
      std::make_unique<ingest::SessionRegistry>(std::move(sessions));
  ingest::SessionRegistry* const registry = writer->registry_.get();
  const auto on_unhealthy = [self = writer.get()](const absl::Status&) {
    self->SayUnwell();
  };
  writer->key_committer_ = std::make_unique<log::Committer>(
      writer->keys_.get(), log::Committer::Hooks{.on_unhealthy = on_unhealthy},
      clock);
  writer->committer_ = std::make_unique<log::Committer>(
      writer->log_.get(),
      log::Committer::Hooks{
          .snapshot = [registry] { return registry->MakeSnapshot(); },
          .on_record =
              [registry](const log::Record& record, log::Position position) {
                registry->OnRecord(record, position);
              },
          .on_unhealthy = on_unhealthy},
      clock);
  writer->context_.archive = &script->archive;
  writer->context_.clock = clock;
  writer->context_.log = writer->committer_.get();
  writer->context_.key_store = writer->key_committer_.get();
  RETURN_IF_ERROR(registry->Start(&writer->context_, *writer->reader_));
  return writer;
}

Writer::~Writer() {
  if (registry_ != nullptr) registry_->StopTicking();
  key_committer_.reset();
  committer_.reset();
}

absl::Status Writer::health() const {
  RETURN_IF_ERROR(committer_->health());
  return key_committer_->health();
}

void Writer::SayUnwell() {
  base::MutexLock lock(&mutex_);
  unwell_ = true;
  unwell_changed_.NotifyAll();
}

bool Writer::WaitUnwell(absl::Duration timeout) {
  base::MutexLock lock(&mutex_);
  while (!unwell_) {
    if (!unwell_changed_.WaitWithTimeout(&mutex_, timeout)) return false;
  }
  return true;
}

void Sink::Send(api::v1::RecordResponse response) {
  base::MutexLock lock(&mutex_);
  if (response.has_opened()) {
    opened_ = response.opened();
    for (const api::v1::SideProgress& side : opened_->progress()) {
      durable_[side.side()] = side;
    }
  }
  if (response.has_receipt()) receipt_ = response.receipt();
  changed_.NotifyAll();
}

void Sink::SendDurable(const api::v1::SideProgress& progress) {
  base::MutexLock lock(&mutex_);
  durable_[progress.side()] = progress;
  changed_.NotifyAll();
}

void Sink::FailSide(Side, const absl::Status& status) { Finish(status); }

void Sink::Finish(const absl::Status&) {
  base::MutexLock lock(&mutex_);
  ended_ = true;
  changed_.NotifyAll();
}

bool Sink::Wait(const std::function<bool()>& done) {
  while (!done()) {
    if (ended_) return false;
    if (!changed_.WaitWithTimeout(&mutex_, kPatience)) return false;
  }
  return true;
}

bool Sink::WaitOpened(api::v1::Opened* opened) {
  base::MutexLock lock(&mutex_);
  if (!Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return opened_.has_value();
      })) {
    return false;
  }
  *opened = *opened_;
  return true;
}

bool Sink::WaitDurable(Side side, uint64_t packets, uint64_t notes) {
  base::MutexLock lock(&mutex_);
  return Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return durable_[side].sequence() >= packets &&
           durable_[side].note_sequence() >= notes;
  });
}

bool Sink::WaitEnd() {
  base::MutexLock lock(&mutex_);
  return Wait([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; });
}

std::map<Side, api::v1::SideProgress> Sink::durable() {
  base::MutexLock lock(&mutex_);
  return durable_;
}

std::optional<api::v1::Receipt> Sink::receipt() {
  base::MutexLock lock(&mutex_);
  return receipt_;
}

bool Drive(const Script& script, Writer* writer, base::FakeClock* clock,
           std::vector<Promised>* promised,
           const std::function<void(size_t)>& before_burst) {
  promised->resize(script.plans.size());
  return Driver(script, writer, clock, promised).Run(before_burst);
}

void InParallel(uint64_t count, const std::function<void(uint64_t)>& each) {
  std::atomic<uint64_t> next = 0;
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&] {
      for (uint64_t n = next++; n < count; n = next++) each(n);
    });
  }
  for (std::thread& worker : workers) worker.join();
}

}  // namespace diptych::power
