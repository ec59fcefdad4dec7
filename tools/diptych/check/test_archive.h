#ifndef TOOLS_DIPTYCH_CHECK_TEST_ARCHIVE_H_
#define TOOLS_DIPTYCH_CHECK_TEST_ARCHIVE_H_

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/evidence/publisher.h"
#include "archiver/evidence/segment_tracks.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/session_sealer.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/archive_checker.h"
#include "tools/diptych/check/store_report.h"

namespace diptych::check {

inline constexpr uint32_t kResidentTrack = 1;
inline constexpr uint32_t kClerkTrack = 2;

// One Matroska cluster with a SimpleBlock a packet, as small as it can be.
inline std::string Cluster(
    const std::vector<std::pair<uint32_t, std::string>>& packets) {
  std::string content("\xE7\x81\x00", 3);
  for (const auto& [track, payload] : packets) {
    content += '\xA3';
    content += static_cast<char>(0x80 | (payload.size() + 4));
    content += static_cast<char>(0x80 | track);
    content += std::string("\x00\x00\x80", 3);
    content += payload;
  }
  return absl::StrCat(
      "\x1F\x43\xB6\x75",
      std::string(1, static_cast<char>(0x40 | (content.size() >> 8))),
      std::string(1, static_cast<char>(content.size() & 0xFF)), content);
}

// Where a test may change what is about to be stored.
struct Hooks {
  std::function<void(stored::v1::SessionOpened*)> opened;
  std::function<void(stored::v1::SpanStarted*)> span;
  std::function<void(stored::v1::Chunk*)> chunk;
  std::function<void(std::vector<media::PacketInfo>*)> packets;
  std::function<void(stored::v1::Notes*)> notes;
  std::function<void(stored::v1::NoteList*)> note_list;
  std::function<void(stored::v1::SourceDigest*)> source;
  std::function<void(stored::v1::Segment*)> segment;
  std::function<void(stored::v1::SessionClosed*)> closed;
  // Records before the second chunk.
  std::function<void(std::vector<log::Record>*)> more;
};

template <typename Message>
void Call(const std::function<void(Message*)>& hook, Message* message) {
  if (hook) hook(message);
}

// A small archive in a folder of the test's own, and what a check finds in it.
class TestArchive : public testing::Test {
 protected:
  using Record = log::Record;
  using RecordType = log::RecordType;

  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = absl::StrCat(std::getenv("TEST_TMPDIR"), "/", info->name());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    config_.set_archive_id(std::string(archive_id_.bytes()));
    config_.set_suite(seal::kSuite1);
    for (const char* name : {"index", "audit"}) {
      seal::KeyPair key = seal::KeyPair::Generate(name);
      auto* recipient = config_.add_recipients();
      recipient->set_name(name);
      recipient->set_public_key(key.public_key);
      recipient->add_classes(stored::v1::KEY_CLASS_METADATA);
      if (key.name == "audit") {
        recipient->add_classes(stored::v1::KEY_CLASS_MEDIA);
      }
      keys_.push_back(std::move(key));
    }
    const std::string uuid = archive_id_.ToString();
    config_.mutable_log_key()->set_name(evidence::LogOrigin(uuid));
    config_.mutable_log_key()->set_public_key(log_key_.public_key());
    auto* source = config_.add_sources();
    source->set_name(evidence::SourceName(uuid, "gateway"));
    source->set_public_key(source_key_.public_key());
    ASSERT_TRUE(seal::WriteArchiveConfig(dir_, config_).ok());
    log_ = OpenStore("volumes", "log");
    key_store_ = OpenStore("keystore", "keys");
  }

