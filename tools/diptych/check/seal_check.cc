#include "tools/diptych/check/seal_check.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_opener.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/session_check.h"

namespace diptych::check {
namespace {

// What the packets of one side add up to.
struct SideSum {
  std::vector<uint64_t> sequences;
  uint64_t payload_bytes = 0;
};

absl::Status CompareSide(const stored::v1::ChunkSide& header,
                         SideSum* packets) {
  std::sort(packets->sequences.begin(), packets->sequences.end());
  const std::vector<uint64_t>& sequences = packets->sequences;
  const bool contiguous =
      !sequences.empty() && sequences.front() == header.first_sequence() &&
      sequences.back() == header.last_sequence() &&
      sequences.back() - sequences.front() == sequences.size() - 1 &&
      std::adjacent_find(sequences.begin(), sequences.end()) == sequences.end();
  if (!contiguous) {
    return base::IntegrityError(
        absl::StrCat("its header counts the ", SideName(header.side()),
                     " packets ", header.first_sequence(), " to ",
                     header.last_sequence(), ", and others are inside"));
  }
  if (packets->payload_bytes != header.payload_bytes()) {
    return base::IntegrityError(
        absl::StrCat("its header counts ", header.payload_bytes(),
                     " bytes of the ", SideName(header.side()), " side, and ",
                     packets->payload_bytes, " are inside"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SealCheck> SealCheck::Create(
    const base::Uuid& archive_id, const stored::v1::KeyWraps& wraps,
    const std::vector<seal::KeyPair>& keys) {
  ASSIGN_OR_RETURN(std::unique_ptr<seal::SessionOpener> opener,
                   seal::SessionOpener::Create(archive_id, wraps, keys));
  return SealCheck(std::move(opener));
}

SealCheck::SealCheck(std::unique_ptr<seal::SessionOpener> opener)
    : opener_(std::move(opener)) {}

absl::Status SealCheck::SpanStarted(const log::StoredRecord& record,
                                    const stored::v1::SpanStarted& header) {
  tracks_known_ = false;
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(stored::v1::KEY_CLASS_METADATA, record.type,
                                 header.segment(), record.header, record.body));
  stored::v1::SpanDescription span;
  if (!span.ParseFromString(plain) || span.container_header().empty()) {
    return base::IntegrityError("its description does not parse");
  }
  side_of_track_.clear();
  for (const stored::v1::Track& track : span.tracks()) {
    side_of_track_[track.track_id()] = track.side();
  }
  tracks_known_ = true;
  return absl::OkStatus();
}

absl::Status SealCheck::Notes(const log::StoredRecord& record,
                              const stored::v1::Notes& header) const {
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(stored::v1::KEY_CLASS_METADATA, record.type,
                                 header.segment(), record.header, record.body));
  stored::v1::NoteList list;
  if (!list.ParseFromString(plain)) {
    return base::IntegrityError("its notes do not parse");
  }
  uint64_t expected = header.first_note();
  for (const stored::v1::Note& note : list.notes()) {
    if (note.note() != expected++) {
      return base::IntegrityError(
          absl::StrCat("its header counts the notes ", header.first_note(),
                       " to ", header.last_note(), ", and others are inside"));
    }
  }
  if (expected != header.last_note() + 1) {
    return base::IntegrityError(absl::StrCat(
        "its header counts the notes ", header.first_note(), " to ",
        header.last_note(), ", and ", list.notes_size(), " are inside"));
  }
  return absl::OkStatus();
}

absl::Status SealCheck::AttachmentPart(
    const log::StoredRecord& record,
    const stored::v1::AttachmentPart& header) const {
  return opener_
      ->Open(stored::v1::KEY_CLASS_MEDIA, record.type, header.segment(),
             record.header, record.body)
      .status();
}

absl::Status SealCheck::Chunk(const log::StoredRecord& record,
                              const stored::v1::Chunk& header) const {
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(stored::v1::KEY_CLASS_MEDIA, record.type,
                                 header.segment(), record.header, record.body));
  ASSIGN_OR_RETURN(const media::ChunkBody body, media::DecodeChunkBody(plain));
  // Which side a track is on is metadata, which other keys may be needed for.
  if (!tracks_known_) return absl::OkStatus();
  std::map<int, SideSum> sums;
  for (const media::ChunkPacket& packet : body.packets) {
    const auto side = side_of_track_.find(packet.info.track_id);
    if (side == side_of_track_.end()) {
      return base::IntegrityError(
          absl::StrCat("it holds a packet of track ", packet.info.track_id,
                       ", which its span does not have"));
    }
    SideSum& sum = sums[side->second];
    sum.sequences.push_back(packet.info.sequence);
    sum.payload_bytes += packet.payload.size();
  }
  if (sums.size() != static_cast<size_t>(header.sides_size())) {
    return base::IntegrityError(
        absl::StrCat("its header counts ", header.sides_size(),
                     " sides, and packets of ", sums.size(), " are inside"));
  }
  for (const stored::v1::ChunkSide& side : header.sides()) {
    RETURN_IF_ERROR(CompareSide(side, &sums[side.side()]));
  }
  return absl::OkStatus();
}

}  // namespace diptych::check
