#ifndef ARCHIVER_INGEST_TRACK_CLOCK_H_
#define ARCHIVER_INGEST_TRACK_CLOCK_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// What a media clock read at a moment of wall time.
struct Anchor {
  int64_t media_us = 0;
  // Since the session's start.
  int64_t wall_us = 0;
  uint64_t uncertainty_us = 0;
  std::string source;
};

// Maps one track's raw times onto the session's timeline: piecewise linear,
// corrected by clock anchors. Never moves what it has mapped, and session time
// does not go back within the track: where an anchor shows too late that a
// clock had jumped forward, session time runs at half the pace until it is
// right again, and the residual is recorded. Without anchors session time is
// raw time, and a clock that jumps back goes on from where it was.
//
// Drift is followed at no more than limits::kMaxDrift_ppb. A disagreement of
// more than limits::kClockJump_us together with raw times that jumped or paused
// is a jump of the media clock and followed at once; where raw times went on
// evenly it is the anchor's clock that was set, which moves nothing.
//
// The source "rtcp" is a sender's clock: if it is far from the archive's it
// only gives the pace, and the track stays where the gateway put it. All other
// sources tell the time. Not thread-safe.
class TrackClock {
 public:
  // As the log has it from before a restart.
  void Restore(const stored::v1::ClockChanged& last);

  // Takes effect with the next packet. `reference` (may be null) is another
  // track of the same side: a sender has one clock for all its tracks.
  void AddAnchor(const Anchor& anchor, const TrackClock* reference = nullptr);

  struct Mapped {
    // Session time minus raw time, for both pts and dts of the packet.
    int64_t offset_us = 0;
    // Set if the mapping is another from this packet on: raw_from_us,
    // offset_us, rate_ppb, reason, residual_us, at_us, anchor_base_us.
    std::optional<stored::v1::ClockChanged> change;
  };

  // The next packet of the track, in order. `reference` (may be null) is a
  // track of the same side whose clock is known; it counts as long as this one
  // has had no anchor.
  Mapped Map(int64_t raw_dts_us, int64_t raw_pts_us, uint64_t duration_us,
             const TrackClock* reference);

  bool anchored() const { return anchored_; }
  // Of the last packet that was mapped.
  std::optional<int64_t> last_raw_dts_us() const { return last_raw_dts_us_; }
  int64_t last_raw_pts_us() const { return last_raw_pts_us_; }

 private:
  struct Piece {
    int64_t raw_from_us = 0;
    int64_t offset_us = 0;
    int64_t rate_ppb = 0;
  };
  struct Sample {
    int64_t media_us = 0;
    int64_t offset_us = 0;
  };
  // An anchor that disagreed so much that the next packets have to show whether
  // the media clock jumped.
  struct Step {
    int64_t offset_us = 0;
    int64_t error_us = 0;
    // Nothing needs to be shown.
    bool certain = false;
    // A packet has come since and showed no jump.
    bool tried = false;
    stored::v1::ClockReason reason = stored::v1::CLOCK_REASON_JUMP;
  };

  int64_t OffsetAt(int64_t raw_us) const;
  // How much session time gains on raw time, as the samples say.
  int64_t EstimateDrift_ppb() const;
  // Handles an anchor of the source in use that is `error_us` off.
  void Judge(const Anchor& anchor, int64_t offset_us, int64_t error_us);
  // True if the raw times since the last good anchor jumped by about -error_us,
  // or stood still for so long that they may have.
  bool RawTimesJumped(int64_t error_us) const;
  // Begins a piece with the packet at `raw_us`.
  void Begin(int64_t raw_us, int64_t offset_us, int64_t rate_ppb,
             stored::v1::ClockReason reason);
  void BeginStep(int64_t raw_us, int64_t offset_us,
                 stored::v1::ClockReason reason);
  void Follow(const TrackClock& reference, int64_t raw_us);

  Piece piece_;
  // Counts the pieces, for tracks that follow this one.
  uint64_t version_ = 0;
  uint64_t followed_version_ = 0;
  // Of the piece that the packet at hand began.
  std::optional<stored::v1::ClockReason> begun_;
  int64_t residual_us_ = 0;

  bool anchored_ = false;
  // Its base is from before a restart.
  bool restored_ = false;
  std::string source_;
  uint64_t uncertainty_us_ = 0;
  int64_t anchor_base_us_ = 0;
  std::deque<Sample> samples_;
  std::optional<Step> step_;
  // Begins with the next packet.
  std::optional<int64_t> new_rate_ppb_;
  // The pace corrects what was off until this raw time; from there on only
  // drift is followed.
  std::optional<int64_t> corrects_until_us_;
  int64_t drift_ppb_ = 0;
  // Session time that the last anchor which counted told.
  int64_t last_anchor_us_ = 0;
  // Session time runs at half the pace until the offset is down to this.
  std::optional<int64_t> catch_up_to_us_;
  // Since the clock jumped the mapping rests on a guess.
  bool guessed_ = false;

  std::optional<int64_t> last_raw_dts_us_;
  int64_t last_raw_pts_us_ = 0;
  int64_t last_duration_us_ = 0;
  int64_t last_session_dts_us_ = INT64_MIN;
  // The largest step of raw time between two packets since the last anchor that
  // agreed, beyond what a packet lasts.
  int64_t raw_step_us_ = 0;
  // Session time before it: older anchors say nothing of what came after.
  int64_t raw_step_at_us_ = INT64_MIN;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_TRACK_CLOCK_H_
