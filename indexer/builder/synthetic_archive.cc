#include "indexer/builder/synthetic_archive.h"

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/unsynced_file.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_positions.h"
#include "archiver/seal/rewrap.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;
using stored::v1::KEY_CLASS_MEDIA;
using stored::v1::KEY_CLASS_METADATA;

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << std::endl;
    std::abort();
  }
  return *std::move(value);
}

std::unique_ptr<log::LogStore> OpenStore(base::FileSystem* files,
                                         const std::string& directory,
                                         const std::string& name,
                                         const base::Uuid& archive_id,
                                         const std::string& store,
                                         uint64_t volume_max_bytes) {
  log::LocalLogStoreOptions options;
  options.directory = absl::StrCat(directory, "/", name);
  options.lost_and_found = absl::StrCat(directory, "/lost+found");
  options.archive_id = archive_id;
  options.store = store;
  options.volume_max_bytes = volume_max_bytes;
  log::RecoveryReport report;
  return Must(
      log::OpenLocalLogStore(files, base::Clock::Real(), options, &report));
}

}  // namespace

SyntheticArchive::SyntheticArchive(const std::string& directory,
                                   uint64_t volume_max_bytes)
    : directory_(directory),
      archive_id_(base::Uuid::Random()),
      index_key_(seal::KeyPair::Generate("index")),
      audit_key_(seal::KeyPair::Generate("audit")),
      index_keys_(seal::IndexKeys::Derive(index_key_)),
      files_(base::NewUnsyncedFileSystem()),
      log_reader_(base::FileSystem::Real(),
                  absl::StrCat(directory, "/volumes")),
      key_reader_(base::FileSystem::Real(),
                  absl::StrCat(directory, "/keystore")) {
  config_.set_archive_id(std::string(archive_id_.bytes()));
  config_.set_suite(seal::kSuite1);
  for (const seal::KeyPair* key : {&index_key_, &audit_key_}) {
    auto* recipient = config_.add_recipients();
    recipient->set_name(key->name);
    recipient->set_public_key(key->public_key);
    recipient->add_classes(KEY_CLASS_METADATA);
    if (key == &audit_key_) recipient->add_classes(KEY_CLASS_MEDIA);
  }
  log_ = OpenStore(files_.get(), directory, "volumes", archive_id_, "log",
                   volume_max_bytes);
  key_store_ = OpenStore(files_.get(), directory, "keystore", archive_id_,
                         "keys", volume_max_bytes);
}

SyntheticArchive::~SyntheticArchive() = default;

std::vector<seal::KeyPair> SyntheticArchive::RecipientKeys() const {
  std::vector<seal::KeyPair> keys;
  keys.push_back(index_key_.Clone());
  return keys;
}

log::Position SyntheticArchive::Append(RecordType type, std::string header,
                                       std::string body) {
  const log::Record record = {type, std::move(header), std::move(body)};
  return Must(log_->Append({&record, 1})).front();
}

base::Uuid SyntheticArchive::Open(int64_t start_time_us) {
  const base::Uuid id = base::Uuid::Random();
  OpenAs(id, start_time_us);
  return id;
}

void SyntheticArchive::OpenAs(const base::Uuid& id, int64_t start_time_us) {
  Session& session = sessions_[id];
  session.start_time_us = start_time_us;
  WriteOpening(id, &session, false);
}

void SyntheticArchive::Resume(const base::Uuid& id) {
  Session& session = At(id);
  ++session.epoch;
  WriteOpening(id, &session, true);
}

void SyntheticArchive::WriteOpening(const base::Uuid& id, Session* session,
                                    bool resumed) {
  session->sealer =
      std::make_unique<seal::SessionSealer>(Must(seal::SessionSealer::Create(
          config_, id, session->epoch, session->segment)));
  const stored::v1::KeyWraps& wraps = session->sealer->wraps();
  stored::v1::KeyWraps header;
  header.set_session_id(wraps.session_id());
  header.set_epoch(wraps.epoch());
  const log::Record record = {RecordType::kKeyWraps, header.SerializeAsString(),
                              wraps.SerializeAsString()};
  const log::Position key_position =
      Must(key_store_->Append({&record, 1})).front();
  stored::v1::SessionOpened opened;
  opened.set_session_id(std::string(id.bytes()));
  opened.set_epoch(session->epoch);
  opened.set_start_time_us(session->start_time_us);
  opened.set_record_time_us(record_time_us_++);
  opened.set_key_position(key_position);
  opened.set_resumed(resumed);
  Append(RecordType::kSessionOpened, opened.SerializeAsString(), "");
}

