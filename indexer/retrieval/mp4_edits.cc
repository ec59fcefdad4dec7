#include "indexer/retrieval/mp4_edits.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"

namespace diptych::indexer {
namespace {

constexpr size_t kBoxHeader_bytes = 8;
constexpr uint32_t kRateOne = 0x00010000;

void Put(uint64_t value, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift));
  }
}

// REQUIRES: `bytes` bytes are there.
uint64_t Get(absl::string_view in, size_t at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) {
    value = value << 8 | static_cast<uint8_t>(in[at + static_cast<size_t>(i)]);
  }
  return value;
}

std::string Box(absl::string_view type, absl::string_view content) {
  std::string out;
  Put(kBoxHeader_bytes + content.size(), 4, &out);
  return absl::StrCat(out, type, content);
}

using OnBox = std::function<absl::StatusOr<std::string>(
    absl::string_view type, absl::string_view content)>;

// Rewrites a run of boxes; `on_box` gives what takes each one's place.
absl::StatusOr<std::string> MapBoxes(absl::string_view boxes,
                                     const OnBox& on_box) {
  std::string out;
  out.reserve(boxes.size());
  while (!boxes.empty()) {
    const uint64_t size =
        boxes.size() < kBoxHeader_bytes ? 0 : Get(boxes, 0, 4);
    // The moov's boxes are all smaller than 4 GiB, so that the 64-bit form
    // does not occur.
    if (size < kBoxHeader_bytes || size > boxes.size()) {
      return absl::InternalError("libav wrote an MP4 index that can't be read");
    }
    ASSIGN_OR_RETURN(
        const std::string box,
        on_box(boxes.substr(4, 4),
               boxes.substr(kBoxHeader_bytes, size - kBoxHeader_bytes)));
    out += box;
    boxes.remove_prefix(static_cast<size_t>(size));
  }
  return out;
}

std::string EditList(const Mp4Edit& edit) {
  const bool wide = std::max(edit.empty_duration, edit.duration) >
                        std::numeric_limits<uint32_t>::max() ||
                    edit.media_time > std::numeric_limits<int32_t>::max();
  const int width = wide ? 8 : 4;
  std::string list;
  // Version and flags.
  Put(wide ? 1u << 24 : 0, 4, &list);
  Put(edit.empty_duration > 0 ? 2 : 1, 4, &list);
  if (edit.empty_duration > 0) {
    Put(edit.empty_duration, width, &list);
    Put(std::numeric_limits<uint64_t>::max(), width, &list);
    Put(kRateOne, 4, &list);
  }
  Put(edit.duration, width, &list);
  Put(static_cast<uint64_t>(edit.media_time), width, &list);
  Put(kRateOne, 4, &list);
  return Box("edts", Box("elst", list));
}

// Sets the duration in a tkhd or mvhd: after version and flags, two times and
// `skip` more bytes. One of 32 bits that is too small for it stays as it is.
absl::StatusOr<std::string> WithDuration(absl::string_view type,
                                         absl::string_view content, size_t skip,
                                         uint64_t duration) {
  const bool wide = !content.empty() && content[0] == 1;
  const size_t at = 4 + (wide ? 16 : 8) + skip;
  const int width = wide ? 8 : 4;
  if (content.size() < at + static_cast<size_t>(width)) {
    return absl::InternalError("libav wrote a short MP4 header");
  }
  std::string changed(content);
  if (wide || duration <= std::numeric_limits<uint32_t>::max()) {
    std::string field;
    Put(duration, width, &field);
    changed.replace(at, field.size(), field);
  }
  return Box(type, changed);
}

// A track's id is in its header, after version, flags and two times.
absl::StatusOr<uint64_t> TrackId(absl::string_view track) {
  uint64_t id = 0;
  RETURN_IF_ERROR(
      MapBoxes(track,
               [&](absl::string_view type,
                   absl::string_view content) -> absl::StatusOr<std::string> {
                 if (type != "tkhd") return std::string();
                 const bool wide = !content.empty() && content[0] == 1;
                 const size_t at = wide ? 20 : 12;
                 if (content.size() >= at + 4) {
                   id = Get(content, at, 4);
                 }
                 return std::string();
               })
          .status());
  return id;
}

absl::StatusOr<std::string> EditTrack(absl::string_view track,
                                      const Mp4Edit& edit) {
  return MapBoxes(
      track,
      [&](absl::string_view type,
          absl::string_view content) -> absl::StatusOr<std::string> {
        if (type == "edts") return std::string();
        if (type != "tkhd") return Box(type, content);
        std::string header = Box(type, content);
        if (edit.duration > 0) {
          // Track id and a reserved field stand before it.
          ASSIGN_OR_RETURN(header,
                           WithDuration(type, content, 8,
                                        edit.empty_duration + edit.duration));
        }
        return header + EditList(edit);
      });
}

}  // namespace

absl::StatusOr<std::string> PutMp4Edits(absl::string_view boxes,
                                        const std::vector<Mp4Edit>& edits) {
  uint64_t movie_duration = 0;
  for (const Mp4Edit& edit : edits) {
    if (edit.duration > 0) {
      movie_duration =
          std::max(movie_duration, edit.empty_duration + edit.duration);
    }
  }
  const auto in_moov =
      [&](absl::string_view type,
          absl::string_view content) -> absl::StatusOr<std::string> {
    if (type == "mvhd" && movie_duration > 0) {
      // The time scale stands before it.
      return WithDuration(type, content, 4, movie_duration);
    }
    if (type != "trak") return Box(type, content);
    ASSIGN_OR_RETURN(const uint64_t id, TrackId(content));
    if (id == 0 || id > edits.size()) return Box(type, content);
    ASSIGN_OR_RETURN(const std::string track,
                     EditTrack(content, edits[static_cast<size_t>(id) - 1]));
    return Box(type, track);
  };
  return MapBoxes(
      boxes,
      [&](absl::string_view type,
          absl::string_view content) -> absl::StatusOr<std::string> {
        if (type != "moov") return Box(type, content);
        ASSIGN_OR_RETURN(const std::string moov, MapBoxes(content, in_moov));
        return Box(type, moov);
      });
}

}  // namespace diptych::indexer
