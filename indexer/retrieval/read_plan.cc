#include "indexer/retrieval/read_plan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/canonical.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

std::string Seconds(int64_t us) {
  return absl::StrFormat("%.3f s", static_cast<double>(us) / 1e6);
}

absl::Status RangeError(absl::StatusCode code, const std::string& message) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_RANGE");
  detail.set_field("from_us");
  return base::MakeError(code, message, detail);
}

bool WantsSide(const ReadRange& range, stored::v1::Side side) {
  return range.sides.empty() ||
         std::find(range.sides.begin(), range.sides.end(), side) !=
             range.sides.end();
}

bool IsVideoTrack(const stored::v1::Track& track) {
  return media::IsVideo(static_cast<api::v1::Codec>(track.codec()));
}

// Whether a chunk may hold a packet with from <= pts < to, or one that such a
// packet needs and that comes before it in decoding order.
bool Touches(const ChunkRef& chunk, int64_t from_us, int64_t to_us) {
  return chunk.end_us >= from_us &&
         (chunk.start_us < to_us || chunk.window_start_us < to_us);
}

absl::Status CheckRange(const ReadRange& range, const SessionMedia& media) {
  if (range.from_us && range.to_us && *range.from_us >= *range.to_us) {
    return RangeError(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("the range begins at ", Seconds(*range.from_us),
                     ", which is not before its end at ",
                     Seconds(*range.to_us)));
  }
  if (media.chunks.empty()) {
    return RangeError(absl::StatusCode::kOutOfRange,
                      "the session has no media yet");
  }
  int64_t start_us = kMax;
  int64_t end_us = kMin;
  for (const ChunkRef& chunk : media.chunks) {
    start_us = std::min(start_us, chunk.start_us);
    end_us = std::max(end_us, chunk.end_us);
  }
  if ((range.from_us && *range.from_us > end_us) ||
      (range.to_us && *range.to_us <= start_us)) {
    return RangeError(
        absl::StatusCode::kOutOfRange,
        absl::StrCat("the session's media is from ", Seconds(start_us), " to ",
                     Seconds(end_us), "; nothing is in the range"));
  }
  return absl::OkStatus();
}

// Track ids of the wanted sides, and which of them are video.
struct WantedTracks {
  std::set<uint32_t> video;
  std::set<uint32_t> audio;
  // False if a track of the session was left out.
  bool all = true;
};

absl::StatusOr<WantedTracks> FindTracks(const ReadRange& range,
                                        const std::set<uint32_t>& spans,
                                        SessionReader* session) {
  WantedTracks wanted;
  std::vector<stored::v1::Track> latest;
  for (const uint32_t span : spans) {
    ASSIGN_OR_RETURN(const stored::v1::SpanDescription* description,
                     session->Span(span));
    for (const stored::v1::Track& track : description->tracks()) {
      if (!WantsSide(range, track.side())) {
        wanted.all = false;
      } else if (IsVideoTrack(track)) {
        wanted.video.insert(track.track_id());
      } else {
        wanted.audio.insert(track.track_id());
      }
    }
  }
  return wanted;
}

// Sets starts and from_us.
void PlanStarts(const ReadRange& range, const WantedTracks& wanted,
                const SessionMedia& media, ReadPlan* plan) {
  if (!range.from_us) {
    for (const uint32_t id : wanted.video) plan->starts[id] = {kMin, false};
    for (const uint32_t id : wanted.audio) plan->starts[id] = {kMin, false};
    plan->from_us = kMax;
    for (const ChunkRef& chunk : media.chunks) {
      plan->from_us = std::min(plan->from_us, chunk.start_us);
    }
    return;
  }
  std::map<uint32_t, int64_t> key_frames;
  for (const ChunkRef& chunk : media.chunks) {
    for (const stored::v1::KeyFrame& key : chunk.key_frames) {
      if (key.pts_us() > *range.from_us ||
          !wanted.video.contains(key.track_id()))
        continue;
      const auto [at, added] = key_frames.emplace(key.track_id(), key.pts_us());
      if (!added) at->second = std::max(at->second, key.pts_us());
    }
  }
  plan->from_us = *range.from_us;
  for (const auto& [id, pts_us] : key_frames) {
    plan->from_us = std::min(plan->from_us, pts_us);
    plan->starts[id] = {pts_us, true};
  }
  for (const uint32_t id : wanted.video) {
    plan->starts.emplace(id, TrackStart{plan->from_us, false});
  }
  for (const uint32_t id : wanted.audio) {
    plan->starts.emplace(id, TrackStart{plan->from_us, false});
  }
}

