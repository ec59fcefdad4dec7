#include "indexer/store/chunk_pack.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/steps.h"
#include "indexer/store/varint.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::ChunkRow;
using stored::v1::ChunkSideRow;

constexpr uint8_t kFormat = 1;

// What a row has that is not as one expects; the rare ones have the high bits.
enum Flag : uint64_t {
  kNextSegment = 1 << 0,
  kKeyFrames = 1 << 1,
  // The first key frame is not the chunk's start, or there are several.
  kManyKeyFrames = 1 << 2,
  kNewWindow = 1 << 3,
  // Not the sides of the chunk before, each going on where that ended.
  kNewSides = 1 << 4,
  kHasGaps = 1 << 5,
  kNewSpan = 1 << 6,
  kNewSegment = 1 << 7,
  kNewEpoch = 1 << 8,
  kNewNumber = 1 << 9,
  // It lies before the end of the chunk before: written again after a crash.
  kBack = 1 << 10,
  kAllFlags = (1 << 11) - 1,
};

uint64_t EndOf(const ChunkRow& row) {
  return row.position() + row.record_bytes();
}

int64_t WindowLength_us(const ChunkRow& row) {
  return Step(row.window_start_us(), row.window_end_us());
}

bool SidesGoOn(const ChunkRow& row, const ChunkRow& before) {
  if (row.sides_size() != before.sides_size()) return false;
  for (int i = 0; i < row.sides_size(); ++i) {
    if (row.sides(i).side() != before.sides(i).side() ||
        row.sides(i).first_sequence() != before.sides(i).last_sequence() + 1) {
      return false;
    }
  }
  return true;
}

uint64_t FlagsOf(const ChunkRow& row, const ChunkRow& before) {
  uint64_t flags = 0;
  const auto set = [&](Flag flag, bool is) { flags |= is ? flag : 0; };
  const bool next_segment = row.segment() == before.segment() + 1;
  const auto& keys = row.key_frames();
  const bool one_key = keys.size() == 1 && keys[0].pts_us() == row.start_us();
  set(kNextSegment, next_segment);
  set(kKeyFrames, one_key);
  set(kManyKeyFrames, !keys.empty() && !one_key);
  set(kNewWindow, row.window_start_us() != before.window_end_us());
  set(kNewSides, !SidesGoOn(row, before));
  set(kHasGaps, row.has_gaps());
  set(kNewSpan, row.span() != before.span());
  set(kNewSegment, row.segment() != before.segment() && !next_segment);
  set(kNewEpoch, row.epoch() != before.epoch());
  set(kNewNumber, row.chunk() != before.chunk() + 1);
  set(kBack, row.position() < EndOf(before));
  return flags;
}

void PackKeyFrames(const ChunkRow& row, std::string* out) {
  AppendVarint(static_cast<uint64_t>(row.key_frames_size()), out);
  for (const auto& key : row.key_frames()) {
    AppendVarint(key.track_id(), out);
    AppendSignedVarint(Step(row.start_us(), key.pts_us()), out);
  }
}

void UnpackKeyFrames(VarintReader* in, ChunkRow* row) {
  const uint64_t count = in->ReadVarint();
  // Each has two bytes at least.
  if (count == 0 || count > in->left() / 2) return in->Fail();
  for (uint64_t i = 0; i < count; ++i) {
    auto* key = row->add_key_frames();
    key->set_track_id(in->ReadVarint32());
    key->set_pts_us(Add(row->start_us(), in->ReadSigned()));
  }
}

// The packets of a side: mostly some tens.
int64_t Length(const ChunkSideRow& side) {
  return Step(side.first_sequence(), side.last_sequence());
}

void PackSides(const ChunkRow& row, bool fresh, std::string* out) {
  if (fresh) AppendVarint(static_cast<uint64_t>(row.sides_size()), out);
  for (const ChunkSideRow& side : row.sides()) {
    if (fresh) {
      AppendSignedVarint(side.side(), out);
      AppendVarint(side.first_sequence(), out);
    }
    AppendSignedVarint(Length(side), out);
  }
}

void UnpackSides(const ChunkRow& before, bool fresh, VarintReader* in,
                 ChunkRow* row) {
  const uint64_t count =
      fresh ? in->ReadVarint() : static_cast<uint64_t>(before.sides_size());
  if (count > in->left()) return in->Fail();
  for (uint64_t i = 0; i < count; ++i) {
    ChunkSideRow* side = row->add_sides();
    if (fresh) {
      side->set_side(static_cast<stored::v1::Side>(in->ReadSigned()));
      side->set_first_sequence(in->ReadVarint());
    } else {
      const ChunkSideRow& last = before.sides(static_cast<int>(i));
      side->set_side(last.side());
      side->set_first_sequence(last.last_sequence() + 1);
    }
    side->set_last_sequence(Add(side->first_sequence(), in->ReadSigned()));
  }
}

