#include "tools/diptych/check/archive_checker.h"

#include <cstdint>
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
