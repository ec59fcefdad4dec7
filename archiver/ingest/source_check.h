#ifndef ARCHIVER_INGEST_SOURCE_CHECK_H_
#define ARCHIVER_INGEST_SOURCE_CHECK_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/packet_line.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// Checks what a gateway signs of a session against what has come of it. Keeps a
// hash of each packet until it is signed, at most
// limits::kMaxSourceRun_packets a track and limits::kUnsignedHashes_us of time,
// and nothing at all for an archive that knows no source. Not thread-safe.
class SourceCheck {
 public:
  // `archive` must outlive this.
  SourceCheck(const stored::v1::ArchiveConfig* archive,
              const base::Uuid& session_id);

  // A packet came; its line has the gateway's own time. In the order of the
  // side's numbers, all of those after `known_after`.
  void Take(uint32_t track_id, uint64_t sequence, uint64_t known_after,
            const evidence::PacketLine& line);

  // A statement came, for a side that has all packets up to `received`. Returns
  // what goes into the log. INVALID_ARGUMENT with the reason SOURCE_UNKNOWN,
  // SOURCE_SIGNATURE or SOURCE_MISMATCH: no such key, not signed by it, not of
  // the packets that came. Packets whose hashes are not there any more, after a
  // restart say, are not compared; whoever verifies compares them.
  absl::StatusOr<stored::v1::SourceDigest> Check(
      stored::v1::Side side, uint64_t note, uint64_t received,
      const api::v1::SourceDigest& digest);

 private:
  struct Packet {
    uint64_t sequence = 0;
    int64_t pts_ms = 0;
    // Its leaf's.
    std::array<char, 32> hash = {};
  };
  struct Track {
    // All of the track's packets after this number, if `whole`.
    uint64_t after = 0;
    bool whole = true;
    std::deque<Packet> packets;
  };

  // The signature alone.
  absl::Status CheckSignature(stored::v1::Side side, uint64_t note,
                              const api::v1::SourceDigest& digest) const;

  const stored::v1::ArchiveConfig* const archive_;
  const base::Uuid session_id_;
  std::map<uint32_t, Track> tracks_;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_SOURCE_CHECK_H_
