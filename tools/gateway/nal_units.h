#ifndef TOOLS_GATEWAY_NAL_UNITS_H_
#define TOOLS_GATEWAY_NAL_UNITS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::gateway {

enum class NalCodec { kH264, kH265 };

// The NAL units between Annex B start codes, without trailing zero bytes; empty
// ones are left out. They point into `bytes`.
std::vector<absl::string_view> SplitAnnexB(absl::string_view bytes);

// The NAL units behind lengths of `length_bytes` (1, 2 or 4). INVALID_ARGUMENT
// if they do not fill `bytes` exactly.
absl::StatusOr<std::vector<absl::string_view>> SplitLengthPrefixed(
    absl::string_view bytes, int length_bytes);

// The canonical form: each behind its length of 4 bytes.
std::string JoinLengthPrefixed(const std::vector<absl::string_view>& nal_units);

bool StartsWithStartCode(absl::string_view bytes);

// True if the decoder forgets all earlier pictures before this NAL unit.
bool StartsNewSequence(NalCodec codec, absl::string_view nal_unit);

// The parameter sets that a stream has shown, the newest for each id. Bounded
// by limits::kMaxParameterSets. Not thread-safe.
class ParameterSets {
 public:
  explicit ParameterSets(NalCodec codec) : codec_(codec) {}

  // Keeps `nal_unit` if it is a parameter set. True if that changed something.
  bool Add(absl::string_view nal_unit);

  // All kinds are there.
  bool complete() const;

  // avcC or hvcC with lengths of 4 bytes. REQUIRES: complete().
  absl::StatusOr<std::string> BuildConfig() const;

 private:
  // Type, then id; so the order is that of the configuration.
  using Key = std::pair<uint32_t, uint32_t>;

  absl::StatusOr<std::string> BuildAvcConfig() const;
  absl::StatusOr<std::string> BuildHevcConfig() const;
  std::vector<absl::string_view> OfType(uint32_t type) const;

  NalCodec codec_;
  std::map<Key, std::string> sets_;
};

// What an avcC or hvcC holds, also one that is not canonical.
struct NalConfig {
  int length_bytes = 4;
  std::vector<std::string> parameter_sets;
};
absl::StatusOr<NalConfig> ParseNalConfig(NalCodec codec,
                                         absl::string_view config);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_NAL_UNITS_H_
