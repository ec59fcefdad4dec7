#include "tools/diptych/verify/left_out.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/result_text.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

std::string RangeText(const LeftOut::Window& window) {
  return absl::StrCat(OffsetText(window.from_us), " to ",
                      OffsetText(window.to_us));
}

absl::string_view SideName(stored::v1::Side side) {
  return side == stored::v1::SIDE_CLERK ? "clerk" : "resident";
}

// Between a segment's last packet and the next one's first.
constexpr int64_t kTouch_us = 1'000'000;

// Windows that touch become one.
std::vector<LeftOut::Window> Joined(std::vector<LeftOut::Window> windows) {
  std::sort(windows.begin(), windows.end(),
            [](const LeftOut::Window& a, const LeftOut::Window& b) {
              return a.from_us < b.from_us;
            });
  std::vector<LeftOut::Window> joined;
  for (const LeftOut::Window& window : windows) {
    if (window.from_us >= window.to_us) continue;
    if (!joined.empty() && joined.back().to_us + kTouch_us >= window.from_us) {
      joined.back().to_us = std::max(joined.back().to_us, window.to_us);
    } else {
      joined.push_back(window);
    }
  }
  return joined;
}

}  // namespace

void LeftOut::AddRun(const ShownRun& run) {
  runs_[{run.manifest, run.pairs->track_id}].push_back(run);
}

std::vector<LeftOut::Window> LeftOut::WindowsIn(const Manifest& manifest,
                                                uint32_t track_id) const {
  const auto chunks = manifest.track_chunks.find(track_id);
  if (chunks == manifest.track_chunks.end()) return {};
  const int64_t begin = manifest.header.window_start_us();
  const int64_t end = manifest.header.window_end_us();
  const auto shown = runs_.find({&manifest, track_id});
  if (shown == runs_.end()) return {{begin, end}};
  std::vector<Window> windows;
  // A pair is never left out without a time, however short.
  const auto leave = [&windows](int64_t from, int64_t to) {
    windows.push_back({std::min(from, to - 1), to});
  };
  size_t next = 0;
  int64_t from_us = begin;
  for (const ShownRun& run : shown->second) {
    if (run.pairs->first > next) leave(from_us, run.first_us);
    next = run.pairs->first + run.pairs->packets.size();
    from_us = run.end_us;
  }
  if (next < chunks->second.size()) leave(from_us, end);
  return windows;
}

std::vector<LeftOut::Window> LeftOut::Unknown() const {
  std::vector<Window> windows;
  const std::vector<Manifest>& manifests = chain_.manifests;
  if (manifests.empty()) return {{evidence_.from_us, evidence_.to_us}};
  if (!manifests[0].header.previous_manifest_sha256().empty()) {
    windows.push_back(
        {evidence_.from_us, manifests[0].header.window_start_us()});
  }
  for (size_t i = 1; i < manifests.size(); ++i) {
    if (manifests[i].follows_previous) continue;
    windows.push_back({manifests[i - 1].header.window_end_us(),
                       manifests[i].header.window_start_us()});
  }
  if (!chain_.ends_with_session) {
    windows.push_back(
        {manifests.back().header.window_end_us(), evidence_.to_us});
  }
  return Joined(std::move(windows));
}

std::vector<LeftOut::Window> LeftOut::WindowsOf(uint32_t track_id) const {
  std::vector<Window> windows = Unknown();
  for (const Manifest& manifest : chain_.manifests) {
    const std::vector<Window> in = WindowsIn(manifest, track_id);
    windows.insert(windows.end(), in.begin(), in.end());
  }
  return Joined(std::move(windows));
}

void LeftOut::SayTrack(uint32_t track_id, VerifyResult* result) const {
  const EvidenceTrack* shown = evidence_.FindTrack(track_id);
  std::vector<Window> windows;
  std::string side;
  for (const Manifest& manifest : chain_.manifests) {
    const auto track = manifest.tracks.find(track_id);
    if (track == manifest.tracks.end()) continue;
    side = std::string(SideName(track->second->side()));
    for (const Window& window : WindowsIn(manifest, track_id)) {
      if (InClip(window)) windows.push_back(window);
    }
  }
  windows = Joined(std::move(windows));
  // What ends before the clip's first packet, or begins behind its last, is
  // the rest of a chunk's second and no hole.
  for (Window& window : windows) {
    window.from_us = std::max(window.from_us, evidence_.from_us);
    window.to_us = std::min(window.to_us, evidence_.to_us);
    if (shown == nullptr) {
      result->missing.push_back(absl::StrCat(
          "Track ", track_id, " of the ", side,
          "'s side was recorded and is not in this bundle: ", RangeText(window),
          "."));
    } else {
      result->missing.push_back(absl::StrCat(
          "Some of track ", track_id, " (", side, " ", shown->source,
          ") was recorded and is not in this bundle: ", RangeText(window),
          "."));
    }
  }
}

void LeftOut::SayChain(VerifyResult* result) const {
  for (const Window& window : Unknown()) {
    if (!InClip(window)) continue;
    result->missing.push_back(
        absl::StrCat("What was recorded from ", RangeText(window),
                     " is not in this bundle, and neither is its manifest."));
  }
  if (!chain_.closed.has_value()) {
    result->missing.push_back(
        "The session's closing is not here: it was still open when this was "
        "exported, or its closing was left out. What came later is not proven "
        "here.");
  } else if (!chain_.complete) {
    result->missing.push_back(absl::StrCat(
        chain_.manifests.size(), " of the session's ",
        chain_.closed->segments(),
        " manifests are here: media that came late, for a time within this "
        "clip, would be named by the others."));
  }
}

void LeftOut::Say(VerifyResult* result) const {
  std::set<uint32_t> tracks;
  bool all = chain_.complete;
  for (const Manifest& manifest : chain_.manifests) {
    for (const auto& [track_id, chunks] : manifest.track_chunks) {
      tracks.insert(track_id);
      all &= WindowsIn(manifest, track_id).empty();
    }
  }
  for (const uint32_t track_id : tracks) SayTrack(track_id, result);
  SayChain(result);
  result->whole_session = all;
}

}  // namespace diptych::verify