  std::unique_ptr<log::LogStore> OpenStore(const std::string& folder,
                                           const std::string& name,
                                           uint64_t volume_bytes = 1 << 20) {
    log::RecoveryReport report;
    auto store = log::OpenLocalLogStore(
        base::FileSystem::Real(), base::Clock::Real(),
        {.directory = absl::StrCat(dir_, "/", folder),
         .lost_and_found = absl::StrCat(dir_, "/lost+found"),
         .archive_id = archive_id_,
         .store = name,
         .volume_max_bytes = volume_bytes},
        &report);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  // The records of one short session: two notes, three chunks in two segments,
  // a part of an attachment, the end.
  std::vector<Record> MakeSession(const base::Uuid& id, const Hooks& hooks) {
    std::vector<Record> records;
    auto sealer = seal::SessionSealer::Create(config_, id, 1, 0);
    EXPECT_TRUE(sealer.ok()) << sealer.status();
    stored::v1::KeyWraps key_header;
    key_header.set_session_id(sealer->wraps().session_id());
    key_header.set_epoch(sealer->wraps().epoch());
    const Record wraps = {RecordType::kKeyWraps, key_header.SerializeAsString(),
                          sealer->wraps().SerializeAsString()};
    const auto key_position = key_store_->Append({wraps});
    EXPECT_TRUE(key_position.ok());

    stored::v1::SessionOpened opened;
    opened.set_session_id(std::string(id.bytes()));
    opened.set_epoch(1);
    opened.set_start_time_us(1'700'000'000'000'000);
    opened.set_key_position(key_position->front());
    opened.set_key_wraps_digest(
        evidence::RecordDigest(wraps.type, wraps.header, wraps.body));
    Call(hooks.opened, &opened);
    records.push_back(
        {RecordType::kSessionOpened, opened.SerializeAsString(), ""});

    // Where the records begin that no manifest names yet.
    size_t unnamed = 0;
    const auto name_records = [&](auto* message) {
      for (; unnamed < records.size(); ++unnamed) {
        const Record& record = records[unnamed];
        if (record.type == RecordType::kChunk ||
            record.type == RecordType::kSegment) {
          continue;
        }
        message->add_records(
            evidence::RecordDigest(record.type, record.header, record.body));
      }
    };
    stored::v1::SpanStarted span;
    span.set_session_id(opened.session_id());
    span.set_epoch(1);
    stored::v1::SpanDescription description;
    for (const auto& [track_id, side] :
         {std::pair{kResidentTrack, stored::v1::SIDE_RESIDENT},
          std::pair{kClerkTrack, stored::v1::SIDE_CLERK}}) {
      auto* track = description.add_tracks();
      track->set_track_id(track_id);
      track->set_side(side);
    }
    description.set_container_header("header");
    span.set_commitment(evidence::SpanCommitment(
        sealer->SaltOf(stored::v1::KEY_CLASS_METADATA, seal::SaltKind::kSpan,
                       0),
        opened.session_id(), 0, description.SerializeAsString()));
    Call(hooks.span, &span);
    records.push_back(Sealed(&*sealer, stored::v1::KEY_CLASS_METADATA,
                             RecordType::kSpanStarted, span,
                             description.SerializeAsString()));

    stored::v1::Notes notes;
    notes.set_session_id(opened.session_id());
    notes.set_epoch(1);
    notes.set_side(stored::v1::SIDE_RESIDENT);
    notes.set_first_note(1);
    notes.set_last_note(2);
    stored::v1::NoteList list;
    list.add_notes()->set_note(1);
    list.add_notes()->set_note(2);
    Call(hooks.note_list, &list);
    for (const stored::v1::Note& note : list.notes()) {
      notes.add_commitments(evidence::NoteCommitment(
          sealer->SaltOf(stored::v1::KEY_CLASS_METADATA, seal::SaltKind::kNote,
                         seal::NoteSaltId(1, note.note())),
          opened.session_id(), 1, note.note(), note.SerializeAsString()));
    }
    Call(hooks.notes, &notes);
    records.push_back(Sealed(&*sealer, stored::v1::KEY_CLASS_METADATA,
                             RecordType::kNotes, notes,
                             list.SerializeAsString()));

    std::string manifest;
    stored::v1::Segment segment;
    evidence::SegmentTracks tracks;
    const auto chunk = [&](uint32_t number, uint64_t resident_first,
                           uint64_t resident_last, uint64_t clerk_last) {
      records.push_back(MakeChunk(opened.session_id(), hooks, &*sealer, number,
                                  resident_first, resident_last, clerk_last));
      stored::v1::Chunk header;
      EXPECT_TRUE(header.ParseFromString(records.back().header));
      tracks.Add(header);
      stored::v1::SegmentChunk* listed = segment.add_chunks();
      listed->set_chunk(number);
      listed->set_digest(evidence::RecordDigest(
          records.back().type, records.back().header, records.back().body));
    };
    const auto end_segment = [&] {
      segment.set_session_id(opened.session_id());
      segment.set_epoch(1);
      segment.set_segment(sealer->segment());
      segment.set_previous_manifest_sha256(manifest);
      tracks.WriteTo(&segment);
      tracks.Clear();
      name_records(&segment);
      Call(hooks.segment, &segment);
      records.push_back(
          {RecordType::kSegment, segment.SerializeAsString(), ""});
      manifest = evidence::ManifestHash(records.back().header);
      segment.Clear();
      sealer->NextSegment();
    };
    chunk(0, 1, 3, 0);
    Call(hooks.more, &records);
    chunk(1, 4, 5, 2);
    stored::v1::AttachmentPart part;
    part.set_session_id(opened.session_id());
    part.set_epoch(1);
    part.set_side(stored::v1::SIDE_RESIDENT);
    part.set_note(3);
    part.set_attachment_id(1);
    part.set_commitment(evidence::PartCommitment(
        sealer->SaltOf(stored::v1::KEY_CLASS_MEDIA,
                       seal::SaltKind::kAttachmentPart, seal::NoteSaltId(1, 3)),
        opened.session_id(), 1, 0, "an image"));
    records.push_back(Sealed(&*sealer, stored::v1::KEY_CLASS_MEDIA,
                             RecordType::kAttachmentPart, part, "an image"));
    end_segment();
    chunk(2, 6, 6, 0);
    end_segment();
    for (const auto& [track_id, side, last, note] :
         {std::tuple{kResidentTrack, stored::v1::SIDE_RESIDENT, 6u, 4u},
          std::tuple{kClerkTrack, stored::v1::SIDE_CLERK, 2u, 1u}}) {
      records.push_back(
          SourceDigest(opened.session_id(), side, track_id, last, note, hooks));
    }

    stored::v1::SessionClosed closed;
    closed.set_session_id(opened.session_id());
    closed.set_epoch(1);
    closed.set_segments(2);
    closed.set_manifest_sha256(manifest);
    auto* resident = closed.add_sides();
    resident->set_side(stored::v1::SIDE_RESIDENT);
    resident->set_last_sequence(6);
    resident->set_last_note(4);
    resident->set_packets(6);
    resident->set_payload_bytes(6 * 8);
    auto* clerk = closed.add_sides();
    clerk->set_side(stored::v1::SIDE_CLERK);
    clerk->set_last_sequence(2);
    clerk->set_last_note(1);
    clerk->set_packets(2);
    clerk->set_payload_bytes(2 * 8);
    name_records(&closed);
    Call(hooks.closed, &closed);
    records.push_back(
        {RecordType::kSessionClosed, closed.SerializeAsString(), ""});
    return records;
  }

  // What the gateway signed of a track, all of its packets at once.
  Record SourceDigest(const std::string& session_id, stored::v1::Side side,
                      uint32_t track_id, uint64_t last, uint64_t note,
                      const Hooks& hooks) {
    evidence::GrowingTree tree;
    for (uint64_t i = 1; i <= last; ++i) {
      tree.Add(evidence::LeafHash(evidence::PacketLine{
          .payload_bytes = 8, .payload_sha256 = base::Sha256("payload.")}
                                      .Bytes()));
    }
    evidence::SourceStatement statement;
    statement.side = static_cast<uint8_t>(side);
    statement.track_id = track_id;
    statement.first_sequence = 1;
    statement.last_sequence = statement.packets = last;
    statement.root = tree.Root();
    stored::v1::SourceDigest header;
    header.set_session_id(session_id);
    header.set_epoch(1);
    header.set_note(note);
    auto* stored = header.mutable_statement();
    stored->set_side(side);
    stored->set_track_id(track_id);
    stored->set_first_sequence(1);
    stored->set_last_sequence(last);
    stored->set_packets(last);
    stored->set_root(statement.root);
    header.set_signature(source_key_.Sign(
        statement.SignedBytes(config_.archive_id(), session_id)));
    header.set_key_id(evidence::SigningKeyId(source_key_.public_key()));
    Call(hooks.source, &header);
    return {RecordType::kSourceDigest, header.SerializeAsString(), ""};
  }

  template <typename Header>
  Record Sealed(seal::SessionSealer* sealer, stored::v1::KeyClass key_class,
                RecordType type, Header header, absl::string_view body) {
    header.set_segment(sealer->segment());
    Record record = {type, header.SerializeAsString(), ""};
    record.body = sealer->Seal(key_class, type, record.header, body);
    return record;
  }

  Record MakeChunk(const std::string& session_id, const Hooks& hooks,
                   seal::SessionSealer* sealer, uint32_t number,
                   uint64_t resident_first, uint64_t resident_last,
                   uint64_t clerk_last) {
    std::vector<media::PacketInfo> infos;
    std::vector<std::pair<uint32_t, std::string>> payloads;
    stored::v1::Chunk header;
    header.set_suite(seal::kSuite1);
    header.set_session_id(session_id);
    header.set_epoch(1);
    header.set_chunk(number);
    header.set_end_us(1000);
    header.set_window_end_us(1000);
    const auto add_side = [&](stored::v1::Side side, uint32_t track,
                              uint64_t first, uint64_t last) {
      if (last < first) return;
      auto* totals = header.add_sides();
      totals->set_side(side);
      totals->set_first_sequence(first);
      totals->set_last_sequence(last);
      totals->set_payload_bytes(8 * (last - first + 1));
      for (uint64_t sequence = first; sequence <= last; ++sequence) {
        infos.push_back({.track_id = track,
                         .sequence = sequence,
                         .key_frame = true,
                         .payload_bytes = 8});
        payloads.emplace_back(track, "payload.");
      }
    };
    add_side(stored::v1::SIDE_RESIDENT, kResidentTrack, resident_first,
             resident_last);
    add_side(stored::v1::SIDE_CLERK, kClerkTrack, 1, clerk_last);
    Call(hooks.packets, &infos);
    std::map<uint32_t, evidence::TrackLeaf> leaves;
    for (const media::PacketInfo& info : infos) {
      leaves[info.track_id].Add({.pts_ms = evidence::ToMs(info.pts_us),
                                 .payload_bytes = info.payload_bytes,
                                 .payload_sha256 = base::Sha256("payload.")});
    }
    for (const auto& [track_id, leaf] : leaves) {
      auto* named = header.add_tracks();
      named->set_track_id(track_id);
      named->set_side(track_id == kResidentTrack ? stored::v1::SIDE_RESIDENT
                                                 : stored::v1::SIDE_CLERK);
      const std::string salt =
          evidence::ChunkSalt(sealer->SaltOf(stored::v1::KEY_CLASS_MEDIA,
                                             seal::SaltKind::kTrack, track_id),
                              number);
      named->set_leaf(leaf.Finish(salt, session_id, number, track_id));
    }
    Call(hooks.chunk, &header);
    return Sealed(sealer, stored::v1::KEY_CLASS_MEDIA, RecordType::kChunk,
                  header, media::EncodeChunkBody(infos, Cluster(payloads)));
  }

  // Signs a checkpoint of all that is in the log.
  void Publish() {
    const log::LogReader log(base::FileSystem::Real(), dir_ + "/volumes");
    auto publisher = evidence::TreePublisher::Open(
        {.file_system = base::FileSystem::Real(),
         .directory = dir_ + "/tlog",
         .origin = config_.log_key().name(),
         .log = &log,
         .durable_end = log_->durable_end()},
        seal::SigningKey::FromSeed(log_seed_.Clone()));
    ASSERT_TRUE(publisher.ok()) << publisher.status();
    (*publisher)->Stop();
  }

  std::string Checkpoint() {
    const auto text =
        base::ReadWholeFile(dir_ + "/tlog/checkpoint", size_t{1} << 16);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  // Each in a batch of its own, so that all but the last was durable when
  // something came after it.
  void Append(const std::vector<Record>& records) {
    for (const Record& record : records) {
      ASSERT_TRUE(log_->Append({record}).ok());
    }
    if (publish_) Publish();
  }

  Record AccessRecord(int64_t record_time_us = 1) {
    const auto envelope = seal::SealEnvelope(
        config_, stored::v1::KEY_CLASS_METADATA, "access", "who and why");
    stored::v1::Access header;
    header.set_record_time_us(record_time_us);
    header.set_commitment(evidence::AccessCommitment("who and why"));
    return {RecordType::kAccess, header.SerializeAsString(),
            envelope->SerializeAsString()};
  }

  CheckCounts Check(double data_share, bool with_keys) {
    findings_.clear();
    remarks_.clear();
    unread_.clear();
    all_.clear();
    CheckOptions options;
    options.data_dir = dir_;
    options.data_share = data_share;
    options.against = against_;
    options.threads = 2;
    options.seed = seed_;
    if (with_keys) {
      for (const seal::KeyPair& key : keys_)
        options.keys.push_back(key.Clone());
    }
    options.on_finding = [this](const Finding& finding) {
      EXPECT_FALSE(finding.place.empty());
      all_.push_back(finding);
      (finding.severity == Severity::kError    ? findings_
       : finding.severity == Severity::kRemark ? remarks_
                                               : unread_)
          .push_back(finding.what);
    };
    const auto counts = CheckArchive(base::FileSystem::Real(), options);
    EXPECT_TRUE(counts.ok()) << counts.status();
    if (!counts.ok()) return {};
    EXPECT_EQ(counts->errors, findings_.size());
    EXPECT_EQ(counts->remarks, remarks_.size());
    return *counts;
  }

  // The findings of a check without keys and without reading media.
  std::vector<std::string> Quick() {
    Check(0, false);
    return findings_;
  }
  std::vector<std::string> Full() {
    Check(1, true);
    return findings_;
  }

  // The n-th record of a type in the log.
  log::StoredRecord FindRecord(RecordType type, int n) {
    const log::LogReader reader(base::FileSystem::Real(), dir_ + "/volumes");
    std::optional<log::StoredRecord> found;
    EXPECT_TRUE(reader
                    .Scan(
                        {},
                        [&](const log::StoredRecord& record) {
                          if (record.type == type && n-- == 0) found = record;
                          return absl::OkStatus();
                        },
                        [](const log::Damage&) { return absl::OkStatus(); })
                    .ok());
    EXPECT_TRUE(found.has_value());
    return *found;
  }

  std::string FirstVolume(const std::string& folder) {
    return absl::StrCat(dir_, "/", folder, "/0000000000000000.vol");
  }

  void FlipByte(const std::string& path, uint64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
    ASSERT_TRUE(file.good());
  }

  const base::Uuid archive_id_ = base::Uuid::Random();
  const base::Uuid session_ = base::Uuid::Random();
  const seal::SecretKey log_seed_ = seal::SecretKey::Random();
  const seal::SigningKey log_key_ =
      seal::SigningKey::FromSeed(log_seed_.Clone());
  const seal::SigningKey source_key_ = seal::SigningKey::Generate();
  // Whether a checkpoint is signed after all that is appended.
  bool publish_ = true;
  uint64_t seed_ = 0;
  std::string dir_;
  stored::v1::ArchiveConfig config_;
  std::vector<seal::KeyPair> keys_;
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<log::LogStore> key_store_;
  std::vector<std::string> findings_;
  std::vector<std::string> remarks_;
  std::vector<std::string> unread_;
  std::vector<Finding> all_;
  std::vector<std::pair<std::string, std::string>> against_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_TEST_ARCHIVE_H_
