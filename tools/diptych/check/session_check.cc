#include "tools/diptych/check/session_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/manifest.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::check {
namespace {

constexpr uint32_t kKnownSuite = 1;
// Session time that does not go on, or goes on at twice the pace.
constexpr int64_t kStandsStill_ppb = 1'000'000'000;

bool IsSide(int side) {
  return side == stored::v1::SIDE_RESIDENT || side == stored::v1::SIDE_CLERK;
}

bool IsTrack(uint32_t track_id) {
  return track_id >= 1 && track_id <= limits::kMaxTrackId;
}

// Packets of the chunk's side that a manifest or a receipt counts.
void Add(const stored::v1::ChunkSide& from, stored::v1::SideTotals* to) {
  const bool first = to->packets() == 0;
  to->set_start_us(first ? from.start_us()
                         : std::min(to->start_us(), from.start_us()));
  to->set_end_us(std::max(to->end_us(), from.end_us()));
  to->set_packets(to->packets() + from.last_sequence() - from.first_sequence() +
                  1);
  to->set_payload_bytes(to->payload_bytes() + from.payload_bytes());
  to->set_last_sequence(from.last_sequence());
}

}  // namespace

std::string SideName(int side) {
  switch (side) {
    case stored::v1::SIDE_RESIDENT:
      return "resident";
    case stored::v1::SIDE_CLERK:
      return "clerk";
    default:
      return "unknown";
  }
}

SessionCheck::SessionCheck(const base::Uuid& id, FalseThing on_false)
    : id_(id), on_false_(std::move(on_false)) {}

void SessionCheck::False(log::Position position,
                         const std::string& what) const {
  on_false_(position, absl::StrCat("session ", id_.ToString(), ": ", what));
}

void SessionCheck::CheckEpoch(log::Position position, uint64_t epoch) {
  if (epoch == epoch_) return;
  False(position, absl::StrCat("a record is of epoch ", epoch,
                               ", but the session is in epoch ", epoch_));
}

void SessionCheck::Opened(log::Position position,
                          const stored::v1::SessionOpened& header) {
  if (header.resumed()) {
    if (header.epoch() <= epoch_) {
      False(position, absl::StrCat("it goes on under epoch ", header.epoch(),
                                   " after epoch ", epoch_));
    }
    if (header.start_time_us() != start_time_us_) {
      False(position, "it goes on with another start time");
    }
  } else {
    start_time_us_ = header.start_time_us();
  }
  epoch_ = header.epoch();
  key_position_ = header.key_position();
  first_span_of_epoch_ = next_span_;
}

void SessionCheck::SpanStarted(log::Position position,
                               const stored::v1::SpanStarted& header) {
  CheckEpoch(position, header.epoch());
  if (header.span() != next_span_) {
    False(position, absl::StrCat("span ", header.span(), " follows where span ",
                                 next_span_, " should"));
  }
  next_span_ = std::max(next_span_, header.span() + 1);
}

void SessionCheck::CheckGap(log::Position position, const std::string& where,
                            const stored::v1::Gap& gap) const {
  if (!IsSide(gap.side()) || gap.track_id() > limits::kMaxTrackId) {
    False(position, absl::StrCat(where, " has a gap of side ",
                                 static_cast<int>(gap.side()), ", track ",
                                 gap.track_id()));
  }
  if (gap.end_us() <= gap.start_us()) {
    False(position,
          absl::StrCat(where, " has a gap that ends before it began"));
  }
}

void SessionCheck::CheckSide(log::Position position,
                             const stored::v1::ChunkSide& side) {
  stored::v1::SideTotals& totals = sides_[side.side()];
  if (side.first_sequence() != totals.last_sequence() + 1) {
    False(position,
          absl::StrCat(SideName(side.side()), " packet ", side.first_sequence(),
                       " follows packet ", totals.last_sequence()));
  }
  if (side.first_sequence() == 0 ||
      side.last_sequence() < side.first_sequence()) {
    False(position,
          absl::StrCat(SideName(side.side()), " packets run from ",
                       side.first_sequence(), " to ", side.last_sequence()));
    return;
  }
  Add(side, &totals);
}

