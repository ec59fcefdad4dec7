#include "indexer/retrieval/remuxer.h"

extern "C" {
#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/dict.h>
#include <libavutil/error.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/log.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
}

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/file_sink.h"
#include "indexer/retrieval/mp4_edits.h"
#include "indexer/retrieval/stream_description.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr AVRational kMicrosecond = {1, 1'000'000};
// Fine enough for 1 ms also after packets with equal times were put apart, and
// coarse enough for a gap of hours: MP4 counts a gap in 31 bits.
constexpr int kMp4Timescale = 90'000;
constexpr AVRational kMovieUnit = {1, kMp4Timescale};
// How far a packet's time may be off in the file.
constexpr int64_t kTolerance_us = 1000;
// Where its millisecond has to come back.
constexpr int64_t kMillisecondTolerance_us = 490;
constexpr int64_t kMillisecond_us = 1000;
constexpr int kSkipSamples_bytes = 10;

absl::Status AvError(absl::string_view what, int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof(text));
  return absl::InternalError(absl::StrCat(what, ": ", text));
}

struct FreeContext {
  void operator()(AVFormatContext* context) const {
    avformat_free_context(context);
  }
};
struct FreePacket {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};

// What is known of a stream while it is written. Times are in its own units.
struct StreamState {
  AVStream* stream = nullptr;
  // Of a fragmented MP4: the last packet, which is written once the next one
  // says how long it lasts.
  std::unique_ptr<AVPacket, FreePacket> last;
  uint32_t decoder_delay_samples = 0;
  // What stands for file time 0. Not 0 in a fragmented MP4, where times can't
  // be negative, and in Matroska for audio with a codec delay, which whoever
  // reads takes off every time (RFC 9559, CodecDelay).
  int64_t zero = 0;
  std::optional<int64_t> first_dts;
  int64_t last_dts = 0;
  int64_t last_pts = 0;
  // Of what is shown: the first instant, and the last packet's end.
  std::optional<int64_t> shown_from;
  int64_t shown_to = 0;
  // What follows the end is decoded and not shown.
  bool exact_end = false;
};

struct HeldPacket {
  size_t track;
  media::PacketInfo info;
  std::string payload;
};

class LibavRemuxer final : public Remuxer {
 public:
  explicit LibavRemuxer(const RemuxOptions& options) : options_(options) {}

  absl::Status Open(WriteBytes write);

  absl::Status Write(size_t track, const media::PacketInfo& info,
                     absl::string_view payload) override;
  absl::Status Flush() override;
  absl::Status Finish() override;
  uint64_t file_bytes() const override { return sink_->file_bytes(); }

 private:
  bool mp4() const { return options_.container == api::v1::CONTAINER_MP4; }
  bool fragmented() const {
    return options_.container == api::v1::CONTAINER_FRAGMENTED_MP4;
  }
  bool matroska() const { return !mp4() && !fragmented(); }

  // Writes the file's beginning, then what was held for it.
  absl::Status Begin();
  absl::Status DescribeStreams();
  absl::Status WriteHeader();
  absl::Status Mux(size_t track, const media::PacketInfo& info,
                   absl::string_view payload);
  // Sets the packet's times.
  absl::Status SetTimes(const media::PacketInfo& info, StreamState* state,
                        AVPacket* packet) const;
  static void NoteShown(const media::PacketInfo& info, const AVPacket& packet,
                        StreamState* state);
  // Of a fragmented MP4: writes the stream's last packet, in a new fragment if
  // it is a picture that stands on its own.
  absl::Status WriteLast(StreamState* state);
  absl::Status EndFragment();
  absl::Status WritePacket(AVPacket* packet);
  absl::Status DriveOutLastAudio();
  std::vector<Mp4Edit> Edits() const;

