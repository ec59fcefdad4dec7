#include "tools/diptych/verify/media_reader.h"

extern "C" {
#include <libavcodec/codec_id.h>
#include <libavcodec/codec_par.h>
#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <libavformat/avio.h>
#include <libavutil/avutil.h>
#include <libavutil/dict.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
}

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"

namespace diptych::verify {
namespace {

constexpr int kBuffer_bytes = 256 << 10;
constexpr AVRational kMillisecond = {1, 1000};

std::string CodecWord(AVCodecID id) {
  switch (id) {
    case AV_CODEC_ID_H264:
      return "h264";
    case AV_CODEC_ID_HEVC:
      return "h265";
    case AV_CODEC_ID_VP8:
      return "vp8";
    case AV_CODEC_ID_VP9:
      return "vp9";
    case AV_CODEC_ID_AV1:
      return "av1";
    case AV_CODEC_ID_OPUS:
      return "opus";
    case AV_CODEC_ID_AAC:
      return "aac";
    case AV_CODEC_ID_PCM_ALAW:
      return "g711_alaw";
    case AV_CODEC_ID_PCM_MULAW:
      return "g711_ulaw";
    default:
      return "";
  }
}

struct CloseFormat {
  void operator()(AVFormatContext* format) const {
    avformat_close_input(&format);
  }
};
struct FreePacket {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FreeIo {
  void operator()(AVIOContext* io) const {
    av_freep(&io->buffer);
    avio_context_free(&io);
  }
};

class LibavReader final : public MediaReader {
 public:
  LibavReader(base::ReadFile* file, std::string place)
      : file_(file), place_(std::move(place)) {}

  absl::Status Open(bool mp4);
  const std::vector<MediaStream>& streams() const override { return streams_; }
  absl::StatusOr<bool> Next(MediaPacket* packet) override;

 private:
  static int Read(void* self, uint8_t* buffer, int size);
  static int64_t Seek(void* self, int64_t offset, int whence);

  absl::Status False(absl::string_view what) const {
    return base::IntegrityError(absl::StrCat(place_, ": ", what));
  }
  absl::Status AvFalse(absl::string_view what, int error) const {
    char text[AV_ERROR_MAX_STRING_SIZE] = {};
    av_strerror(error, text, sizeof(text));
    return False(absl::StrCat(what, " (", text, ")"));
  }
  MediaStream Describe(const AVStream& stream) const;

