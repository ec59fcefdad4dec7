#ifndef TOOLS_DIPTYCH_CHECK_SESSION_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_SESSION_CHECK_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/manifest_check.h"

namespace diptych::check {

// Follows one session through the log's clear headers and says where they do
// not agree: numbers with holes, manifests that list other chunks, totals that
// do not add up. After a finding it goes on from what it found, so that one
// hole is one finding. Needs no key. Not thread-safe.
class SessionCheck {
 public:
  SessionCheck(const base::Uuid& id, const FalseThing& on_false);

  // Each takes the next record of the session, by its position, header and
  // digest, which is empty if the body was not read.
  void Opened(log::Position position, const stored::v1::SessionOpened& header,
              const std::string& digest);
  void SpanStarted(log::Position position,
                   const stored::v1::SpanStarted& header,
                   const std::string& digest);
  void Chunk(log::Position position, const stored::v1::Chunk& header,
             const std::string& digest);
  void Notes(log::Position position, const stored::v1::Notes& header,
             const std::string& digest);
  void AttachmentPart(log::Position position,
                      const stored::v1::AttachmentPart& header,
                      const std::string& digest);
  void SourceDigest(log::Position position,
                    const stored::v1::SourceDigest& header,
                    const std::string& digest);
  // `header_bytes` is the header as it lies in the log.
  void Segment(log::Position position, const stored::v1::Segment& header,
               absl::string_view header_bytes);
  void StateChanged(log::Position position,
                    const stored::v1::StateChanged& header,
                    const std::string& digest);
  void ClockChanged(log::Position position,
                    const stored::v1::ClockChanged& header,
                    const std::string& digest);
  // The session is then over.
  void Closed(log::Position position, const stored::v1::SessionClosed& header);

  // What a snapshot says of this session must be what this check has seen.
  void Snapshot(log::Position position, const stored::v1::OpenSession& stored);

  // Takes a snapshot's word for a session whose earlier records are lost.
  void Adopt(const stored::v1::OpenSession& stored);

  uint64_t epoch() const { return epoch_; }
  uint64_t key_position() const { return key_position_; }
  // Of a side's packets that the log holds; 0: none.
  uint64_t last_sequence(int side) const;

 private:
  void False(log::Position position, const std::string& what) const;
  void CheckEpoch(log::Position position, uint64_t epoch);
  void CheckGap(log::Position position, const std::string& where,
                const stored::v1::Gap& gap) const;
  void CheckSide(log::Position position, const stored::v1::ChunkSide& side);
  void TakeNotes(log::Position position, stored::v1::Side side, uint64_t first,
                 uint64_t last);
  void CheckChunkTracks(log::Position position,
                        const stored::v1::Chunk& header) const;
  void CheckTotals(log::Position position,
                   const stored::v1::SideTotals& stored) const;

  // Puts the session's id in front.
  const FalseThing on_false_;
  uint64_t epoch_ = 0;
  uint64_t key_position_ = 0;
  int64_t start_time_us_ = 0;
  uint32_t next_span_ = 0;
  // Spans of earlier epochs don't come again.
  uint32_t first_span_of_epoch_ = 0;
  uint32_t next_chunk_ = 0;
  // The last segment that a chunk named.
  uint32_t min_segment_ = 0;
  std::map<int, stored::v1::SideTotals> sides_;
  ManifestCheck manifests_;
};

// "resident" or "clerk".
std::string SideName(int side);

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_SESSION_CHECK_H_
