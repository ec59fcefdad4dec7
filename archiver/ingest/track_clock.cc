#include "archiver/ingest/track_clock.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <utility>

#include "archiver/base/limits.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {
namespace {

constexpr int64_t kBillion = 1'000'000'000;
// Half of raw time's pace.
constexpr int64_t kCatchUp_ppb = -kBillion / 2;
// A change of pace below this is not worth a piece.
constexpr int64_t kRateNoise_ppb = 5'000;
// Anchors tell a pace only over some time.
constexpr int64_t kDriftSpan_us = 2'000'000;
constexpr size_t kDriftSamples = 3;
constexpr char kSenderClock[] = "rtcp";

int64_t Scale(int64_t us, int64_t ppb) {
  return static_cast<int64_t>(
      std::llround(static_cast<double>(us) * static_cast<double>(ppb) /
                   static_cast<double>(kBillion)));
}

int64_t Tolerance_us(uint64_t uncertainty_us) {
  return std::max<int64_t>(limits::kClockNoise_us,
                           static_cast<int64_t>(std::min<uint64_t>(
                               uncertainty_us, limits::kSessionMax_us)));
}

}  // namespace

void TrackClock::Restore(const stored::v1::ClockChanged& last) {
  piece_ = {last.raw_from_us(), last.offset_us(), last.rate_ppb()};
  anchor_base_us_ = last.anchor_base_us();
  restored_ = true;
  ++version_;
  if (piece_.rate_ppb < -limits::kMaxDrift_ppb) {
    // It was catching up; how far it came nobody knows any more.
    catch_up_to_us_ = piece_.offset_us + last.residual_us();
  }
}

int64_t TrackClock::OffsetAt(int64_t raw_us) const {
  return piece_.offset_us + Scale(raw_us - piece_.raw_from_us, piece_.rate_ppb);
}

int64_t TrackClock::EstimateDrift_ppb() const {
  if (samples_.size() < kDriftSamples ||
      samples_.back().media_us - samples_.front().media_us < kDriftSpan_us) {
    return 0;
  }
  // Least squares, about the middle.
  double mean_media = 0;
  double mean_offset = 0;
  const double count = static_cast<double>(samples_.size());
  for (const Sample& sample : samples_) {
    mean_media += static_cast<double>(sample.media_us) / count;
    mean_offset += static_cast<double>(sample.offset_us) / count;
  }
  double covariance = 0;
  double variance = 0;
  for (const Sample& sample : samples_) {
    const double media = static_cast<double>(sample.media_us) - mean_media;
    covariance += media * (static_cast<double>(sample.offset_us) - mean_offset);
    variance += media * media;
  }
  if (variance <= 0) return 0;
  const double ppb = covariance / variance * static_cast<double>(kBillion);
  return static_cast<int64_t>(
      std::clamp(ppb, static_cast<double>(-limits::kMaxDrift_ppb),
                 static_cast<double>(limits::kMaxDrift_ppb)));
}

bool TrackClock::RawTimesJumped(int64_t error_us) const {
  // After a pause nothing tells how much of the step was the clock's, so the
  // anchor is believed.
  return std::abs(raw_step_us_) >= limits::kClockJump_us ||
         std::abs(raw_step_us_ + error_us) <= std::abs(error_us) / 2;
}

void TrackClock::AddAnchor(const Anchor& anchor, const TrackClock* reference) {
  const int64_t read_us = anchor.wall_us - anchor.media_us;
  if (std::abs(read_us) > limits::kSessionMax_us) return;
  const int64_t current_us =
      catch_up_to_us_.value_or(OffsetAt(anchor.media_us));
  const bool same_source = anchored_ && anchor.source == source_;
  // The better of two sources counts, as long as it has something to say.
  const bool silent = std::abs(anchor.wall_us - last_anchor_us_) >
                          limits::kAnchorSourceSilence_us ||
                      guessed_;
  if (anchored_ && !same_source && !silent &&
      anchor.uncertainty_us >= uncertainty_us_) {
    return;
  }
  last_anchor_us_ = anchor.wall_us;
  uncertainty_us_ = anchor.uncertainty_us;
  if (!same_source) {
    source_ = anchor.source;
    samples_.clear();
    step_.reset();
    anchored_ = true;
    if (!std::exchange(restored_, false)) {
      const bool tells_time =
          source_ != kSenderClock ||
          std::abs(read_us - current_us) <= limits::kTrustedWallClock_us;
      const bool known_sender = source_ == kSenderClock &&
                                reference != nullptr && reference->anchored_ &&
                                reference->source_ == kSenderClock;
      anchor_base_us_ = known_sender ? reference->anchor_base_us_
                        : tells_time ? 0
                                     : read_us - current_us;
    }
    const int64_t offset_us = read_us - anchor_base_us_;
    samples_.push_back({anchor.media_us, offset_us});
    if (std::abs(offset_us - current_us) >
        Tolerance_us(anchor.uncertainty_us)) {
      step_ = {.offset_us = offset_us,
               .error_us = offset_us - current_us,
               .certain = true,
               .reason = stored::v1::CLOCK_REASON_PLACED};
    }
    return;
  }
  const int64_t offset_us = read_us - anchor_base_us_;
  Judge(anchor, offset_us, offset_us - current_us);
}