  const RemuxOptions options_;
  std::unique_ptr<FileSink> sink_;
  std::unique_ptr<AVFormatContext, FreeContext> context_;
  std::unique_ptr<AVPacket, FreePacket> packet_;
  std::vector<StreamState> streams_;
  bool begun_ = false;
  bool fragment_begun_ = false;
  uint64_t packets_ = 0;
  std::vector<HeldPacket> held_;
  size_t held_bytes_ = 0;
};

absl::Status LibavRemuxer::Open(WriteBytes write) {
  // What goes wrong is in our statuses; libav's own lines would stand between
  // the log's.
  [[maybe_unused]] static const bool quiet =
      (av_log_set_level(AV_LOG_QUIET), true);
  RETURN_IF_ERROR(CheckContainer(options_.container, options_.tracks));
  ASSIGN_OR_RETURN(sink_, FileSink::Create(std::move(write)));
  const char* format = options_.container == api::v1::CONTAINER_MATROSKA
                           ? "matroska"
                       : options_.container == api::v1::CONTAINER_WEBM ? "webm"
                                                                       : "mp4";
  AVFormatContext* context = nullptr;
  const int error =
      avformat_alloc_output_context2(&context, nullptr, format, nullptr);
  if (error < 0) return AvError("libav has no such muxer", error);
  context_.reset(context);
  packet_.reset(av_packet_alloc());
  if (packet_ == nullptr) return absl::ResourceExhaustedError("out of memory");
  context_->pb = sink_->io();
  // Payloads stay as they are: no bitstream filters. Times stay as they are.
  // The same request gives the same bytes.
  context_->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
  context_->flags &= ~AVFMT_FLAG_AUTO_BSF;
  context_->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
  const std::string created = absl::FormatTime(
      "%Y-%m-%dT%H:%M:%E6SZ", absl::FromUnixMicros(options_.session_start_us),
      absl::UTCTimeZone());
  av_dict_set(&context_->metadata, "creation_time", created.c_str(), 0);
  return absl::OkStatus();
}

absl::Status LibavRemuxer::DescribeStreams() {
  std::vector<absl::string_view> first_payloads(options_.tracks.size());
  for (const HeldPacket& packet : held_) {
    if (first_payloads[packet.track].empty()) {
      first_payloads[packet.track] = packet.payload;
    }
  }
  for (size_t i = 0; i < options_.tracks.size(); ++i) {
    AVStream* stream = avformat_new_stream(context_.get(), nullptr);
    if (stream == nullptr) return absl::ResourceExhaustedError("out of memory");
    RETURN_IF_ERROR(DescribeStream(options_.tracks[i], options_.container,
                                   first_payloads[i], stream));
    StreamState state;
    state.stream = stream;
    state.decoder_delay_samples = DecoderDelaySamples(options_.tracks[i]);
    if (fragmented()) {
      state.last.reset(av_packet_alloc());
      if (state.last == nullptr) {
        return absl::ResourceExhaustedError("out of memory");
      }
    }
    streams_.push_back(std::move(state));
  }
  return absl::OkStatus();
}