void SyntheticArchive::RotateIndexKey(const seal::KeyPair& fresh) {
  auto* const recipient = config_.add_recipients();
  *recipient = config_.recipients(0);
  recipient->set_public_key(fresh.public_key);
  config_.mutable_recipients(0)->set_retired(true);
  const auto positions = Must(
      seal::KeyPositions::Scan(log_reader_, seal::KeyPositions::Which::kAll));
  stored::v1::KeysChanged changed;
  for (const auto& [epoch, position] : positions.epochs()) {
    stored::v1::KeyWraps wraps;
    wraps.ParseFromString(Must(key_reader_.Read(position)).body);
    const log::Record record = {
        RecordType::kKeyWraps, "",
        Must(seal::Rewrap(config_, wraps, index_key_)).SerializeAsString()};
    stored::v1::Rewrap* const rewrap = changed.add_rewraps();
    rewrap->set_session_id(wraps.session_id());
    rewrap->set_epoch(wraps.epoch());
    rewrap->set_key_position(Must(key_store_->Append({&record, 1})).front());
  }
  Append(RecordType::kKeysChanged, changed.SerializeAsString(), "");
}

void SyntheticArchive::Span(const base::Uuid& id, uint32_t span,
                            const stored::v1::SpanDescription& description) {
  Session& session = At(id);
  stored::v1::SpanStarted started;
  started.set_session_id(std::string(id.bytes()));
  started.set_epoch(session.epoch);
  started.set_segment(session.segment);
  started.set_span(span);
  const std::string header = started.SerializeAsString();
  Append(RecordType::kSpanStarted, header,
         session.sealer->Seal(KEY_CLASS_METADATA, RecordType::kSpanStarted,
                              header, description.SerializeAsString()));
}

void SyntheticArchive::Notes(const base::Uuid& id, stored::v1::Side side,
                             std::vector<stored::v1::Note> notes) {
  Session& session = At(id);
  for (auto& note : notes) note.set_note(++session.next_note[side]);
  NumberedNotes(id, side, notes);
}

void SyntheticArchive::NumberedNotes(
    const base::Uuid& id, stored::v1::Side side,
    const std::vector<stored::v1::Note>& notes) {
  Session& session = At(id);
  stored::v1::Notes header_message;
  header_message.set_session_id(std::string(id.bytes()));
  header_message.set_epoch(session.epoch);
  header_message.set_segment(session.segment);
  header_message.set_side(side);
  header_message.set_first_note(notes.front().note());
  header_message.set_last_note(notes.back().note());
  header_message.set_record_time_us(record_time_us_++);
  stored::v1::NoteList list;
  for (const auto& note : notes) *list.add_notes() = note;
  const std::string header = header_message.SerializeAsString();
  Append(RecordType::kNotes, header,
         session.sealer->Seal(KEY_CLASS_METADATA, RecordType::kNotes, header,
                              list.SerializeAsString()));
}

void SyntheticArchive::UnopenableNotes(const base::Uuid& id,
                                       stored::v1::Side side) {
  Session& session = At(id);
  stored::v1::Notes notes;
  notes.set_session_id(std::string(id.bytes()));
  notes.set_epoch(session.epoch);
  notes.set_segment(session.segment);
  notes.set_side(side);
  notes.set_first_note(++session.next_note[side]);
  notes.set_last_note(notes.first_note());
  Append(RecordType::kNotes, notes.SerializeAsString(), std::string(64, 'x'));
}

void SyntheticArchive::Tag(const base::Uuid& id, const std::string& key,
                           const std::vector<std::string>& values,
                           int64_t at_us, uint32_t operation) {
  Notes(id, stored::v1::SIDE_CLERK, {TagNote(key, values, at_us, operation)});
}

void SyntheticArchive::Event(const base::Uuid& id, const std::string& type,
                             int64_t at_us) {
  Notes(id, stored::v1::SIDE_CLERK, {EventNote(type, at_us)});
}

void SyntheticArchive::AttachmentPart(const base::Uuid& id,
                                      uint32_t attachment_id, uint64_t offset) {
  Session& session = At(id);
  stored::v1::AttachmentPart part;
  part.set_session_id(std::string(id.bytes()));
  part.set_epoch(session.epoch);
  part.set_segment(session.segment);
  part.set_side(stored::v1::SIDE_CLERK);
  part.set_note(++session.next_note[stored::v1::SIDE_CLERK]);
  part.set_attachment_id(attachment_id);
  part.set_offset(offset);
  const std::string header = part.SerializeAsString();
  Append(RecordType::kAttachmentPart, header,
         session.sealer->Seal(KEY_CLASS_MEDIA, RecordType::kAttachmentPart,
                              header, "image"));
}