void SessionCheck::Chunk(log::Position position,
                         const stored::v1::Chunk& header,
                         const std::string& body_sha256) {
  CheckEpoch(position, header.epoch());
  if (header.suite() != kKnownSuite) {
    False(position, absl::StrCat("chunk ", header.chunk(),
                                 " has the unknown suite ", header.suite()));
  }
  if (header.chunk() != next_chunk_) {
    False(position,
          absl::StrCat("chunk ", header.chunk(), " follows where chunk ",
                       next_chunk_, " should"));
  }
  next_chunk_ = header.chunk() + 1;
  if (header.span() >= next_span_) {
    False(position, absl::StrCat("chunk ", header.chunk(), " is of span ",
                                 header.span(), ", which never started"));
  }
  if (header.span() < first_span_of_epoch_) {
    False(position,
          absl::StrCat("chunk ", header.chunk(), " is of span ", header.span(),
                       ", which is of an earlier epoch"));
  }
  if (header.segment() < min_segment_) {
    False(position,
          absl::StrCat("chunk ", header.chunk(), " goes back to segment ",
                       header.segment(), " after segment ", min_segment_));
  }
  min_segment_ = std::max(min_segment_, header.segment());
  if (header.end_us() < header.start_us() ||
      header.window_end_us() < header.window_start_us()) {
    False(position,
          absl::StrCat("chunk ", header.chunk(), " ends before it begins"));
  }
  for (const stored::v1::ChunkSide& side : header.sides()) {
    CheckSide(position, side);
  }
  for (const stored::v1::Gap& gap : header.gaps()) {
    CheckGap(position, absl::StrCat("chunk ", header.chunk()), gap);
  }
  pending_.push_back(
      {header.chunk(), header.segment(), header.span(), position, body_sha256});
}

void SessionCheck::TakeNotes(log::Position position, stored::v1::Side side,
                             uint64_t first, uint64_t last) {
  stored::v1::SideTotals& totals = sides_[side];
  if (first != totals.last_note() + 1 || last < first) {
    False(position, absl::StrCat(SideName(side), " notes ", first, " to ", last,
                                 " follow note ", totals.last_note()));
  }
  totals.set_last_note(last);
}

void SessionCheck::Notes(log::Position position,
                         const stored::v1::Notes& header) {
  CheckEpoch(position, header.epoch());
  TakeNotes(position, header.side(), header.first_note(), header.last_note());
}

void SessionCheck::AttachmentPart(log::Position position,
                                  const stored::v1::AttachmentPart& header) {
  CheckEpoch(position, header.epoch());
  TakeNotes(position, header.side(), header.note(), header.note());
}

void SessionCheck::CheckListed(log::Position position,
                               const stored::v1::Segment& header,
                               const std::vector<PendingChunk>& listed) {
  const std::string manifest =
      absl::StrCat("the manifest of segment ", header.segment());
  if (header.chunks_size() != static_cast<int>(listed.size())) {
    False(position, absl::StrCat(manifest, " lists ", header.chunks_size(),
                                 " chunks; the log holds ", listed.size()));
    return;
  }
  for (size_t i = 0; i < listed.size(); ++i) {
    const stored::v1::SegmentChunk& named = header.chunks(static_cast<int>(i));
    const PendingChunk& found = listed[i];
    if (named.chunk() != found.chunk) {
      False(position, absl::StrCat(manifest, " lists chunk ", named.chunk(),
                                   "; the log holds chunk ", found.chunk));
      continue;
    }
    if (named.body_sha256().size() != 32) {
      False(position,
            absl::StrCat(manifest, " has no hash of chunk ", named.chunk()));
    } else if (!found.body_sha256.empty() &&
               named.body_sha256() != found.body_sha256) {
      False(position, absl::StrCat(manifest, " has another hash of chunk ",
                                   named.chunk(), " than its body"));
    }
    if (found.span != header.span()) {
      False(position, absl::StrCat(manifest, " is of span ", header.span(),
                                   "; its chunk ", found.chunk, " is of span ",
                                   found.span));
    }
  }
}

