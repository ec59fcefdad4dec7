#include "indexer/store/segment_pack.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "indexer/store/session_tags.h"
#include "indexer/store/steps.h"
#include "indexer/store/varint.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::SegmentRow;

constexpr uint8_t kFormat = 1;

// What a row has that is not as one expects. The rare ones have the high bits,
// so that most rows have one byte of them.
enum Flag : uint64_t {
  kNewChunks = 1 << 0,
  kRecords = 1 << 1,
  kNewWindow = 1 << 2,
  kAlways = 1 << 3,
  kForever = 1 << 4,
  kTracks = 1 << 5,
  kNewSpan = 1 << 6,
  kNewEpoch = 1 << 7,
  kNewNumber = 1 << 8,
  kTagsFrom = 1 << 9,
  kTagsTo = 1 << 10,
  kAllFlags = (1 << 11) - 1,
};

int64_t WindowLength_us(const SegmentRow& row) {
  return Step(row.window_start_us(), row.window_end_us());
}

uint64_t FlagsOf(const SegmentRow& row, const SegmentRow& before) {
  uint64_t flags = 0;
  const auto set = [&](Flag flag, bool is) { flags |= is ? flag : 0; };
  set(kNewChunks, row.chunks() != before.chunks());
  set(kRecords, row.records().steps_size() > 0);
  set(kNewWindow, row.window_start_us() != before.window_end_us());
  set(kAlways, row.tags_from_us() == kAlways_us);
  set(kForever, row.tags_to_us() == kForever_us);
  set(kTracks, row.tracks_without_key_frame_size() > 0);
  set(kNewSpan, row.span() != before.span());
  set(kNewEpoch, row.epoch() != before.epoch());
  set(kNewNumber, row.segment() != before.segment() + 1);
  set(kTagsFrom, row.tags_from_us() != kAlways_us &&
                     row.tags_from_us() != row.window_start_us());
  set(kTagsTo, row.tags_to_us() != kForever_us &&
                   row.tags_to_us() != row.window_end_us());
  return flags;
}

void PackRecords(const SegmentRow& row, std::string* out) {
  const auto& records = row.records();
  const int count = records.steps_size();
  AppendVarint(static_cast<uint64_t>(count), out);
  // The first lies shortly before the manifest.
  AppendSignedVarint(Step(records.steps(0), row.position()), out);
  for (int i = 1; i < count; ++i) AppendVarint(records.steps(i), out);
  for (int i = 0; i < count; ++i) {
    const auto place = static_cast<size_t>(i);
    out->push_back(place < records.types().size() ? records.types()[place]
                                                  : '\0');
  }
}

void UnpackRecords(uint64_t position, VarintReader* in, SegmentRow* row) {
  const uint64_t count = in->ReadVarint();
  // Each has two bytes at least.
  if (count == 0 || count > in->left() / 2) return in->Fail();
  const auto back = static_cast<uint64_t>(in->ReadSigned());
  auto* records = row == nullptr ? nullptr : row->mutable_records();
  if (records != nullptr) records->add_steps(position - back);
  for (uint64_t i = 1; i < count; ++i) {
    const uint64_t step = in->ReadVarint();
    if (records != nullptr) records->add_steps(step);
  }
  const absl::string_view types = in->ReadBytes(count);
  if (records != nullptr) records->set_types(std::string(types));
}

void PackRow(const SegmentRow& row, const SegmentRow& before,
             std::string* out) {
  const uint64_t flags = FlagsOf(row, before);
  AppendVarint(flags, out);
  if (flags & kNewNumber) AppendVarint(row.segment(), out);
  if (flags & kNewSpan) AppendVarint(row.span(), out);
  if (flags & kNewEpoch) {
    AppendSignedVarint(Step(before.epoch(), row.epoch()), out);
  }
  AppendSignedVarint(Step(before.position(), row.position()), out);
  if (flags & kNewWindow) {
    AppendSignedVarint(Step(before.window_end_us(), row.window_start_us()),
                       out);
  }
  AppendSignedVarint(Step(WindowLength_us(before), WindowLength_us(row)), out);
  AppendSignedVarint(Step(row.window_start_us(), row.start_us()), out);
  AppendSignedVarint(Step(row.window_end_us(), row.end_us()), out);
  if (flags & kTagsFrom) {
    AppendSignedVarint(Step(row.window_start_us(), row.tags_from_us()), out);
  }
  if (flags & kTagsTo) {
    AppendSignedVarint(Step(row.window_end_us(), row.tags_to_us()), out);
  }
  AppendVarint(row.payload_bytes(), out);
  if (flags & kNewChunks) AppendVarint(row.chunks(), out);
  if (flags & kTracks) {
    AppendVarint(static_cast<uint64_t>(row.tracks_without_key_frame_size()),
                 out);
    for (const uint32_t track : row.tracks_without_key_frame()) {
      AppendVarint(track, out);
    }
  }
  if (flags & kRecords) PackRecords(row, out);
}

