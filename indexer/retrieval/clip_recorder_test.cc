#include "indexer/retrieval/clip_recorder.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/packet_line.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/packet_reader.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr uint32_t kVideo = 1;
constexpr uint32_t kAudio = 2;
constexpr int64_t kMs_us = 1000;

const std::string kSalt(32, 's');

// A clip of chunks of 100 ms, each a segment of its own for every ten of them.
class ClipRecorderTest : public ::testing::Test {
 protected:
  ClipRecorderTest() : session_(base::Uuid::Random()) {
    for (uint32_t i = 0; i < 30; ++i) {
      ChunkRef chunk;
      chunk.chunk = i;
      chunk.segment = i / 10;
      chunk.epoch = 5;
      chunk.window_start_us = i * 100 * kMs_us;
      all_.push_back(chunk);
    }
    for (const uint32_t id : {kVideo, kAudio}) {
      stored::v1::Track track;
      track.set_track_id(id);
      track.set_codec(id == kVideo ? api::v1::CODEC_H264 : api::v1::CODEC_OPUS);
      plan_.output[{0, id}] = plan_.tracks.size();
      plan_.tracks.push_back(track);
    }
  }

  // The plan: chunks [first, last] and packets from `from_ms` to `to_ms`.
  void PlanClip(uint32_t first, uint32_t last, int64_t from_ms, int64_t to_ms) {
    plan_.chunks.assign(all_.begin() + first, all_.begin() + last + 1);
    plan_.end_us = to_ms * kMs_us;
    plan_.from_us = from_ms * kMs_us;
    plan_.starts[kVideo] = {from_ms * kMs_us, true};
    plan_.starts[kAudio] = {from_ms * kMs_us, false};
  }

  ChunkedPacket Packet(uint32_t track_id, int64_t dts_ms, int64_t pts_ms,
                       bool key_frame) {
    ChunkedPacket packet;
    packet.chunk = &all_[static_cast<size_t>(dts_ms / 100)];
    packet.info.track_id = track_id;
    packet.info.sequence = ++sequence_;
    packet.info.pts_us = pts_ms * kMs_us;
    packet.info.dts_us = dts_ms * kMs_us;
    packet.info.raw_offset_us = 40 * kMs_us;
    packet.info.key_frame = key_frame;
    packet.chunk_body = std::make_shared<const std::string>(
        absl::StrCat("payload of ", sequence_));
    packet.payload = *packet.chunk_body;
    return packet;
  }

  void Take(ClipRecorder* recorder, ChunkedPacket packet) {
    const absl::Status status = recorder->Take(std::move(packet), &played_);
    ASSERT_TRUE(status.ok()) << status;
  }

  ClipRecorder Recorder() {
    return ClipRecorder(&plan_, session_, {},
                        [](const ChunkRef&, uint32_t) { return kSalt; });
  }

  std::vector<uint64_t> Played(uint32_t track_id) const {
    std::vector<uint64_t> numbers;
    for (const ReadPacket& packet : played_) {
      if (packet.info.track_id == track_id) {
        numbers.push_back(packet.info.sequence);
      }
    }
    return numbers;
  }

  const base::Uuid session_;
  std::vector<ChunkRef> all_;
  ReadPlan plan_;
  uint64_t sequence_ = 0;
  std::vector<ReadPacket> played_;
};

std::vector<uint64_t> Numbers(const std::vector<ChunkedPacket>& packets) {
  std::vector<uint64_t> numbers;
  for (const ChunkedPacket& packet : packets) {
    numbers.push_back(packet.info.sequence);
  }
  return numbers;
}

TEST_F(ClipRecorderTest, SoundIsCutAndItsPairsFilledUp) {
  PlanClip(8, 12, 850, 1210);
  ClipRecorder recorder = Recorder();
  // Every 20 ms: five a chunk.
  for (int64_t ms = 600; ms < 1500; ms += 20) {
    Take(&recorder, Packet(kAudio, ms, ms, true));
  }
  const auto clips = recorder.Finish();
  ASSERT_TRUE(clips.ok()) << clips.status();
  ASSERT_EQ(clips->size(), 1u);
  const TrackClip& clip = clips->front();
  // 800, 820, 840 come before; 1220 to 1280 after.
  EXPECT_EQ(Numbers(clip.before), (std::vector<uint64_t>{11, 12, 13}));
  EXPECT_EQ(Numbers(clip.after), (std::vector<uint64_t>{32, 33, 34, 35}));
  EXPECT_EQ(Played(kAudio).front(), 14u);
  EXPECT_EQ(Played(kAudio).back(), 31u);
  EXPECT_EQ(Played(kAudio).size(), 18u);
  ASSERT_EQ(clip.runs.size(), 2u);
  EXPECT_EQ(clip.runs[0].segment, 0u);
  EXPECT_EQ(clip.runs[0].stream, 1u);
  EXPECT_EQ(clip.runs[0].pairs.size(), 2u);
  EXPECT_EQ(clip.runs[0].before, 3u);
  EXPECT_EQ(clip.runs[0].after, 0u);
  EXPECT_EQ(clip.runs[1].pairs.size(), 3u);
  EXPECT_EQ(clip.runs[1].before, 0u);
  EXPECT_EQ(clip.runs[1].after, 4u);
  EXPECT_EQ(clip.raw_ms, std::vector<int64_t>(25, 40));
  ASSERT_EQ(clip.sources.size(), 1u);
  EXPECT_EQ(clip.sources[0].packets, 25u);
}