void SyntheticArchive::Chunk(const base::Uuid& id, int64_t from_us,
                             int64_t to_us,
                             const std::vector<stored::v1::Side>& sides,
                             const std::vector<stored::v1::Gap>& gaps) {
  Session& session = At(id);
  stored::v1::Chunk chunk;
  chunk.set_suite(seal::kSuite1);
  chunk.set_session_id(std::string(id.bytes()));
  chunk.set_epoch(session.epoch);
  chunk.set_segment(session.segment);
  chunk.set_chunk(session.chunk++);
  chunk.set_start_us(from_us);
  chunk.set_end_us(to_us);
  chunk.set_window_start_us(from_us);
  chunk.set_window_end_us(to_us);
  chunk.set_record_time_us(record_time_us_++);
  for (const stored::v1::Side side : sides) {
    auto* from = chunk.add_sides();
    from->set_side(side);
    from->set_first_sequence(session.next_packet[side] + 1);
    session.next_packet[side] += 10;
    from->set_last_sequence(session.next_packet[side]);
    from->set_payload_bytes(1000);
    from->set_start_us(from_us);
    from->set_end_us(to_us);
    auto& totals = session.totals[side];
    if (totals.packets() == 0) totals.set_start_us(from_us);
    totals.set_side(side);
    totals.set_packets(totals.packets() + 10);
    totals.set_last_sequence(session.next_packet[side]);
    totals.set_payload_bytes(totals.payload_bytes() + 1000);
    totals.set_end_us(to_us);
  }
  for (const auto& gap : gaps) *chunk.add_gaps() = gap;
  auto* key_frame = chunk.add_key_frames();
  key_frame->set_track_id(1);
  key_frame->set_pts_us(from_us);
  const std::string header = chunk.SerializeAsString();
  const std::string body = session.sealer->Seal(
      KEY_CLASS_MEDIA, RecordType::kChunk, header, "media");
  Append(RecordType::kChunk, header, body);
  stored::v1::Segment& manifest = session.manifest;
  if (manifest.chunks().empty()) {
    manifest.set_window_start_us(from_us);
    manifest.set_start_us(from_us);
  }
  manifest.set_window_end_us(to_us);
  manifest.set_end_us(to_us);
  auto* listed = manifest.add_chunks();
  listed->set_chunk(chunk.chunk());
  listed->set_digest(evidence::RecordDigest(RecordType::kChunk, header, body));
}

void SyntheticArchive::Manifest(
    const base::Uuid& id,
    const std::vector<uint32_t>& tracks_without_key_frame) {
  Session& session = At(id);
  stored::v1::Segment& manifest = session.manifest;
  manifest.set_session_id(std::string(id.bytes()));
  manifest.set_epoch(session.epoch);
  manifest.set_segment(session.segment++);
  for (const uint32_t track : tracks_without_key_frame) {
    manifest.add_tracks_without_key_frame(track);
  }
  manifest.set_record_time_us(record_time_us_++);
  Append(RecordType::kSegment, manifest.SerializeAsString(), "");
  manifest.Clear();
  session.sealer->NextSegment();
}

void SyntheticArchive::Segment(const base::Uuid& id, int64_t from_us,
                               int64_t to_us) {
  Chunk(id, from_us, to_us);
  Manifest(id);
}

void SyntheticArchive::StateChanged(const base::Uuid& id,
                                    stored::v1::StateChanged changed) {
  changed.set_session_id(std::string(id.bytes()));
  changed.set_epoch(At(id).epoch);
  changed.set_record_time_us(record_time_us_++);
  Append(RecordType::kStateChanged, changed.SerializeAsString(), "");
}

void SyntheticArchive::ClockChanged(const base::Uuid& id,
                                    stored::v1::ClockChanged changed) {
  changed.set_session_id(std::string(id.bytes()));
  changed.set_epoch(At(id).epoch);
  changed.set_record_time_us(record_time_us_++);
  Append(RecordType::kClockChanged, changed.SerializeAsString(), "");
}

void SyntheticArchive::Close(const base::Uuid& id,
                             stored::v1::CloseReason reason,
                             const std::vector<stored::v1::Gap>& gaps) {
  Session& session = At(id);
  stored::v1::SessionClosed closed;
  closed.set_session_id(std::string(id.bytes()));
  closed.set_epoch(session.epoch);
  closed.set_reason(reason);
  closed.set_record_time_us(record_time_us_++);
  for (const auto& [side, totals] : session.totals) {
    *closed.add_sides() = totals;
  }
  closed.set_segments(session.segment);
  for (const auto& gap : gaps) *closed.add_gaps() = gap;
  Append(RecordType::kSessionClosed, closed.SerializeAsString(), "");
}

stored::v1::Note TagNote(const std::string& key,
                         const std::vector<std::string>& values, int64_t at_us,
                         uint32_t operation) {
  stored::v1::Note note;
  note.set_at_us(at_us);
  note.mutable_tag()->set_key(key);
  for (const std::string& value : values) note.mutable_tag()->add_values(value);
  note.mutable_tag()->set_operation(operation);
  return note;
}

stored::v1::Note EventNote(const std::string& type, int64_t at_us) {
  stored::v1::Note note;
  note.set_at_us(at_us);
  note.mutable_event()->set_type(type);
  return note;
}

}  // namespace diptych::indexer
