#include "indexer/builder/note_ranges.h"

#include <algorithm>
#include <cstdint>

#include <google/protobuf/repeated_ptr_field.h>

#include "archiver/base/limits.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

bool AddNoteRange(
    uint64_t first, uint64_t last,
    google::protobuf::RepeatedPtrField<stored::v1::NoteRange>* ranges) {
  if (last < first) return false;
  bool seen = false;
  for (const auto& range : *ranges) {
    seen = seen || (range.first() <= first && last <= range.last());
  }
  if (seen) return false;
  // Ranges that touch become one; what is left stays in order.
  stored::v1::NoteRange merged;
  merged.set_first(first);
  merged.set_last(last);
  google::protobuf::RepeatedPtrField<stored::v1::NoteRange> kept;
  for (const auto& range : *ranges) {
    const bool apart =
        range.last() + 1 < merged.first() || merged.last() + 1 < range.first();
    if (apart) {
      *kept.Add() = range;
      continue;
    }
    merged.set_first(std::min(merged.first(), range.first()));
    merged.set_last(std::max(merged.last(), range.last()));
  }
  *kept.Add() = merged;
  std::sort(kept.begin(), kept.end(),
            [](const auto& a, const auto& b) { return a.first() < b.first(); });
  // Holes this many mean a broken writer; the oldest one is given up.
  if (kept.size() > limits::kMaxNoteRanges) {
    kept.Mutable(1)->set_first(kept.Get(0).first());
    kept.erase(kept.begin());
  }
  ranges->Swap(&kept);
  return true;
}

}  // namespace diptych::indexer
