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
// Of seconds.
constexpr int kMaxLowBits = 31;

// High parts are looked at in pieces of so many bits.
constexpr int kHighsAtOnce = 56;

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

// Of those that have one, but the first.
void AppendTurns(absl::Span<const PostingEntry> entries, std::string* out) {
  for (size_t i = 1; i < entries.size(); ++i) {
    const SessionNumber before = entries[i - 1].session;
    const SessionNumber here = entries[i].session;
    if (here.turn() == 0) continue;
    // What is left of the turns that it can have.
    const int least = here.second() == before.second() ? before.turn() + 1 : 1;
    AppendVarint(static_cast<uint64_t>(here.turn() - least), out);
  }
}

// How many low bits of a second are kept as they are, so that the high parts
// rise by one to two for each entry (Elias and Fano's code).
int LowBits(uint64_t seconds, size_t entries) {
  const uint64_t step = seconds / entries;
  return step == 0 ? 0 : std::bit_width(step) - 1;
}

}  // namespace

void AppendPostingGroup(absl::Span<const PostingEntry> entries,
                        std::string* out) {
  std::array<uint32_t, limits::kPostingSkip_entries> codes;
  uint32_t all_codes = 0;
  bool has_turns = false;
  for (size_t i = 0; i < entries.size(); ++i) {
    codes[i] = RunCodeOf(entries[i].runs);
    all_codes |= codes[i];
    if (i > 0 && entries[i].session.turn() != 0) has_turns = true;
  }
  const bool has_long = (all_codes & kLongSet) != 0;
  const int code_bits = has_long ? kLongSetBits : std::bit_width(all_codes);
  const uint32_t first = entries.front().session.second();
  const int low_bits =
      LowBits(entries.back().session.second() - first, entries.size());

  auto shape = static_cast<uint8_t>(low_bits);
  if (has_turns) shape |= kHasTurns;
  if (has_long) shape |= kHasLongSets;
  out->push_back(static_cast<char>(shape));
  // The width of long sets is known.
  if (!has_long) out->push_back(static_cast<char>(code_bits));

  const absl::Span<const PostingEntry> others = entries.subspan(1);
  BitWriter bits(out);
  for (size_t i = 0; i < entries.size(); ++i) bits.Write(codes[i], code_bits);
  for (const PostingEntry& entry : others) {
    const uint64_t second = entry.session.second() - first;
    bits.Write(second & ((uint64_t{1} << low_bits) - 1), low_bits);
  }
  if (has_turns) {
    for (const PostingEntry& entry : others) {
      bits.Write(entry.session.turn() != 0 ? 1 : 0, 1);
    }
  }
  uint64_t high = 0;
  for (const PostingEntry& entry : others) {
    const uint64_t next = (entry.session.second() - first) >> low_bits;
    bits.WriteUnary(next - high);
    high = next;
  }
  bits.Finish();
  AppendTurns(entries, out);
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
  with_removals_ = with_removals;
  long_known_ = false;
  if (entries > 0 && ReadSessions(bytes, first)) return true;
  size_ = 0;
  return false;
}

bool PostingGroup::ReadLone(absl::string_view bytes, SessionNumber first,
                            bool with_removals) {
  size_ = 0;
  if (bytes.empty()) return false;
  // As a group whose sets may be long; there is nothing before their codes.
  size_ = 1;
  sessions_[0] = first.value();
  with_removals_ = with_removals;
  long_known_ = false;
  bytes_ = bytes;
  code_bits_ = kLongSetBits;
  tail_ = bytes.substr(1);
  if (FindLongSets()) return true;
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

  const uint32_t others = size_ - 1;
  const size_t lows_at = size_t{size_} * static_cast<size_t>(code_bits_);
  const size_t turns_at = lows_at + others * static_cast<size_t>(low_bits);
  const size_t highs_at = turns_at + (has_turns ? others : 0);
  sessions_[0] = first.value();
  BitReader highs(bytes_);
  highs.MoveTo(highs_at);
  if (!ReadHighs(&highs)) return false;
  BitReader lows(bytes_);
  lows.MoveTo(lows_at);
  for (uint32_t i = 1; i < size_; ++i) {
    const uint64_t second = sessions_[i] << low_bits | lows.Read(low_bits);
    sessions_[i] = (first.second() + second) << SessionNumber::kTurnBits;
  }
  const size_t used = (highs.position() + 7) / 8;
  if (used > bytes_.size()) return false;
  if (highs.Read(static_cast<int>(used * 8 - highs.position())) != 0) {
    return false;
  }
  tail_ = bytes_.substr(used);
  if (has_turns && !ReadTurns(turns_at)) return false;
  if (!has_long && !tail_.empty()) return false;
  return InOrder();
}

