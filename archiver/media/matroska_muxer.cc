#include "archiver/media/matroska_muxer.h"

extern "C" {
#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <libavformat/avio.h>
#include <libavutil/dict.h>
#include <libavutil/error.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
}

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/codec_parameters.h"
#include "archiver/media/packet_table.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::media {
namespace {

constexpr int kIoBuffer_bytes = 32 << 10;
constexpr int kSkipSamples_bytes = 10;

absl::Status AvError(absl::string_view what, int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof(text));
  return absl::InternalError(absl::StrCat(what, ": ", text));
}

class LibavMatroskaMuxer final : public MatroskaMuxer {
 public:
  absl::Status Open(absl::Span<const stored::v1::Track> tracks);

  const std::string& header() const override { return header_; }
  absl::Status Write(const PacketInfo& info,
                     absl::string_view payload) override;
  absl::StatusOr<std::string> Flush() override;

 private:
  struct FreeContext {
    void operator()(AVFormatContext* context) const {
      avformat_free_context(context);
    }
  };
  struct FreeIo {
    void operator()(AVIOContext* io) const {
      av_freep(&io->buffer);
      avio_context_free(&io);
    }
  };
  struct FreePacket {
    void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  };

  static int WriteOut(void* opaque, uint8_t* data, int size) {
    static_cast<LibavMatroskaMuxer*>(opaque)->out_.append(
        reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    return size;
  }

  std::string out_;
  std::string header_;
  std::map<uint32_t, int> stream_of_track_;
  // By stream: what readers take off every block's time again (CodecDelay,
  // Opus). libav's muxer announces it and leaves adding it to its caller.
  std::vector<int64_t> codec_delay_ms_;
  // Any audio stream's index; see Flush.
  int audio_stream_ = -1;
  int64_t last_audio_dts_ms_ = 0;
  std::unique_ptr<AVIOContext, FreeIo> io_;
  std::unique_ptr<AVFormatContext, FreeContext> context_;
  std::unique_ptr<AVPacket, FreePacket> packet_;
};

absl::Status LibavMatroskaMuxer::Open(
    absl::Span<const stored::v1::Track> tracks) {
  AVFormatContext* context = nullptr;
  int error =
      avformat_alloc_output_context2(&context, nullptr, "matroska", nullptr);
  if (error < 0) return AvError("cannot make a Matroska muxer", error);
  context_.reset(context);
  packet_.reset(av_packet_alloc());
  auto* buffer = static_cast<uint8_t*>(av_malloc(kIoBuffer_bytes));
  if (packet_ == nullptr || buffer == nullptr) {
    av_free(buffer);
    return absl::ResourceExhaustedError("out of memory");
  }
  io_.reset(avio_alloc_context(buffer, kIoBuffer_bytes, /*write_flag=*/1, this,
                               nullptr, &WriteOut, nullptr));
  if (io_ == nullptr) {
    av_free(buffer);
    return absl::ResourceExhaustedError("out of memory");
  }
  io_->seekable = 0;
  context_->pb = io_.get();
  context_->flags |= AVFMT_FLAG_CUSTOM_IO;
  // Times are the session's and stay so.
  context_->avoid_negative_ts = 0;
  for (const stored::v1::Track& track : tracks) {
    AVStream* stream = avformat_new_stream(context_.get(), nullptr);
    if (stream == nullptr) return absl::ResourceExhaustedError("out of memory");
    RETURN_IF_ERROR(FillCodecParameters(track, stream->codecpar));
    stream->time_base = {1, 1000};
    stream_of_track_[track.track_id()] = stream->index;
    codec_delay_ms_.push_back(
        stream->codecpar->initial_padding == 0
            ? 0
            : av_rescale_q(stream->codecpar->initial_padding,
                           {1, stream->codecpar->sample_rate}, {1, 1000}));
    if (stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) {
      audio_stream_ = stream->index;
    }
    if (!track.language().empty()) {
      av_dict_set(&stream->metadata, "language", track.language().c_str(), 0);
    }
    av_dict_set(
        &stream->metadata, "title",
        track.side() == stored::v1::SIDE_RESIDENT ? "resident" : "clerk", 0);
  }
  AVDictionary* options = nullptr;
  av_dict_set(&options, "live", "1", 0);
  // Chunks end clusters; the muxer need not.
  av_dict_set(&options, "cluster_time_limit", "30000", 0);
  av_dict_set(&options, "cluster_size_limit", "8388608", 0);
  error = avformat_write_header(context_.get(), &options);
  av_dict_free(&options);
  if (error < 0) return AvError("cannot begin a Matroska span", error);
  avio_flush(io_.get());
  header_ = std::exchange(out_, std::string());
  return absl::OkStatus();
}

absl::Status LibavMatroskaMuxer::Write(const PacketInfo& info,
                                       absl::string_view payload) {
  const auto stream = stream_of_track_.find(info.track_id);
  if (stream == stream_of_track_.end()) {
    return absl::InternalError(
        absl::StrCat("track ", info.track_id, " is not in this span"));
  }
  AVPacket* packet = packet_.get();
  // The copy gives libav the padding that its parsers read past the end.
  const int error = av_new_packet(packet, static_cast<int>(payload.size()));
  if (error < 0) return AvError("cannot hold a packet", error);
  std::memcpy(packet->data, payload.data(), payload.size());
  packet->stream_index = stream->second;
  // Floor for both, so that pts >= dts stays so.
  packet->pts = info.pts_us / 1000;
  packet->dts =
      info.dts_us >= 0 ? info.dts_us / 1000 : (info.dts_us - 999) / 1000;
  const int64_t codec_delay_ms =
      codec_delay_ms_[static_cast<size_t>(stream->second)];
  packet->pts += codec_delay_ms;
  packet->dts += codec_delay_ms;
  packet->duration = static_cast<int64_t>(info.duration_us / 1000);
  if (info.key_frame) packet->flags |= AV_PKT_FLAG_KEY;
  if (info.skip_start_samples != 0 || info.skip_end_samples != 0) {
    uint8_t* skip = av_packet_new_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES,
                                            kSkipSamples_bytes);
    if (skip == nullptr) return absl::ResourceExhaustedError("out of memory");
    std::memset(skip, 0, kSkipSamples_bytes);
    AV_WL32(skip, info.skip_start_samples);
    AV_WL32(skip + 4, info.skip_end_samples);
  }
  if (stream->second == audio_stream_) last_audio_dts_ms_ = packet->dts;
  const int written = av_write_frame(context_.get(), packet);
  av_packet_unref(packet);
  if (written < 0) return AvError("cannot mux a packet", written);
  return absl::OkStatus();
}

absl::StatusOr<std::string> LibavMatroskaMuxer::Flush() {
  if (audio_stream_ >= 0) {
    // libav keeps the last audio packet back until the next one comes, and its
    // flush forgets it. An empty audio packet drives it out and adds nothing.
    AVPacket* packet = packet_.get();
    packet->stream_index = audio_stream_;
    packet->pts = last_audio_dts_ms_;
    packet->dts = last_audio_dts_ms_;
    const int error = av_write_frame(context_.get(), packet);
    av_packet_unref(packet);
    if (error < 0) return AvError("cannot flush the muxer", error);
  }
  const int error = av_write_frame(context_.get(), nullptr);
  if (error < 0) return AvError("cannot end a cluster", error);
  avio_flush(io_.get());
  return std::exchange(out_, std::string());
}

}  // namespace

absl::StatusOr<std::unique_ptr<MatroskaMuxer>> MatroskaMuxer::Create(
    absl::Span<const stored::v1::Track> tracks) {
  auto muxer = std::make_unique<LibavMatroskaMuxer>();
  RETURN_IF_ERROR(muxer->Open(tracks));
  return std::unique_ptr<MatroskaMuxer>(std::move(muxer));
}

}  // namespace diptych::media
