#ifndef INDEXER_RETRIEVAL_REMUXER_H_
#define INDEXER_RETRIEVAL_REMUXER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/file_sink.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

struct RemuxOptions {
  api::v1::Container container = api::v1::CONTAINER_UNSPECIFIED;
  std::vector<stored::v1::Track> tracks;
  // Wall clock at session time 0; goes into the file as its creation time.
  int64_t session_start_us = 0;
  // Session time that becomes the file's time 0. No packet has a smaller pts.
  int64_t origin_us = 0;
  // pts and dts are rounded to whole milliseconds first (evidence::ToMs), and
  // the file says them so exactly that whoever rounds them gets the same
  // milliseconds; FAILED_PRECONDITION for a packet where it can't.
  // REQUIRES: origin_us is whole milliseconds.
  bool whole_milliseconds = false;
};

// Puts packets into a file by stream copy: payloads go in as they are, and
// their pts come back within 1 ms and in step over all tracks.
//
// MP4: lead-ins (discard, skipped samples, Opus pre-skip) become edit lists, so
// that a player shows what the source's did. Fragmented MP4 and Matroska have
// no such place: there lead-ins of video play. Not thread-safe.
class Remuxer {
 public:
  // Errors as CheckContainer. `write` gets the file's bytes; an error that it
  // returns comes back from the call that was under way, and from all after it.
  static absl::StatusOr<std::unique_ptr<Remuxer>> Create(
      const RemuxOptions& options, WriteBytes write);

  virtual ~Remuxer() = default;

  // Adds a packet of options.tracks[track]: of one track in decoding order,
  // over tracks about in the order of dts. FAILED_PRECONDITION, naming what to
  // ask for instead, if the container can't say this packet's time.
  virtual absl::Status Write(size_t track, const media::PacketInfo& info,
                             absl::string_view payload) = 0;

  // Lets out all that was written. The first call begins the file: it knows
  // best how to when a chunk's packets have been written before.
  virtual absl::Status Flush() = 0;

  // Ends the file.
  virtual absl::Status Finish() = 0;

  virtual uint64_t file_bytes() const = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_REMUXER_H_