// The high parts of seconds, all but the first's, in the place of sessions.
bool PostingGroup::ReadHighs(BitReader* bits) {
  // Ones before an entry's stand for entries, and zeros for its high part.
  uint64_t begin = 0;
  uint64_t one = 0;
  for (uint32_t i = 1; i < size_;) {
    uint64_t ahead = bits->Read(kHighsAtOnce);
    for (; ahead != 0 && i < size_; ++i, ahead &= ahead - 1) {
      one = begin + static_cast<uint64_t>(std::countr_zero(ahead));
      sessions_[i] = one - (i - 1);
    }
    begin += kHighsAtOnce;
    if (i < size_ && bits->position() >= bytes_.size() * 8) return false;
  }
  // To behind the last one.
  if (size_ > 1) bits->MoveTo(bits->position() - (begin - one) + 1);
  return true;
}

bool PostingGroup::ReadTurns(size_t flags_at) {
  BitReader flags(bytes_);
  flags.MoveTo(flags_at);
  VarintReader tail(tail_);
  for (uint32_t i = 1; i < size_; ++i) {
    if (flags.Read(1) == 0) continue;
    const SessionNumber before = SessionNumber::FromValue(sessions_[i - 1]);
    const SessionNumber here = SessionNumber::FromValue(sessions_[i]);
    const uint64_t least =
        here.second() == before.second() ? before.turn() + 1U : 1U;
    const uint64_t turn = uint64_t{tail.ReadVarint32()} + least;
    if (!tail.ok() || turn > std::numeric_limits<uint16_t>::max()) return false;
    sessions_[i] |= turn;
  }
  tail_ = tail_.substr(tail_.size() - tail.left());
  return true;
}

bool PostingGroup::InOrder() const {
  bool in_order = true;
  for (uint32_t i = 1; i < size_; ++i) {
    in_order &= sessions_[i - 1] < sessions_[i];
  }
  return in_order && sessions_[size_ - 1] <= SessionNumber::Largest().value();
}

bool PostingGroup::FindLongSets() {
  VarintReader tail(tail_);
  for (uint32_t i = 0; i < size_; ++i) {
    const uint32_t code = RunCode(i);
    if (code < kLongSet) continue;
    long_at_[i] = static_cast<uint32_t>(tail_.size() - tail.left());
    bool empty = true;
    const auto see = [&](uint32_t, uint32_t) { empty = false; };
    if (code > kLongSet || !ReadLongSet(&tail, see) ||
        (empty && !with_removals_)) {
      return false;
    }
  }
  long_known_ = true;
  return tail.AtGoodEnd();
}

uint32_t PostingGroup::RunCode(uint32_t i) const {
  BitReader bits(bytes_);
  bits.MoveTo(size_t{i} * static_cast<size_t>(code_bits_));
  return static_cast<uint32_t>(bits.Read(code_bits_));
}

bool PostingGroup::ReadRuns(uint32_t i, RunSet* runs) {
  const uint32_t code = RunCode(i);
  if (code < kLongSet) {
    const uint32_t first = code >> kLengthBits;
    *runs = RunSet(first, first + code % kShortLength);
    return true;
  }
  *runs = RunSet();
  if (!long_known_ && !FindLongSets()) return false;
  VarintReader tail(tail_.substr(long_at_[i]));
  return ReadLongSet(
      &tail, [&](uint32_t first, uint32_t last) { runs->Append(first, last); });
}

bool PostingGroup::CountRuns(uint64_t* count) {
  *count = 0;
  RunSet runs;
  for (uint32_t i = 0; i < size_; ++i) {
    const uint32_t code = RunCode(i);
    if (code < kLongSet) {
      *count += code % kShortLength + 1;
      continue;
    }
    if (!ReadRuns(i, &runs)) return false;
    *count += runs.size();
  }
  return true;
}

uint32_t PostingGroup::CountBefore(SessionNumber session) const {
  const auto* const end = sessions_.data() + size_;
  return static_cast<uint32_t>(
      std::lower_bound(sessions_.data(), end, session.value()) -
      sessions_.data());
}

}  // namespace diptych::indexer
