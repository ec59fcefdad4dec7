#include "indexer/query/segment_hints.h"

#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kSecond_us = 1'000'000;

stored::v1::ChunkRow Chunk(uint32_t segment, uint32_t span, uint32_t track,
                           int64_t key_frame_us) {
  stored::v1::ChunkRow chunk;
  chunk.set_segment(segment);
  chunk.set_span(span);
  auto* const key_frame = chunk.add_key_frames();
  key_frame->set_track_id(track);
  key_frame->set_pts_us(key_frame_us);
  return chunk;
}

api::v1::Segment Hinted(const std::vector<uint32_t>& tracks_without,
                        const std::vector<stored::v1::ChunkRow>& chunks) {
  stored::v1::SegmentRow row;
  row.set_segment(20);
  row.set_span(1);
  row.set_start_us(200 * kSecond_us);
  for (const uint32_t track : tracks_without) {
    row.add_tracks_without_key_frame(track);
  }
  api::v1::Segment segment;
  std::vector<const stored::v1::ChunkRow*> pointers;
  for (const auto& chunk : chunks) pointers.push_back(&chunk);
  AddHints(row, pointers, &segment);
  return segment;
}

TEST(SegmentHintsTest, GoesBackToTheLastKeyFrameOfEachTrack) {
  const std::vector<stored::v1::ChunkRow> chunks = {
      Chunk(17, 1, 4, 170 * kSecond_us), Chunk(18, 1, 4, 185 * kSecond_us),
      Chunk(19, 1, 5, 198 * kSecond_us), Chunk(20, 1, 4, 203 * kSecond_us),
      Chunk(20, 1, 5, 201 * kSecond_us), Chunk(21, 1, 4, 211 * kSecond_us)};
  const api::v1::Segment segment = Hinted({4, 5}, chunks);
  EXPECT_EQ(segment.play_from_us(), 185 * kSecond_us);
  ASSERT_EQ(segment.key_frames_size(), 2);
  EXPECT_EQ(segment.key_frames(0).track_id(), 5u);
  EXPECT_EQ(segment.key_frames(1).at_us(), 203 * kSecond_us);
  EXPECT_EQ(Hinted({5}, chunks).play_from_us(), 198 * kSecond_us);
  // All tracks begin with one.
  EXPECT_EQ(Hinted({}, chunks).play_from_us(), 200 * kSecond_us);
}

TEST(SegmentHintsTest, GoesBackAMinuteWithinTheSpan) {
  EXPECT_EQ(Hinted({4}, {Chunk(14, 1, 4, 140 * kSecond_us)}).play_from_us(),
            140 * kSecond_us);
  EXPECT_EQ(Hinted({4}, {Chunk(13, 1, 4, 139 * kSecond_us)}).play_from_us(),
            200 * kSecond_us);
  EXPECT_EQ(Hinted({4}, {Chunk(19, 0, 4, 199 * kSecond_us)}).play_from_us(),
            200 * kSecond_us);
}

TEST(SegmentHintsTest, TakesAnyTimes) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(Hinted({4}, {Chunk(19, 1, 4, kLeast), Chunk(19, 1, 4, kMost)})
                .play_from_us(),
            200 * kSecond_us);
}

}  // namespace
}  // namespace diptych::indexer