// True if a decoder that was set up for `before` can go on with `after`.
bool Continues(const stored::v1::Track& before,
               const stored::v1::Track& after) {
  if (before.track_id() != after.track_id() ||
      before.codec() != after.codec()) {
    return false;
  }
  switch (after.codec()) {
    case api::v1::CODEC_VP8:
    case api::v1::CODEC_VP9:
      // Every key frame says its size.
      return true;
    default:
      return after.parameters_in_band() ||
             (before.codec_config() == after.codec_config() &&
              before.sample_rate_hz() == after.sample_rate_hz() &&
              before.channels() == after.channels());
  }
}

// Where a span lies among the chunks in the order of the log, which within a
// track is the order of time. A span may come again behind later ones.
struct SpanPlace {
  uint32_t first_chunk = UINT32_MAX;
  uint32_t last_chunk = 0;
};

// What one of the file's tracks takes, in the order of the spans.
struct Taken {
  SpanPlace span;
  stored::v1::Track track;
};

// True if the packets of `track` can follow all those in `taken`, and those of
// them that come again can follow `track`.
bool Fits(const std::vector<Taken>& taken, const SpanPlace& span,
          const stored::v1::Track& track) {
  if (!Continues(taken.back().track, track)) return false;
  return std::all_of(taken.begin(), taken.end(), [&](const Taken& other) {
    return other.span.last_chunk < span.first_chunk ||
           (Continues(other.track, track) && Continues(track, other.track));
  });
}

// The file's track that takes the packets of `track`: one that is there already
// if a player can follow, a further one if not. `outputs` has what each of the
// file's tracks takes.
size_t OutputOf(const stored::v1::Track& track, const SpanPlace& span,
                std::vector<std::vector<Taken>>* outputs, ReadPlan* plan) {
  for (size_t i = 0; i < outputs->size(); ++i) {
    if (!Fits((*outputs)[i], span, track)) continue;
    (*outputs)[i].push_back({span, track});
    return i;
  }
  outputs->push_back({{span, track}});
  plan->tracks.push_back(track);
  return plan->tracks.size() - 1;
}

// By track id: the chunk with the key frame that the track begins at. Tracks
// that do not begin at one are left out.
std::map<uint32_t, const ChunkRef*> StartChunks(const ReadPlan& plan) {
  std::map<uint32_t, const ChunkRef*> chunks;
  for (const ChunkRef& chunk : plan.chunks) {
    for (const stored::v1::KeyFrame& key : chunk.key_frames) {
      const auto start = plan.starts.find(key.track_id());
      if (start == plan.starts.end() || !start->second.at_key_frame ||
          key.pts_us() < start->second.pts_us) {
        continue;
      }
      const auto [at, added] = chunks.emplace(key.track_id(), &chunk);
      if (!added && chunk.chunk < at->second->chunk) at->second = &chunk;
    }
  }
  return chunks;
}

const stored::v1::Track* FindTrack(const stored::v1::SpanDescription& span,
                                   uint32_t track_id) {
  for (const stored::v1::Track& track : span.tracks()) {
    if (track.track_id() == track_id) return &track;
  }
  return nullptr;
}

