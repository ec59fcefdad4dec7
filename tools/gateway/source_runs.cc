#include "tools/gateway/source_runs.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/media/canonical.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

void SourceRuns::SetTracks(const std::vector<api::v1::Track>& tracks) {
  std::map<uint32_t, Run> runs;
  for (const api::v1::Track& track : tracks) {
    const auto known = runs_.find(track.track_id());
    Run& run = runs[track.track_id()];
    if (known != runs_.end()) {
      run = std::move(known->second);
    } else {
      run.first = next_;
    }
    run.video = media::IsVideo(track.codec());
  }
  runs_ = std::move(runs);
}

void SourceRuns::Add(const api::v1::Packet& packet,
                     const std::string& payload_sha256, absl::Duration now) {
  const auto [found, unknown] = runs_.try_emplace(packet.track_id());
  Run& run = found->second;
  if (unknown) run.first = next_;
  if (run.tree.size() == 0) run.first_dts_us = packet.dts_us();
  if (!began_.has_value()) began_ = now;
  const evidence::PacketLine line = {
      .pts_ms = evidence::ToMs(packet.pts_us()),
      .key_frame = run.video && packet.key_frame(),
      .payload_bytes = static_cast<uint32_t>(packet.payload().size()),
      .payload_sha256 = payload_sha256};
  run.tree.Add(evidence::LeafHash(line.Bytes()));
  latest_us_ = std::max<int64_t>(packet.pts_us(), 0);
  ++next_;
}

bool SourceRuns::IsDueBefore(const api::v1::Packet& packet, absl::Duration now,
                             bool repeatable) const {
  if (IsFull(packet.track_id())) return true;
  if (!repeatable) return DueAt().has_value() && now >= *DueAt();
  const auto found = runs_.find(packet.track_id());
  return found != runs_.end() && found->second.tree.size() > 0 &&
         std::abs(packet.dts_us() - found->second.first_dts_us) >=
             absl::ToInt64Microseconds(limits::kSourceDigestEvery);
}

std::optional<absl::Duration> SourceRuns::DueAt() const {
  if (!began_.has_value()) return std::nullopt;
  return *began_ + limits::kSourceDigestEvery;
}

std::vector<api::v1::SourceDigest> SourceRuns::TakeStatements(absl::Time now) {
  std::vector<api::v1::SourceDigest> statements;
  for (auto& [track_id, run] : runs_) {
    if (run.first == next_) continue;
    api::v1::SourceDigest& digest = statements.emplace_back();
    digest.set_track_id(track_id);
    digest.set_first_sequence(run.first);
    digest.set_last_sequence(next_ - 1);
    digest.set_packets(run.tree.size());
    if (run.tree.size() > 0) digest.set_root(run.tree.Root());
    const int64_t now_us = absl::ToUnixMicros(now);
    digest.mutable_signed_time()->set_seconds(now_us / 1'000'000);
    digest.mutable_signed_time()->set_nanos(
        static_cast<int32_t>(now_us % 1'000'000 * 1000));
    run.first = next_;
    run.tree = {};
  }
  began_.reset();
  return statements;
}

void SourceRuns::ContinueAt(uint64_t number) {
  if (number == next_) return;
  next_ = number;
  BeginAnew();
}

void SourceRuns::BeginAnew() {
  began_.reset();
  for (auto& [track_id, run] : runs_) {
    run.first = next_;
    run.tree = {};
  }
}

bool SourceRuns::IsFull(uint32_t track_id) const {
  const auto found = runs_.find(track_id);
  return found != runs_.end() &&
         found->second.tree.size() >= limits::kMaxSourceRun_packets;
}

void SourceRuns::Covered(const api::v1::SourceDigest& digest) {
  // The packets that it speaks of may have been durable, and not written.
  if (next_ <= digest.last_sequence()) ContinueAt(digest.last_sequence() + 1);
  Run& run = runs_[digest.track_id()];
  run.first = next_;
  run.tree = {};
}

void SourceRuns::Move(uint64_t delta) {
  next_ += delta;
  for (auto& [track_id, run] : runs_) run.first += delta;
}

void SourceRuns::Renumber(uint64_t after, uint64_t delta) {
  if (delta == 0 || next_ <= after) return;
  next_ += delta;
  for (auto& [track_id, run] : runs_) {
    if (run.first > after) {
      run.first += delta;
    } else {
      // Others have sent what lies in its middle now.
      run.first = next_;
      run.tree = {};
    }
  }
}

void RenumberStatement(uint64_t after, uint64_t delta,
                       api::v1::SourceDigest* digest) {
  if (digest->first_sequence() > after) {
    digest->set_first_sequence(digest->first_sequence() + delta);
  }
  if (digest->last_sequence() > after) {
    digest->set_last_sequence(digest->last_sequence() + delta);
  }
}

}  // namespace diptych::gateway
