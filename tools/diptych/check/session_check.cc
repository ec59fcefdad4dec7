#include "tools/diptych/check/session_check.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
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

SessionCheck::SessionCheck(const base::Uuid& id, const FalseThing& on_false)
    : on_false_([prefix = absl::StrCat("session ", id.ToString(), ": "),
                 on_false](log::Position position, const std::string& what) {
        on_false(position, prefix + what);
      }),
      manifests_(on_false_) {}

void SessionCheck::False(log::Position position,
                         const std::string& what) const {
  on_false_(position, what);
}

void SessionCheck::CheckEpoch(log::Position position, uint64_t epoch) {
  if (epoch == epoch_) return;
  False(position, absl::StrCat("a record is of epoch ", epoch,
                               ", but the session is in epoch ", epoch_));
}

void SessionCheck::Opened(log::Position position,
                          const stored::v1::SessionOpened& header,
                          const std::string& digest) {
  manifests_.Other(position, log::RecordType::kSessionOpened, digest);
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
                               const stored::v1::SpanStarted& header,
                               const std::string& digest) {
  manifests_.Other(position, log::RecordType::kSpanStarted, digest);
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
                         const std::string& digest) {
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
  CheckChunkTracks(position, header);
  manifests_.Chunk(position, header, digest);
}

void SessionCheck::CheckChunkTracks(log::Position position,
                                    const stored::v1::Chunk& header) const {
  const std::string chunk = absl::StrCat("chunk ", header.chunk());
  uint32_t last = 0;
  std::set<int> sides;
  for (const stored::v1::ChunkTrack& track : header.tracks()) {
    if (!IsTrack(track.track_id()) || track.track_id() <= last ||
        !IsSide(track.side())) {
      False(position, absl::StrCat(chunk, " has a leaf of track ",
                                   track.track_id(), " after track ", last));
    }
    if (track.leaf().size() != base::kSha256_bytes) {
      False(position,
            absl::StrCat(chunk, " has no leaf of track ", track.track_id()));
    }
    last = track.track_id();
    sides.insert(track.side());
  }
  for (const stored::v1::ChunkSide& side : header.sides()) {
    if (sides.erase(side.side()) > 0) continue;
    False(position, absl::StrCat(chunk, " has packets of the ",
                                 SideName(side.side()), " side and no leaf"));
  }
  for (const int side : sides) {
    False(position, absl::StrCat(chunk, " has a leaf of the ", SideName(side),
                                 " side and no packets"));
  }
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
                         const stored::v1::Notes& header,
                         const std::string& digest) {
  manifests_.Other(position, log::RecordType::kNotes, digest);
  CheckEpoch(position, header.epoch());
  TakeNotes(position, header.side(), header.first_note(), header.last_note());
}

void SessionCheck::AttachmentPart(log::Position position,
                                  const stored::v1::AttachmentPart& header,
                                  const std::string& digest) {
  manifests_.Other(position, log::RecordType::kAttachmentPart, digest);
  CheckEpoch(position, header.epoch());
  TakeNotes(position, header.side(), header.note(), header.note());
}

void SessionCheck::SourceDigest(log::Position position,
                                const stored::v1::SourceDigest& header,
                                const std::string& digest) {
  manifests_.Other(position, log::RecordType::kSourceDigest, digest);
  CheckEpoch(position, header.epoch());
  TakeNotes(position, header.statement().side(), header.note(), header.note());
}

void SessionCheck::Segment(log::Position position,
                           const stored::v1::Segment& header,
                           absl::string_view header_bytes) {
  manifests_.Segment(position, header, header_bytes);
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
}

void SessionCheck::StateChanged(log::Position position,
                                const stored::v1::StateChanged& header,
                                const std::string& digest) {
  manifests_.Other(position, log::RecordType::kStateChanged, digest);
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
                                const stored::v1::ClockChanged& header,
                                const std::string& digest) {
  manifests_.Other(position, log::RecordType::kClockChanged, digest);
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
  manifests_.Closed(position, header);
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
          static_cast<uint64_t>(stored.pending_chunks_size()),
          manifests_.pending_chunks());
  if (stored.manifest_sha256() != manifests_.last_hash()) {
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
  sides_.clear();
  for (const stored::v1::SideTotals& side : stored.sides()) {
    sides_[side.side()] = side;
  }
  manifests_.Adopt(stored);
}

uint64_t SessionCheck::last_sequence(int side) const {
  const auto found = sides_.find(side);
  return found == sides_.end() ? 0 : found->second.last_sequence();
}

}  // namespace diptych::check
