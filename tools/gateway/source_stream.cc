#include "tools/gateway/source_stream.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

extern "C" {
#include <libavutil/intreadwrite.h>
#include <libavutil/mathematics.h>
}

#include "absl/memory/memory.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/canonical.h"

namespace diptych::gateway {
namespace {

constexpr AVRational kMicroseconds = {1, 1'000'000};
constexpr size_t kSkipSamples_bytes = 10;
constexpr double kDefaultFrameRate = 25;

absl::string_view DataOf(const AVPacket& packet) {
  return absl::string_view(reinterpret_cast<const char*>(packet.data),
                           packet.size);
}

absl::string_view SideData(const AVPacket& packet, AVPacketSideDataType type) {
  size_t size = 0;
  const uint8_t* const data = av_packet_get_side_data(&packet, type, &size);
  return absl::string_view(reinterpret_cast<const char*>(data),
                           data == nullptr ? 0 : size);
}

// An elementary stream, whose packets have no times at all.
bool GivesNoTimes(const AVFormatContext& format) {
  const absl::string_view name = format.iformat->name;
  return (format.iformat->flags & AVFMT_NOTIMESTAMPS) != 0 || name == "h264" ||
         name == "hevc";
}

bool IsNalCodec(const AVCodecParameters& parameters) {
  return parameters.codec_id == AV_CODEC_ID_H264 ||
         parameters.codec_id == AV_CODEC_ID_HEVC;
}

// RTP, whose sender says now and then what its clock showed.
bool ReadsRtp(const AVFormatContext& format) {
  const absl::string_view name = format.iformat->name;
  return name == "sdp" || name == "rtp" || name == "rtsp";
}

// Pictures come in the order in which they are shown.
bool NeverReorders(const AVCodecParameters& parameters) {
  if (!IsNalCodec(parameters)) return true;
  return parameters.codec_id == AV_CODEC_ID_H264 &&
         (parameters.profile == FF_PROFILE_H264_BASELINE ||
          parameters.profile == FF_PROFILE_H264_CONSTRAINED_BASELINE);
}

}  // namespace

void SourceProblems::Add(absl::string_view what, absl::string_view place,
                         bool harmless) {
  if (list_.size() >= limits::kMaxProblems) return;
  for (const SourceProblem& known : list_) {
    if (known.what == what && known.place == place) return;
  }
  list_.push_back({.what = std::string(what),
                   .place = std::string(place),
                   .harmless = harmless});
}

absl::StatusOr<std::unique_ptr<SourceStream>> SourceStream::Create(
    const AVFormatContext& format, const AVStream& stream,
    const Options& options, SourceProblems* problems) {
  auto source = absl::WrapUnique(new SourceStream(stream, problems));
  ASSIGN_OR_RETURN(
      source->converter_,
      TrackConverter::Create(*stream.codecpar, options.side, options.track_id));
  source->has_sender_reports_ = ReadsRtp(format);
  if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO) {
    source->ChooseTiming(format, options);
  }
  return source;
}

void SourceStream::ChooseTiming(const AVFormatContext& format,
                                const Options& options) {
  const AVCodecParameters& parameters = *stream_.codecpar;
  double rate = av_q2d(stream_.avg_frame_rate);
  if (!(rate > 0)) rate = av_q2d(stream_.r_frame_rate);
  if (options.frames_per_second > 0) rate = options.frames_per_second;
  if (!(rate >= 0.1 && rate <= 1000)) rate = kDefaultFrameRate;
  step_us_ = std::llround(1e6 / rate);
  const int delay = std::clamp(parameters.video_delay, 0,
                               static_cast<int>(limits::kMaxPictureReorder));
  only_presentation_times_ =
      absl::StrContains(format.iformat->name, "matroska");
  counts_pictures_ = GivesNoTimes(format);
  if (counts_pictures_) {
    if (IsNalCodec(parameters)) {
      nal_codec_ = parameters.codec_id == AV_CODEC_ID_HEVC ? NalCodec::kH265
                                                           : NalCodec::kH264;
      auto parser = PictureParser::Create(nal_codec_, "");
      if (parser.ok()) parser_ = *std::move(parser);
    }
    order_.emplace(PictureOrder::FromOrderCounts(step_us_, delay));
    problems_->Add(
        absl::StrFormat("the stream has no times: they are counted at %.3f "
                        "pictures a second",
                        rate),
        "", /*harmless=*/true);
  } else if (only_presentation_times_ && !NeverReorders(parameters)) {
    order_.emplace(PictureOrder::FromPresentationTimes(step_us_, delay));
  }
}

