#include "tools/diptych/check/archive_checker.h"

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
#include "archiver/evidence/manifest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/envelope.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::check {
namespace {

namespace fs = std::filesystem;
using log::Record;
using log::RecordType;
using stored::v1::SIDE_CLERK;
using stored::v1::SIDE_RESIDENT;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kResidentTrack = 1;
constexpr uint32_t kClerkTrack = 2;

// One Matroska cluster with a SimpleBlock a packet, as small as it can be.
std::string Cluster(
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

class ArchiveCheckerTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = absl::StrCat(std::getenv("TEST_TMPDIR"), "/", info->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
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
         {std::pair{kResidentTrack, SIDE_RESIDENT},
          std::pair{kClerkTrack, SIDE_CLERK}}) {
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
    notes.set_side(SIDE_RESIDENT);
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
      listed->set_body_sha256(evidence::BodyHash(records.back().body));
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
    part.set_side(SIDE_RESIDENT);
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
    resident->set_side(SIDE_RESIDENT);
    resident->set_last_sequence(6);
    resident->set_last_note(3);
    resident->set_packets(6);
    resident->set_payload_bytes(6 * 8);
    auto* clerk = closed.add_sides();
    clerk->set_side(SIDE_CLERK);
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
    add_side(SIDE_RESIDENT, kResidentTrack, resident_first, resident_last);
    add_side(SIDE_CLERK, kClerkTrack, 1, clerk_last);
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
      EXPECT_THAT(finding.place, HasSubstr(" at byte "));
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

TEST_F(ArchiveCheckerTest, AWholeArchiveHasNoFindings) {
  Append(MakeSession(session_, {}));
  Append({AccessRecord()});
  Append(MakeSession(base::Uuid::Random(), {}));
  const CheckCounts quick = Check(0, false);
  EXPECT_THAT(findings_, IsEmpty());
  EXPECT_EQ(quick.closed_sessions, 2u);
  EXPECT_EQ(quick.open_sessions, 0u);
  EXPECT_EQ(quick.chunks, 6u);
  EXPECT_EQ(quick.segments, 4u);
  EXPECT_EQ(quick.notes, 4u);
  EXPECT_EQ(quick.attachment_parts, 2u);
  EXPECT_EQ(quick.access_records, 1u);
  EXPECT_EQ(quick.seals_opened, 0u);
  const CheckCounts full = Check(1, true);
  EXPECT_THAT(findings_, IsEmpty());
  // Per session a span, notes, three chunks, a part; and the access record.
  EXPECT_EQ(full.seals_opened, 2u * 6u + 1u);
  EXPECT_EQ(full.seals_without_key, 0u);
  EXPECT_EQ(full.bodies_read, quick.bodies_read + 2u * 4u);
}

TEST_F(ArchiveCheckerTest, AnOpenSessionIsNoFinding) {
  std::vector<Record> records = MakeSession(session_, {});
  records.pop_back();
  records.pop_back();
  Append(records);
  EXPECT_EQ(Check(1, true).open_sessions, 1u);
  EXPECT_THAT(findings_, IsEmpty());
}

TEST_F(ArchiveCheckerTest, MetadataKeyAloneOpensMetadataAlone) {
  Append(MakeSession(session_, {}));
  keys_.pop_back();
  const CheckCounts counts = Check(1, true);
  EXPECT_THAT(findings_, IsEmpty());
  EXPECT_EQ(counts.seals_opened, 2u);
  EXPECT_EQ(counts.seals_without_key, 4u);
}

TEST_F(ArchiveCheckerTest, NoArchive) {
  CheckOptions options;
  options.data_dir = dir_ + "/nothing";
  EXPECT_EQ(CheckArchive(base::FileSystem::Real(), options).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ArchiveCheckerTest, AMissingChunkIsAHole) {
  std::vector<Record> records = MakeSession(session_, {});
  records.erase(records.begin() + 4);
  Append(records);
  const std::vector<std::string> findings = Quick();
  ASSERT_FALSE(findings.empty());
  EXPECT_THAT(findings.front(),
              HasSubstr("the manifest of segment 0 lists 2 chunks; the log "
                        "holds 1"));
  EXPECT_THAT(findings, testing::Contains(
                            HasSubstr("chunk 2 follows where chunk 1 should")));
  EXPECT_THAT(findings, testing::Contains(
                            HasSubstr("resident packet 6 follows packet 3")));
}

TEST_F(ArchiveCheckerTest, ARecordOfAnUnknownSession) {
  std::vector<Record> records = MakeSession(session_, {});
  records.erase(records.begin());
  Append(records);
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("was never opened")));
}

TEST_F(ArchiveCheckerTest, ARecordAfterTheEnd) {
  const std::vector<Record> records = MakeSession(session_, {});
  Append(records);
  Append({records[3]});
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("the session was closed")));
}

