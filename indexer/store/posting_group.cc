#include "indexer/store/posting_group.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/limits.h"
#include "indexer/store/bit_stream.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {
namespace {

constexpr uint8_t kLowBitsMask = 0x3f;
constexpr uint8_t kHasTurns = 0x40;
constexpr uint8_t kHasLongSets = 0x80;
// A step of 32 bits and whether there is a turn.
constexpr int kMaxLowBits = 33;

// A set that is one short range near the session's beginning is one number of
// seven bits; any other is long.
constexpr int kLengthBits = 3;
constexpr uint32_t kShortLength = 1U << kLengthBits;
constexpr uint32_t kShortFirsts = 16;
constexpr uint32_t kLongSet = kShortFirsts * kShortLength;
constexpr int kLongSetBits = 8;

uint32_t RunCodeOf(const RunSet& runs) {
  if (runs.ranges().size() != 1) return kLongSet;
  const RunSet::Range range = runs.ranges().front();
  if (range.first >= kShortFirsts || range.last - range.first >= kShortLength) {
    return kLongSet;
  }
  return range.first << kLengthBits | (range.last - range.first);
}

void AppendLongSet(const RunSet& runs, std::string* out) {
  AppendVarint(runs.ranges().size(), out);
  uint64_t next = 0;
  for (const RunSet::Range& range : runs.ranges()) {
    AppendVarint(range.first - next, out);
    AppendVarint(range.last - range.first, out);
    // Ranges that touch would be one.
    next = uint64_t{range.last} + 2;
  }
}

// Calls `take` with each range. False if it is none.
template <typename Take>
bool ReadLongSet(VarintReader* reader, const Take& take) {
  const uint64_t ranges = reader->ReadVarint();
  // A range takes two bytes at least.
  if (!reader->ok() || ranges > reader->left() / 2) return false;
  uint64_t next = 0;
  for (uint64_t i = 0; i < ranges; ++i) {
    const uint64_t first = next + reader->ReadVarint32();
    const uint64_t last = first + reader->ReadVarint32();
    if (!reader->ok() || last > std::numeric_limits<uint32_t>::max()) {
      return false;
    }
    take(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
    next = last + 2;
  }
  return true;
}

// The steps between sessions as they are packed: seconds since the one before;
// if any has a turn, twice that and whether this one has.
struct Steps {
  std::array<uint64_t, limits::kPostingSkip_entries> words;
  size_t count = 0;
  bool has_turns = false;
  // Turns of those that have one, as varints.
  std::string turns;
};

Steps StepsOf(absl::Span<const PostingEntry> entries) {
  Steps steps;
  for (const PostingEntry& entry : entries.subspan(1)) {
    if (entry.session.turn() != 0) steps.has_turns = true;
  }
  for (size_t i = 1; i < entries.size(); ++i) {
    const SessionNumber before = entries[i - 1].session;
    const SessionNumber here = entries[i].session;
    const uint64_t seconds = here.second() - before.second();
    // Without turns two can't be in one second.
    steps.words[steps.count++] =
        !steps.has_turns ? seconds - 1
                         : seconds << 1 | uint64_t{here.turn() != 0};
    if (here.turn() == 0) continue;
    const int least = seconds == 0 ? before.turn() + 1 : 1;
    AppendVarint(static_cast<uint64_t>(here.turn() - least), &steps.turns);
  }
  return steps;
}

// The width of Rice's low part that makes the words shortest.
int BestLowBits(const Steps& steps) {
  int best = 0;
  uint64_t best_bits = std::numeric_limits<uint64_t>::max();
  for (int low = 0; low <= kMaxLowBits; ++low) {
    uint64_t bits = static_cast<uint64_t>(low + 1) * steps.count;
    for (size_t i = 0; i < steps.count; ++i) bits += steps.words[i] >> low;
    if (bits < best_bits) {
      best = low;
      best_bits = bits;
    }
  }
  return best;
}

}  // namespace

void AppendPostingGroup(absl::Span<const PostingEntry> entries,
                        std::string* out) {
  const Steps steps = StepsOf(entries);
  const int low_bits = BestLowBits(steps);
  std::array<uint32_t, limits::kPostingSkip_entries> codes;
  uint32_t all_codes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    codes[i] = RunCodeOf(entries[i].runs);
    all_codes |= codes[i];
  }
  const bool has_long = (all_codes & kLongSet) != 0;
  const int code_bits = has_long ? kLongSetBits : std::bit_width(all_codes);

  uint8_t shape = static_cast<uint8_t>(low_bits);
  if (steps.has_turns) shape |= kHasTurns;
  if (has_long) shape |= kHasLongSets;
  out->push_back(static_cast<char>(shape));
  // The width of long sets is known.
  if (!has_long) out->push_back(static_cast<char>(code_bits));
  BitWriter bits(out);
  for (size_t i = 0; i < steps.count; ++i) {
    bits.WriteRice(steps.words[i], low_bits);
  }
  for (size_t i = 0; i < entries.size(); ++i) bits.Write(codes[i], code_bits);
  bits.Finish();
  out->append(steps.turns);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (codes[i] == kLongSet) AppendLongSet(entries[i].runs, out);
  }
}

void AppendLonePosting(const RunSet& runs, std::string* out) {
  const uint32_t code = RunCodeOf(runs);
  out->push_back(static_cast<char>(code));
  if (code == kLongSet) AppendLongSet(runs, out);
}