absl::Status LibavRemuxer::WriteHeader() {
  AVDictionary* settings = nullptr;
  if (!matroska()) {
    av_dict_set_int(&settings, "video_track_timescale", kMp4Timescale, 0);
    av_dict_set_int(&settings, "movie_timescale", kMp4Timescale, 0);
    // Ours are put in afterwards.
    av_dict_set(&settings, "use_editlist", "0", 0);
  }
  if (fragmented()) {
    // Fragments are cut by Flush and before key frames, by us, so that each is
    // begun at the time it has. The fragment index at the end is left
    // out, as in a live stream.
    av_dict_set(&settings, "movflags",
                "frag_custom+empty_moov+default_base_moof+skip_trailer", 0);
    sink_->HoldFrom(0);
  }
  const int error = avformat_write_header(context_.get(), &settings);
  av_dict_free(&settings);
  RETURN_IF_ERROR(sink_->Flush());
  if (error < 0) return AvError("libav can't begin the file", error);
  if (matroska()) {
    for (StreamState& state : streams_) {
      if (state.decoder_delay_samples == 0) continue;
      state.zero = av_rescale_q(state.decoder_delay_samples,
                                {1, state.stream->codecpar->sample_rate},
                                state.stream->time_base);
    }
  }
  if (!fragmented()) return absl::OkStatus();

  // A fragment's time can't be negative, as the first decoding times of
  // streams with B-frames are. All move up by as much, and edit lists bring
  // presentation back.
  int64_t lowest_us = 0;
  for (const HeldPacket& packet : held_) {
    lowest_us = std::min(lowest_us, packet.info.dts_us - options_.origin_us);
  }
  std::vector<Mp4Edit> edits;
  for (StreamState& state : streams_) {
    state.zero = av_rescale_q_rnd(-lowest_us, kMicrosecond,
                                  state.stream->time_base, AV_ROUND_UP);
    edits.push_back({0, state.zero, 0});
  }
  ASSIGN_OR_RETURN(std::string header, sink_->TakeHeld());
  if (lowest_us < 0) {
    ASSIGN_OR_RETURN(header, PutMp4Edits(header, edits));
  }
  RETURN_IF_ERROR(sink_->Send(0, header));
  sink_->GoOnAt(header.size());
  return absl::OkStatus();
}

absl::Status LibavRemuxer::Begin() {
  begun_ = true;
  RETURN_IF_ERROR(DescribeStreams());
  RETURN_IF_ERROR(WriteHeader());
  for (const HeldPacket& packet : held_) {
    RETURN_IF_ERROR(Mux(packet.track, packet.info, packet.payload));
  }
  held_.clear();
  return absl::OkStatus();
}

absl::Status LibavRemuxer::Write(size_t track,
                                 const media::PacketInfo& original,
                                 absl::string_view payload) {
  media::PacketInfo info = original;
  if (options_.whole_milliseconds) {
    info.pts_us = evidence::ToMs(info.pts_us) * kMillisecond_us;
    info.dts_us = evidence::ToMs(info.dts_us) * kMillisecond_us;
  }
  if (track >= options_.tracks.size()) {
    return absl::InternalError("a packet of a track that the file has not");
  }
  if (begun_) return Mux(track, info, payload);
  held_.push_back({track, info, std::string(payload)});
  held_bytes_ += payload.size();
  if (held_bytes_ > limits::kMaxHeldWhileReading_bytes) return Begin();
  return absl::OkStatus();
}

absl::Status LibavRemuxer::SetTimes(const media::PacketInfo& info,
                                    StreamState* state,
                                    AVPacket* packet) const {
  const AVRational unit = state->stream->time_base;
  const auto to_units = [&](int64_t us) {
    return av_rescale_q(us - options_.origin_us, kMicrosecond, unit) +
           state->zero;
  };
  packet->pts = to_units(info.pts_us);
  packet->duration =
      av_rescale_q(static_cast<int64_t>(info.duration_us), kMicrosecond, unit);
  if (matroska()) {
    // Keeps no dts; what libav wants is one that never falls and is not above
    // the pts.
    packet->dts = 0;
    state->last_pts = packet->pts;
    return absl::OkStatus();
  }
  packet->dts = to_units(info.dts_us);
  // MP4 knows only steps forward: packets of one time get one unit each.
  if (state->first_dts) {
    packet->dts = std::max(packet->dts, state->last_dts + 1);
  } else if (fragmented()) {
    packet->dts = std::max<int64_t>(packet->dts, 0);
  }
  packet->pts = std::max(packet->pts, packet->dts);
  const int64_t off_us =
      av_rescale_q(packet->pts - to_units(info.pts_us), unit, kMicrosecond);
  if (off_us > (options_.whole_milliseconds ? kMillisecondTolerance_us
                                            : kTolerance_us)) {
    return absl::FailedPreconditionError(
        absl::StrCat("MP4 can't say the time of packet ", info.sequence,
                     " of track ", info.track_id,
                     " (its decoding time is after its own): ask for "
                     "Matroska"));
  }
  if (state->first_dts &&
      packet->dts - state->last_dts >= std::numeric_limits<int32_t>::max()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "MP4 can't say a gap as long as before packet ", info.sequence,
        " of track ", info.track_id, ": ask for Matroska, or a shorter range"));
  }
  return absl::OkStatus();
}

