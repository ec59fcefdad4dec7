#ifndef TOOLS_DIPTYCH_VERIFY_SOURCE_CHECK_H_
#define TOOLS_DIPTYCH_VERIFY_SOURCE_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/evidence/packet_line.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// The packets of one track against what its gateway signed. Errors are
// DATA_LOSS and name the track and the statement. Not thread-safe.
class SourceCheck {
 public:
  // Checks the signatures. Fills source_keys of `result`, which must outlive
  // it, like `evidence`; says in `result->missing` what the gateway signed and
  // the bundle has not. `packets` is what the track has over all its runs.
  static absl::StatusOr<SourceCheck> Create(const Evidence& evidence,
                                            const EvidenceTrack& track,
                                            uint64_t packets,
                                            const Trust& trust,
                                            VerifyResult* result);

  // The track's packet number `index`, with its session time. Each once, in any
  // order over runs. Returns whose signature covers it.
  absl::StatusOr<std::optional<size_t>> Add(uint64_t index,
                                            evidence::PacketLine line);

 private:
  struct Run {
    const SourceRun* evidence = nullptr;
    stored::v1::SourceStatement statement;
    std::optional<size_t> key;
    uint64_t first_packet = 0;
    uint64_t seen = 0;
    std::vector<std::string> leaf_hashes;
  };

  SourceCheck(std::string place, std::vector<int64_t> raw_ms)
      : place_(std::move(place)), raw_ms_(std::move(raw_ms)) {}

  absl::Status CheckStatement(const Evidence& evidence,
                              const EvidenceTrack& track, const Trust& trust,
                              VerifyResult* result, Run* run) const;
  void SayHoles(VerifyResult* result) const;
  absl::Status FinishRun(Run* run) const;

  std::string place_;
  std::vector<int64_t> raw_ms_;
  std::vector<Run> runs_;
  // Where the last packet was.
  size_t at_ = 0;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_SOURCE_CHECK_H_