bool SourceStream::Take(const AVPacket& packet, PendingPacket* pending,
                        TrackConverter::Change* change) {
  *change = TrackConverter::Change::kNone;
  ++packets_read_;
  pending->stream = packet.stream_index;
  pending->packet.set_track_id(track().track_id());
  pending->packet.set_key_frame((packet.flags & AV_PKT_FLAG_KEY) != 0);
  pending->packet.set_discard((packet.flags & AV_PKT_FLAG_DISCARD) != 0);
  TakeTimes(packet, pending);
  TakeSenderTime(packet, pending);
  TakeSideData(packet, pending);
  const std::string place = PlaceOf(packet, *pending);
  if ((packet.flags & AV_PKT_FLAG_CORRUPT) != 0) {
    problems_->Add("the container says that the packet is damaged", place);
  }
  const bool was_ready = ready();
  auto converted =
      converter_->Convert(DataOf(packet), pending->packet.key_frame());
  if (converted.ok()) {
    *change = converted->change;
    pending->packet.set_payload(std::move(converted->payload));
  } else {
    pending->dropped = true;
    DropUnreadable(pending->packet, converted.status().message(), place);
  }
  if (!order_.has_value()) {
    if (!pending->dropped && !pending->timed) untimed_.push_back(pending);
    return !pending->dropped;
  }
  // One that can't be archived still has its place among the pictures.
  if (pending->dropped && !was_ready) return false;
  TakeOrder(packet, pending);
  return true;
}

void SourceStream::TakeTimes(const AVPacket& packet, PendingPacket* pending) {
  const auto to_us = [&](int64_t value) {
    return av_rescale_q(value, stream_.time_base, kMicroseconds);
  };
  const int64_t duration_us = packet.duration > 0 ? to_us(packet.duration) : 0;
  pending->packet.set_duration_us(duration_us);
  const bool has_pts = packet.pts != AV_NOPTS_VALUE;
  const bool has_dts = packet.dts != AV_NOPTS_VALUE;
  if (order_.has_value()) {
    pending->pts_known = has_pts && !counts_pictures_;
    if (has_pts) pending->packet.set_pts_us(to_us(packet.pts));
    return;
  }
  int64_t pts_us = 0;
  if (has_pts || has_dts) {
    pts_us = to_us(has_pts ? packet.pts : packet.dts);
    PlaceUntimedBefore(has_dts ? to_us(packet.dts) : pts_us);
  } else {
    problems_->Add("packets without times are placed by those beside them",
                   Name(),
                   /*harmless=*/true);
    // Before RTCP has come, the first packets of RTP have none.
    if (!next_dts_us_.has_value()) return;
    pts_us = *next_dts_us_;
  }
  if (has_dts && !has_pts && !NeverReorders(*stream_.codecpar)) {
    problems_->Add(
        "the container does not say when pictures are shown: they are shown "
        "when they are decoded",
        Name());
  }
  const bool own_dts =
      media::IsVideo(track().codec()) && has_dts && !only_presentation_times_;
  int64_t dts_us = own_dts ? to_us(packet.dts) : pts_us;
  Rebase(packet, dts_us, duration_us);
  pts_us += rebase_us_;
  dts_us += rebase_us_;
  taken_dts_us_ = dts_us;
  next_dts_us_ = dts_us + duration_us;
  pending->packet.set_pts_us(pts_us);
  pending->packet.set_dts_us(dts_us);
  pending->pts_known = true;
  pending->timed = true;
}