void LibavRemuxer::NoteShown(const media::PacketInfo& info,
                             const AVPacket& packet, StreamState* state) {
  const bool first = !state->first_dts.has_value();
  if (first) state->first_dts = packet.dts;
  state->last_dts = packet.dts;
  if (info.discard) {
    state->exact_end |= packet.pts >= state->shown_to;
    return;
  }
  // Audio's unit is the sample.
  int64_t from = packet.pts;
  int64_t to = packet.pts + packet.duration;
  if (state->stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) {
    if (!state->shown_from) {
      // The decoder drops its delay anyhow; libav's, told of a whole packet to
      // discard, would count it twice.
      const bool delay_known =
          first && state->decoder_delay_samples < packet.duration;
      from += std::max(info.skip_start_samples,
                       delay_known ? state->decoder_delay_samples : 0);
    }
    to -= info.skip_end_samples;
  }
  if (!state->shown_from || from < *state->shown_from) {
    state->shown_from = from;
  }
  if (to > state->shown_to) {
    state->shown_to = to;
    state->exact_end = info.skip_end_samples > 0;
  }
}

absl::Status LibavRemuxer::Mux(size_t track, const media::PacketInfo& info,
                               absl::string_view payload) {
  if (mp4() && ++packets_ > limits::kMaxMp4Packets) {
    return absl::FailedPreconditionError(
        "the range has more packets than an MP4's index is made for: ask for "
        "fragmented MP4 or Matroska, or a shorter range");
  }
  StreamState& state = streams_[track];
  AVPacket* packet = packet_.get();
  // The copy gives libav the padding that its parsers read past the end.
  const int error = av_new_packet(packet, static_cast<int>(payload.size()));
  if (error < 0) return AvError("libav can't hold a packet", error);
  std::memcpy(packet->data, payload.data(), payload.size());
  packet->stream_index = state.stream->index;
  if (info.key_frame) packet->flags |= AV_PKT_FLAG_KEY;
  if (info.discard) packet->flags |= AV_PKT_FLAG_DISCARD;
  if (info.skip_start_samples != 0 || info.skip_end_samples != 0) {
    uint8_t* skip = av_packet_new_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES,
                                            kSkipSamples_bytes);
    if (skip == nullptr) {
      av_packet_unref(packet);
      return absl::ResourceExhaustedError("out of memory");
    }
    std::memset(skip, 0, kSkipSamples_bytes);
    AV_WL32(skip, info.skip_start_samples);
    AV_WL32(skip + 4, info.skip_end_samples);
  }
  const absl::Status times = SetTimes(info, &state, packet);
  if (!times.ok()) {
    av_packet_unref(packet);
    return times;
  }
  if (fragmented() && state.last->data != nullptr) {
    state.last->duration = packet->dts - state.last->dts;
    const absl::Status written = WriteLast(&state);
    if (!written.ok()) {
      av_packet_unref(packet);
      return written;
    }
  }
  NoteShown(info, *packet, &state);
  if (fragmented()) {
    av_packet_move_ref(state.last.get(), packet);
    return absl::OkStatus();
  }
  return WritePacket(packet);
}

absl::Status LibavRemuxer::WriteLast(StreamState* state) {
  AVPacket* packet = state->last.get();
  if (packet->data == nullptr) return absl::OkStatus();
  const bool video = state->stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO;
  if (video && (packet->flags & AV_PKT_FLAG_KEY) != 0 && fragment_begun_) {
    RETURN_IF_ERROR(EndFragment());
  }
  if (!fragment_begun_) {
    fragment_begun_ = true;
    // Without it libav moves a fragment's first packet of a track to where the
    // last one's duration ended.
    const int error =
        av_opt_set(context_->priv_data, "movflags", "+frag_discont", 0);
    if (error < 0) return AvError("libav can't begin a fragment", error);
  }
  return WritePacket(packet);
}

