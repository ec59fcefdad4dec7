#ifndef ARCHIVER_INGEST_COVERAGE_H_
#define ARCHIVER_INGEST_COVERAGE_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// What time of a session its sides and tracks have covered, and so where they
// gave nothing for longer than limits::kGapThreshold_us. Not thread-safe.
class Coverage {
 public:
  // What is known of a side from before a restart: it was covered until here.
  void Restore(stored::v1::Side side, int64_t end_us);

  // The side's stream broke and is there again: what is missing at this place
  // is a gap even if it is short, limits::kBreakGap_us.
  void Interrupt(stored::v1::Side side);

  // A track of `side` is there from now on: what it gives nothing of afterwards
  // is a gap of its own, unless the whole side has one.
  void AddTrack(stored::v1::Side side, uint32_t track_id);
  // It is gone: its silence is none.
  void RemoveTrack(uint32_t track_id);

  // A packet's time, in the order of its side's sequence. Appends the gaps that
  // it ends: of the side, or of the track while the side went on.
  void Take(stored::v1::Side side, uint32_t track_id, int64_t start_us,
            int64_t end_us, std::vector<stored::v1::Gap>* gaps);

  // Until when the side is covered; nullopt if it never gave anything.
  std::optional<int64_t> covered_until_us(stored::v1::Side side) const;

  // The gaps that last until the session's end.
  std::vector<stored::v1::Gap> AtEnd() const;

 private:
  struct SideCover {
    std::optional<int64_t> until_us;
    bool interrupted = false;
    // Its tracks have not been said since a restart.
    bool restored = false;
    // Its last gap, which is no gap of its tracks besides.
    int64_t gap_start_us = 0;
    int64_t gap_end_us = 0;
  };
  struct TrackCover {
    stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
    // Nullopt until its first packet, which may come when it likes.
    std::optional<int64_t> until_us;
  };

  static size_t IndexOf(stored::v1::Side side) {
    return side == stored::v1::SIDE_RESIDENT ? 0 : 1;
  }
  // True if `track` was silent between the two times and its side was not.
  bool IsSilence(const SideCover& side, int64_t from_us, int64_t to_us) const;

  std::array<SideCover, 2> sides_;
  std::map<uint32_t, TrackCover> tracks_;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_COVERAGE_H_
