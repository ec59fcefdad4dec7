#include "tools/diptych/check/archive_checker.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/media/packet_table.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/test_archive.h"

namespace diptych::check {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ArchiveCheckerTest : public TestArchive {};

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
  std::vector<Record> again = MakeSession(session_, {});
  again.resize(1);
  Append(again);
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("again under epoch 1 after epoch 1")));
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("was opened again")));
}

TEST_F(ArchiveCheckerTest, NotesWithAHole) {
  std::vector<Record> records = MakeSession(session_, {});
  records.erase(records.begin() + 2);
  Append(records);
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("resident notes 3 to 3 follow note 0"),
                          HasSubstr("the manifest of segment 0 names 4 records "
                                    "besides chunks; the log holds 3")));
}

TEST_F(ArchiveCheckerTest, AManifestWithAnotherHash) {
  Append(MakeSession(session_, {.segment = [](stored::v1::Segment* segment) {
                       if (segment->segment() != 0) return;
                       (*segment->mutable_chunks(1)->mutable_digest())[0] ^= 1;
                     }}));
  EXPECT_THAT(Quick(), IsEmpty()) << "only the body tells";
  Check(1, false);
  EXPECT_THAT(findings_,
              ElementsAre(HasSubstr("has another digest of chunk 1")));
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
  records.erase(records.end() - 4);
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

TEST_F(ArchiveCheckerTest, StatesAndClocks) {
  const auto with = [&](const stored::v1::StateChanged* state,
                        const stored::v1::ClockChanged* clock) {
    log_.reset();
    std::filesystem::remove_all(dir_ + "/volumes");
    std::filesystem::remove_all(dir_ + "/tlog");
    log_ = OpenStore("volumes", "log");
    Append(MakeSession(session_, {.more = [&](std::vector<Record>* records) {
                         if (state != nullptr) {
                           records->push_back({RecordType::kStateChanged,
                                               state->SerializeAsString(), ""});
                         }
                         if (clock != nullptr) {
                           records->push_back({RecordType::kClockChanged,
                                               clock->SerializeAsString(), ""});
                         }
                       }}));
    return Quick();
  };
  stored::v1::StateChanged state;
  state.set_session_id(std::string(session_.bytes()));
  state.set_epoch(1);
  state.set_state(stored::v1::SESSION_STATE_DEGRADED);
  auto* trouble = state.add_troubles();
  trouble->set_side(stored::v1::SIDE_CLERK);
  trouble->set_trouble(stored::v1::TROUBLE_MISSING);
  stored::v1::ClockChanged clock;
  clock.set_session_id(state.session_id());
  clock.set_epoch(1);
  clock.set_side(stored::v1::SIDE_RESIDENT);
  clock.set_track_id(kResidentTrack);
  clock.set_reason(stored::v1::CLOCK_REASON_DRIFT);
  clock.set_rate_ppb(-500'000'000);
  clock.set_first_sequence(5);
  EXPECT_THAT(with(&state, &clock), IsEmpty());

  const auto bad_state = [&](const std::function<void()>& change) {
    const stored::v1::StateChanged good = state;
    change();
    const std::vector<std::string> found = with(&state, nullptr);
    state = good;
    return found;
  };
  EXPECT_THAT(bad_state([&] { state.set_epoch(2); }),
              ElementsAre(HasSubstr("a record is of epoch 2")));
  EXPECT_THAT(bad_state([&] { state.clear_troubles(); }),
              ElementsAre(HasSubstr("degraded, but no side has trouble")));
  EXPECT_THAT(
      bad_state([&] { state.set_state(stored::v1::SESSION_STATE_RECOVERED); }),
      ElementsAre(HasSubstr("whole again, but a side has trouble")));
  EXPECT_THAT(
      bad_state([&] { state.set_state(stored::v1::SESSION_STATE_OPEN); }),
      ElementsAre(HasSubstr("changes to the unknown 1")));
  EXPECT_THAT(bad_state([&] { state.mutable_troubles(0)->clear_side(); }),
              ElementsAre(HasSubstr("says trouble 1 of side 0")));
  EXPECT_THAT(bad_state([&] { *state.add_troubles() = state.troubles(0); }),
              ElementsAre(HasSubstr("says trouble 1 of side 2")));

  const auto bad_clock = [&](const std::function<void()>& change) {
    const stored::v1::ClockChanged good = clock;
    change();
    const std::vector<std::string> found = with(nullptr, &clock);
    clock = good;
    return found;
  };
  EXPECT_THAT(bad_clock([&] { clock.set_epoch(2); }),
              ElementsAre(HasSubstr("a record is of epoch 2")));
  EXPECT_THAT(bad_clock([&] { clock.set_track_id(33); }),
              ElementsAre(HasSubstr("the clock of track 33")));
  EXPECT_THAT(bad_clock([&] { clock.clear_side(); }),
              ElementsAre(HasSubstr("changes on side 0")));
  EXPECT_THAT(bad_clock([&] { clock.clear_reason(); }),
              ElementsAre(HasSubstr("for the unknown reason 0")));
  EXPECT_THAT(bad_clock([&] { clock.set_rate_ppb(-1'000'000'000); }),
              ElementsAre(HasSubstr("runs at -1000000000 ppb")));
  EXPECT_THAT(bad_clock([&] { clock.set_first_sequence(3); }),
              ElementsAre(HasSubstr("from resident packet 3 on")));
}

TEST_F(ArchiveCheckerTest, GapsThatCannotBe) {
  stored::v1::Gap gap;
  gap.set_side(stored::v1::SIDE_CLERK);
  gap.set_start_us(10);
  gap.set_end_us(20);
  Append(MakeSession(session_,
                     {.chunk = [&](auto* chunk) { *chunk->add_gaps() = gap; },
                      .closed = [&](auto* end) { *end->add_gaps() = gap; }}));
  EXPECT_THAT(Quick(), IsEmpty());
  gap.set_end_us(10);
  gap.set_track_id(33);
  Append(MakeSession(base::Uuid::Random(),
                     {.closed = [&](auto* end) { *end->add_gaps() = gap; }}));
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("its end has a gap of side 2, "
                                             "track 33"),
                                   HasSubstr("a gap that ends before")));
  Append(MakeSession(base::Uuid::Random(), {.chunk = [&](auto* chunk) {
                       if (chunk->chunk() == 2) *chunk->add_gaps() = gap;
                     }}));
  EXPECT_THAT(Quick(), testing::Contains(
                           HasSubstr("chunk 2 has a gap of side 2, track 33")));
}

TEST_F(ArchiveCheckerTest, ASpanComesAgainOnlyInItsEpoch) {
  // A further span begins, and the first one's chunks come again.
  stored::v1::SpanStarted span;
  span.set_session_id(std::string(session_.bytes()));
  span.set_epoch(1);
  span.set_span(1);
  const std::vector<Record> records =
      MakeSession(session_, {.more = [&](std::vector<Record>* more) {
                    more->push_back({RecordType::kSpanStarted,
                                     span.SerializeAsString(), ""});
                  }});
  Append(records);
  EXPECT_THAT(Quick(), IsEmpty());
  // Under a new epoch it can't.
  stored::v1::SessionOpened opened;
  ASSERT_TRUE(opened.ParseFromString(records[0].header));
  opened.set_epoch(2);
  opened.set_resumed(true);
  const base::Uuid other = base::Uuid::Random();
  std::vector<Record> further = MakeSession(other, {});
  opened.set_session_id(std::string(other.bytes()));
  further.resize(3);
  further.push_back(
      {RecordType::kSessionOpened, opened.SerializeAsString(), ""});
  stored::v1::Chunk chunk;
  chunk.set_session_id(opened.session_id());
  chunk.set_suite(config_.suite());
  chunk.set_epoch(2);
  further.push_back({RecordType::kChunk, chunk.SerializeAsString(), "body"});
  Append(further);
  EXPECT_THAT(Quick(), testing::Contains(HasSubstr("of an earlier epoch")));
}

TEST_F(ArchiveCheckerTest, AHeaderThatWasSwappedUnderItsSeal) {
  std::vector<Record> records = MakeSession(session_, {});
  stored::v1::Chunk header;
  ASSERT_TRUE(header.ParseFromString(records[3].header));
  header.set_end_us(header.end_us() + 1);
  records[3].header = header.SerializeAsString();
  Append(records);
  EXPECT_THAT(Quick(), IsEmpty()) << "only what lies in the body tells";
  Check(1, false);
  EXPECT_THAT(findings_,
              ElementsAre(HasSubstr("has another digest of chunk 0")));
  EXPECT_THAT(Full(), ElementsAre(HasSubstr("a Chunk record does not open"),
                                  HasSubstr("another digest of chunk 0")));
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