// Sets tracks and output from the spans of the chunks that will be read.
absl::Status PlanTracks(const ReadRange& range, SessionReader* session,
                        ReadPlan* plan) {
  const std::map<uint32_t, const ChunkRef*> start_chunks = StartChunks(*plan);
  std::map<uint32_t, SpanPlace> spans;
  for (const ChunkRef& chunk : plan->chunks) {
    SpanPlace& place = spans[chunk.span];
    place.first_chunk = std::min(place.first_chunk, chunk.chunk);
    place.last_chunk = std::max(place.last_chunk, chunk.chunk);
  }
  std::vector<std::vector<Taken>> outputs;
  for (const auto& [span, place] : spans) {
    ASSIGN_OR_RETURN(const stored::v1::SpanDescription* description,
                     session->Span(span));
    for (const stored::v1::Track& track : description->tracks()) {
      if (!WantsSide(range, track.side())) continue;
      const auto start = start_chunks.find(track.track_id());
      if (start != start_chunks.end()) {
        // The file says of a track what its first picture is like.
        const uint32_t first = start->second->span;
        ASSIGN_OR_RETURN(const stored::v1::SpanDescription* first_description,
                         session->Span(first));
        const stored::v1::Track* first_track =
            FindTrack(*first_description, track.track_id());
        if (first_track != nullptr &&
            !plan->output.contains({first, track.track_id()})) {
          plan->output[{first, track.track_id()}] =
              OutputOf(*first_track, spans.at(first), &outputs, plan);
        }
        if (place.last_chunk < start->second->chunk) continue;
      }
      if (plan->output.contains({span, track.track_id()})) continue;
      plan->output[{span, track.track_id()}] =
          OutputOf(track, place, &outputs, plan);
    }
  }
  if (plan->tracks.size() > limits::kMaxOutputTracks) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the tracks' parameters change so often that one file would need ",
        plan->tracks.size(), " tracks and ", limits::kMaxOutputTracks,
        " are possible; read a shorter range"));
  }
  return absl::OkStatus();
}

// Chunks are numbered without holes, so that one that is missing in between is
// noticed.
absl::Status CheckComplete(const std::vector<ChunkRef>& chunks,
                           const SessionReader& session) {
  std::set<uint32_t> numbers;
  for (const ChunkRef& chunk : session.media().chunks) {
    numbers.insert(chunk.chunk);
  }
  uint32_t first = UINT32_MAX;
  uint32_t last = 0;
  for (const ChunkRef& chunk : chunks) {
    first = std::min(first, chunk.chunk);
    last = std::max(last, chunk.chunk);
  }
  auto at = numbers.find(first);
  for (uint32_t expected = first; expected < last; ++expected, ++at) {
    if (*at != expected) {
      return base::IntegrityError(
          absl::StrCat("session ", session.media().session_id.ToString(),
                       " lacks its chunk ", expected));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ReadPlan> PlanRead(const ReadRange& range,
                                  SessionReader* session) {
  const SessionMedia& media = session->media();
  RETURN_IF_ERROR(CheckRange(range, media));
  ReadPlan plan;
  plan.end_us = range.to_us.value_or(kMax);

  // Spans behind the range are not looked at; those before it may hold the key
  // frame that it begins with.
  std::set<uint32_t> spans;
  for (const ChunkRef& chunk : media.chunks) {
    if (Touches(chunk, kMin, plan.end_us)) spans.insert(chunk.span);
  }
  ASSIGN_OR_RETURN(const WantedTracks wanted,
                   FindTracks(range, spans, session));
  if (wanted.video.empty() && wanted.audio.empty()) {
    api::v1::ErrorDetail detail;
    detail.set_reason("NO_SUCH_SIDE");
    detail.set_field("sides");
    return base::MakeError(absl::StatusCode::kNotFound,
                           "the session has no track of that side", detail);
  }
  PlanStarts(range, wanted, media, &plan);

  plan.to_us = kMin;
  for (const ChunkRef& chunk : media.chunks) {
    if (!Touches(chunk, range.from_us ? plan.from_us : kMin, plan.end_us)) {
      continue;
    }
    plan.chunks.push_back(chunk);
    plan.to_us = std::max(plan.to_us, chunk.end_us);
  }
  plan.to_us = std::min(plan.to_us, plan.end_us);
  if (plan.chunks.empty()) {
    return RangeError(absl::StatusCode::kOutOfRange,
                      "the session has nothing in the range");
  }
  RETURN_IF_ERROR(CheckComplete(plan.chunks, *session));
  std::stable_sort(plan.chunks.begin(), plan.chunks.end(),
                   [](const ChunkRef& a, const ChunkRef& b) {
                     return a.window_start_us < b.window_start_us;
                   });
  RETURN_IF_ERROR(PlanTracks(range, session, &plan));
  plan.whole_session = !range.from_us && !range.to_us && wanted.all;
  return plan;
}

}  // namespace diptych::indexer