void TrackClock::Judge(const Anchor& anchor, int64_t offset_us,
                       int64_t error_us) {
  if (anchor.media_us + offset_us < raw_step_at_us_) return;
  const int64_t tolerance_us = Tolerance_us(anchor.uncertainty_us);
  if (std::abs(error_us) > std::max(limits::kClockJump_us, 2 * tolerance_us)) {
    samples_.clear();
    if (step_.has_value() && step_->tried) {
      // Packets have come since the last one and show no jump: it was the
      // anchor's clock that was set, and media time goes on as it was.
      step_.reset();
      anchor_base_us_ += error_us;
      residual_us_ = error_us;
      new_rate_ppb_ = piece_.rate_ppb;
      return;
    }
    step_ = {.offset_us = offset_us, .error_us = error_us, .certain = guessed_};
    return;
  }
  step_.reset();
  if (guessed_ && std::abs(error_us) > tolerance_us) {
    step_ = {.offset_us = offset_us, .error_us = error_us, .certain = true};
    samples_.clear();
    return;
  }
  guessed_ = false;
  raw_step_us_ = 0;
  samples_.push_back({anchor.media_us, offset_us});
  if (samples_.size() > limits::kClockAnchors) samples_.pop_front();
  if (catch_up_to_us_.has_value()) {
    *catch_up_to_us_ = offset_us;
    return;
  }
  const int64_t drift_ppb = EstimateDrift_ppb();
  int64_t rate_ppb = piece_.rate_ppb;
  if (std::abs(error_us) > tolerance_us) {
    rate_ppb = drift_ppb + error_us * kBillion / limits::kClockHorizon_us;
  } else if (std::abs(error_us) <= tolerance_us / 2 &&
             std::abs(rate_ppb - drift_ppb) > 10 * kRateNoise_ppb) {
    // What was off has been worked off.
    rate_ppb = drift_ppb;
  }
  rate_ppb =
      std::clamp(rate_ppb, -limits::kMaxDrift_ppb, limits::kMaxDrift_ppb);
  if (std::abs(rate_ppb - piece_.rate_ppb) <= kRateNoise_ppb) return;
  new_rate_ppb_ = rate_ppb;
  residual_us_ = error_us;
  drift_ppb_ = drift_ppb;
  corrects_until_us_.reset();
  const int64_t gain_ppb = rate_ppb - drift_ppb;
  if (gain_ppb != 0 && error_us / gain_ppb >= 0 &&
      std::abs(error_us) > tolerance_us) {
    corrects_until_us_ =
        anchor.media_us +
        std::min(limits::kSessionMax_us,
                 static_cast<int64_t>(static_cast<double>(error_us) /
                                      static_cast<double>(gain_ppb) *
                                      static_cast<double>(kBillion)));
  }
}

void TrackClock::Begin(int64_t raw_us, int64_t offset_us, int64_t rate_ppb,
                       stored::v1::ClockReason reason) {
  piece_ = {raw_us, offset_us, rate_ppb};
  ++version_;
  // A jump is what counts if two things come together.
  if (begun_ != stored::v1::CLOCK_REASON_JUMP) begun_ = reason;
}

void TrackClock::BeginStep(int64_t raw_us, int64_t offset_us,
                           stored::v1::ClockReason reason) {
  new_rate_ppb_.reset();
  corrects_until_us_.reset();
  step_.reset();
  guessed_ = false;
  raw_step_us_ = 0;
  catch_up_to_us_.reset();
  residual_us_ = 0;
  const bool held =
      last_raw_dts_us_.has_value() && raw_us + offset_us < last_session_dts_us_;
  if (!held) return Begin(raw_us, offset_us, 0, reason);
  const int64_t reached_us = last_session_dts_us_ - raw_us;
  residual_us_ = offset_us - reached_us;
  catch_up_to_us_ = offset_us;
  Begin(raw_us, reached_us, kCatchUp_ppb, reason);
}

