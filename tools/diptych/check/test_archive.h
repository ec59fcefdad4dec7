#ifndef TOOLS_DIPTYCH_CHECK_TEST_ARCHIVE_H_
#define TOOLS_DIPTYCH_CHECK_TEST_ARCHIVE_H_

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
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
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/archive_checker.h"

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
  std::function<void(stored::v1::Segment*)> segment;
  std::function<void(stored::v1::SessionClosed*)> closed;
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
    const auto key_position = key_store_->Append(
        {Record{RecordType::kKeyWraps, key_header.SerializeAsString(),
                sealer->wraps().SerializeAsString()}});
    EXPECT_TRUE(key_position.ok());

    stored::v1::SessionOpened opened;
    opened.set_session_id(std::string(id.bytes()));
    opened.set_epoch(1);
    opened.set_start_time_us(1'700'000'000'000'000);
    opened.set_key_position(key_position->front());
    Call(hooks.opened, &opened);
    records.push_back(
        {RecordType::kSessionOpened, opened.SerializeAsString(), ""});

    stored::v1::SpanStarted span;
    span.set_session_id(opened.session_id());
    span.set_epoch(1);
    Call(hooks.span, &span);
    stored::v1::SpanDescription description;
    for (const auto& [track_id, side] :
         {std::pair{kResidentTrack, stored::v1::SIDE_RESIDENT},
          std::pair{kClerkTrack, stored::v1::SIDE_CLERK}}) {
      auto* track = description.add_tracks();
      track->set_track_id(track_id);
      track->set_side(side);
    }
    description.set_container_header("header");
    records.push_back(Sealed(&*sealer, stored::v1::KEY_CLASS_METADATA,
                             RecordType::kSpanStarted, span,
                             description.SerializeAsString()));

    stored::v1::Notes notes;
    notes.set_session_id(opened.session_id());
    notes.set_epoch(1);
    notes.set_side(stored::v1::SIDE_RESIDENT);
    notes.set_first_note(1);
    notes.set_last_note(2);
    Call(hooks.notes, &notes);
    stored::v1::NoteList list;
    list.add_notes()->set_note(1);
    list.add_notes()->set_note(2);
    Call(hooks.note_list, &list);
    records.push_back(Sealed(&*sealer, stored::v1::KEY_CLASS_METADATA,
                             RecordType::kNotes, notes,
                             list.SerializeAsString()));

    std::string manifest;
    stored::v1::Segment segment;
    const auto chunk = [&](uint32_t number, uint64_t resident_first,
                           uint64_t resident_last, uint64_t clerk_last) {
      records.push_back(MakeChunk(opened.session_id(), hooks, &*sealer, number,
                                  resident_first, resident_last, clerk_last));
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
      Call(hooks.segment, &segment);
      records.push_back(
          {RecordType::kSegment, segment.SerializeAsString(), ""});
      manifest = evidence::ManifestHash(records.back().header);
      segment.Clear();
      sealer->NextSegment();
    };
    chunk(0, 1, 3, 0);
    chunk(1, 4, 5, 2);
    stored::v1::AttachmentPart part;
    part.set_session_id(opened.session_id());
    part.set_epoch(1);
    part.set_side(stored::v1::SIDE_RESIDENT);
    part.set_note(3);
    part.set_attachment_id(1);
    records.push_back(Sealed(&*sealer, stored::v1::KEY_CLASS_MEDIA,
                             RecordType::kAttachmentPart, part, "an image"));
    end_segment();
    chunk(2, 6, 6, 0);
    end_segment();

    stored::v1::SessionClosed closed;
    closed.set_session_id(opened.session_id());
    closed.set_epoch(1);
    closed.set_segments(2);
    closed.set_manifest_sha256(manifest);
    auto* resident = closed.add_sides();
    resident->set_side(stored::v1::SIDE_RESIDENT);
    resident->set_last_sequence(6);
    resident->set_last_note(3);
    resident->set_packets(6);
    resident->set_payload_bytes(6 * 8);
    auto* clerk = closed.add_sides();
    clerk->set_side(stored::v1::SIDE_CLERK);
    clerk->set_last_sequence(2);
    clerk->set_packets(2);
    clerk->set_payload_bytes(2 * 8);
    Call(hooks.closed, &closed);
    records.push_back(
        {RecordType::kSessionClosed, closed.SerializeAsString(), ""});
    return records;
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
    Call(hooks.chunk, &header);
    Call(hooks.packets, &infos);
    return Sealed(sealer, stored::v1::KEY_CLASS_MEDIA, RecordType::kChunk,
                  header, media::EncodeChunkBody(infos, Cluster(payloads)));
  }

  // Each in a batch of its own, so that all but the last was durable when
  // something came after it.
  void Append(const std::vector<Record>& records) {
    for (const Record& record : records) {
      ASSERT_TRUE(log_->Append({record}).ok());
    }
  }

  Record AccessRecord() {
    const auto envelope = seal::SealEnvelope(
        config_, stored::v1::KEY_CLASS_METADATA, "access", "who and why");
    stored::v1::Access header;
    header.set_record_time_us(1);
    return {RecordType::kAccess, header.SerializeAsString(),
            envelope->SerializeAsString()};
  }

  CheckCounts Check(double data_share, bool with_keys) {
    findings_.clear();
    remarks_.clear();
    CheckOptions options;
    options.data_dir = dir_;
    options.data_share = data_share;
    if (with_keys) {
      for (const seal::KeyPair& key : keys_)
        options.keys.push_back(key.Clone());
    }
    options.on_finding = [this](const Finding& finding) {
      (finding.is_error ? findings_ : remarks_).push_back(finding.what);
      EXPECT_THAT(finding.place, testing::HasSubstr(" at byte "));
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
  std::string dir_;
  stored::v1::ArchiveConfig config_;
  std::vector<seal::KeyPair> keys_;
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<log::LogStore> key_store_;
  std::vector<std::string> findings_;
  std::vector<std::string> remarks_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_TEST_ARCHIVE_H_
