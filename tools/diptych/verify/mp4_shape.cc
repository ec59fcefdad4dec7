#include "tools/diptych/verify/mp4_shape.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"

namespace diptych::verify {
namespace {

constexpr size_t kMaxDepth = 8;
constexpr size_t kUnityMatrix_bytes = 36;
constexpr size_t kMaxSmallBox_bytes = 64 << 10;

// What is in what; containers are those that are keys here.
const std::map<std::string, std::set<std::string>>& Children() {
  static const auto* const children =
      new std::map<std::string, std::set<std::string>>{
          {"", {"ftyp", "free", "mdat", "moov"}},
          {"moov", {"mvhd", "trak", "udta"}},
          {"trak", {"tkhd", "edts", "mdia", "udta"}},
          {"edts", {"elst"}},
          {"mdia", {"mdhd", "hdlr", "minf"}},
          {"minf", {"vmhd", "smhd", "dinf", "stbl"}},
          {"dinf", {"dref"}},
          {"stbl",
           {"stsd", "stts", "stss", "ctts", "stsc", "stsz", "stco", "co64",
            "sgpd", "sbgp"}},
          {"udta", {"name", "meta"}},
      };
  return *children;
}

uint64_t ReadNumber(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

class Walker {
 public:
  Walker(base::ReadFile* file, const std::string& place)
      : file_(file), place_(place) {}

  absl::StatusOr<std::vector<ShownTime>> Walk() {
    RETURN_IF_ERROR(WalkTop());
    if (index_.empty()) return False(0, "has no index");
    RETURN_IF_ERROR(WalkBoxes("moov", index_, index_at_, 0));
    std::vector<ShownTime> shown;
    for (const Track& track : tracks_) {
      ShownTime time;
      if (!track.edited || movie_timescale_ == 0) {
        return False(index_at_, "a track has no edit list");
      }
      const auto ms = [&](uint64_t units) {
        return static_cast<int64_t>(units * 1000 / movie_timescale_);
      };
      time.from_ms = ms(track.empty_duration);
      time.to_ms = ms(track.empty_duration + track.duration) + 1;
      shown.push_back(time);
    }
    return shown;
  }

 private:
  struct Track {
    bool edited = false;
    uint64_t empty_duration = 0;
    uint64_t duration = 0;
  };

  absl::Status False(uint64_t at, absl::string_view what) const {
    return base::IntegrityError(
        absl::StrCat(place_, ", byte ", at, ": ", what));
  }

  absl::Status CheckChild(const std::string& parent, const std::string& type,
                          uint64_t at) const {
    if (Children().at(parent).contains(type)) return absl::OkStatus();
    return False(at, absl::StrCat("has a box that no export has (",
                                  absl::CEscape(type), ")"));
  }

  // Media is passed over, the index kept.
  absl::Status WalkTop() {
    ASSIGN_OR_RETURN(const uint64_t size, file_->Size());
    std::string head;
    std::set<std::string> seen;
    for (uint64_t at = 0; at < size;) {
      RETURN_IF_ERROR(file_->Read(at, 16, &head));
      if (head.size() < 8) return False(at, "ends in the middle of a box");
      const absl::string_view view = head;
      const std::string type(view.substr(4, 4));
      uint64_t length = ReadNumber(view.substr(0, 4));
      size_t head_bytes = 8;
      if (length == 1 && head.size() == 16) {
        length = ReadNumber(view.substr(8, 8));
        head_bytes = 16;
      }
      RETURN_IF_ERROR(CheckChild("", type, at));
      if (length < head_bytes || length > size - at) {
        return False(at, "a box reaches beyond the file");
      }
      const uint64_t body = length - head_bytes;
      if (!seen.insert(type).second ||
          (type == "free" && body != 0 && body != 8)) {
        return False(at, "has a box that no export has there");
      }
      if (type == "ftyp" || type == "free") {
        std::string value;
        RETURN_IF_ERROR(file_->Read(at + head_bytes,
                                    std::min<uint64_t>(body, 1024), &value));
        if (type == "ftyp"
                ? !absl::StartsWith(value, "isom")
                : value.find_first_not_of('\0') != std::string::npos) {
          return False(at, "does not say what exports say there");
        }
      }
      if (type == "moov") {
        if (body > limits::kMaxMp4Index_bytes) {
          return False(at, "has a larger index than any export");
        }
        index_at_ = at + head_bytes;
        RETURN_IF_ERROR(
            file_->Read(index_at_, static_cast<size_t>(body), &index_));
      }
      at += length;
    }
    return absl::OkStatus();
  }

  absl::Status WalkBoxes(const std::string& parent, absl::string_view boxes,
                         uint64_t at, size_t depth) {
    if (depth > kMaxDepth) return False(at, "boxes lie too deep");
    std::set<std::string> once;
    while (!boxes.empty()) {
      const uint64_t length =
          boxes.size() < 8 ? 0 : ReadNumber(boxes.substr(0, 4));
      if (length < 8 || length > boxes.size()) {
        return False(at, "a box reaches beyond what holds it");
      }
      const std::string type(boxes.substr(4, 4));
      RETURN_IF_ERROR(CheckChild(parent, type, at));
      // Of two, one reader takes the first and another the last. Both forms of
      // the list of places are one.
      if (type != "trak" &&
          !once.insert(type == "co64" ? "stco" : type).second) {
        return False(at, absl::StrCat("has a box twice (", type, ")"));
      }
      const absl::string_view body = boxes.substr(8, length - 8);
      if (type == "trak") {
        if (tracks_.size() >= limits::kMaxOutputTracks) {
          return False(at, "has more tracks than any export");
        }
        tracks_.emplace_back();
      }
      RETURN_IF_ERROR(Children().contains(type)
                          ? WalkBoxes(type, body, at + 8, depth + 1)
                          : CheckBox(type, body, at));
      boxes.remove_prefix(length);
      at += length;
    }
    return absl::OkStatus();
  }

  absl::Status CheckBox(const std::string& type, absl::string_view body,
                        uint64_t at) {
    if (type == "mvhd") return CheckMovieHeader(body, at);
    if (type == "tkhd") return CheckTrackHeader(body, at);
    if (type == "elst") return CheckEdits(body, at);
    if (type == "meta" && body.size() > kMaxSmallBox_bytes) {
      return False(at, "has more text than any export");
    }
    if (type == "dref" && body.find("url ") == absl::string_view::npos) {
      return False(at, "names media outside of the file");
    }
    return absl::OkStatus();
  }

  static bool IsUnityMatrix(absl::string_view bytes) {
    static const std::string unity = absl::HexStringToBytes(
        "000100000000000000000000000000000001000000000000000000000000000040"
        "000000");
    return bytes == unity;
  }

  absl::Status CheckMovieHeader(absl::string_view body, uint64_t at) {
    const bool wide = !body.empty() && body[0] == 1;
    const size_t times = wide ? 28 : 16;
    if (body.size() != 4 + times + 80) return False(at, "is no movie header");
    movie_timescale_ = ReadNumber(body.substr(wide ? 20 : 12, 4));
    // Rate 1, volume 1, nothing reserved, no matrix.
    if (ReadNumber(body.substr(4 + times, 4)) != 0x10000 ||
        ReadNumber(body.substr(4 + times + 4, 2)) != 0x100 ||
        body.substr(4 + times + 6, 10).find_first_not_of('\0') !=
            absl::string_view::npos ||
        !IsUnityMatrix(body.substr(4 + times + 16, kUnityMatrix_bytes))) {
      return False(at, "tells players another speed or shape");
    }
    return absl::OkStatus();
  }

  absl::Status CheckTrackHeader(absl::string_view body, uint64_t at) {
    const bool wide = !body.empty() && body[0] == 1;
    const size_t times = wide ? 32 : 20;
    if (body.size() != 4 + times + 60) return False(at, "is no track header");
    // Switched on and in the movie; no layer; no matrix.
    const uint64_t flags = ReadNumber(body.substr(1, 3));
    if (flags != 3 || ReadNumber(body.substr(4 + times + 8, 2)) != 0 ||
        !IsUnityMatrix(body.substr(4 + times + 16, kUnityMatrix_bytes))) {
      return False(at, "tells players to hide, turn or cover a track");
    }
    return absl::OkStatus();
  }

  absl::Status CheckEdits(absl::string_view body, uint64_t at) {
    if (body.size() < 8 || tracks_.empty() || tracks_.back().edited) {
      return False(at, "is no edit list");
    }
    const bool wide = body[0] == 1;
    const size_t entry = wide ? 20 : 12;
    const uint64_t count = ReadNumber(body.substr(4, 4));
    if (count < 1 || count > 2 || body.size() != 8 + count * entry) {
      return False(at, "its edit list has more than one stretch");
    }
    Track& track = tracks_.back();
    track.edited = true;
    for (uint64_t i = 0; i < count; ++i) {
      const absl::string_view edit = body.substr(8 + i * entry, entry);
      const size_t half = wide ? 8 : 4;
      const uint64_t duration = ReadNumber(edit.substr(0, half));
      const uint64_t time = ReadNumber(edit.substr(half, half));
      const bool empty =
          time == (wide ? std::numeric_limits<uint64_t>::max() : 0xffffffff);
      if (ReadNumber(edit.substr(2 * half, 4)) != 0x10000 ||
          empty != (count == 2 && i == 0) || duration > uint64_t{1} << 50) {
        return False(at, "its edit list is not of one stretch at normal speed");
      }
      (empty ? track.empty_duration : track.duration) = duration;
    }
    return absl::OkStatus();
  }

  base::ReadFile* const file_;
  const std::string& place_;
  std::string index_;
  uint64_t index_at_ = 0;
  uint64_t movie_timescale_ = 0;
  std::vector<Track> tracks_;
};

}  // namespace

absl::StatusOr<std::vector<ShownTime>> CheckMp4Shape(base::ReadFile* file,
                                                     const std::string& place) {
  return Walker(file, place).Walk();
}

}  // namespace diptych::verify