void SessionCheck::Segment(log::Position position,
                           const stored::v1::Segment& header,
                           absl::string_view header_bytes) {
  if (header.segment() < next_manifest_) {
    False(position,
          absl::StrCat("the manifest of segment ", header.segment(),
                       " follows that of segment ", next_manifest_ - 1));
  }
  std::vector<PendingChunk> listed;
  std::vector<PendingChunk> later;
  for (PendingChunk& chunk : pending_) {
    if (chunk.segment == header.segment()) {
      listed.push_back(std::move(chunk));
    } else if (chunk.segment > header.segment()) {
      later.push_back(std::move(chunk));
    } else {
      False(chunk.position,
            absl::StrCat("chunk ", chunk.chunk, " is in no manifest"));
    }
  }
  pending_ = std::move(later);
  CheckListed(position, header, listed);
  if (header.end_us() < header.start_us() ||
      header.window_end_us() < header.window_start_us()) {
    False(position,
          absl::StrCat("segment ", header.segment(), " ends before it begins"));
  }
  for (const uint32_t track : header.tracks_without_key_frame()) {
    if (IsTrack(track)) continue;
    False(position, absl::StrCat("the manifest of segment ", header.segment(),
                                 " names track ", track));
  }
  if (header.previous_manifest_sha256() != manifest_sha256_) {
    False(position, absl::StrCat("the manifest of segment ", header.segment(),
                                 " does not name the one before it"));
  }
  manifest_sha256_ = evidence::ManifestHash(header_bytes);
  next_manifest_ = header.segment() + 1;
  ++manifests_;
}

void SessionCheck::StateChanged(log::Position position,
                                const stored::v1::StateChanged& header) {
  CheckEpoch(position, header.epoch());
  const bool degraded = header.state() == stored::v1::SESSION_STATE_DEGRADED;
  if (!degraded && header.state() != stored::v1::SESSION_STATE_RECOVERED) {
    False(position, absl::StrCat("its state changes to the unknown ",
                                 static_cast<int>(header.state())));
  } else if (degraded == header.troubles().empty()) {
    False(position, degraded ? "it is degraded, but no side has trouble"
                             : "it is whole again, but a side has trouble");
  }
  std::set<int> sides;
  for (const stored::v1::SideTrouble& trouble : header.troubles()) {
    if (!IsSide(trouble.side()) || !sides.insert(trouble.side()).second ||
        (trouble.trouble() != stored::v1::TROUBLE_MISSING &&
         trouble.trouble() != stored::v1::TROUBLE_STALLED)) {
      False(position,
            absl::StrCat("its state says trouble ",
                         static_cast<int>(trouble.trouble()), " of side ",
                         static_cast<int>(trouble.side())));
    }
  }
}

void SessionCheck::ClockChanged(log::Position position,
                                const stored::v1::ClockChanged& header) {
  CheckEpoch(position, header.epoch());
  const std::string clock =
      absl::StrCat("the clock of track ", header.track_id());
  if (!IsSide(header.side()) || !IsTrack(header.track_id())) {
    False(position, absl::StrCat(clock, " changes on side ",
                                 static_cast<int>(header.side())));
    return;
  }
  if (header.reason() < stored::v1::CLOCK_REASON_PLACED ||
      header.reason() > stored::v1::CLOCK_REASON_JUMP) {
    False(position, absl::StrCat(clock, " changes for the unknown reason ",
                                 static_cast<int>(header.reason())));
  }
  if (header.rate_ppb() <= -kStandsStill_ppb ||
      header.rate_ppb() >= kStandsStill_ppb) {
    False(position,
          absl::StrCat(clock, " runs at ", header.rate_ppb(), " ppb"));
  }
  const uint64_t last = sides_[header.side()].last_sequence();
  if (header.first_sequence() <= last) {
    False(position,
          absl::StrCat(clock, " changes from ", SideName(header.side()),
                       " packet ", header.first_sequence(),
                       " on, which lies before it"));
  }
}

