#include "tools/gateway/media_source.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "tools/gateway/input_name.h"
#include "tools/gateway/libav.h"
#include "tools/gateway/mp4_boxes.h"
#include "tools/gateway/source_stream.h"
#include "tools/gateway/track_converter.h"

namespace diptych::gateway {
namespace {

constexpr size_t kMaxReason_bytes = 500;
// A read that took longer had to wait for its packet.
constexpr absl::Duration kWaitedForPacket = absl::Milliseconds(2);

class LibavSource : public MediaSource {
 public:
  explicit LibavSource(const SourceOptions& options) : options_(options) {}

  absl::Status Start();

  const std::vector<api::v1::Track>& tracks() const override {
    return initial_tracks_;
  }
  int64_t earliest_pts_us() const override { return earliest_pts_us_; }
  bool live() const override { return name_.live; }
  absl::Time zero_arrival() const override { return zero_arrival_; }
  int64_t duration_us() const override {
    return format_->duration > 0 && !name_.live ? format_->duration : 0;
  }
  std::optional<SourceItem> Next() override;
  const std::vector<SourceProblem>& problems() const override {
    return problems_.list();
  }
  uint64_t unreadable_packets() const override;

 private:
  static int Interrupted(void* self);

  absl::Status OpenFormat();
  void AddStream(int index);
  void Probe();
  void NoteArrival();

  // Reads one packet into the queue; sets at_end_ when there is none.
  void ReadOne();
  void TakePacket(const AVPacket& packet);
  // The side's tracks are others from `pending` on, because of `track`.
  void TakeChange(TrackConverter::Change change, const api::v1::Track& track,
                  PendingPacket* pending);
  void FinishOrders();
  void TakeComplaints();

