#include "tools/loadgen/recording.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "tools/gateway/media_source.h"

namespace diptych::loadgen {
namespace {

constexpr uint32_t kFirstResidentTrack = 1;
constexpr uint32_t kFirstClerkTrack = 1 + limits::kMaxTracksPerSide;
// Rounds begin on whole milliseconds: what a container keeps of a time then
// does not depend on the round.
constexpr int64_t kRoundStep_us = 1000;

struct Loaded {
  Recording::Side side;
  int64_t earliest_us = 0;
  int64_t end_us = 0;
};

absl::StatusOr<Loaded> LoadSide(const std::string& input, api::v1::Side id,
                                uint32_t first_track_id) {
  gateway::SourceOptions options;
  options.input = input;
  options.side = id;
  options.first_track_id = first_track_id;
  ASSIGN_OR_RETURN(const std::unique_ptr<gateway::MediaSource> source,
                   gateway::MediaSource::Open(options));
  if (source->live()) {
    return absl::InvalidArgumentError(
        absl::StrCat(input, " is live: a load is made of recordings"));
  }
  Loaded loaded;
  Recording::Side& side = loaded.side;
  side.side = id;
  side.tracks.push_back(source->tracks());
  loaded.earliest_us = source->earliest_pts_us();
  uint64_t bytes = 0;
  while (std::optional<gateway::SourceItem> next = source->Next()) {
    if (auto* const tracks = std::get_if<std::vector<api::v1::Track>>(&*next)) {
      side.tracks.push_back(std::move(*tracks));
      continue;
    }
    Recording::Item item;
    item.packet = std::get<api::v1::Packet>(*std::move(next));
    item.sha256_hex = base::Sha256Hex(item.packet.payload());
    item.tracks = side.tracks.size() - 1;
    loaded.end_us = std::max(
        loaded.end_us,
        item.packet.pts_us() + static_cast<int64_t>(item.packet.duration_us()));
    side.bytes_before.push_back(bytes);
    bytes += item.packet.payload().size();
    if (bytes > limits::kLoadRecording_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(input, " is too long to be held in memory"));
    }
    side.items.push_back(std::move(item));
  }
  side.bytes_before.push_back(bytes);
  if (side.items.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(input, " has no packets"));
  }
  return loaded;
}

}  // namespace

absl::StatusOr<Recording> Recording::Load(const std::string& resident,
                                          const std::string& clerk) {
  ASSIGN_OR_RETURN(Loaded first, LoadSide(resident, api::v1::SIDE_RESIDENT,
                                          kFirstResidentTrack));
  ASSIGN_OR_RETURN(Loaded second,
                   LoadSide(clerk, api::v1::SIDE_CLERK, kFirstClerkTrack));
  // The same for both, so that they stay as they were against each other.
  const int64_t shift_us =
      -std::min<int64_t>({0, first.earliest_us, second.earliest_us});
  Recording recording;
  const int64_t end_us = std::max(first.end_us, second.end_us) + shift_us;
  recording.round_us_ =
      (end_us + kRoundStep_us - 1) / kRoundStep_us * kRoundStep_us;
  for (Loaded* const loaded : {&first, &second}) {
    int64_t due_us = 0;
    for (Item& item : loaded->side.items) {
      item.packet.set_pts_us(item.packet.pts_us() + shift_us);
      item.packet.set_dts_us(item.packet.dts_us() + shift_us);
      due_us = std::max<int64_t>(due_us, item.packet.dts_us());
      item.due_us = due_us;
    }
    recording.sides_.push_back(std::move(loaded->side));
  }
  return recording;
}

const Recording::Item& Recording::ItemOf(size_t side, uint64_t sequence) const {
  const std::vector<Item>& items = sides_[side].items;
  return items[(sequence - 1) % items.size()];
}

int64_t Recording::DueAt(size_t side, uint64_t sequence) const {
  const uint64_t round = (sequence - 1) / sides_[side].items.size();
  return ItemOf(side, sequence).due_us +
         static_cast<int64_t>(round) * round_us_;
}

api::v1::Packet Recording::PacketAt(size_t side, uint64_t sequence) const {
  const uint64_t round = (sequence - 1) / sides_[side].items.size();
  const int64_t shift_us = static_cast<int64_t>(round) * round_us_;
  api::v1::Packet packet = ItemOf(side, sequence).packet;
  packet.set_sequence(sequence);
  packet.set_pts_us(packet.pts_us() + shift_us);
  packet.set_dts_us(packet.dts_us() + shift_us);
  return packet;
}

uint64_t Recording::BytesThrough(size_t side, uint64_t sequence) const {
  const Side& of = sides_[side];
  const uint64_t rounds = sequence / of.items.size();
  return rounds * of.bytes_before.back() +
         of.bytes_before[sequence % of.items.size()];
}

uint64_t Recording::PacketsWithin(size_t side, int64_t length_us) const {
  if (length_us <= 0) return 0;
  const std::vector<Item>& items = sides_[side].items;
  const int64_t rounds = length_us / round_us_;
  const auto rest =
      std::partition_point(items.begin(), items.end(), [&](const Item& item) {
        return item.due_us < length_us - rounds * round_us_;
      });
  return static_cast<uint64_t>(rounds) * items.size() +
         static_cast<uint64_t>(rest - items.begin());
}

}  // namespace diptych::loadgen