void SourceStream::Rebase(const AVPacket& packet, int64_t dts_us,
                          int64_t duration_us) {
  if (!HasSenderTime(packet) || !taken_dts_us_.has_value()) return;
  // With a report libav moves its times to the sender's. A small step back
  // would read as disorder: the packet follows the one before, and the sender's
  // time, which goes with it, says where both belong.
  const int64_t back_us = *taken_dts_us_ - (dts_us + rebase_us_);
  if (back_us <= 0 || back_us >= limits::kClockJump_us) return;
  rebase_us_ += back_us + duration_us;
}

bool SourceStream::HasSenderTime(const AVPacket& packet) const {
  return has_sender_reports_ && SideData(packet, AV_PKT_DATA_PRFT).size() >=
                                    sizeof(AVProducerReferenceTime);
}

void SourceStream::TakeSenderTime(const AVPacket& packet,
                                  PendingPacket* pending) {
  if (!HasSenderTime(packet) || !pending->timed) return;
  AVProducerReferenceTime reference;
  std::memcpy(&reference, SideData(packet, AV_PKT_DATA_PRFT).data(),
              sizeof(reference));
  int64_t wall_us = reference.wallclock;
  const int64_t pts_us = pending->packet.pts_us();
  if (sender_offset_us_.has_value()) {
    // libav does not see that RTP's 32 bits of time began anew since the last
    // report.
    const int64_t round_us =
        av_rescale_q(int64_t{1} << 32, stream_.time_base, kMicroseconds);
    const int64_t off_us = wall_us - pts_us - *sender_offset_us_;
    if (off_us > round_us / 2) wall_us -= round_us;
    if (off_us < -round_us / 2) wall_us += round_us;
  }
  sender_offset_us_ = wall_us - pts_us;
  pending->sender_wall_us = wall_us;
}

void SourceStream::PlaceUntimedBefore(int64_t time_us) {
  while (!untimed_.empty()) {
    time_us -= step_us_;
    PendingPacket* const last = untimed_.back();
    untimed_.pop_back();
    last->packet.set_pts_us(time_us);
    last->packet.set_dts_us(time_us);
    last->pts_known = last->timed = true;
  }
}

void SourceStream::TakeSideData(const AVPacket& packet,
                                PendingPacket* pending) {
  const absl::string_view skip = SideData(packet, AV_PKT_DATA_SKIP_SAMPLES);
  if (skip.size() >= kSkipSamples_bytes) {
    pending->packet.set_skip_start_samples(AV_RL32(skip.data()));
    pending->packet.set_skip_end_samples(AV_RL32(skip.data() + 4));
  }
  const absl::string_view extradata =
      SideData(packet, AV_PKT_DATA_NEW_EXTRADATA);
  if (!extradata.empty()) {
    const absl::Status status = converter_->SetExtradata(extradata);
    if (!status.ok()) {
      problems_->Add(status.message(), PlaceOf(packet, *pending));
    }
  }
  TakeFormatChange(packet);
}

void SourceStream::TakeFormatChange(const AVPacket& packet) {
  // As libavcodec/packet.h lays it out: flags, then a field for each.
  constexpr uint32_t kChannelCount = 1;
  constexpr uint32_t kChannelLayout = 2;
  constexpr uint32_t kSampleRate = 4;
  constexpr uint32_t kDimensions = 8;
  absl::string_view change = SideData(packet, AV_PKT_DATA_PARAM_CHANGE);
  const auto next = [&change]() -> uint32_t {
    if (change.size() < 4) return 0;
    const uint32_t value = AV_RL32(change.data());
    change.remove_prefix(4);
    return value;
  };
  const uint32_t flags = next();
  const uint32_t channels = (flags & kChannelCount) != 0 ? next() : 0;
  if ((flags & kChannelLayout) != 0)
    change.remove_prefix(std::min<size_t>(8, change.size()));
  const uint32_t rate = (flags & kSampleRate) != 0 ? next() : 0;
  if (channels != 0 || rate != 0) converter_->SetAudioFormat(rate, channels);
  if ((flags & kDimensions) == 0) return;
  const uint32_t width = next();
  const uint32_t height = next();
  if (width != 0 && height != 0) converter_->SetPictureSize(width, height);
}

