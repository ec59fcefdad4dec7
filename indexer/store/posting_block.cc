#include "indexer/store/posting_block.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "indexer/store/bit_stream.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_group.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {
namespace {

using posting_shape::kChange;
using posting_shape::kMinHasTurn;
using posting_shape::kOneSession;
using posting_shape::kSecond_bytes;
using posting_shape::kUnused;
using posting_shape::kVersion;
using posting_shape::kVersionMask;

constexpr uint32_t kGroupSize = limits::kPostingSkip_entries;

uint32_t GroupsOf(size_t sessions) {
  return static_cast<uint32_t>((sessions + kGroupSize - 1) / kGroupSize);
}

// Up to eight bytes at a place.
uint64_t ReadLittleEndian(absl::string_view bytes, size_t at, size_t count) {
  BitReader reader(bytes.substr(at));
  const uint64_t low =
      reader.Read(static_cast<int>(std::min<size_t>(count, 4)) * 8);
  return count <= 4 ? low
                    : reader.Read(static_cast<int>(count - 4) * 8) << 32 | low;
}

absl::Status Unreadable() {
  return base::IntegrityError("a posting block is unreadable");
}

}  // namespace

absl::StatusOr<PostingBlockReader> PostingBlockReader::Open(
    absl::string_view bytes) {
  return OpenAs(bytes, /*change=*/false);
}

absl::StatusOr<PostingBlockReader> PostingBlockReader::OpenChange(
    absl::string_view bytes) {
  return OpenAs(bytes, /*change=*/true);
}

absl::StatusOr<PostingBlockReader> PostingBlockReader::OpenAs(
    absl::string_view bytes, bool change) {
  absl::StatusOr<PostingBlockReader> reader{PostingBlockReader()};
  if (!reader->ReadHeader(bytes, change)) return Unreadable();
  return reader;
}

bool PostingBlockReader::ReadHeader(absl::string_view bytes, bool change) {
  VarintReader head(bytes);
  const uint8_t shape = head.ReadByte();
  if (!head.ok() || (shape & kVersionMask) != kVersion ||
      (shape & kUnused) != 0 || ((shape & kChange) != 0) != change) {
    return false;
  }
  change_ = change;
  const bool lone = (shape & kOneSession) != 0;
  sessions_ = lone ? 1 : head.ReadVarint32();
  if (sessions_ == 0) return head.AtGoodEnd();
  if (!lone && sessions_ < 2) return false;
  const absl::string_view second = head.ReadBytes(kSecond_bytes);
  if (!head.ok()) return false;
  uint32_t turn = 0;
  if ((shape & kMinHasTurn) != 0) turn = head.ReadVarint32();
  if (turn > std::numeric_limits<uint16_t>::max()) return false;
  min_ = SessionNumber(ReadBigEndian32(second), static_cast<uint16_t>(turn));
  groups_ = GroupsOf(sessions_);
  if (groups_ > 1) {
    const uint64_t span = head.ReadVarint();
    runs_ = head.ReadVarint();
    const uint8_t widths = head.ReadByte();
    session_bytes_ = widths >> 4;
    offset_bytes_ = widths & 0x0f;
    if (session_bytes_ > SessionNumber::kKey_bytes ||
        offset_bytes_ > sizeof(uint64_t) ||
        span > SessionNumber::Largest().value() - min_.value()) {
      return false;
    }
    max_ = SessionNumber::FromValue(min_.value() + span);
    skips_ =
        head.ReadBytes(size_t{groups_ - 1} * (session_bytes_ + offset_bytes_));
  }
  bodies_ = head.ReadBytes(head.left());
  if (!head.ok()) return false;
  if (groups_ > 1) return true;

  // A block of one group is read here and now: its header is short.
  loaded_ = true;
  decoded_ = sessions_;
  if (lone ? !group_.ReadLone(bodies_, min_, change)
           : !group_.Read(bodies_, min_, sessions_, change)) {
    return false;
  }
  max_ = group_.session(sessions_ - 1);
  return true;
}

