#ifndef INDEXER_RETRIEVAL_MP4_EDITS_H_
#define INDEXER_RETRIEVAL_MP4_EDITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::indexer {

// Which part of a track's media is shown, and when (ISO/IEC 14496-12, edit
// lists). libav's muxer writes only lists that follow from timestamps; lead-ins
// that are decoded and not shown need more.
struct Mp4Edit {
  // Silence or nothing before the track, in movie units.
  uint64_t empty_duration = 0;
  // The first instant shown, in the track's units after its first sample's
  // decoding time.
  int64_t media_time = 0;
  // How much is shown, in movie units; 0 in a fragmented file: all that comes.
  uint64_t duration = 0;
};

// `boxes`, a run of whole boxes with one `moov` among them, with `edits` put
// into the moov's tracks, by track id from 1 on, in the place of any lists
// there are; track and movie durations are corrected if the edits have some.
// Tracks beyond `edits` stay as they are. INTERNAL if the boxes can't be
// parsed.
absl::StatusOr<std::string> PutMp4Edits(absl::string_view boxes,
                                        const std::vector<Mp4Edit>& edits);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_MP4_EDITS_H_
