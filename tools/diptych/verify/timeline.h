#ifndef TOOLS_DIPTYCH_VERIFY_TIMELINE_H_
#define TOOLS_DIPTYCH_VERIFY_TIMELINE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// What is known of one track, second by second of a clip. Session time. Not
// thread-safe.
class Timeline {
 public:
  // REQUIRES: from_us < to_us, and no more than limits::kSessionMax_us between.
  Timeline(int64_t from_us, int64_t to_us);

  // A packet that was proven; `key`: whose signature it carries. One outside of
  // the clip is passed over.
  void AddPacket(int64_t pts_us, std::optional<size_t> key);

  // Of [from_us, to_us) something may be missing.
  void LeaveOut(int64_t from_us, int64_t to_us);

  // Of the whole clip, one after another; ends are whole seconds after its
  // beginning, but for the last.
  std::vector<StateRange> Ranges() const;

 private:
  struct Second {
    uint32_t packets = 0;
    uint32_t signed_packets = 0;
    uint16_t key = 0;
    bool left_out = false;
  };

  StateRange StateOf(size_t index) const;

  const int64_t from_us_;
  const int64_t to_us_;
  std::vector<Second> seconds_;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_TIMELINE_H_