TEST_F(ClipRecorderTest, LeavesAreThoseOfAllOfTheChunk) {
  PlanClip(8, 8, 850, 900);
  ClipRecorder recorder = Recorder();
  evidence::TrackLeaf leaf;
  for (int64_t ms = 800; ms < 900; ms += 20) {
    ChunkedPacket packet = Packet(kAudio, ms, ms, true);
    // Of sound, key frames say nothing.
    leaf.Add({ms, false, static_cast<uint32_t>(packet.payload.size()),
              base::Sha256(packet.payload)});
    Take(&recorder, std::move(packet));
  }
  const auto clips = recorder.Finish();
  ASSERT_TRUE(clips.ok()) << clips.status();
  ASSERT_EQ(clips->size(), 1u);
  ASSERT_EQ(clips->front().runs[0].pairs.size(), 1u);
  EXPECT_EQ(clips->front().runs[0].pairs[0].leaf,
            leaf.Finish(evidence::ChunkSalt(kSalt, 8),
                        std::string(session_.bytes()), 8, kAudio));
}

TEST_F(ClipRecorderTest, PicturesAreOneRunFromKeyFrameToTheLastOneNeeded) {
  PlanClip(8, 13, 840, 1200);
  ClipRecorder recorder = Recorder();
  Take(&recorder, Packet(kVideo, 760, 800, false));  // 1
  Take(&recorder, Packet(kVideo, 800, 900, true));   // 2: another's key frame?
  EXPECT_EQ(Played(kVideo), (std::vector<uint64_t>{2}));
  // Shown before the picture that the clip begins with, decoded after it.
  Take(&recorder, Packet(kVideo, 820, 820, false));   // 3
  Take(&recorder, Packet(kVideo, 900, 1000, false));  // 4
  // Behind the end by its time; the one after it needs it.
  Take(&recorder, Packet(kVideo, 1100, 1220, false));  // 5
  EXPECT_EQ(Played(kVideo), (std::vector<uint64_t>{2, 3, 4}));
  Take(&recorder, Packet(kVideo, 1120, 1180, false));  // 6
  EXPECT_EQ(Played(kVideo), (std::vector<uint64_t>{2, 3, 4, 5, 6}));
  // Nobody needs these.
  Take(&recorder, Packet(kVideo, 1190, 1300, false));  // 7
  Take(&recorder, Packet(kVideo, 1210, 1310, false));  // 8
  Take(&recorder, Packet(kVideo, 1320, 1320, true));   // 9
  const auto clips = recorder.Finish();
  ASSERT_TRUE(clips.ok()) << clips.status();
  ASSERT_EQ(clips->size(), 1u);
  const TrackClip& clip = clips->front();
  EXPECT_EQ(Played(kVideo), (std::vector<uint64_t>{2, 3, 4, 5, 6}));
  EXPECT_TRUE(clip.before.empty());
  EXPECT_EQ(Numbers(clip.after), (std::vector<uint64_t>{7}));
  // Chunks 8, 9 and 11: the one with packet 8 is not the clip's.
  ASSERT_EQ(clip.runs.size(), 2u);
  EXPECT_EQ(clip.runs[0].pairs.size(), 2u);
  ASSERT_EQ(clip.runs[1].pairs.size(), 1u);
  EXPECT_EQ(clip.runs[1].pairs[0].chunk, 11u);
  EXPECT_EQ(clip.runs[1].pairs[0].packets, 3u);
  EXPECT_EQ(clip.raw_ms.size(), 6u);
}

TEST_F(ClipRecorderTest, WhatIsNotInThePlanIsNeverPlayed) {
  // An open session: no end is asked for, and chunks from 12 on are not proven.
  PlanClip(0, 11, 0, 1'000'000);
  plan_.starts[kAudio] = {INT64_MIN, false};
  ClipRecorder recorder = Recorder();
  for (int64_t ms = 0; ms < 1500; ms += 20) {
    Take(&recorder, Packet(kAudio, ms, ms, true));
  }
  const auto clips = recorder.Finish();
  ASSERT_TRUE(clips.ok()) << clips.status();
  EXPECT_EQ(Played(kAudio).size(), 60u);
  EXPECT_TRUE(clips->front().after.empty());
  EXPECT_EQ(clips->front().runs.back().pairs.back().chunk, 11u);
}

TEST_F(ClipRecorderTest, ATrackOfWhichNothingIsPlayedIsLeftOut) {
  PlanClip(8, 12, 850, 1200);
  ClipRecorder recorder = Recorder();
  // No key frame.
  Take(&recorder, Packet(kVideo, 860, 860, false));
  Take(&recorder, Packet(kVideo, 960, 960, false));
  const auto clips = recorder.Finish();
  ASSERT_TRUE(clips.ok()) << clips.status();
  EXPECT_TRUE(clips->empty());
}

TEST_F(ClipRecorderTest, PacketsOutOfOrderAreAnError) {
  PlanClip(8, 12, 850, 1200);
  ClipRecorder recorder = Recorder();
  ChunkedPacket first = Packet(kAudio, 860, 860, true);
  Take(&recorder, Packet(kAudio, 880, 880, true));
  EXPECT_EQ(recorder.Take(std::move(first), &played_).code(),
            absl::StatusCode::kInternal);
}

TEST_F(ClipRecorderTest, WithoutASaltThereIsNoClip) {
  PlanClip(8, 12, 850, 1200);
  ClipRecorder recorder(
      &plan_, session_, {},
      [](const ChunkRef&, uint32_t) -> absl::StatusOr<std::string> {
        return absl::PermissionDeniedError("no key");
      });
  EXPECT_EQ(recorder.Take(Packet(kAudio, 860, 860, true), &played_).code(),
            absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace diptych::indexer