bool PostingGroup::Read(absl::string_view bytes, SessionNumber first,
                        uint32_t entries, bool with_removals) {
  size_ = entries;
  if (entries > 0 && ReadSessions(bytes, first) &&
      ReadLongSets(with_removals)) {
    return true;
  }
  size_ = 0;
  return false;
}

bool PostingGroup::ReadLone(absl::string_view bytes, SessionNumber first,
                            bool with_removals) {
  size_ = 0;
  if (bytes.empty()) return false;
  // As a group whose codes may be long; there is nothing before them.
  size_ = 1;
  sessions_[0] = first.value();
  bytes_ = bytes;
  codes_bit_ = 0;
  code_bits_ = kLongSetBits;
  tail_ = bytes.substr(1);
  if (ReadLongSets(with_removals)) return true;
  size_ = 0;
  return false;
}

bool PostingGroup::ReadSessions(absl::string_view bytes, SessionNumber first) {
  VarintReader head(bytes);
  const uint8_t shape = head.ReadByte();
  const bool has_turns = (shape & kHasTurns) != 0;
  const bool has_long = (shape & kHasLongSets) != 0;
  const int low_bits = shape & kLowBitsMask;
  code_bits_ = has_long ? kLongSetBits : head.ReadByte();
  if (!head.ok() || low_bits > kMaxLowBits ||
      (!has_long && code_bits_ >= kLongSetBits)) {
    return false;
  }
  bytes_ = bytes.substr(bytes.size() - head.left());

  BitReader bits(bytes_);
  std::array<bool, limits::kPostingSkip_entries> has_turn;
  sessions_[0] = first.value();
  uint64_t second = first.second();
  for (uint32_t i = 1; i < size_; ++i) {
    uint64_t word = 0;
    if (!bits.ReadRice(low_bits, &word)) return false;
    // No step is that long, and sums stay within 64 bits.
    if (word > uint64_t{2} * std::numeric_limits<uint32_t>::max() + 1) {
      return false;
    }
    has_turn[i] = has_turns && (word & 1) != 0;
    const uint64_t step = has_turns ? word >> 1 : word + 1;
    if (step == 0 && !has_turn[i]) return false;
    second += step;
    sessions_[i] = second << SessionNumber::kTurnBits;
  }
  if (second > std::numeric_limits<uint32_t>::max()) return false;
  codes_bit_ = bits.position();
  const size_t used_bits =
      codes_bit_ + size_t{size_} * static_cast<size_t>(code_bits_);
  const size_t used = (used_bits + 7) / 8;
  if (used > bytes_.size()) return false;
  bits.MoveTo(used_bits);
  if (bits.Read(static_cast<int>(used * 8 - used_bits)) != 0) return false;
  tail_ = bytes_.substr(used);

  if (!has_turns) return true;
  VarintReader tail(tail_);
  for (uint32_t i = 1; i < size_; ++i) {
    if (!has_turn[i]) continue;
    const bool same_second = sessions_[i] >> SessionNumber::kTurnBits ==
                             sessions_[i - 1] >> SessionNumber::kTurnBits;
    const SessionNumber before = SessionNumber::FromValue(sessions_[i - 1]);
    const uint64_t turn =
        uint64_t{tail.ReadVarint32()} + (same_second ? before.turn() + 1U : 1U);
    if (!tail.ok() || turn > std::numeric_limits<uint16_t>::max()) return false;
    sessions_[i] |= turn;
  }
  tail_ = tail_.substr(tail_.size() - tail.left());
  return true;
}

bool PostingGroup::ReadLongSets(bool with_removals) {
  VarintReader tail(tail_);
  if (code_bits_ == kLongSetBits) {
    for (uint32_t i = 0; i < size_; ++i) {
      const uint32_t code = RunCode(i);
      if (code < kLongSet) continue;
      if (code > kLongSet) return false;
      long_at_[i] = static_cast<uint32_t>(tail_.size() - tail.left());
      bool empty = true;
      if (!ReadLongSet(&tail, [&](uint32_t, uint32_t) { empty = false; })) {
        return false;
      }
      if (empty && !with_removals) return false;
    }
  }
  return tail.AtGoodEnd();
}

uint32_t PostingGroup::RunCode(uint32_t i) const {
  BitReader bits(bytes_);
  bits.MoveTo(codes_bit_ + size_t{i} * static_cast<size_t>(code_bits_));
  return static_cast<uint32_t>(bits.Read(code_bits_));
}

RunSet PostingGroup::runs(uint32_t i) const {
  const uint32_t code = RunCode(i);
  if (code < kLongSet) {
    const uint32_t first = code >> kLengthBits;
    return RunSet(first, first + code % kShortLength);
  }
  RunSet runs;
  VarintReader tail(tail_.substr(long_at_[i]));
  ReadLongSet(&tail,
              [&](uint32_t first, uint32_t last) { runs.Append(first, last); });
  return runs;
}

uint64_t PostingGroup::CountRuns() const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < size_; ++i) {
    const uint32_t code = RunCode(i);
    count += code < kLongSet ? code % kShortLength + 1 : runs(i).size();
  }
  return count;
}

uint32_t PostingGroup::CountBefore(SessionNumber session) const {
  const auto* const end = sessions_.data() + size_;
  return static_cast<uint32_t>(
      std::lower_bound(sessions_.data(), end, session.value()) -
      sessions_.data());
}

}  // namespace diptych::indexer