TEST_F(ArchiveCheckerTest, ASessionOpenedTwice) {
  Append({MakeSession(session_, {}).front()});
  Append(MakeSession(session_, {}));
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("was opened twice")));
}

TEST_F(ArchiveCheckerTest, AnIdThatWasUsedAgain) {
  Append(MakeSession(session_, {}));
  Append(MakeSession(session_, {}));
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("was opened again")));
}

TEST_F(ArchiveCheckerTest, NotesWithAHole) {
  std::vector<Record> records = MakeSession(session_, {});
  records.erase(records.begin() + 2);
  Append(records);
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("resident notes 3 to 3 follow note 0")));
}

TEST_F(ArchiveCheckerTest, AManifestWithAnotherHash) {
  Append(MakeSession(
      session_, {.segment = [](stored::v1::Segment* segment) {
        if (segment->segment() != 0) return;
        (*segment->mutable_chunks(1)->mutable_body_sha256())[0] ^= 1;
      }}));
  EXPECT_THAT(Quick(), IsEmpty()) << "only the body tells";
  Check(1, false);
  EXPECT_THAT(findings_, ElementsAre(HasSubstr("has another hash of chunk 1")));
}

TEST_F(ArchiveCheckerTest, ABrokenChainOfManifests) {
  Append(MakeSession(session_, {.segment = [](stored::v1::Segment* segment) {
                       if (segment->segment() == 1) {
                         segment->set_previous_manifest_sha256(
                             std::string(32, 'x'));
                       }
                     }}));
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("does not name the one before it")));
}

TEST_F(ArchiveCheckerTest, AChunkInNoManifest) {
  std::vector<Record> records = MakeSession(session_, {});
  // The second segment's manifest.
  records.erase(records.end() - 2);
  Append(records);
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("chunk 2 is in no manifest"),
                          HasSubstr("said to have 2 segments; the log holds 1"),
                          HasSubstr("does not name its last manifest")));
}

TEST_F(ArchiveCheckerTest, TotalsThatDoNotAddUp) {
  Append(
      MakeSession(session_, {.closed = [](stored::v1::SessionClosed* closed) {
                    closed->mutable_sides(1)->set_packets(3);
                  }}));
  EXPECT_THAT(
      Quick(),
      ElementsAre(HasSubstr("clerk packets in all: 3; the log holds 2")));
}

TEST_F(ArchiveCheckerTest, AnEndThatForgetsASide) {
  Append(
      MakeSession(session_, {.closed = [](stored::v1::SessionClosed* closed) {
                    closed->mutable_sides()->RemoveLast();
                  }}));
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("says nothing of the clerk side")));
}

TEST_F(ArchiveCheckerTest, KeysThatAreNotThere) {
  Append(
      MakeSession(session_, {.opened = [](stored::v1::SessionOpened* opened) {
                    opened->set_key_position(opened->key_position() + 1);
                  }}));
  EXPECT_THAT(
      Quick(),
      ElementsAre(HasSubstr("the key store does not hold the session's keys")));
}

