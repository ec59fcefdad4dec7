#include "archiver/log/record.h"

#include "absl/strings/string_view.h"

namespace diptych::log {

absl::string_view RecordTypeName(RecordType type) {
  switch (type) {
    case RecordType::kVolumeHeader:
      return "VolumeHeader";
    case RecordType::kSnapshot:
      return "Snapshot";
    case RecordType::kSessionOpened:
      return "SessionOpened";
    case RecordType::kSpanStarted:
      return "SpanStarted";
    case RecordType::kChunk:
      return "Chunk";
    case RecordType::kNotes:
      return "Notes";
    case RecordType::kAttachmentPart:
      return "AttachmentPart";
    case RecordType::kSegment:
      return "Segment";
    case RecordType::kSessionClosed:
      return "SessionClosed";
    case RecordType::kAccess:
      return "Access";
    case RecordType::kStateChanged:
      return "StateChanged";
    case RecordType::kClockChanged:
      return "ClockChanged";
    case RecordType::kSourceDigest:
      return "SourceDigest";
    case RecordType::kKeysChanged:
      return "KeysChanged";
    case RecordType::kKeyWraps:
      return "KeyWraps";
  }
  return "unknown";
}

}  // namespace diptych::log
