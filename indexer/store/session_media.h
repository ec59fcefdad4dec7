#ifndef INDEXER_STORE_SESSION_MEDIA_H_
#define INDEXER_STORE_SESSION_MEDIA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// Where a session's media lies: what reading it needs, in the order of the log.

struct EpochRef {
  uint64_t epoch = 0;
  // In the key store.
  log::Position key_position = 0;
};

struct SpanRef {
  uint32_t span = 0;
  uint64_t epoch = 0;
  // The SpanStarted record's segment and place.
  uint32_t segment = 0;
  log::Position position = 0;
};

// A side's packets in a chunk, by their numbers.
struct SequenceRange {
  stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
  uint64_t first = 0;
  uint64_t last = 0;
};

struct ChunkRef {
  uint32_t chunk = 0;
  uint32_t span = 0;
  uint32_t segment = 0;
  uint64_t epoch = 0;
  log::Position position = 0;
  // The whole record on disk.
  uint32_t record_bytes = 0;
  // Session time: smallest pts, largest pts + duration; smallest and largest
  // dts that the cut allows (see stored.v1.Chunk).
  int64_t start_us = 0;
  int64_t end_us = 0;
  int64_t window_start_us = 0;
  int64_t window_end_us = 0;
  std::vector<stored::v1::KeyFrame> key_frames;
  std::vector<SequenceRange> sides;
  // Its header names gaps that ended with it.
  bool has_gaps = false;
};

struct AttachmentPartRef {
  uint64_t offset = 0;
  uint32_t segment = 0;
  uint64_t epoch = 0;
  log::Position position = 0;
};

struct AttachmentRef {
  uint32_t attachment_id = 0;
  uint64_t size_bytes = 0;
  std::string media_type;
  std::vector<AttachmentPartRef> parts;
};

struct SessionMedia {
  base::Uuid session_id;
  int64_t start_time_us = 0;
  std::vector<EpochRef> epochs;
  std::vector<SpanRef> spans;
  std::vector<ChunkRef> chunks;
};

// Where a session's other records lie: what proving it needs besides its media,
// in the order of the log.

struct RecordRef {
  log::RecordType type = log::RecordType::kSessionOpened;
  log::Position position = 0;

  friend bool operator==(const RecordRef&, const RecordRef&) = default;
};

// A segment's manifest and what it names, chunks aside.
struct ManifestRef {
  uint32_t segment = 0;
  log::Position position = 0;
  std::vector<RecordRef> records;
};

struct SessionRecords {
  // Everything in the log before this has been seen.
  log::Position indexed = 0;
  // Of the first SessionOpened; none if the log lost it.
  std::optional<log::Position> opened;
  // Of SessionClosed; none while the session is open.
  std::optional<log::Position> closed;
  // In the order of their chain.
  std::vector<ManifestRef> manifests;
  // Named by no manifest; once the session is closed, named by its closing.
  std::vector<RecordRef> unnamed;
};

// What retrieval asks of the index. Thread-safe.
class MediaIndex {
 public:
  virtual ~MediaIndex() = default;

  // NOT_FOUND if the index knows no such session. Chunks that are durable but
  // not yet under a manifest are included.
  virtual absl::StatusOr<SessionMedia> GetSessionMedia(
      const base::Uuid& session_id) const = 0;

  // NOT_FOUND likewise.
  virtual absl::StatusOr<SessionRecords> GetSessionRecords(
      const base::Uuid& session_id) const = 0;

  // NOT_FOUND likewise, or if the session has no such attachment.
  virtual absl::StatusOr<AttachmentRef> GetAttachment(
      const base::Uuid& session_id, uint32_t attachment_id) const = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_SESSION_MEDIA_H_