absl::Status LibavRemuxer::EndFragment() {
  fragment_begun_ = false;
  return WritePacket(nullptr);
}

absl::Status LibavRemuxer::WritePacket(AVPacket* packet) {
  const int error = av_write_frame(context_.get(), packet);
  if (packet != nullptr) av_packet_unref(packet);
  if (error >= 0) return absl::OkStatus();
  // The receiver's own error says more than libav's.
  RETURN_IF_ERROR(sink_->status());
  return AvError("libav can't write a packet", error);
}

absl::Status LibavRemuxer::DriveOutLastAudio() {
  // libav's Matroska muxer keeps an audio packet back until the next packet
  // comes, and a flush ends the cluster without it. An empty audio packet
  // drives it out and adds nothing.
  for (const StreamState& state : streams_) {
    if (state.stream->codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
    AVPacket* packet = packet_.get();
    packet->stream_index = state.stream->index;
    packet->pts = state.last_pts;
    packet->dts = 0;
    return WritePacket(packet);
  }
  return absl::OkStatus();
}

absl::Status LibavRemuxer::Flush() {
  if (!begun_) RETURN_IF_ERROR(Begin());
  if (matroska()) RETURN_IF_ERROR(DriveOutLastAudio());
  if (fragmented()) RETURN_IF_ERROR(EndFragment());
  // Ends the cluster.
  if (matroska()) RETURN_IF_ERROR(WritePacket(nullptr));
  return sink_->Flush();
}

std::vector<Mp4Edit> LibavRemuxer::Edits() const {
  std::vector<Mp4Edit> edits;
  for (const StreamState& state : streams_) {
    Mp4Edit edit;
    if (state.first_dts) {
      // A track that shows nothing at all is shown as it is.
      const int64_t from = state.shown_from.value_or(*state.first_dts);
      const int64_t to =
          std::max(state.shown_from ? state.shown_to : state.last_dts, from);
      const AVRational unit = state.stream->time_base;
      // Some more than there is, so that rounding never costs the last frame.
      const int64_t margin =
          state.exact_end ? 0 : av_rescale_q(kTolerance_us, kMicrosecond, unit);
      edit.media_time = from - *state.first_dts;
      edit.empty_duration = static_cast<uint64_t>(
          av_rescale_q(std::max<int64_t>(from, 0), unit, kMovieUnit));
      edit.duration = static_cast<uint64_t>(
          av_rescale_q_rnd(to + margin - from, unit, kMovieUnit, AV_ROUND_UP));
    }
    edits.push_back(edit);
  }
  return edits;
}

absl::Status LibavRemuxer::Finish() {
  if (!begun_) RETURN_IF_ERROR(Begin());
  if (fragmented()) {
    for (StreamState& state : streams_) RETURN_IF_ERROR(WriteLast(&state));
  }
  RETURN_IF_ERROR(Flush());
  const uint64_t end = sink_->position();
  if (mp4()) sink_->HoldFrom(end);
  const int error = av_write_trailer(context_.get());
  RETURN_IF_ERROR(sink_->Flush());
  if (error < 0) return AvError("libav can't end the file", error);
  if (!mp4()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string index, sink_->TakeHeld());
  ASSIGN_OR_RETURN(const std::string edited, PutMp4Edits(index, Edits()));
  return sink_->Send(end, edited);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Remuxer>> Remuxer::Create(
    const RemuxOptions& options, WriteBytes write) {
  auto remuxer = std::make_unique<LibavRemuxer>(options);
  RETURN_IF_ERROR(remuxer->Open(std::move(write)));
  return std::unique_ptr<Remuxer>(std::move(remuxer));
}

}  // namespace diptych::indexer
