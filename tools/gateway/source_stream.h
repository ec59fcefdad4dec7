#ifndef TOOLS_GATEWAY_SOURCE_STREAM_H_
#define TOOLS_GATEWAY_SOURCE_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/libav.h"
#include "tools/gateway/nal_units.h"
#include "tools/gateway/picture_order.h"
#include "tools/gateway/picture_parser.h"
#include "tools/gateway/source_item.h"
#include "tools/gateway/track_converter.h"

namespace diptych::gateway {

// What is wrong with an input: each thing once, bounded by
// limits::kMaxProblems. Not thread-safe.
class SourceProblems {
 public:
  void Add(absl::string_view what, absl::string_view place,
           bool harmless = false);
  const std::vector<SourceProblem>& list() const { return list_; }

 private:
  std::vector<SourceProblem> list_;
};

// A packet that waits for its turn, or for its times.
struct PendingPacket {
  int stream = 0;
  api::v1::Packet packet;
  bool timed = false;
  // The packet's pts is right already, even if its dts is not.
  bool pts_known = false;
  // Its times begin at the source's zero and follow those before.
  bool placed = false;
  // Takes its place in the order of pictures, but is not handed out.
  bool dropped = false;
  // The sender's clock at its pts, since 1970.
  std::optional<int64_t> sender_wall_us;
  // The side's tracks from this packet on, if they changed.
  std::optional<std::vector<api::v1::Track>> tracks;
};

// One audio or video stream of a container: brings its packets into canonical
// form and gives them their times. Not thread-safe.
class SourceStream {
 public:
  struct Options {
    api::v1::Side side = api::v1::SIDE_UNSPECIFIED;
    uint32_t track_id = 0;
    double frames_per_second = 0;
  };
  // UNIMPLEMENTED or INVALID_ARGUMENT, in a plain sentence, if it can't be
  // archived. `stream` and `problems` must outlive this.
  static absl::StatusOr<std::unique_ptr<SourceStream>> Create(
      const AVFormatContext& format, const AVStream& stream,
      const Options& options, SourceProblems* problems);

  const api::v1::Track& track() const { return converter_->track(); }
  bool ready() const { return converter_->ready(); }

  // Fills `pending` from libav's packet and says whether its track changed.
  // What can't be brought into canonical form is reported and marked as
  // dropped; false if `pending` is not needed any more. Later calls and Finish
  // complete the times of earlier ones: a pending packet must stay where it is
  // until it is timed.
  bool Take(const AVPacket& packet, PendingPacket* pending,
            TrackConverter::Change* change);

  // No more packets: all of them get their times.
  void Finish();

  // REQUIRES: timed, in order. False, with a problem, if the packet can't
  // follow the one before.
  bool CheckOrder(api::v1::Packet* packet);

  uint64_t unreadable_packets() const { return unreadable_packets_; }

 private:
  SourceStream(const AVStream& stream, SourceProblems* problems)
      : stream_(stream), problems_(problems) {}

  void ChooseTiming(const AVFormatContext& format, const Options& options);
  void TakeTimes(const AVPacket& packet, PendingPacket* pending);
  void TakeSideData(const AVPacket& packet, PendingPacket* pending);
  bool HasSenderTime(const AVPacket& packet) const;
  // Goes before a packet of this time: chooses rebase_us_.
  void Rebase(const AVPacket& packet, int64_t dts_us, int64_t duration_us);
  void TakeSenderTime(const AVPacket& packet, PendingPacket* pending);
  void TakeFormatChange(const AVPacket& packet);
  void TakeOrder(const AVPacket& packet, PendingPacket* pending);
  void SettleTimes();
  void PlaceUntimedBefore(int64_t time_us);
  void DropUnreadable(const api::v1::Packet& packet, absl::string_view what,
                      const std::string& place);
  std::string Name() const;
  std::string PlaceOf(const AVPacket& packet,
                      const PendingPacket& pending) const;

  const AVStream& stream_;
  SourceProblems* const problems_;
  std::unique_ptr<TrackConverter> converter_;
  // The container's decode times are not to be had.
  bool only_presentation_times_ = false;
  // It has no times at all.
  bool counts_pictures_ = false;
  // About one picture's time.
  int64_t step_us_ = 0;
  std::optional<PictureOrder> order_;
  std::optional<PictureParser> parser_;
  NalCodec nal_codec_ = NalCodec::kH264;
  // Those in order_, oldest first.
  std::deque<PendingPacket*> in_order_;
  // The stream's first ones, if they have no times; oldest first.
  std::deque<PendingPacket*> untimed_;
  uint64_t packets_read_ = 0;
  uint64_t unreadable_packets_ = 0;
  // Packets carry what sender reports say.
  bool has_sender_reports_ = false;
  // Sender's time minus packet's time, of the last one that told.
  std::optional<int64_t> sender_offset_us_;
  // What is added to libav's times.
  int64_t rebase_us_ = 0;
  std::optional<int64_t> taken_dts_us_;
  std::optional<int64_t> next_dts_us_;
  std::optional<int64_t> last_dts_us_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SOURCE_STREAM_H_