void SessionCheck::CheckTotals(log::Position position,
                               const stored::v1::SideTotals& stored) const {
  const auto found = sides_.find(stored.side());
  const stored::v1::SideTotals seen =
      found == sides_.end() ? stored::v1::SideTotals() : found->second;
  const std::string side = SideName(stored.side());
  const auto compare = [&](absl::string_view what, uint64_t said,
                           uint64_t held) {
    if (said == held) return;
    False(position, absl::StrCat("it is said to end with ", side, " ", what,
                                 " ", said, "; the log holds ", held));
  };
  compare("packet", stored.last_sequence(), seen.last_sequence());
  compare("note", stored.last_note(), seen.last_note());
  compare("packets in all:", stored.packets(), seen.packets());
  compare("payload bytes:", stored.payload_bytes(), seen.payload_bytes());
}

void SessionCheck::Closed(log::Position position,
                          const stored::v1::SessionClosed& header) {
  for (const PendingChunk& chunk : pending_) {
    False(chunk.position,
          absl::StrCat("chunk ", chunk.chunk, " is in no manifest"));
  }
  for (const auto& [side, totals] : sides_) {
    const bool named = std::any_of(
        header.sides().begin(), header.sides().end(),
        [&](const stored::v1::SideTotals& t) { return t.side() == side; });
    if (!named && (totals.packets() > 0 || totals.last_note() > 0)) {
      False(position, absl::StrCat("its end says nothing of the ",
                                   SideName(side), " side"));
    }
  }
  for (const stored::v1::SideTotals& stored : header.sides()) {
    CheckTotals(position, stored);
  }
  for (const stored::v1::Gap& gap : header.gaps()) {
    CheckGap(position, "its end", gap);
  }
  if (header.segments() != manifests_) {
    False(position, absl::StrCat("it is said to have ", header.segments(),
                                 " segments; the log holds ", manifests_));
  }
  if (header.manifest_sha256() != manifest_sha256_) {
    False(position, "its end does not name its last manifest");
  }
}

void SessionCheck::Snapshot(log::Position position,
                            const stored::v1::OpenSession& stored) {
  const auto compare = [&](absl::string_view what, uint64_t said,
                           uint64_t held) {
    if (said == held) return;
    False(position, absl::StrCat("the snapshot has ", what, " ", said,
                                 "; the log before it says ", held));
  };
  compare("epoch", stored.epoch(), epoch_);
  compare("next chunk", stored.next_chunk(), next_chunk_);
  compare("next span", stored.next_span(), next_span_);
  compare("chunks without a manifest:",
          static_cast<uint64_t>(stored.pending_chunks_size()), pending_.size());
  if (stored.manifest_sha256() != manifest_sha256_) {
    False(position, "the snapshot names another manifest as its last");
  }
  for (const stored::v1::SideTotals& side : stored.sides()) {
    CheckTotals(position, side);
  }
}

void SessionCheck::Adopt(const stored::v1::OpenSession& stored) {
  epoch_ = stored.epoch();
  key_position_ = stored.key_position();
  start_time_us_ = stored.start_time_us();
  next_span_ = stored.next_span();
  // What damage took away is not known.
  first_span_of_epoch_ = 0;
  next_chunk_ = stored.next_chunk();
  manifest_sha256_ = stored.manifest_sha256();
  sides_.clear();
  for (const stored::v1::SideTotals& side : stored.sides()) {
    sides_[side.side()] = side;
  }
  pending_.clear();
  for (const stored::v1::PendingChunk& chunk : stored.pending_chunks()) {
    pending_.push_back(
        {chunk.chunk(), chunk.segment(), chunk.span(), chunk.position(), ""});
  }
}

}  // namespace diptych::check
