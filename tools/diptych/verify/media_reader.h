#ifndef TOOLS_DIPTYCH_VERIFY_MEDIA_READER_H_
#define TOOLS_DIPTYCH_VERIFY_MEDIA_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"

namespace diptych::verify {

// What a media file says of one of its streams.
struct MediaStream {
  // Word as in evidence.json ("h264"); empty for a codec that is none of ours.
  std::string codec;
  bool video = false;
  std::string extradata;
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t sample_rate_hz = 0;
  uint32_t channels = 0;
  // What players call the track.
  std::string title;
  // Turned, stretched or cut by what the file tells players.
  bool shown_otherwise = false;
};

struct MediaPacket {
  size_t stream = 0;
  // File time, to the nearest millisecond; an edit list at a track's beginning
  // counts, but leaves no packet out.
  int64_t pts_ms = 0;
  bool key_frame = false;
  // Players are told to leave it out, or some of it.
  bool cut = false;
  // Of the media file, if known; else -1.
  int64_t offset = -1;
  // Valid until the next packet is read.
  absl::string_view payload;
};

// Reads the packets of a Matroska or MP4 file by libav's demuxer, in the order
// of the file: nothing is parsed beyond the container, nothing decoded, no
// other file opened. Damage is DATA_LOSS. Not thread-safe.
class MediaReader {
 public:
  // `file` is named `place` in errors and must outlive the reader.
  static absl::StatusOr<std::unique_ptr<MediaReader>> Open(base::ReadFile* file,
                                                           bool mp4,
                                                           std::string place);

  virtual ~MediaReader() = default;

  virtual const std::vector<MediaStream>& streams() const = 0;
  // False at the end.
  virtual absl::StatusOr<bool> Next(MediaPacket* packet) = 0;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_MEDIA_READER_H_
