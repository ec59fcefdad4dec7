#include "tools/gateway/source_stream.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mem.h>
}

#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "tools/gateway/libav.h"
#include "tools/gateway/track_converter.h"

namespace diptych::gateway {
namespace {

constexpr int kRate_hz = 48'000;
constexpr int64_t kFrame = 960;

struct FreeContext {
  void operator()(AVFormatContext* context) const {
    avformat_free_context(context);
  }
};

// An Opus stream of a container of this name, packet by packet.
class SourceStreamTest : public testing::Test {
 protected:
  void Open(const char* container) {
    format_.reset(avformat_alloc_context());
    format_->iformat = av_find_input_format(container);
    ASSERT_NE(format_->iformat, nullptr);
    AVStream* const stream = avformat_new_stream(format_.get(), nullptr);
    stream->time_base = {1, kRate_hz};
    stream->codecpar->codec_type = AVMEDIA_TYPE_AUDIO;
    stream->codecpar->codec_id = AV_CODEC_ID_OPUS;
    stream->codecpar->sample_rate = kRate_hz;
    av_channel_layout_default(&stream->codecpar->ch_layout, 2);
    auto opened = SourceStream::Create(
        *format_, *stream, {.side = api::v1::SIDE_CLERK, .track_id = 1},
        &problems_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    stream_ = *std::move(opened);
  }

  // A packet at `time` in samples, and what the sender's clock showed then.
  PendingPacket Take(int64_t time, std::optional<int64_t> wall_us = {}) {
    PacketPtr packet(av_packet_alloc());
    const std::string payload("\x78 opus");
    EXPECT_EQ(av_new_packet(packet.get(), static_cast<int>(payload.size())), 0);
    std::memcpy(packet->data, payload.data(), payload.size());
    packet->pts = packet->dts = time;
    packet->duration = kFrame;
    if (wall_us.has_value()) {
      AVProducerReferenceTime reference = {};
      reference.wallclock = *wall_us;
      std::memcpy(av_packet_new_side_data(packet.get(), AV_PKT_DATA_PRFT,
                                          sizeof(reference)),
                  &reference, sizeof(reference));
    }
    PendingPacket pending;
    TrackConverter::Change change = TrackConverter::Change::kNone;
    EXPECT_TRUE(stream_->Take(*packet, &pending, &change));
    EXPECT_TRUE(pending.timed);
    return pending;
  }

  // The times of these, in ms; -1 for those that are left out.
  std::vector<int64_t> Times_ms(const std::vector<int64_t>& times_ms) {
    std::vector<int64_t> found;
    for (const int64_t time_ms : times_ms) {
      PendingPacket pending = Take(time_ms * kRate_hz / 1000);
      const bool kept = stream_->CheckOrder(&pending.packet);
      found.push_back(kept ? pending.packet.dts_us() / 1000 : -1);
    }
    return found;
  }

  SourceProblems problems_;
  std::unique_ptr<AVFormatContext, FreeContext> format_;
  std::unique_ptr<SourceStream> stream_;
};

TEST_F(SourceStreamTest, ATimeThatGoesBackByHalfASecondIsPassedOn) {
  Open("ogg");
  const std::vector<int64_t> times_ms = {2'000, 2'020, 1'520, 1'540,
                                         1'560, 40,    60};
  EXPECT_EQ(Times_ms(times_ms), times_ms);
  EXPECT_EQ(stream_->unreadable_packets(), 0u);
  EXPECT_TRUE(problems_.list().empty());
}

TEST_F(SourceStreamTest, ATimeThatGoesBackByLessIsLeftOutAndNamed) {
  Open("ogg");
  EXPECT_EQ(Times_ms({2'000, 2'020, 1'521, 2'040}),
            (std::vector<int64_t>{2'000, 2'020, -1, 2'040}));
  EXPECT_EQ(stream_->unreadable_packets(), 1u);
  ASSERT_EQ(problems_.list().size(), 1u);
  EXPECT_NE(problems_.list()[0].what.find("its time goes back"),
            std::string::npos);
}

TEST_F(SourceStreamTest, SendersTimesAreThoseOfReports) {
  Open("sdp");
  EXPECT_FALSE(Take(0).sender_wall_us.has_value());
  const PendingPacket reported = Take(kFrame, 1'600'000'000'000'000);
  EXPECT_EQ(reported.sender_wall_us, 1'600'000'000'000'000);
  EXPECT_EQ(reported.packet.pts_us(), 20'000);
}

TEST_F(SourceStreamTest, OtherContainersHaveNoSender) {
  Open("ogg");
  EXPECT_FALSE(Take(0, 1'600'000'000'000'000).sender_wall_us.has_value());
}

TEST_F(SourceStreamTest, TheFirstReportMayMoveTimesBackALittle) {
  Open("sdp");
  std::vector<PendingPacket> taken;
  for (int i = 0; i < 20; ++i) taken.push_back(Take(i * kFrame));
  // From here on libav counts from the other stream's first packet, 300 ms
  // later than this one's.
  constexpr int64_t kBack = kRate_hz * 3 / 10;
  for (int i = 20; i < 40; ++i) {
    taken.push_back(Take(i * kFrame - kBack, 1'000'000 + i * 20'000));
  }
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(stream_->CheckOrder(&taken[i].packet));
    EXPECT_EQ(taken[i].packet.pts_us(), i * 20'000) << i;
    if (i >= 20) EXPECT_EQ(taken[i].sender_wall_us, 1'000'000 + i * 20'000);
  }
  EXPECT_EQ(stream_->unreadable_packets(), 0u);
}

TEST_F(SourceStreamTest, RtpTimeThatBeganAnewDoesNotMoveTheSendersClock) {
  Open("sdp");
  constexpr int64_t kRound_us =
      (int64_t{1} << 32) / kRate_hz * 1'000'000 +
      (int64_t{1} << 32) % kRate_hz * 1'000'000 / kRate_hz;
  constexpr int64_t kWall_us = 1'600'000'000'000'000;
  Take(0, kWall_us);
  EXPECT_NEAR(static_cast<double>(
                  *Take(kFrame, kWall_us + 20'000 - kRound_us).sender_wall_us -
                  kWall_us),
              20'000, 2);
  EXPECT_EQ(*Take(2 * kFrame, kWall_us + 40'000).sender_wall_us,
            kWall_us + 40'000);
}

}  // namespace
}  // namespace diptych::gateway