  base::ReadFile* const file_;
  const std::string place_;
  bool mp4_ = false;
  uint64_t size_ = 0;
  uint64_t at_ = 0;
  std::string piece_;
  // What went wrong with the disk while libav read.
  absl::Status disk_;
  std::unique_ptr<AVIOContext, FreeIo> io_;
  std::unique_ptr<AVFormatContext, CloseFormat> format_;
  std::unique_ptr<AVPacket, FreePacket> packet_;
  std::vector<MediaStream> streams_;
};

int LibavReader::Read(void* self, uint8_t* buffer, int size) {
  auto* reader = static_cast<LibavReader*>(self);
  reader->disk_.Update(reader->file_->Read(
      reader->at_, static_cast<size_t>(size), &reader->piece_));
  if (!reader->disk_.ok()) return AVERROR(EIO);
  if (reader->piece_.empty()) return AVERROR_EOF;
  std::memcpy(buffer, reader->piece_.data(), reader->piece_.size());
  reader->at_ += reader->piece_.size();
  return static_cast<int>(reader->piece_.size());
}

int64_t LibavReader::Seek(void* self, int64_t offset, int whence) {
  auto* reader = static_cast<LibavReader*>(self);
  const auto size = static_cast<int64_t>(reader->size_);
  switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
      return size;
    case SEEK_SET:
      break;
    case SEEK_CUR:
      offset += static_cast<int64_t>(reader->at_);
      break;
    case SEEK_END:
      offset += size;
      break;
    default:
      return AVERROR(EINVAL);
  }
  if (offset < 0) return AVERROR(EINVAL);
  reader->at_ = static_cast<uint64_t>(offset);
  return offset;
}

absl::Status LibavReader::Open(bool mp4) {
  // What libav finds odd is in what it gives; its lines would stand between
  // ours. What it is told by a file must not take all memory.
  [[maybe_unused]] static const bool set_up =
      (av_log_set_level(AV_LOG_QUIET),
       av_max_alloc(limits::kMaxLibavAllocation_bytes), true);
  mp4_ = mp4;
  ASSIGN_OR_RETURN(size_, file_->Size());
  auto* buffer = static_cast<uint8_t*>(av_malloc(kBuffer_bytes));
  if (buffer == nullptr) return absl::ResourceExhaustedError("out of memory");
  io_.reset(avio_alloc_context(buffer, kBuffer_bytes, 0, this,
                               &LibavReader::Read, nullptr,
                               &LibavReader::Seek));
  packet_.reset(av_packet_alloc());
  AVFormatContext* format = avformat_alloc_context();
  if (io_ == nullptr || packet_ == nullptr || format == nullptr) {
    return absl::ResourceExhaustedError("out of memory");
  }
  format->pb = io_.get();
  format->flags |=
      AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
  AVDictionary* settings = nullptr;
  // An edit list that moves a track counts, and hides nothing from us.
  if (mp4) av_dict_set(&settings, "advanced_editlist", "0", 0);
  const AVInputFormat* input = av_find_input_format(mp4 ? "mp4" : "matroska");
  const int error = avformat_open_input(&format, nullptr, input, &settings);
  av_dict_free(&settings);
  RETURN_IF_ERROR(disk_);
  if (error < 0) {
    return AvFalse(mp4 ? "is no MP4 file" : "is no Matroska file", error);
  }
  format_.reset(format);
  if (format_->nb_streams > limits::kMaxOutputTracks) {
    return False("has more streams than any bundle");
  }
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    streams_.push_back(Describe(*format_->streams[i]));
  }
  return absl::OkStatus();
}

MediaStream LibavReader::Describe(const AVStream& stream) const {
  const AVCodecParameters& parameters = *stream.codecpar;
  MediaStream described;
  described.codec = CodecWord(parameters.codec_id);
  described.video = parameters.codec_type == AVMEDIA_TYPE_VIDEO;
  if (parameters.extradata_size > 0) {
    described.extradata.assign(
        reinterpret_cast<const char*>(parameters.extradata),
        static_cast<size_t>(parameters.extradata_size));
  }
  described.width = static_cast<uint32_t>(std::max(parameters.width, 0));
  described.height = static_cast<uint32_t>(std::max(parameters.height, 0));
  described.sample_rate_hz =
      static_cast<uint32_t>(std::max(parameters.sample_rate, 0));
  described.channels =
      static_cast<uint32_t>(std::max(parameters.ch_layout.nb_channels, 0));
  const AVDictionaryEntry* title =
      av_dict_get(stream.metadata, mp4_ ? "handler_name" : "title", nullptr, 0);
  if (title != nullptr) described.title = title->value;
  const auto square = [](AVRational ratio) {
    return ratio.num == 0 || ratio.num == ratio.den;
  };
  described.shown_otherwise = !square(stream.sample_aspect_ratio) ||
                              !square(parameters.sample_aspect_ratio) ||
                              stream.nb_side_data != 0;
  return described;
}

absl::StatusOr<bool> LibavReader::Next(MediaPacket* packet) {
  av_packet_unref(packet_.get());
  const int error = av_read_frame(format_.get(), packet_.get());
  RETURN_IF_ERROR(disk_);
  if (error == AVERROR_EOF) {
    if (io_->error < 0) return AvFalse("can't be read to its end", io_->error);
    return false;
  }
  if (error < 0) return AvFalse("can't be read as packets", error);
  if (format_->nb_streams != streams_.size()) {
    return False("has a stream that begins in its middle");
  }
  const AVPacket& got = *packet_;
  if (got.pts == AV_NOPTS_VALUE || got.size <= 0 ||
      static_cast<size_t>(got.size) > limits::kMaxPacket_bytes ||
      (got.flags & AV_PKT_FLAG_CORRUPT) != 0) {
    return False(absl::StrCat("has a packet at byte ", got.pos,
                              " that is no packet of ours"));
  }
  packet->stream = static_cast<size_t>(got.stream_index);
  packet->pts_ms =
      av_rescale_q_rnd(got.pts, format_->streams[got.stream_index]->time_base,
                       kMillisecond, AV_ROUND_NEAR_INF);
  packet->key_frame =
      streams_[packet->stream].video && (got.flags & AV_PKT_FLAG_KEY) != 0;
  packet->cut = (got.flags & AV_PKT_FLAG_DISCARD) != 0 ||
                av_packet_get_side_data(&got, AV_PKT_DATA_SKIP_SAMPLES,
                                        nullptr) != nullptr;
  packet->offset = got.pos;
  packet->payload = absl::string_view(reinterpret_cast<const char*>(got.data),
                                      static_cast<size_t>(got.size));
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MediaReader>> MediaReader::Open(
    base::ReadFile* file, bool mp4, std::string place) {
  auto reader = std::make_unique<LibavReader>(file, std::move(place));
  RETURN_IF_ERROR(reader->Open(mp4));
  return std::unique_ptr<MediaReader>(std::move(reader));
}

}  // namespace diptych::verify
