#include "indexer/builder/session_record.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include <gtest/gtest.h>

#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;

template <typename Header>
void ExpectFound(RecordType type, Header header) {
  const base::Uuid id = base::Uuid::Random();
  header.set_session_id(std::string(id.bytes()));
  log::StoredRecord record;
  record.type = type;
  record.header = header.SerializeAsString();
  EXPECT_TRUE(IsOfSession(type));
  EXPECT_EQ(SessionIdOf(record), id);
  const auto parsed = ParseSessionRecord(record);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->session, id);
  EXPECT_EQ(parsed->opens, type == RecordType::kSessionOpened);
  // A header that ends too early has an id or not, but nobody is misled.
  const std::string whole = record.header;
  for (size_t size = 0; size < whole.size(); ++size) {
    record.header = whole.substr(0, size);
    const std::optional<base::Uuid> found = SessionIdOf(record);
    if (found.has_value()) EXPECT_EQ(*found, id);
    if (ParseSessionRecord(record).has_value()) EXPECT_EQ(found, id);
  }
}

TEST(SessionRecordTest, EveryHeaderSaysWhoseItIs) {
  stored::v1::SessionOpened opened;
  opened.set_start_time_us(5);
  ExpectFound(RecordType::kSessionOpened, opened);
  stored::v1::SpanStarted span;
  span.set_span(3);
  ExpectFound(RecordType::kSpanStarted, span);
  stored::v1::Chunk chunk;
  chunk.set_suite(1);
  chunk.set_window_start_us(-1);
  chunk.add_sides()->set_payload_bytes(3);
  ExpectFound(RecordType::kChunk, chunk);
  stored::v1::Notes notes;
  notes.set_first_note(1);
  ExpectFound(RecordType::kNotes, notes);
  stored::v1::AttachmentPart part;
  part.set_offset(1);
  ExpectFound(RecordType::kAttachmentPart, part);
  stored::v1::Segment segment;
  segment.add_chunks();
  segment.set_segment(7);
  ExpectFound(RecordType::kSegment, segment);
  stored::v1::SessionClosed closed;
  closed.add_sides();
  ExpectFound(RecordType::kSessionClosed, closed);
  stored::v1::StateChanged state;
  state.set_at_us(2);
  ExpectFound(RecordType::kStateChanged, state);
  stored::v1::ClockChanged clock;
  clock.set_track_id(2);
  ExpectFound(RecordType::kClockChanged, clock);
  stored::v1::SourceDigest digest;
  digest.set_note(2);
  ExpectFound(RecordType::kSourceDigest, digest);
}

TEST(SessionRecordTest, AManifestKeepsWhatTheIndexNeeds) {
  stored::v1::Segment segment;
  segment.set_session_id(std::string(base::Uuid::Random().bytes()));
  segment.set_segment(3);
  segment.set_window_start_us(-5);
  segment.set_window_end_us(1'000'000);
  segment.set_record_time_us(9);
  segment.add_tracks_without_key_frame(2);
  segment.add_tracks_without_key_frame(300);
  stored::v1::Segment expected = segment;
  for (uint32_t i = 0; i < 10; ++i) {
    segment.add_chunks()->set_chunk(i);
    segment.mutable_chunks(static_cast<int>(i))->set_digest("digest");
    expected.add_chunks();
  }
  segment.set_previous_manifest_sha256("sum");
  segment.add_tracks()->set_root("root");
  segment.add_records("digest");
  log::StoredRecord record;
  record.type = RecordType::kSegment;
  record.header = segment.SerializeAsString();
  const auto parsed = ParseSessionRecord(record);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(std::get<stored::v1::Segment>(parsed->header).SerializeAsString(),
            expected.SerializeAsString());
}

TEST(SessionRecordTest, RubbishIsNobodys) {
  log::StoredRecord record;
  record.type = RecordType::kNotes;
  for (const std::string& header :
       {std::string(), std::string("\xff not a header"),
        std::string("\x0a\x03"
                    "abc"),
        std::string("\x0a\x7f"
                    "abc"),
        std::string("\x07")}) {
    record.header = header;
    EXPECT_EQ(SessionIdOf(record), std::nullopt);
    EXPECT_FALSE(ParseSessionRecord(record).has_value());
  }
  for (const RecordType type :
       {RecordType::kSnapshot, RecordType::kKeysChanged, RecordType::kAccess}) {
    EXPECT_FALSE(IsOfSession(type));
  }
}

}  // namespace
}  // namespace diptych::indexer
