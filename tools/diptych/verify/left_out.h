#ifndef TOOLS_DIPTYCH_VERIFY_LEFT_OUT_H_
#define TOOLS_DIPTYCH_VERIFY_LEFT_OUT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// What the manifests name and the bundle has not. Not thread-safe; what it is
// given must outlive it.
class LeftOut {
 public:
  struct ShownRun {
    const PairRun* pairs = nullptr;
    const Manifest* manifest = nullptr;
    // Its first packet, and where the last one ends as far as the one before it
    // tells.
    int64_t first_us = 0;
    int64_t end_us = 0;
  };
  struct Window {
    int64_t from_us = 0;
    int64_t to_us = 0;
  };

  LeftOut(const Evidence& evidence, const Chain& chain)
      : evidence_(evidence), chain_(chain) {}

  // In the order of the bundle.
  void AddRun(const ShownRun& run);

  // When packets of the track may have been recorded that are not here, also
  // beyond the clip.
  std::vector<Window> WindowsOf(uint32_t track_id) const;

  // In sentences; sets whole_session.
  void Say(VerifyResult* result) const;

 private:
  // Of one track in one segment.
  std::vector<Window> WindowsIn(const Manifest& manifest,
                                uint32_t track_id) const;
  // Where manifests of the session are not in the bundle.
  std::vector<Window> Unknown() const;
  bool InClip(const Window& window) const {
    return window.from_us < evidence_.to_us && window.to_us > evidence_.from_us;
  }
  void SayTrack(uint32_t track_id, VerifyResult* result) const;
  void SayChain(VerifyResult* result) const;

  const Evidence& evidence_;
  const Chain& chain_;
  std::map<std::pair<const Manifest*, uint32_t>, std::vector<ShownRun>> runs_;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_LEFT_OUT_H_