TEST_F(ArchiveCheckerTest, KeysOfAnotherSession) {
  MakeSession(base::Uuid::Random(), {});
  uint64_t others = 0;
  MakeSession(base::Uuid::Random(),
              {.opened = [&](stored::v1::SessionOpened* opened) {
                others = opened->key_position();
              }});
  Append(
      MakeSession(session_, {.opened = [&](stored::v1::SessionOpened* opened) {
                    opened->set_key_position(others);
                  }}));
  EXPECT_THAT(
      Quick(),
      ElementsAre(HasSubstr("the key store does not hold the session's keys")));
}

TEST_F(ArchiveCheckerTest, AHeaderThatWasSwappedUnderItsSeal) {
  std::vector<Record> records = MakeSession(session_, {});
  stored::v1::Chunk header;
  ASSERT_TRUE(header.ParseFromString(records[3].header));
  header.set_end_us(header.end_us() + 1);
  records[3].header = header.SerializeAsString();
  Append(records);
  EXPECT_THAT(Quick(), IsEmpty()) << "only the seal tells";
  EXPECT_THAT(Full(), ElementsAre(HasSubstr("a Chunk record does not open")));
}

TEST_F(ArchiveCheckerTest, PacketsThatTheHeaderDoesNotCount) {
  Append(MakeSession(session_,
                     {.packets = [](std::vector<media::PacketInfo>* packets) {
                       for (media::PacketInfo& packet : *packets) {
                         if (packet.sequence == 5) packet.sequence = 4;
                       }
                     }}));
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(Full(),
              ElementsAre(HasSubstr("its header counts the resident packets 4 "
                                    "to 5, and others are inside")));
}

TEST_F(ArchiveCheckerTest, NotesThatTheHeaderDoesNotCount) {
  Append(MakeSession(session_, {.note_list = [](stored::v1::NoteList* list) {
                       list->mutable_notes()->RemoveLast();
                     }}));
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(Full(), ElementsAre(HasSubstr("and 1 are inside")));
}

TEST_F(ArchiveCheckerTest, AFlippedBitInMedia) {
  Append(MakeSession(session_, {}));
  const log::StoredRecord chunk = FindRecord(RecordType::kChunk, 1);
  FlipByte(FirstVolume("volumes"), chunk.end - 1);
  EXPECT_THAT(Quick(), IsEmpty()) << "media are not read";
  Check(1, false);
  EXPECT_THAT(findings_, ElementsAre(HasSubstr("the body of a Chunk record "
                                               "differs from its checksum")));
}

TEST_F(ArchiveCheckerTest, AFlippedBitInMetadata) {
  Append(MakeSession(session_, {}));
  const log::StoredRecord notes = FindRecord(RecordType::kNotes, 0);
  FlipByte(FirstVolume("volumes"), notes.end - 1);
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("the body of a Notes record")));
}

TEST_F(ArchiveCheckerTest, AFlippedBitInAHeader) {
  Append(MakeSession(session_, {}));
  const log::StoredRecord segment = FindRecord(RecordType::kSegment, 0);
  FlipByte(FirstVolume("volumes"), segment.end - 1);
  const std::vector<std::string> findings = Quick();
  ASSERT_FALSE(findings.empty());
  EXPECT_THAT(findings.front(), HasSubstr("header checksum differs"));
}

TEST_F(ArchiveCheckerTest, AFlippedBitInTheKeyStore) {
  Append(MakeSession(session_, {}));
  MakeSession(base::Uuid::Random(), {});
  const log::LogReader reader(base::FileSystem::Real(), dir_ + "/keystore");
  const auto volume_header = reader.Read(0);
  const auto wraps = reader.Read(volume_header->end);
  FlipByte(FirstVolume("keystore"), wraps->end - 1);
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("the body of a KeyWraps record"),
                                   HasSubstr("the key store does not hold")));
}