  const SourceOptions options_;
  InputName name_;
  absl::Duration deadline_ = absl::InfiniteDuration();
  // A live source has said nothing for a while: its deadline stands.
  bool silent_ = false;
  std::vector<std::string> complaints_;
  size_t complaints_taken_ = 0;
  FormatPtr format_;
  PacketPtr packet_;
  std::map<int, std::unique_ptr<SourceStream>> streams_;
  uint32_t next_track_id_ = 0;
  std::vector<api::v1::Track> initial_tracks_;
  std::vector<api::v1::Track> tracks_;
  bool probing_ = true;
  std::deque<PendingPacket> queue_;
  bool at_end_ = false;
  int read_errors_ = 0;
  // Of the moment at which the source's zero came.
  absl::Time zero_arrival_ = absl::InfiniteFuture();
  int64_t zero_us_ = 0;
  int64_t earliest_pts_us_ = 0;
  SourceProblems problems_;
};

absl::Status LibavSource::Start() {
  ASSIGN_OR_RETURN(name_, ParseInputName(options_.input));
  next_track_id_ = options_.first_track_id;
  if (name_.regular_file) {
    for (const std::string& damage : FindMp4Damage(options_.input)) {
      problems_.Add(damage, "");
    }
  }
  const LibavComplaints listening(&complaints_);
  RETURN_IF_ERROR(OpenFormat());
  packet_.reset(av_packet_alloc());
  if (packet_ == nullptr) return absl::ResourceExhaustedError("no memory");
  for (unsigned i = 0; i < format_->nb_streams; ++i) AddStream(i);
  Probe();
  TakeComplaints();
  if (options_.stop != nullptr && *options_.stop) {
    return absl::CancelledError("interrupted");
  }
  const bool has_packets = !at_end_ || std::any_of(queue_.begin(), queue_.end(),
                                                   [](const PendingPacket& p) {
                                                     return !p.dropped;
                                                   });
  if (!initial_tracks_.empty() && has_packets) return absl::OkStatus();
  std::string why =
      absl::StrCat(options_.input, ": nothing in it can be archived");
  for (const SourceProblem& problem : problems_.list()) {
    absl::StrAppend(&why, "; ", problem.what);
    if (!problem.place.empty()) absl::StrAppend(&why, " (", problem.place, ")");
    if (why.size() > kMaxReason_bytes) break;
  }
  return absl::FailedPreconditionError(why);
}

int LibavSource::Interrupted(void* self) {
  const auto* const source = static_cast<const LibavSource*>(self);
  if (source->options_.stop != nullptr && *source->options_.stop) return 1;
  return base::Clock::Real()->Monotonic() > source->deadline_ ? 1 : 0;
}

absl::Status LibavSource::OpenFormat() {
  AVFormatContext* format = avformat_alloc_context();
  if (format == nullptr) return absl::ResourceExhaustedError("no memory");
  format->interrupt_callback = {Interrupted, this};
  AVDictionary* settings = nullptr;
  av_dict_set(&settings, "protocol_whitelist", name_.protocols.c_str(), 0);
  if (name_.rtsp) av_dict_set(&settings, "rtsp_flags", "prefer_tcp", 0);
  if (!name_.regular_file) {
    deadline_ = base::Clock::Real()->Monotonic() + options_.open_timeout;
  }
  const int opened =
      avformat_open_input(&format, name_.url.c_str(), nullptr, &settings);
  av_dict_free(&settings);
  if (opened < 0) {
    if (options_.stop != nullptr && *options_.stop) {
      return absl::CancelledError("interrupted");
    }
    TakeComplaints();
    std::string why = opened == AVERROR_EXIT ? "nothing came from it in time"
                                             : LibavError(opened);
    if (!complaints_.empty()) absl::StrAppend(&why, " (", complaints_[0], ")");
    return absl::FailedPreconditionError(
        absl::StrCat("can't read ", options_.input, ": ", why));
  }
  format_.reset(format);
  if (const int found = avformat_find_stream_info(format, nullptr); found < 0) {
    problems_.Add(absl::StrCat("not all streams could be recognised: ",
                               LibavError(found)),
                  "");
  }
  if (!name_.live) deadline_ = absl::InfiniteDuration();
  return absl::OkStatus();
}

void LibavSource::AddStream(int index) {
  AVStream* const stream = format_->streams[index];
  const AVMediaType type = stream->codecpar->codec_type;
  const bool picture = (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
  if ((type != AVMEDIA_TYPE_VIDEO && type != AVMEDIA_TYPE_AUDIO) || picture) {
    stream->discard = AVDISCARD_ALL;
    const char* const name = picture                         ? "cover picture"
                             : type == AVMEDIA_TYPE_SUBTITLE ? "subtitle"
                                                             : "data";
    problems_.Add(
        absl::StrCat("stream ", index, " (", name,
                     ") is left out: only audio and video are archived"),
        "", /*harmless=*/true);
    return;
  }
  const char* const kind = type == AVMEDIA_TYPE_VIDEO ? "video" : "audio";
  if (next_track_id_ >= options_.first_track_id + limits::kMaxTracksPerSide) {
    stream->discard = AVDISCARD_ALL;
    problems_.Add(absl::StrCat(kind, " stream ", index,
                               " is left out: a side has "
                               "at most ",
                               limits::kMaxTracksPerSide, " tracks"),
                  "");
    return;
  }
  auto source =
      SourceStream::Create(*format_, *stream,
                           {.side = options_.side,
                            .track_id = next_track_id_,
                            .frames_per_second = options_.frames_per_second},
                           &problems_);
  if (!source.ok()) {
    stream->discard = AVDISCARD_ALL;
    problems_.Add(absl::StrCat(kind, " stream ", index,
                               " is left out: ", source.status().message()),
                  "");
    return;
  }
  ++next_track_id_;
  if ((*source)->ready()) {
    tracks_.push_back((*source)->track());
    if (probing_) initial_tracks_.push_back((*source)->track());
  }
  streams_[index] = *std::move(source);
}

void LibavSource::Probe() {
  const size_t wanted = limits::kProbe_packets;
  const auto all_ready = [this] {
    return std::all_of(streams_.begin(), streams_.end(),
                       [](const auto& entry) { return entry.second->ready(); });
  };
  // libav has a live stream's beginning in store: only once that is read does
  // the time of reading say when a packet came.
  bool in_store = name_.live;
  while (!at_end_ && queue_.size() < limits::kMaxPending_packets &&
         (queue_.size() < wanted || in_store ||
          (!all_ready() && queue_.size() < 4 * wanted))) {
    const absl::Duration began = base::Clock::Real()->Monotonic();
    ReadOne();
    if (base::Clock::Real()->Monotonic() - began > kWaitedForPacket) {
      in_store = false;
    }
    NoteArrival();
  }
  probing_ = false;
  zero_arrival_ = std::min(zero_arrival_, base::Clock::Real()->Now());
  bool found = false;
  for (const PendingPacket& pending : queue_) {
    if (pending.dropped || !pending.pts_known) continue;
    const int64_t pts_us = pending.packet.pts_us();
    earliest_pts_us_ = found ? std::min(earliest_pts_us_, pts_us) : pts_us;
    found = true;
  }
  // Where zero is nowhere in particular it is the first packet.
  const bool floating =
      name_.live || (format_->iformat->flags & AVFMT_TS_DISCONT) != 0;
  if (found && floating) {
    zero_us_ = earliest_pts_us_;
    earliest_pts_us_ = 0;
    zero_arrival_ += absl::Microseconds(zero_us_);
  }
}

void LibavSource::NoteArrival() {
  if (queue_.empty() || !queue_.back().pts_known) return;
  // None can come before its time, so whichever came first says it best.
  zero_arrival_ = std::min(
      zero_arrival_, base::Clock::Real()->Now() -
                         absl::Microseconds(queue_.back().packet.pts_us()));
}

void LibavSource::ReadOne() {
  if (name_.live && !silent_) {
    deadline_ = base::Clock::Real()->Monotonic() + options_.live_silence;
  }
  const int result = av_read_frame(format_.get(), packet_.get());
  const bool overdue = base::Clock::Real()->Monotonic() > deadline_;
  // For RTP libav gives up earlier than we do.
  silent_ = name_.live && (overdue || result == AVERROR(ETIMEDOUT));
  if (silent_ && !overdue) return;
  if (result >= 0) {
    // What libav still had may come after the deadline.
    read_errors_ = 0;
    TakePacket(*packet_);
    av_packet_unref(packet_.get());
    return;
  }
  if (result != AVERROR_EOF && result != AVERROR_EXIT) {
    const int64_t position =
        format_->pb == nullptr ? -1 : avio_tell(format_->pb);
    problems_.Add(absl::StrCat("reading failed: ", LibavError(result)),
                  position < 0 ? "" : absl::StrCat("byte ", position));
    if (result != AVERROR(EAGAIN) && ++read_errors_ < limits::kMaxReadErrors) {
      return;
    }
  }
  at_end_ = true;
  FinishOrders();
}

void LibavSource::TakePacket(const AVPacket& packet) {
  bool late = false;
  if (!streams_.contains(packet.stream_index)) {
    // Some containers show a stream only once it begins.
    const AVStream& stream = *format_->streams[packet.stream_index];
    if (stream.discard == AVDISCARD_ALL) return;
    AddStream(packet.stream_index);
    if (!streams_.contains(packet.stream_index)) return;
    late = !probing_ && streams_[packet.stream_index]->ready();
  }
  SourceStream& stream = *streams_[packet.stream_index];
  PendingPacket& pending = queue_.emplace_back();
  TrackConverter::Change change = TrackConverter::Change::kNone;
  const bool needed = stream.Take(packet, &pending, &change);
  if (late && change == TrackConverter::Change::kNone) {
    change = TrackConverter::Change::kBecameReady;
  }
  if (change != TrackConverter::Change::kNone) {
    TakeChange(change, stream.track(), &pending);
  }
  if (!needed) queue_.pop_back();
}

void LibavSource::TakeChange(TrackConverter::Change change,
                             const api::v1::Track& track,
                             PendingPacket* pending) {
  const auto put = [&](std::vector<api::v1::Track>* tracks) {
    for (api::v1::Track& existing : *tracks) {
      if (existing.track_id() == track.track_id()) {
        existing = track;
        return;
      }
    }
    tracks->push_back(track);
  };
  put(&tracks_);
  if (probing_ && change == TrackConverter::Change::kBecameReady) {
    // It was there from the beginning, only not known.
    put(&initial_tracks_);
    for (PendingPacket& earlier : queue_) {
      if (earlier.tracks.has_value()) put(&*earlier.tracks);
    }
    return;
  }
  pending->tracks = tracks_;
}

void LibavSource::FinishOrders() {
  for (auto& [index, stream] : streams_) stream->Finish();
}

std::optional<SourceItem> LibavSource::Next() {
  const LibavComplaints listening(&complaints_);
  while (true) {
    if (!queue_.empty()) {
      // Whatever else waits must not grow without end.
      if (!queue_.front().timed &&
          queue_.size() >= limits::kMaxPending_packets) {
        FinishOrders();
      }
      PendingPacket& front = queue_.front();
      if (front.timed) {
        if (front.tracks.has_value()) {
          SourceItem item = *std::move(front.tracks);
          front.tracks.reset();
          return item;
        }
        if (!front.placed) {
          front.packet.set_pts_us(front.packet.pts_us() - zero_us_);
          front.packet.set_dts_us(front.packet.dts_us() - zero_us_);
          front.dropped = front.dropped ||
                          !streams_[front.stream]->CheckOrder(&front.packet);
          front.placed = true;
        }
        if (!front.dropped && front.sender_wall_us.has_value()) {
          const SenderTime sender = {
              .wall = absl::FromUnixMicros(*front.sender_wall_us)};
          front.sender_wall_us.reset();
          return sender;
        }
        const bool good = !front.dropped;
        SourceItem item = std::move(front.packet);
        queue_.pop_front();
        if (good) return item;
        continue;
      }
    }
    if (at_end_) {
      TakeComplaints();
      return std::nullopt;
    }
    ReadOne();
  }
}

void LibavSource::TakeComplaints() {
  for (; complaints_taken_ < complaints_.size(); ++complaints_taken_) {
    problems_.Add(complaints_[complaints_taken_], "");
  }
}

uint64_t LibavSource::unreadable_packets() const {
  uint64_t count = 0;
  for (const auto& [index, stream] : streams_) {
    count += stream->unreadable_packets();
  }
  return count;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MediaSource>> MediaSource::Open(
    const SourceOptions& options) {
  auto source = std::make_unique<LibavSource>(options);
  RETURN_IF_ERROR(source->Start());
  return source;
}

}  // namespace diptych::gateway
