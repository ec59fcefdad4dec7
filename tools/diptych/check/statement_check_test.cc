// What a check says of what gateways signed, and of commitments to what is
// sealed; and that a sample is the same sample again.

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "archiver/base/ids.h"
#include "archiver/media/packet_table.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/test_archive.h"

namespace diptych::check {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StatementCheckTest : public TestArchive {};

TEST_F(StatementCheckTest, PacketsAreThoseThatWereSigned) {
  Append(MakeSession(session_, {}));
  EXPECT_EQ(Check(1, true).source_statements_proven, 2u);
  EXPECT_EQ(Check(1, false).source_statements_proven, 0u);
  EXPECT_THAT(findings_, IsEmpty());
  EXPECT_EQ(Check(0, false).source_statements, 2u);
}

TEST_F(StatementCheckTest, ATimeThatWasChangedUnderAllSeals) {
  // By somebody with every key but the gateway's.
  Append(MakeSession(session_,
                     {.packets = [](std::vector<media::PacketInfo>* packets) {
                       for (media::PacketInfo& packet : *packets) {
                         if (packet.sequence == 5) packet.pts_us = 1000;
                       }
                     }}));
  Check(1, false);
  EXPECT_THAT(findings_, IsEmpty());
  EXPECT_THAT(Full(), ElementsAre(HasSubstr(
                          "resident track 1, packets 1 to 6: other packets "
                          "are stored than were signed")));
}

TEST_F(StatementCheckTest, FalseStatements) {
  const auto with = [&](const auto& change) {
    Append(MakeSession(base::Uuid::Random(), {.source = change}));
    std::vector<std::string> found = Quick();
    log_.reset();
    std::filesystem::remove_all(dir_ + "/volumes");
    std::filesystem::remove_all(dir_ + "/tlog");
    log_ = OpenStore("volumes", "log");
    return found;
  };
  const auto of_clerk = [](stored::v1::SourceDigest* digest) {
    return digest->statement().side() == stored::v1::SIDE_CLERK;
  };
  EXPECT_THAT(with([&](stored::v1::SourceDigest* digest) {
                if (of_clerk(digest)) (*digest->mutable_signature())[9] ^= 1;
              }),
              ElementsAre(HasSubstr("is not signed by diptych/")));
  EXPECT_THAT(with([&](stored::v1::SourceDigest* digest) {
                if (of_clerk(digest)) digest->set_key_id("12345678");
              }),
              ElementsAre(HasSubstr("signed by the unknown key 3132333435")));
  EXPECT_THAT(with([&](stored::v1::SourceDigest* digest) {
                if (of_clerk(digest)) {
                  digest->mutable_statement()->set_signed_time_us(1);
                }
              }),
              ElementsAre(HasSubstr("is not signed by diptych/")));
  EXPECT_THAT(with([&](stored::v1::SourceDigest* digest) {
                if (of_clerk(digest)) digest->set_note(2);
              }),
              testing::Contains(HasSubstr("clerk notes 2 to 2 follow note 0")));
}

TEST_F(StatementCheckTest, WhatIsNotSignedIsTold) {
  std::vector<Record> records = MakeSession(session_, {});
  // Neither manifests nor the end name the second statement.
  records.erase(records.end() - 2);
  stored::v1::SessionClosed closed;
  ASSERT_TRUE(closed.ParseFromString(records.back().header));
  closed.mutable_records()->RemoveLast();
  closed.mutable_sides(1)->set_last_note(0);
  records.back().header = closed.SerializeAsString();
  Append(records);
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(
      remarks_,
      ElementsAre(HasSubstr("clerk track 2 is not signed by its source")));
  EXPECT_EQ(Check(0, false).unsigned_sessions, 0u);
}

TEST_F(StatementCheckTest, CommitmentsAreToWhatIsInside) {
  const auto full = [&](const Hooks& hooks) {
    Append(MakeSession(base::Uuid::Random(), hooks));
    Quick();
    EXPECT_THAT(findings_, IsEmpty()) << "only what is sealed tells";
    std::vector<std::string> found = Full();
    log_.reset();
    std::filesystem::remove_all(dir_ + "/volumes");
    std::filesystem::remove_all(dir_ + "/tlog");
    log_ = OpenStore("volumes", "log");
    return found;
  };
  EXPECT_THAT(full({.span =
                        [](stored::v1::SpanStarted* span) {
                          (*span->mutable_commitment())[0] ^= 1;
                        }}),
              ElementsAre(HasSubstr("commit to the description")));
  EXPECT_THAT(full({.notes =
                        [](stored::v1::Notes* notes) {
                          (*notes->mutable_commitments(1))[0] ^= 1;
                        }}),
              ElementsAre(HasSubstr("commit to its note 2")));
}

TEST_F(StatementCheckTest, LeavesStandForThePackets) {
  Append(MakeSession(session_, {.chunk = [](stored::v1::Chunk* chunk) {
                       if (chunk->chunk() != 1) return;
                       (*chunk->mutable_tracks(0)->mutable_leaf())[0] ^= 1;
                     }}));
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(Full(), ElementsAre(HasSubstr("its leaf of track 1 does not "
                                            "stand for the packets")));
}

TEST_F(StatementCheckTest, TheSameSampleAgain) {
  for (int i = 0; i < 8; ++i) Append(MakeSession(base::Uuid::Random(), {}));
  seed_ = 7;
  const CheckCounts first = Check(0.3, true);
  const CheckCounts again = Check(0.3, true);
  EXPECT_EQ(first.bodies_read, again.bodies_read);
  EXPECT_EQ(first.body_bytes_read, again.body_bytes_read);
  const CheckCounts none = Check(0, true);
  const CheckCounts all = Check(1, true);
  EXPECT_GT(first.bodies_read, none.bodies_read);
  EXPECT_LT(first.bodies_read, all.bodies_read);
  EXPECT_THAT(findings_, IsEmpty());
}

}  // namespace
}  // namespace diptych::check