uint64_t PostingBlockReader::OffsetOf(uint32_t group) const {
  if (group == 0) return 0;
  if (group == groups_) return bodies_.size();
  return ReadLittleEndian(
      skips_, (group - 1) * (session_bytes_ + offset_bytes_) + session_bytes_,
      offset_bytes_);
}

SessionNumber PostingBlockReader::FirstOf(uint32_t group) const {
  if (group == 0) return min_;
  const uint64_t after_min = ReadLittleEndian(
      skips_, (group - 1) * (session_bytes_ + offset_bytes_), session_bytes_);
  // Both have 48 bits; a sum that does not fit is no session's.
  return SessionNumber::FromValue(
      std::min(min_.value() + after_min, SessionNumber::Largest().value()));
}

uint32_t PostingBlockReader::GroupFor(SessionNumber session) const {
  if (loaded_ && group_.session(0) <= session &&
      session <= group_.session(group_.size() - 1)) {
    return group_number_;
  }
  uint32_t low = 0;
  uint32_t high = groups_;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    if (FirstOf(middle) <= session) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

bool PostingBlockReader::Load(uint32_t group) {
  if (loaded_ && group_number_ == group) return true;
  const uint64_t begin = OffsetOf(group);
  const uint64_t end = OffsetOf(group + 1);
  const uint32_t entries = std::min(kGroupSize, sessions_ - group * kGroupSize);
  loaded_ = begin < end && end <= bodies_.size() &&
            group_.Read(bodies_.substr(begin, end - begin), FirstOf(group),
                        entries, change_);
  if (loaded_) {
    // In order with what comes after it.
    const SessionNumber last = group_.session(entries - 1);
    loaded_ = group + 1 < groups_ ? last < FirstOf(group + 1) : last == max_;
  }
  group_number_ = group;
  decoded_ += entries;
  if (!loaded_) Fail();
  return loaded_;
}

void PostingBlockReader::MoveTo(uint32_t entry) {
  at_ = entry;
  valid_ = entry < group_.size();
  runs_known_ = false;
}

const RunSet& PostingBlockReader::runs_here() {
  if (!runs_known_) {
    runs_known_ = true;
    if (!group_.ReadRuns(at_, &runs_here_)) {
      runs_here_ = RunSet();
      Fail();
    }
  }
  return runs_here_;
}

uint64_t PostingBlockReader::runs() {
  if (groups_ > 1) return runs_;
  uint64_t count = 0;
  if (!group_.CountRuns(&count)) Fail();
  return count;
}

void PostingBlockReader::Fail() {
  valid_ = false;
  status_ = Unreadable();
}

void PostingBlockReader::Seek(SessionNumber session) {
  valid_ = false;
  if (!status_.ok() || sessions_ == 0 || max_ < session) return;
  if (!Load(GroupFor(session))) return;
  MoveTo(group_.CountBefore(session));
  // Between two groups.
  if (!valid_ && group_number_ + 1 < groups_ && Load(group_number_ + 1)) {
    MoveTo(0);
  }
}

void PostingBlockReader::SeekForPrev(SessionNumber session) {
  valid_ = false;
  if (!status_.ok() || sessions_ == 0 || session < min_) return;
  if (!Load(GroupFor(session))) return;
  const uint32_t before = group_.CountBefore(session);
  const bool here = before < group_.size() && group_.session(before) == session;
  // The group begins at or before the session, so there is one.
  MoveTo(here || before == 0 ? before : before - 1);
}

void PostingBlockReader::Next() {
  MoveTo(at_ + 1);
  if (valid_ || group_number_ + 1 >= groups_) return;
  if (Load(group_number_ + 1)) MoveTo(0);
}

void PostingBlockReader::Prev() {
  if (at_ > 0) {
    MoveTo(at_ - 1);
    return;
  }
  valid_ = false;
  if (group_number_ == 0) return;
  if (Load(group_number_ - 1)) MoveTo(group_.size() - 1);
}

}  // namespace diptych::indexer
