#ifndef INDEXER_BUILDER_NOTE_RANGES_H_
#define INDEXER_BUILDER_NOTE_RANGES_H_

#include <cstdint>

#include <google/protobuf/repeated_ptr_field.h>

#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Adds the numbers [first, last] to those that were seen; returns false if all
// of them were seen before, or there are none. Holds at most
// limits::kMaxNoteRanges ranges, in order.
bool AddNoteRange(
    uint64_t first, uint64_t last,
    google::protobuf::RepeatedPtrField<stored::v1::NoteRange>* ranges);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_NOTE_RANGES_H_