void PackRow(const ChunkRow& row, const ChunkRow& before, std::string* out) {
  const uint64_t flags = FlagsOf(row, before);
  AppendVarint(flags, out);
  if (flags & kNewNumber) AppendVarint(row.chunk(), out);
  if (flags & kNewSpan) AppendVarint(row.span(), out);
  if (flags & kNewSegment) AppendVarint(row.segment(), out);
  if (flags & kNewEpoch) {
    AppendSignedVarint(Step(before.epoch(), row.epoch()), out);
  }
  // What the other sessions wrote in between.
  AppendVarint(flags & kBack ? EndOf(before) - row.position()
                             : row.position() - EndOf(before),
               out);
  AppendVarint(row.record_bytes(), out);
  if (flags & kNewWindow) {
    AppendSignedVarint(Step(before.window_end_us(), row.window_start_us()),
                       out);
  }
  AppendSignedVarint(Step(WindowLength_us(before), WindowLength_us(row)), out);
  AppendSignedVarint(Step(row.window_start_us(), row.start_us()), out);
  AppendSignedVarint(Step(row.window_end_us(), row.end_us()), out);
  if (flags & kKeyFrames) AppendVarint(row.key_frames(0).track_id(), out);
  if (flags & kManyKeyFrames) PackKeyFrames(row, out);
  PackSides(row, (flags & kNewSides) != 0, out);
}

void UnpackRow(const ChunkRow& before, VarintReader* in, ChunkRow* row) {
  const uint64_t flags = in->ReadVarint();
  if (flags > kAllFlags) return in->Fail();
  row->set_chunk(flags & kNewNumber ? in->ReadVarint32() : before.chunk() + 1);
  row->set_span(flags & kNewSpan ? in->ReadVarint32() : before.span());
  row->set_segment(flags & kNewSegment    ? in->ReadVarint32()
                   : flags & kNextSegment ? before.segment() + 1
                                          : before.segment());
  row->set_epoch(flags & kNewEpoch ? Add(before.epoch(), in->ReadSigned())
                                   : before.epoch());
  const uint64_t between = in->ReadVarint();
  row->set_position(flags & kBack ? EndOf(before) - between
                                  : EndOf(before) + between);
  row->set_record_bytes(in->ReadVarint32());
  row->set_window_start_us(flags & kNewWindow
                               ? Add(before.window_end_us(), in->ReadSigned())
                               : before.window_end_us());
  const int64_t length_us = Add(WindowLength_us(before), in->ReadSigned());
  row->set_window_end_us(Add(row->window_start_us(), length_us));
  row->set_start_us(Add(row->window_start_us(), in->ReadSigned()));
  row->set_end_us(Add(row->window_end_us(), in->ReadSigned()));
  if (flags & kKeyFrames) {
    auto* key = row->add_key_frames();
    key->set_track_id(in->ReadVarint32());
    key->set_pts_us(row->start_us());
  }
  if (flags & kManyKeyFrames) UnpackKeyFrames(in, row);
  UnpackSides(before, (flags & kNewSides) != 0, in, row);
  row->set_has_gaps((flags & kHasGaps) != 0);
}

// Appends to one row of the chunks of a group.
absl::Status UnpackInto(absl::string_view pack, std::vector<ChunkRow>* rows) {
  VarintReader in(pack);
  if (in.ReadByte() != kFormat) in.Fail();
  const uint64_t count = in.ReadVarint();
  if (count > limits::kChunksPerPack) in.Fail();
  const size_t first = rows->size();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    ChunkRow row;
    UnpackRow(i == 0 ? ChunkRow::default_instance() : rows->back(), &in, &row);
    if (rows->size() > first && row.chunk() <= rows->back().chunk()) in.Fail();
    rows->push_back(std::move(row));
  }
  if (!in.AtGoodEnd()) {
    return base::IntegrityError("the index has unreadable chunks");
  }
  return absl::OkStatus();
}

}  // namespace

std::string PackChunks(absl::Span<const ChunkRow> rows) {
  std::string pack;
  pack.reserve(24 * rows.size() + 32);
  pack.push_back(static_cast<char>(kFormat));
  AppendVarint(rows.size(), &pack);
  const ChunkRow* before = &ChunkRow::default_instance();
  for (const ChunkRow& row : rows) {
    PackRow(row, *before, &pack);
    before = &row;
  }
  return pack;
}

absl::StatusOr<std::vector<ChunkRow>> UnpackChunks(absl::string_view pack) {
  std::vector<ChunkRow> rows;
  RETURN_IF_ERROR(UnpackInto(pack, &rows));
  return rows;
}

absl::StatusOr<std::string> MergeChunkPacks(
    absl::Span<const absl::string_view> packs) {
  std::vector<ChunkRow> rows;
  for (const absl::string_view pack : packs) {
    RETURN_IF_ERROR(UnpackInto(pack, &rows));
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ChunkRow& a, const ChunkRow& b) {
                     return a.chunk() < b.chunk();
                   });
  // The last of each number stays.
  const auto kept = std::unique(rows.rbegin(), rows.rend(),
                                [](const ChunkRow& a, const ChunkRow& b) {
                                  return a.chunk() == b.chunk();
                                });
  rows.erase(rows.begin(), kept.base());
  if (rows.size() > limits::kChunksPerPack) {
    return base::IntegrityError("the index has chunks of several rows in one");
  }
  return PackChunks(rows);
}

}  // namespace diptych::indexer
