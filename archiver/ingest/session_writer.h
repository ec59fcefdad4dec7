#ifndef ARCHIVER_INGEST_SESSION_WRITER_H_
#define ARCHIVER_INGEST_SESSION_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/evidence/segment_tracks.h"
#include "archiver/log/record.h"
#include "archiver/media/interleaver.h"
#include "archiver/media/matroska_muxer.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// Turns one epoch of a session into log records: spans, chunks, segments and
// notes, muxed and sealed. What it returns must be appended in the order in
// which it was returned. Not thread-safe.
class SessionWriter {
 public:
  // Where the session was when this epoch began.
  struct Start {
    base::Uuid session_id;
    uint64_t epoch = 0;
    uint32_t next_span = 0;
    uint32_t next_chunk = 0;
    std::string manifest_sha256;
    // Digests of the session's records that no manifest names yet.
    std::vector<std::string> unnamed_records;
  };

  // `sealer` is at the session's next segment. `clock` must outlive this.
  SessionWriter(Start start, seal::SessionSealer sealer, base::Clock* clock);

  // The tracks from the next chunk on: ends the segment and the span. With
  // `reuse` a span of this epoch that had the same tracks goes on, if it is
  // among the last limits::kRememberedSpans.
  absl::Status SetTracks(std::vector<stored::v1::Track> tracks, bool reuse,
                         std::vector<log::Record>* records);

  // Writes one chunk of `packets`, which all lie in [window_start_us,
  // window_end_us) or are late. A segment that the chunk does not belong to
  // ends before it, one that is full after it. REQUIRES: packets is not empty;
  // SetTracks was called.
  absl::Status WriteChunk(const std::vector<media::PendingPacket>& packets,
                          int64_t window_start_us, int64_t window_end_us,
                          const std::vector<stored::v1::Gap>& gaps,
                          std::vector<log::Record>* records);

  // Ends the open segment, if there is one: its manifest, and new keys. The
  // manifest names all records that were returned or told of before.
  void EndSegment(std::vector<log::Record>* records);

  log::Record WriteNotes(stored::v1::Side side,
                         const stored::v1::NoteList& notes);
  log::Record WriteSourceDigest(stored::v1::SourceDigest digest);
  log::Record WriteAttachmentPart(stored::v1::Side side, uint64_t note,
                                  uint32_t attachment_id, uint64_t offset,
                                  absl::string_view data);

  // Tells of a record of the session that somebody else has made and submits
  // now: the next manifest names it.
  void TakeAccountOf(const log::Record& record);
  // What no manifest names, for the record that closes the session.
  std::vector<std::string> TakeUnnamedRecords();
  // False: no more notes before there is media, whose manifest names them.
  bool HasRoomForRecords() const;

  // Where the open segment would be full; nullopt if none is open.
  std::optional<int64_t> segment_limit_us() const;
  uint32_t segments() const { return sealer_.segment(); }
  uint32_t spans() const { return start_.next_span; }
  const std::string& manifest_sha256() const { return start_.manifest_sha256; }
  uint64_t epoch() const { return start_.epoch; }

 private:
  absl::Status StartSpan(std::vector<log::Record>* records, int64_t start_us);
  bool FitsOpenSegment(int64_t window_start_us, int64_t window_end_us) const;
  int64_t NowUs() const;
  // Hashes the chunk's packets of each track, under salts of their own.
  void AddLeaves(const std::vector<media::PendingPacket>& packets,
                 stored::v1::Chunk* chunk);
  std::string session_bytes() const {
    return std::string(start_.session_id.bytes());
  }

  Start start_;
  seal::SessionSealer sealer_;
  base::Clock* const clock_;
  std::vector<stored::v1::Track> tracks_;
  // Null until the span's first chunk.
  std::unique_ptr<media::MatroskaMuxer> muxer_;
  // Of the muxer.
  uint32_t span_ = 0;
  bool reuse_ = false;
  // What was written of this epoch's spans, the latest used last.
  struct KnownSpan {
    uint32_t span = 0;
    // SpanDescription with its tracks alone.
    std::string description;
  };
  std::deque<KnownSpan> known_spans_;
  // The open segment's manifest so far; no chunks: none is open.
  stored::v1::Segment segment_;
  // Video tracks that have a packet in it.
  std::set<uint32_t> segment_videos_;
  evidence::SegmentTracks segment_tracks_;
  // The open segment's salts, by track id.
  std::map<uint32_t, std::string> track_salts_;
};

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_SESSION_WRITER_H_