void SourceStream::TakeOrder(const AVPacket& packet, PendingPacket* pending) {
  int64_t key = pending->packet.pts_us();
  bool new_sequence = false;
  if (parser_.has_value()) {
    key = parser_->Parse(DataOf(packet)).order_count;
    for (const absl::string_view unit : SplitAnnexB(DataOf(packet))) {
      new_sequence |= StartsNewSequence(nal_codec_, unit);
    }
  }
  order_->Push(key, new_sequence);
  in_order_.push_back(pending);
  SettleTimes();
}

void SourceStream::SettleTimes() {
  while (!in_order_.empty()) {
    const auto times = order_->Pop();
    if (!times.has_value()) return;
    PendingPacket* const pending = in_order_.front();
    in_order_.pop_front();
    pending->packet.set_pts_us(times->pts_us);
    pending->packet.set_dts_us(times->dts_us);
    pending->timed = true;
  }
}

void SourceStream::Finish() {
  PlaceUntimedBefore(static_cast<int64_t>(untimed_.size()) * step_us_);
  if (!order_.has_value()) return;
  order_->Finish();
  SettleTimes();
}

bool SourceStream::CheckOrder(api::v1::Packet* packet) {
  const std::string place =
      absl::StrFormat("%s at %.3f s", Name(), packet->pts_us() / 1e6);
  // By half a second it is the clock that jumped: the archive records that and
  // goes on. By less it is disorder.
  const bool jumped = last_dts_us_.has_value() &&
                      packet->dts_us() <= *last_dts_us_ - limits::kClockJump_us;
  if (jumped) last_dts_us_.reset();
  if (last_dts_us_.has_value() && packet->dts_us() < *last_dts_us_) {
    DropUnreadable(*packet,
                   absl::StrFormat("its time goes back by %.3f s",
                                   (*last_dts_us_ - packet->dts_us()) / 1e6),
                   place);
    return false;
  }
  if (packet->pts_us() < packet->dts_us()) {
    if (last_dts_us_.has_value() && packet->pts_us() < *last_dts_us_) {
      DropUnreadable(*packet, "it would be shown before it is decoded", place);
      return false;
    }
    packet->set_dts_us(packet->pts_us());
  }
  last_dts_us_ = packet->dts_us();
  return true;
}

void SourceStream::DropUnreadable(const api::v1::Packet& packet,
                                  absl::string_view what,
                                  const std::string& place) {
  ++unreadable_packets_;
  // The place names the stream as the file does.
  absl::ConsumePrefix(&what, absl::StrCat("track ", packet.track_id(), ": "));
  problems_->Add(absl::StrCat("a packet is left out: ", what), place);
}

std::string SourceStream::Name() const {
  return absl::StrCat(media::IsVideo(track().codec()) ? "video" : "audio",
                      " stream ", stream_.index);
}

std::string SourceStream::PlaceOf(const AVPacket& packet,
                                  const PendingPacket& pending) const {
  std::string place = absl::StrCat(Name(), ", packet ", packets_read_);
  if (pending.timed) {
    absl::StrAppendFormat(&place, " at %.3f s", pending.packet.pts_us() / 1e6);
  }
  if (packet.pos >= 0) absl::StrAppend(&place, ", byte ", packet.pos);
  return place;
}

}  // namespace diptych::gateway
