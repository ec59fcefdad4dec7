#include "archiver/log/open_sessions.h"

#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::log {
namespace {

class OpenSessionsTest : public testing::Test {
 protected:
  void Open(bool resumed, uint64_t epoch) {
    stored::v1::SessionOpened opened;
    opened.set_session_id(std::string(id_.bytes()));
    opened.set_epoch(epoch);
    opened.set_resumed(resumed);
    opened.set_start_time_us(resumed ? 999 : 42);
    ASSERT_TRUE(sessions_
                    .Apply(RecordType::kSessionOpened,
                           opened.SerializeAsString(), "", 10)
                    .ok());
  }
  void Chunk(uint32_t number, uint32_t segment, uint64_t first, uint64_t last) {
    stored::v1::Chunk chunk;
    chunk.set_session_id(std::string(id_.bytes()));
    chunk.set_chunk(number);
    chunk.set_segment(segment);
    stored::v1::ChunkSide* side = chunk.add_sides();
    side->set_side(stored::v1::SIDE_CLERK);
    side->set_first_sequence(first);
    side->set_last_sequence(last);
    side->set_payload_bytes(100);
    ASSERT_TRUE(sessions_
                    .Apply(RecordType::kChunk, chunk.SerializeAsString(), "",
                           100 + number)
                    .ok());
  }
  void Segment(uint32_t number) {
    stored::v1::Segment segment;
    segment.set_session_id(std::string(id_.bytes()));
    segment.set_segment(number);
    ASSERT_TRUE(
        sessions_
            .Apply(RecordType::kSegment, segment.SerializeAsString(), "", 200)
            .ok());
  }
  const stored::v1::OpenSession& session() const {
    return sessions_.open().at(id_);
  }

  const base::Uuid id_ = base::Uuid::Random();
  OpenSessions sessions_;
};

TEST_F(OpenSessionsTest, FollowsASessionThroughARestartToItsEnd) {
  Open(false, 1);
  Chunk(0, 0, 1, 10);
  Chunk(1, 0, 11, 20);
  Chunk(2, 1, 21, 25);
  EXPECT_EQ(session().pending_chunks_size(), 3);
  Segment(0);
  EXPECT_EQ(session().pending_chunks_size(), 1);
  EXPECT_EQ(session().pending_chunks(0).chunk(), 2u);
  EXPECT_EQ(session().next_chunk(), 3u);
  EXPECT_EQ(session().next_segment(), 2u);
  EXPECT_EQ(session().sides(0).last_sequence(), 25u);
  EXPECT_EQ(session().sides(0).packets(), 25u);
  EXPECT_EQ(session().sides(0).payload_bytes(), 300u);
  EXPECT_EQ(session().manifest_sha256().size(), 32u);

  // A start from the snapshot alone knows the same.
  OpenSessions again;
  const Record snapshot = sessions_.MakeSnapshot(7);
  ASSERT_TRUE(
      again.Apply(RecordType::kSnapshot, snapshot.header, snapshot.body, 300)
          .ok());
  EXPECT_EQ(again.open().at(id_).SerializeAsString(),
            session().SerializeAsString());

  Open(true, 2);
  EXPECT_EQ(session().epoch(), 2u);
  EXPECT_EQ(session().start_time_us(), 42);
  stored::v1::SessionClosed closed;
  closed.set_session_id(std::string(id_.bytes()));
  ASSERT_TRUE(sessions_
                  .Apply(RecordType::kSessionClosed, closed.SerializeAsString(),
                         "", 400)
                  .ok());
  EXPECT_TRUE(sessions_.open().empty());
  ASSERT_NE(sessions_.FindClosed(id_), nullptr);
  EXPECT_EQ(sessions_.FindClosed(id_)->position(), 400u);
}

TEST_F(OpenSessionsTest, RecordsOfSessionsThatAreNotOpenAreRefused) {
  stored::v1::Chunk chunk;
  chunk.set_session_id(std::string(id_.bytes()));
  EXPECT_FALSE(
      sessions_.Apply(RecordType::kChunk, chunk.SerializeAsString(), "", 1)
          .ok());
  EXPECT_FALSE(sessions_.Apply(RecordType::kChunk, "\xff\xff", "", 1).ok());
}

}  // namespace
}  // namespace diptych::log