void TrackClock::Follow(const TrackClock& reference, int64_t raw_us) {
  const int64_t error_us = reference.OffsetAt(raw_us) - OffsetAt(raw_us);
  if (last_raw_dts_us_.has_value() &&
      std::abs(error_us) > limits::kClockJump_us && !RawTimesJumped(error_us)) {
    // The other track's clock jumped; this one's will in a moment, or not.
    return;
  }
  followed_version_ = reference.version_;
  anchor_base_us_ = reference.anchor_base_us_;
  if (std::abs(error_us) > limits::kClockNoise_us) {
    BeginStep(raw_us, reference.OffsetAt(raw_us),
              std::abs(error_us) > limits::kClockJump_us
                  ? stored::v1::CLOCK_REASON_JUMP
                  : stored::v1::CLOCK_REASON_PLACED);
  }
  if (!catch_up_to_us_.has_value() &&
      piece_.rate_ppb != reference.piece_.rate_ppb) {
    Begin(raw_us, OffsetAt(raw_us), reference.piece_.rate_ppb,
          stored::v1::CLOCK_REASON_DRIFT);
    // With its end, should the other track not live to see it.
    catch_up_to_us_ = reference.catch_up_to_us_;
    corrects_until_us_ = reference.corrects_until_us_;
    drift_ppb_ = reference.drift_ppb_;
  }
}

TrackClock::Mapped TrackClock::Map(int64_t raw_dts_us, int64_t raw_pts_us,
                                   uint64_t duration_us,
                                   const TrackClock* reference) {
  begun_.reset();
  const bool first = !last_raw_dts_us_.has_value();
  const int64_t last_raw_us = last_raw_dts_us_.value_or(raw_dts_us);
  const int64_t raw_step_us =
      first ? 0 : raw_dts_us - last_raw_us - last_duration_us_;
  if (std::abs(raw_step_us) > std::abs(raw_step_us_)) {
    raw_step_us_ = raw_step_us;
    raw_step_at_us_ = last_session_dts_us_;
  }
  if (step_.has_value() &&
      (first || step_->certain || RawTimesJumped(step_->error_us))) {
    BeginStep(raw_dts_us, step_->offset_us, step_->reason);
  } else if (!first && last_raw_us - raw_dts_us >= limits::kClockJump_us) {
    // Nothing tells how long it was; it goes on as if it had been no time.
    BeginStep(raw_dts_us, last_session_dts_us_ + last_duration_us_ - raw_dts_us,
              stored::v1::CLOCK_REASON_JUMP);
    guessed_ = true;
  } else if (step_.has_value()) {
    step_->tried = true;
  }
  if (catch_up_to_us_.has_value() && OffsetAt(raw_dts_us) <= *catch_up_to_us_) {
    Begin(raw_dts_us, *catch_up_to_us_, EstimateDrift_ppb(),
          stored::v1::CLOCK_REASON_DRIFT);
    catch_up_to_us_.reset();
    residual_us_ = 0;
  }
  if (new_rate_ppb_.has_value() && !catch_up_to_us_.has_value()) {
    Begin(raw_dts_us, OffsetAt(raw_dts_us), *new_rate_ppb_,
          stored::v1::CLOCK_REASON_DRIFT);
  }
  new_rate_ppb_.reset();
  if (corrects_until_us_.has_value() && raw_dts_us >= *corrects_until_us_) {
    corrects_until_us_.reset();
    residual_us_ = 0;
    Begin(raw_dts_us, OffsetAt(raw_dts_us), drift_ppb_,
          stored::v1::CLOCK_REASON_DRIFT);
  }
  if (!anchored_ && reference != nullptr && reference->anchored_ &&
      reference->version_ != followed_version_) {
    Follow(*reference, raw_dts_us);
  }

  Mapped mapped;
  mapped.offset_us = OffsetAt(raw_dts_us);
  if (!first) {
    mapped.offset_us =
        std::max(mapped.offset_us, last_session_dts_us_ - raw_dts_us);
  }
  mapped.offset_us = std::max(mapped.offset_us, -raw_pts_us);
  last_raw_dts_us_ = raw_dts_us;
  last_raw_pts_us_ = raw_pts_us;
  last_duration_us_ = static_cast<int64_t>(
      std::min<uint64_t>(duration_us, limits::kClockJump_us));
  last_session_dts_us_ = raw_dts_us + mapped.offset_us;
  if (begun_.has_value()) {
    stored::v1::ClockChanged change;
    change.set_raw_from_us(raw_dts_us);
    change.set_offset_us(piece_.offset_us);
    change.set_rate_ppb(piece_.rate_ppb);
    change.set_reason(*begun_);
    change.set_residual_us(residual_us_);
    change.set_at_us(last_session_dts_us_);
    change.set_anchor_base_us(anchor_base_us_);
    mapped.change = std::move(change);
  }
  return mapped;
}

}  // namespace diptych::ingest