TEST_F(ArchiveCheckerTest, ATornTailIsARemark) {
  Append(MakeSession(session_, {}));
  const std::string volume = FirstVolume("volumes");
  Append({AccessRecord()});
  fs::resize_file(volume, fs::file_size(volume) - 5);
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("a tail that a crash has torn")));
}

TEST_F(ArchiveCheckerTest, AMissingVolume) {
  log_ = nullptr;
  fs::remove_all(dir_ + "/volumes");
  log_ = OpenStore("volumes", "log", /*volume_bytes=*/256);
  Append(MakeSession(session_, {}));
  EXPECT_THAT(Quick(), IsEmpty());
  std::vector<fs::path> volumes;
  for (const auto& entry : fs::directory_iterator(dir_ + "/volumes")) {
    volumes.push_back(entry.path());
  }
  std::sort(volumes.begin(), volumes.end());
  ASSERT_GT(volumes.size(), 3u);
  fs::remove(volumes[1]);
  const std::vector<std::string> findings = Quick();
  ASSERT_FALSE(findings.empty());
  EXPECT_THAT(findings.front(), HasSubstr("the volume before it is missing"));
}

TEST_F(ArchiveCheckerTest, AVolumeOfAnotherArchive) {
  Append(MakeSession(session_, {}));
  stored::v1::ArchiveConfig other = config_;
  other.set_archive_id(std::string(base::Uuid::Random().bytes()));
  fs::remove(dir_ + "/archive.textproto");
  ASSERT_TRUE(seal::WriteArchiveConfig(dir_, other).ok());
  EXPECT_THAT(Quick(), ElementsAre("the volume is another archive's",
                                   "the volume is another archive's"));
}

TEST_F(ArchiveCheckerTest, AnAccessRecordThatDoesNotOpen) {
  Record record = AccessRecord();
  stored::v1::SealedEnvelope envelope;
  ASSERT_TRUE(envelope.ParseFromString(record.body));
  envelope.mutable_sealed()->back() ^= 1;
  record.body = envelope.SerializeAsString();
  Append({record});
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(Full(), ElementsAre(HasSubstr("a Access record does not open")));
}

TEST_F(ArchiveCheckerTest, SnapshotsMustAgreeWithTheLogBeforeThem) {
  std::vector<Record> records = MakeSession(session_, {});
  records.resize(4);
  Append(records);
  stored::v1::Snapshot snapshot;
  stored::v1::OpenSession* open = snapshot.add_open_sessions();
  open->set_session_id(std::string(session_.bytes()));
  open->set_epoch(1);
  open->set_next_chunk(1);
  open->set_next_span(1);
  open->add_pending_chunks()->set_chunk(0);
  auto* side = open->add_sides();
  side->set_side(SIDE_RESIDENT);
  side->set_last_sequence(3);
  side->set_last_note(2);
  side->set_packets(3);
  side->set_payload_bytes(24);
  Append({{RecordType::kSnapshot, "", snapshot.SerializeAsString()}});
  EXPECT_THAT(Quick(), IsEmpty());
  open->set_next_chunk(2);
  Append({{RecordType::kSnapshot, "", snapshot.SerializeAsString()}});
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("the snapshot has next chunk 2")));
  Append({{RecordType::kSnapshot, "",
           stored::v1::Snapshot().SerializeAsString()}});
  EXPECT_THAT(findings_ = Quick(),
              ElementsAre(HasSubstr("next chunk 2"),
                          HasSubstr("the snapshot lacks session")));
}

TEST_F(ArchiveCheckerTest, ProgressCanEndIt) {
  Append(MakeSession(session_, {}));
  CheckOptions options;
  options.data_dir = dir_;
  options.on_progress = [](uint64_t, uint64_t) {
    return absl::CancelledError("enough");
  };
  EXPECT_EQ(CheckArchive(base::FileSystem::Real(), options).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace diptych::check
