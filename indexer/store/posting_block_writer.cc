#include "indexer/store/posting_block_writer.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "archiver/base/limits.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_block.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_group.h"
#include "indexer/store/session_number.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {
namespace {

using posting_shape::kChange;
using posting_shape::kMinHasTurn;
using posting_shape::kOneSession;
using posting_shape::kVersion;

constexpr uint32_t kGroupSize = limits::kPostingSkip_entries;

// What a block of several groups comes to before it is put together.
struct Groups {
  struct Start {
    SessionNumber first;
    uint64_t offset = 0;
  };
  std::vector<Start> starts;
  std::string bodies;
  SessionNumber max;
  uint64_t sessions = 0;
  uint64_t runs = 0;

  void Add(absl::Span<const PostingEntry> entries) {
    for (size_t i = 0; i < entries.size(); i += kGroupSize) {
      starts.push_back({entries[i].session, bodies.size()});
      AppendPostingGroup(entries.subspan(i, kGroupSize), &bodies);
    }
    for (const PostingEntry& entry : entries) runs += entry.runs.size();
    if (!entries.empty()) max = entries.back().session;
    sessions += entries.size();
  }
};

size_t BytesFor(uint64_t value) {
  return static_cast<size_t>(std::bit_width(value) + 7) / 8;
}

void AppendLittleEndian(uint64_t value, size_t bytes, std::string* out) {
  for (size_t i = 0; i < bytes; ++i) {
    out->push_back(static_cast<char>(value >> (8 * i)));
  }
}

void AppendMin(SessionNumber min, std::string* out) {
  AppendBigEndian32(min.second(), out);
  if (min.turn() != 0) AppendVarint(min.turn(), out);
}

uint8_t Shape(SessionNumber min, uint8_t shape) {
  return min.turn() != 0 ? shape | kMinHasTurn : shape;
}

std::string PutTogether(const Groups& groups, uint8_t shape) {
  const SessionNumber min = groups.starts.front().first;
  std::string out;
  out.push_back(static_cast<char>(Shape(min, shape)));
  AppendVarint(groups.sessions, &out);
  AppendMin(min, &out);
  if (groups.starts.size() > 1) {
    const auto after_min = [&](SessionNumber session) {
      return session.value() - min.value();
    };
    const Groups::Start& last = groups.starts.back();
    const size_t session_bytes = BytesFor(after_min(last.first));
    const size_t offset_bytes = BytesFor(last.offset);
    AppendVarint(after_min(groups.max), &out);
    AppendVarint(groups.runs, &out);
    out.push_back(static_cast<char>(session_bytes << 4 | offset_bytes));
    for (size_t group = 1; group < groups.starts.size(); ++group) {
      AppendLittleEndian(after_min(groups.starts[group].first), session_bytes,
                         &out);
      AppendLittleEndian(groups.starts[group].offset, offset_bytes, &out);
    }
  }
  out += groups.bodies;
  return out;
}

std::string Encode(absl::Span<const PostingEntry> entries, uint8_t shape) {
  if (entries.size() > 1) {
    Groups groups;
    groups.Add(entries);
    return PutTogether(groups, shape);
  }
  std::string out;
  if (entries.empty()) {
    out.push_back(static_cast<char>(shape));
    AppendVarint(0, &out);
    return out;
  }
  const SessionNumber min = entries.front().session;
  out.push_back(static_cast<char>(Shape(min, shape | kOneSession)));
  AppendMin(min, &out);
  AppendLonePosting(entries.front().runs, &out);
  return out;
}

}  // namespace

std::string EncodePostingBlock(absl::Span<const PostingEntry> entries) {
  return Encode(entries, kVersion);
}

std::string EncodePostingChange(absl::Span<const PostingEntry> entries) {
  return Encode(entries, kVersion | kChange);
}

PostingBlockExtender::PostingBlockExtender(const PostingBlockReader& base,
                                           uint32_t groups, uint64_t runs)
    : base_(&base), groups_(groups), runs_(runs) {}

std::string PostingBlockExtender::Finish(
    absl::Span<const PostingEntry> rest) const {
  Groups groups;
  groups.starts.reserve(groups_ + rest.size() / kGroupSize + 1);
  for (uint32_t group = 0; group < groups_; ++group) {
    groups.starts.push_back({base_->FirstOf(group), base_->OffsetOf(group)});
  }
  groups.bodies =
      std::string(base_->bodies().substr(0, base_->OffsetOf(groups_)));
  groups.sessions = uint64_t{groups_} * kGroupSize;
  groups.runs = runs_;
  groups.Add(rest);
  return PutTogether(groups, kVersion);
}

}  // namespace diptych::indexer
