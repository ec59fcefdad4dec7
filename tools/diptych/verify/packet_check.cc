#include "tools/diptych/verify/packet_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/left_out.h"
#include "tools/diptych/verify/packet_times.h"
#include "tools/diptych/verify/result_text.h"

namespace diptych::verify {
namespace {

constexpr char kBoundaryFile[] = "data/boundary.bin";

absl::Status False(absl::string_view place, absl::string_view what) {
  return base::IntegrityError(absl::StrCat(place, ": ", what));
}

std::string TrackName(const EvidenceTrack& track) {
  return absl::StrCat("track ", track.track_id, " (", track.side, " ",
                      absl::CEscape(track.source), ")");
}

// What exports call a track.
std::string TitleOf(const EvidenceTrack& track) {
  const std::string source = absl::StrReplaceAll(track.source, {{"_", " "}});
  return source == "unknown" ? track.side
                             : absl::StrCat(track.side, " ", source);
}

const stored::v1::Track* FindTrack(const stored::v1::SpanDescription& span,
                                   uint32_t track_id) {
  for (const stored::v1::Track& track : span.tracks()) {
    if (track.track_id() == track_id) return &track;
  }
  return nullptr;
}

bool SameParameters(const MediaStream& stream,
                    const stored::v1::Track& described) {
  if (stream.extradata != described.codec_config()) return false;
  if (stream.video) {
    return stream.width == described.width() &&
           stream.height == described.height();
  }
  // Of other sound the codec's own parameters say it.
  return !described.codec_config().empty() ||
         (stream.sample_rate_hz == described.sample_rate_hz() &&
          stream.channels == described.channels());
}

}  // namespace

absl::StatusOr<std::unique_ptr<PacketCheck>> PacketCheck::Create(
    const Evidence& evidence, const Chain& chain, const Trust& trust,
    const BundleFolder& folder, VerifyResult* result) {
  std::unique_ptr<PacketCheck> check(new PacketCheck(evidence, chain, result));
  RETURN_IF_ERROR(check->GatherRuns());
  RETURN_IF_ERROR(check->ReadBoundary(folder));
  uint64_t all = 0;
  for (auto& [id, track] : check->tracks_) {
    all += track.packets;
    if (all > limits::kMaxBundlePackets) {
      return False("data/evidence.json", "counts more packets than any bundle");
    }
    ASSIGN_OR_RETURN(SourceCheck sources,
                     SourceCheck::Create(evidence, *track.evidence,
                                         track.packets, trust, result));
    track.sources = std::make_unique<SourceCheck>(std::move(sources));
  }
  for (size_t stream = 0; stream < check->queues_.size(); ++stream) {
    RETURN_IF_ERROR(check->Advance(stream));
  }
  return check;
}

absl::Status PacketCheck::GatherRuns() {
  for (const EvidenceTrack& track : evidence_.tracks) {
    Track& gathered = tracks_[track.track_id];
    gathered.evidence = &track;
    gathered.timeline =
        std::make_unique<Timeline>(evidence_.from_us, evidence_.to_us);
    gathered.totals.track_id = track.track_id;
    gathered.totals.side = track.side;
    gathered.totals.source = track.source;
    gathered.totals.codec = track.codec;
    gathered.totals.video = track.video;
  }
  for (size_t i = 0; i < evidence_.segments.size(); ++i) {
    const EvidenceSegment& segment = evidence_.segments[i];
    if (i > 0 && segment.manifest <= evidence_.segments[i - 1].manifest) {
      return False(absl::StrCat("data/evidence.json.segments[", i, "]"),
                   "is not behind the one before it");
    }
    // By track: where its runs in this segment end.
    std::map<uint32_t, size_t> ends;
    const Manifest& manifest = chain_.manifests[segment.manifest];
    for (const PairRun& pairs : segment.runs) {
      size_t& end = ends[pairs.track_id];
      if (pairs.first < end) {
        return False(absl::StrCat("data/evidence.json.segments[", i, "]"),
                     "has a chunk of a track twice");
      }
      end = pairs.first + pairs.packets.size();
      RETURN_IF_ERROR(AddRun(pairs, manifest));
    }
  }
  for (const auto& [id, track] : tracks_) {
    if (track.packets == 0) {
      return False(
          absl::StrCat("data/evidence.json, ", TrackName(*track.evidence)),
          "no packet of the track is here");
    }
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::AddRun(const PairRun& pairs,
                                 const Manifest& manifest) {
  Track& track = tracks_[pairs.track_id];
  Run run;
  run.pairs = &pairs;
  run.manifest = &manifest;
  run.track = &track;
  const std::string place = PlaceOf(run);
  const auto chunks = manifest.track_chunks.find(pairs.track_id);
  if (chunks == manifest.track_chunks.end() ||
      pairs.first + pairs.packets.size() > chunks->second.size()) {
    return False(place, "the manifest names no such chunks of the track");
  }
  const bool clerk =
      manifest.tracks.at(pairs.track_id)->side() == stored::v1::SIDE_CLERK;
  if ((track.evidence->side == "clerk") != clerk) {
    return False(place, "the track is of the other side");
  }
  if (pairs.before > 0 && track.packets > 0) {
    return False(place,
                 "has packets of boundary.bin before it, and is not the "
                 "track's first");
  }
  if (track.ended) {
    return False(place, "is behind packets that are behind the media's last");
  }
  track.ended = pairs.after > 0;
  uint64_t packets = 0;
  for (const uint32_t count : pairs.packets) packets += count;
  run.first_packet = track.packets;
  run.media_packets = packets - pairs.before - pairs.after;
  track.packets += packets;
  if (track.packets > limits::kMaxTrackPackets) {
    return False(place, "has more packets than any track");
  }
  if (pairs.stream >= queues_.size()) queues_.resize(pairs.stream + 1);
  runs_.push_back(std::move(run));
  std::deque<Run*>& queue = queues_[pairs.stream];
  if (!queue.empty() && queue.back()->track != &track) {
    return False(place, "its stream is that of another track too");
  }
  queue.push_back(&runs_.back());
  return absl::OkStatus();
}

absl::Status PacketCheck::ReadBoundary(const BundleFolder& folder) {
  media_left_.resize(queues_.size());
  uint64_t wanted = 0;
  for (const Run& run : runs_) wanted += run.pairs->before + run.pairs->after;
  if (wanted > limits::kMaxBoundaryPackets) {
    return False(kBoundaryFile, "has more packets than any bundle");
  }
  if (wanted == 0) {
    if (folder.Has(kBoundaryFile)) {
      return False(kBoundaryFile, "nothing in evidence.json is of it");
    }
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file,
                   folder.OpenFile(kBoundaryFile));
  BoundaryReader reader(file.get());
  for (Run& run : runs_) {
    const auto read = [&](uint64_t count,
                          std::vector<evidence::PacketLine>* lines) {
      for (; count > 0; --count) {
        absl::StatusOr<evidence::PacketLine> line =
            reader.Next(run.pairs->track_id);
        if (!line.ok()) return False(kBoundaryFile, line.status().message());
        lines->push_back(*std::move(line));
      }
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(read(run.pairs->before, &run.before));
    RETURN_IF_ERROR(read(run.pairs->after, &run.after));
  }
  ASSIGN_OR_RETURN(const bool at_end, reader.AtEnd());
  if (!at_end) {
    return False(kBoundaryFile, "has more than evidence.json says is in it");
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::Advance(size_t stream) {
  std::deque<Run*>& queue = queues_[stream];
  while (!queue.empty() && media_left_[stream] == 0) {
    Run* run = queue.front();
    if (run->seen == 0) {
      for (evidence::PacketLine& line : run->before) {
        RETURN_IF_ERROR(AddLine(run, std::move(line), false));
      }
      media_left_[stream] = run->media_packets;
      // AddLine may have ended it: all of it was there.
      if (run->media_packets > 0) return absl::OkStatus();
    }
    for (evidence::PacketLine& line : run->after) {
      RETURN_IF_ERROR(AddLine(run, std::move(line), false));
    }
    queue.pop_front();
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::Add(const MediaPacket& packet) {
  const std::string place = absl::StrCat("data/", evidence_.media_file);
  if (packet.stream >= queues_.size() || queues_[packet.stream].empty()) {
    return False(place, absl::StrCat("stream ", packet.stream,
                                     " has a packet at byte ", packet.offset,
                                     " that evidence.json does not have"));
  }
  constexpr int64_t kMost_ms = int64_t{1} << 50;
  if (packet.pts_ms > kMost_ms || packet.pts_ms < -kMost_ms) {
    return False(place, "has a packet at a time that can't be");
  }
  Run* run = queues_[packet.stream].front();
  evidence::PacketLine line;
  line.pts_ms = evidence_.origin_us / 1000 + packet.pts_ms;
  line.key_frame = packet.key_frame;
  line.payload_bytes = static_cast<uint32_t>(packet.payload.size());
  line.payload_sha256 = base::Sha256(packet.payload);
  NoteCut(packet, line.pts_ms, run->track);
  --media_left_[packet.stream];
  RETURN_IF_ERROR(AddLine(run, std::move(line), true));
  return Advance(packet.stream);
}

absl::Status PacketCheck::AddLine(Run* run, evidence::PacketLine line,
                                  bool played) {
  run->leaf.Add(line);
  run->first_ms = std::min(run->first_ms, line.pts_ms);
  if (line.pts_ms > run->last_ms) {
    run->second_last_ms = run->last_ms;
    run->last_ms = line.pts_ms;
  } else if (line.pts_ms < run->last_ms) {
    run->second_last_ms = std::max(run->second_last_ms, line.pts_ms);
  }
  const int64_t pts_us = line.pts_ms * 1000;
  TrackResult& totals = run->track->totals;
  ++totals.packets;
  totals.payload_bytes += line.payload_bytes;
  ASSIGN_OR_RETURN(
      const std::optional<size_t> key,
      run->track->sources->Add(run->first_packet + run->seen, std::move(line)));
  if (key.has_value()) {
    ++totals.signed_packets;
    if (result_->source_keys[*key].verified) ++totals.verified_packets;
  }
  if (played) {
    run->track->timeline->AddPacket(pts_us, key);
  } else if (pts_us >= evidence_.from_us && pts_us < evidence_.to_us) {
    NoteNotPlayed(pts_us, run->track);
  }
  ++run->seen;
  if (run->leaf.packets() == run->pairs->packets[run->chunk]) {
    return FinishChunk(run);
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::FinishChunk(Run* run) {
  const uint32_t number = run->manifest->track_chunks.at(
      run->pairs->track_id)[run->pairs->first + run->chunk];
  const std::string salt = run->pairs->salt.empty()
                               ? run->pairs->salts[run->chunk]
                               : evidence::ChunkSalt(run->pairs->salt, number);
  run->leaf_hashes.push_back(evidence::LeafHash(run->leaf.Finish(
      salt, evidence_.session_bytes, number, run->pairs->track_id)));
  run->leaf = evidence::TrackLeaf();
  if (++run->chunk == run->pairs->packets.size()) return FinishRun(run);
  return absl::OkStatus();
}

absl::Status PacketCheck::FinishRun(Run* run) {
  const size_t chunks =
      run->manifest->track_chunks.at(run->pairs->track_id).size();
  const absl::StatusOr<std::string> root = evidence::RootFromRange(
      chunks, run->pairs->first, run->leaf_hashes, run->pairs->others);
  const std::string place = PlaceOf(*run);
  if (!root.ok()) return False(place, root.status().message());
  if (*root != run->manifest->tracks.at(run->pairs->track_id)->root()) {
    return False(place,
                 "packets, their times or their order are not those that the "
                 "archive's manifest names");
  }
  std::vector<std::string>().swap(run->leaf_hashes);
  return absl::OkStatus();
}

absl::Status PacketCheck::CheckStreams(const std::vector<MediaStream>& streams,
                                       const Spans& spans) {
  const std::string place = absl::StrCat("data/", evidence_.media_file);
  if (streams.size() < queues_.size()) {
    return False(place, absl::StrCat("has ", streams.size(),
                                     " streams, and evidence.json names more"));
  }
  std::set<size_t> checked;
  // Spans by which tracks were checked.
  std::set<std::pair<uint32_t, uint32_t>> labelled;
  for (const Run& run : runs_) {
    const size_t stream = run.pairs->stream;
    const auto span = spans.find(run.manifest->header.span());
    if (span == spans.end()) {
      return False(PlaceOf(run),
                   absl::StrCat("the description of its span ",
                                run.manifest->header.span(), " is not shown"));
    }
    if (labelled.insert({span->first, run.pairs->track_id}).second) {
      RETURN_IF_ERROR(CheckLabels(run, span->second));
    }
    // Runs that lie in boundary.bin alone may be of a span before.
    if (run.media_packets > 0 && checked.insert(stream).second) {
      RETURN_IF_ERROR(CheckStream(streams[stream], run, spans));
    }
  }
  // A track that is silent throughout the clip has a stream without packets.
  for (size_t i = 0; i < streams.size(); ++i) {
    if (!checked.contains(i) &&
        (streams[i].codec.empty() || streams[i].shown_otherwise)) {
      return False(place, absl::StrCat("stream ", i, " is none of a session"));
    }
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::CheckLabels(
    const Run& run, const stored::v1::SpanDescription& span) const {
  const stored::v1::Track* described = FindTrack(span, run.pairs->track_id);
  if (described == nullptr) {
    return False(PlaceOf(run), "its span has no such track");
  }
  const EvidenceTrack& track = *run.track->evidence;
  if (track.codec != CodecWord(described->codec()) ||
      track.source != SourceWord(described->source()) ||
      track.video != (described->width() != 0) ||
      (track.side == "clerk") !=
          (described->side() == stored::v1::SIDE_CLERK)) {
    return False(absl::StrCat("data/evidence.json, ", TrackName(track)),
                 "is not what the description of its span says");
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::CheckStream(const MediaStream& stream, const Run& run,
                                      const Spans& spans) const {
  const EvidenceTrack& track = *run.track->evidence;
  const stored::v1::Track* described =
      FindTrack(spans.at(run.manifest->header.span()), run.pairs->track_id);
  const std::string place = absl::StrCat("data/", evidence_.media_file,
                                         ", stream ", run.pairs->stream);
  if (stream.codec != track.codec || stream.video != track.video) {
    return False(place,
                 absl::StrCat("is not of the codec of ", TrackName(track)));
  }
  bool same = SameParameters(stream, *described);
  // Where every key frame brings its parameters, the file may begin with those
  // of another span of the track.
  for (const auto& [number, other] : spans) {
    if (same || !described->parameters_in_band()) break;
    const stored::v1::Track* found = FindTrack(other, run.pairs->track_id);
    same = found != nullptr && SameParameters(stream, *found);
  }
  if (!same) {
    return False(place,
                 "its codec parameters, picture size or sample rate are not "
                 "those that were stored");
  }
  if (stream.title != TitleOf(track)) {
    return False(place, "the file calls the track something else than it is");
  }
  if (stream.shown_otherwise) {
    return False(place,
                 "the file tells players to turn, stretch or cut its "
                 "picture");
  }
  return absl::OkStatus();
}

absl::Status PacketCheck::Finish() {
  for (size_t stream = 0; stream < queues_.size(); ++stream) {
    if (queues_[stream].empty()) continue;
    return False(PlaceOf(*queues_[stream].front()),
                 absl::StrCat("the media file ends ", media_left_[stream],
                              " packets of this run too early"));
  }
  result_->shown_segments = evidence_.segments.size();
  SayCut();
  SayHidden();
  SayLeftOut();
  for (auto& [id, track] : tracks_) {
    track.totals.ranges = track.timeline->Ranges();
    result_->tracks.push_back(std::move(track.totals));
  }
  return absl::OkStatus();
}

void PacketCheck::NoteCut(const MediaPacket& packet, int64_t pts_ms,
                          Track* track) {
  if (track->cut_last_ms.has_value()) {
    if (track->cut_packets++ == 0) track->first_cut_ms = *track->cut_last_ms;
    track->last_cut_ms = *track->cut_last_ms;
    track->cut_last_ms.reset();
  }
  if (packet.cut) track->cut_last_ms = pts_ms;
}

void PacketCheck::NoteNotPlayed(int64_t pts_us, Track* track) {
  // No second counts as shown for what no player shows.
  track->timeline->LeaveOut(pts_us, pts_us + 1);
  track->first_hidden_us = std::min(track->first_hidden_us, pts_us);
  track->last_hidden_us = std::max(track->last_hidden_us, pts_us);
  ++track->hidden_packets;
}

void PacketCheck::SayHidden() const {
  for (const auto& [id, track] : tracks_) {
    if (track.hidden_packets == 0) continue;
    result_->missing.push_back(absl::StrCat(
        "Not played: ", track.hidden_packets, " packets of ",
        TrackName(*track.evidence), ", from ",
        OffsetText(track.first_hidden_us), " to ",
        OffsetText(track.last_hidden_us),
        ", are in boundary.bin and not in the media file; they are proven "
        "like the others."));
  }
}

void PacketCheck::SayCut() const {
  for (const auto& [id, track] : tracks_) {
    if (track.cut_packets == 0) continue;
    result_->missing.push_back(absl::StrCat(
        "Players are told to leave out ", track.cut_packets, " of ",
        TrackName(*track.evidence), "'s packets, or a part of them, from ",
        OffsetText(track.first_cut_ms * 1000), " to ",
        OffsetText(track.last_cut_ms * 1000),
        ": they are in the file and proven like the others."));
  }
}

int64_t PacketCheck::EndOf(const Run& run) {
  // What a packet lasts for is not stored: as long as the one before, which is
  // rounded to milliseconds, and never so long that a second is covered.
  constexpr int64_t kMost_ms = 500;
  if (run.second_last_ms == std::numeric_limits<int64_t>::min()) {
    return run.last_ms + 1;
  }
  return run.last_ms + 1 + std::min(run.last_ms - run.second_last_ms, kMost_ms);
}

void PacketCheck::SayLeftOut() {
  LeftOut left_out(evidence_, chain_);
  for (const Run& run : runs_) {
    left_out.AddRun(
        {run.pairs, run.manifest, run.first_ms * 1000, EndOf(run) * 1000});
  }
  for (auto& [id, track] : tracks_) {
    for (const LeftOut::Window& window : left_out.WindowsOf(id)) {
      track.timeline->LeaveOut(window.from_us, window.to_us);
    }
  }
  left_out.Say(result_);
}

std::string PacketCheck::PlaceOf(const Run& run) const {
  const bool timed = run.first_ms <= run.last_ms;
  return absl::StrCat(
      TrackName(*run.track->evidence), ", segment ",
      run.manifest->header.segment(), ", ",
      OffsetText(timed ? run.first_ms * 1000
                       : run.manifest->header.window_start_us()),
      " to ",
      OffsetText(timed ? run.last_ms * 1000
                       : run.manifest->header.window_end_us()));
}

}  // namespace diptych::verify
