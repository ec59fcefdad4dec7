#ifndef ARCHIVER_LOG_RECORD_H_
#define ARCHIVER_LOG_RECORD_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::log {

// Where a record begins: bytes since the store's first, over all its volumes.
// Never changes, never reused.
using Position = uint64_t;

// Part of the format (FORMAT.md): numbers are never reused.
enum class RecordType : uint8_t {
  kVolumeHeader = 1,
  kSnapshot = 2,
  kSessionOpened = 3,
  kSpanStarted = 4,
  kChunk = 5,
  kNotes = 6,
  kAttachmentPart = 7,
  kSegment = 8,
  kSessionClosed = 9,
  kAccess = 10,
  kStateChanged = 11,
  kClockChanged = 12,
  kSourceDigest = 13,
  kKeysChanged = 14,
  kKeyWraps = 64,
};

// "Chunk", for messages.
absl::string_view RecordTypeName(RecordType type);

// What is appended: a clear header (a serialized stored.v1 message) and a body.
struct Record {
  RecordType type;
  std::string header;
  std::string body;
};

// What is read back.
struct StoredRecord {
  RecordType type;
  Position position = 0;
  // Where the next record begins.
  Position end = 0;
  // Everything before this was durable when the record was written.
  Position durable_before = 0;
  std::string header;
  std::string body;
};

}  // namespace diptych::log

#endif  // ARCHIVER_LOG_RECORD_H_