// What the next row is written against.
struct Numbers {
  uint32_t segment = 0;
  uint32_t span = 0;
  uint64_t epoch = 0;
  uint64_t position = 0;
  int64_t window_start_us = 0;
  int64_t window_end_us = 0;
  uint32_t chunks = 0;
};

// Reads on from the row before. A row that is not from first to last is not
// worth a message.
void UnpackRow(uint32_t first, uint32_t last, VarintReader* in, Numbers* n,
               std::vector<SegmentRow>* rows) {
  const uint64_t flags = in->ReadVarint();
  if (flags > kAllFlags) return in->Fail();
  n->segment = flags & kNewNumber ? in->ReadVarint32() : n->segment + 1;
  SegmentRow* const row = first <= n->segment && n->segment <= last
                              ? &rows->emplace_back()
                              : nullptr;
  if (flags & kNewSpan) n->span = in->ReadVarint32();
  if (flags & kNewEpoch) n->epoch = Add(n->epoch, in->ReadSigned());
  n->position = Add(n->position, in->ReadSigned());
  int64_t length_us = Step(n->window_start_us, n->window_end_us);
  n->window_start_us = flags & kNewWindow
                           ? Add(n->window_end_us, in->ReadSigned())
                           : n->window_end_us;
  length_us = Add(length_us, in->ReadSigned());
  n->window_end_us = Add(n->window_start_us, length_us);
  const int64_t start_us = Add(n->window_start_us, in->ReadSigned());
  const int64_t end_us = Add(n->window_end_us, in->ReadSigned());
  int64_t tags_from_us = flags & kAlways ? kAlways_us : n->window_start_us;
  if (flags & kTagsFrom) tags_from_us = Add(tags_from_us, in->ReadSigned());
  int64_t tags_to_us = flags & kForever ? kForever_us : n->window_end_us;
  if (flags & kTagsTo) tags_to_us = Add(tags_to_us, in->ReadSigned());
  const uint64_t payload_bytes = in->ReadVarint();
  if (flags & kNewChunks) n->chunks = in->ReadVarint32();
  if (flags & kTracks) {
    const uint64_t count = in->ReadVarint();
    if (count == 0 || count > in->left()) return in->Fail();
    for (uint64_t i = 0; i < count; ++i) {
      const uint32_t track = in->ReadVarint32();
      if (row != nullptr) row->add_tracks_without_key_frame(track);
    }
  }
  if (flags & kRecords) UnpackRecords(n->position, in, row);
  if (row == nullptr) return;
  row->set_segment(n->segment);
  row->set_span(n->span);
  row->set_epoch(n->epoch);
  row->set_position(n->position);
  row->set_window_start_us(n->window_start_us);
  row->set_window_end_us(n->window_end_us);
  row->set_tags_from_us(tags_from_us);
  row->set_tags_to_us(tags_to_us);
  row->set_start_us(start_us);
  row->set_end_us(end_us);
  row->set_payload_bytes(payload_bytes);
  row->set_chunks(n->chunks);
}

}  // namespace

std::string PackSegments(absl::Span<const SegmentRow> rows) {
  std::string pack;
  pack.reserve(24 * rows.size() + 32);
  pack.push_back(static_cast<char>(kFormat));
  AppendVarint(rows.size(), &pack);
  const SegmentRow nothing;
  const SegmentRow* before = &nothing;
  for (const SegmentRow& row : rows) {
    PackRow(row, *before, &pack);
    before = &row;
  }
  return pack;
}

absl::StatusOr<std::vector<SegmentRow>> UnpackSegments(absl::string_view pack,
                                                       uint32_t first,
                                                       uint32_t last) {
  VarintReader in(pack);
  std::vector<SegmentRow> rows;
  if (in.ReadByte() != kFormat) in.Fail();
  const uint64_t count = in.ReadVarint();
  if (count > limits::kSegmentsPerPack) in.Fail();
  Numbers numbers;
  bool past_last = false;
  for (uint64_t i = 0; i < count && in.ok() && !past_last; ++i) {
    const uint32_t before = numbers.segment;
    UnpackRow(first, last, &in, &numbers, &rows);
    // Ascending, or somebody would find one twice.
    if (i > 0 && numbers.segment <= before) in.Fail();
    past_last = numbers.segment >= last && i + 1 < count;
  }
  if (!(past_last && in.ok()) && !in.AtGoodEnd()) {
    return base::IntegrityError("the index has unreadable segments");
  }
  return rows;
}

}  // namespace diptych::indexer
