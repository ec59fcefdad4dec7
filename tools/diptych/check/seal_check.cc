#include "tools/diptych/check/seal_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/session_opener.h"
#include "archiver/seal/wrap.h"
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

struct NoteBytes {
  uint64_t number = 0;
  // As they lie in the sealed body.
  std::string bytes;
};

// Made again from what was parsed: nothing in a note is a map or unknown, so
// that the bytes are those that were written.
absl::StatusOr<std::vector<NoteBytes>> SplitNotes(const std::string& plain) {
  stored::v1::NoteList list;
  if (!list.ParseFromString(plain) || list.SerializeAsString() != plain) {
    return base::IntegrityError("its notes do not parse");
  }
  std::vector<NoteBytes> notes;
  notes.reserve(static_cast<size_t>(list.notes_size()));
  for (const stored::v1::Note& note : list.notes()) {
    notes.push_back({note.note(), note.SerializeAsString()});
  }
  return notes;
}

}  // namespace

absl::Status CheckWraps(
    seal::WrapContext context,
    const google::protobuf::RepeatedPtrField<stored::v1::Wrap>& wraps,
    const std::vector<seal::KeyPair>& keys) {
  std::map<int, seal::SecretKey> roots;
  for (const stored::v1::Wrap& wrap : wraps) {
    context.key_class = wrap.key_class();
    for (const seal::KeyPair& key : keys) {
      absl::StatusOr<seal::SecretKey> root =
          seal::UnwrapKey(wrap, context, key);
      if (absl::IsPermissionDenied(root.status())) continue;
      if (!root.ok()) {
        return base::IntegrityError(
            absl::StrCat("the key that is wrapped for ", key.name,
                         " does not hold: ", root.status().message()));
      }
      const auto known = roots.find(wrap.key_class());
      if (known == roots.end()) {
        roots.emplace(wrap.key_class(), *std::move(root));
      } else if (known->second.bytes() != root->bytes()) {
        return base::IntegrityError(absl::StrCat("another key is wrapped for ",
                                                 key.name, " than for others"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SealCheck> SealCheck::Create(
    const base::Uuid& archive_id, const stored::v1::KeyWraps& wraps,
    const std::vector<seal::KeyPair>& keys) {
  ASSIGN_OR_RETURN(std::unique_ptr<seal::SessionOpener> opener,
                   seal::SessionOpener::Create(archive_id, wraps, keys));
  return SealCheck(std::move(opener));
}

SealCheck::SealCheck(std::unique_ptr<seal::SessionOpener> opener)
    : opener_(std::move(opener)) {}

absl::Status SealCheck::CheckCommitment(absl::string_view what,
                                        absl::string_view said,
                                        absl::string_view held) const {
  if (said == held) return absl::OkStatus();
  return base::IntegrityError(
      absl::StrCat("its header does not commit to ", what));
}

absl::Status SealCheck::SpanStarted(const log::StoredRecord& record,
                                    const stored::v1::SpanStarted& header) {
  constexpr auto kClass = stored::v1::KEY_CLASS_METADATA;
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(kClass, record.type, header.segment(),
                                 record.header, record.body));
  stored::v1::SpanDescription span;
  if (!span.ParseFromString(plain) || span.container_header().empty()) {
    return base::IntegrityError("its description does not parse");
  }
  ASSIGN_OR_RETURN(const std::string salt,
                   opener_->SaltOf(kClass, header.segment(),
                                   seal::SaltKind::kSpan, header.span()));
  RETURN_IF_ERROR(
      CheckCommitment("the description that is inside", header.commitment(),
                      evidence::SpanCommitment(salt, header.session_id(),
                                               header.span(), plain)));
  if (header.span() >= limits::kMaxSpansPerSession) {
    return base::IntegrityError(
        absl::StrCat("span ", header.span(), " is over the limit"));
  }
  Tracks& tracks = spans_[header.span()];
  tracks.clear();
  for (const stored::v1::Track& track : span.tracks()) {
    tracks[track.track_id()] = {track.side(), track.width() > 0};
  }
  return absl::OkStatus();
}

absl::Status SealCheck::Notes(const log::StoredRecord& record,
                              const stored::v1::Notes& header) const {
  constexpr auto kClass = stored::v1::KEY_CLASS_METADATA;
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(kClass, record.type, header.segment(),
                                 record.header, record.body));
  ASSIGN_OR_RETURN(const std::vector<NoteBytes> notes, SplitNotes(plain));
  uint64_t expected = header.first_note();
  for (const NoteBytes& note : notes) {
    if (note.number != expected++) {
      return base::IntegrityError(
          absl::StrCat("its header counts the notes ", header.first_note(),
                       " to ", header.last_note(), ", and others are inside"));
    }
  }
  if (expected != header.last_note() + 1) {
    return base::IntegrityError(absl::StrCat(
        "its header counts the notes ", header.first_note(), " to ",
        header.last_note(), ", and ", notes.size(), " are inside"));
  }
  if (header.commitments_size() != static_cast<int>(notes.size())) {
    return base::IntegrityError(
        absl::StrCat("its header commits to ", header.commitments_size(),
                     " notes, and ", notes.size(), " are inside"));
  }
  for (size_t i = 0; i < notes.size(); ++i) {
    const uint8_t side = static_cast<uint8_t>(header.side());
    ASSIGN_OR_RETURN(
        const std::string salt,
        opener_->SaltOf(kClass, header.segment(), seal::SaltKind::kNote,
                        seal::NoteSaltId(side, notes[i].number)));
    RETURN_IF_ERROR(CheckCommitment(
        absl::StrCat("its note ", notes[i].number),
        header.commitments(static_cast<int>(i)),
        evidence::NoteCommitment(salt, header.session_id(), side,
                                 notes[i].number, notes[i].bytes)));
  }
  return absl::OkStatus();
}

absl::Status SealCheck::AttachmentPart(
    const log::StoredRecord& record,
    const stored::v1::AttachmentPart& header) const {
  constexpr auto kClass = stored::v1::KEY_CLASS_MEDIA;
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(kClass, record.type, header.segment(),
                                 record.header, record.body));
  ASSIGN_OR_RETURN(
      const std::string salt,
      opener_->SaltOf(kClass, header.segment(), seal::SaltKind::kAttachmentPart,
                      seal::NoteSaltId(static_cast<uint8_t>(header.side()),
                                       header.note())));
  return CheckCommitment(
      "the bytes that are inside", header.commitment(),
      evidence::PartCommitment(salt, header.session_id(),
                               header.attachment_id(), header.offset(), plain));
}

absl::Status SealCheck::CheckLeaves(
    const stored::v1::Chunk& header, const media::ChunkBody& body,
    const std::vector<std::string>& payload_sha256,
    const Tracks* tracks) const {
  // Of each track; the second as if it were a video track, where that is not
  // known.
  std::map<uint32_t, std::pair<evidence::TrackLeaf, evidence::TrackLeaf>>
      leaves;
  for (size_t i = 0; i < body.packets.size(); ++i) {
    const media::PacketInfo& info = body.packets[i].info;
    auto& [sound, video] = leaves[info.track_id];
    evidence::PacketLine line = {.pts_ms = evidence::ToMs(info.pts_us),
                                 .payload_bytes = info.payload_bytes,
                                 .payload_sha256 = payload_sha256[i]};
    sound.Add(line);
    line.key_frame = info.key_frame;
    video.Add(line);
  }
  if (leaves.size() != static_cast<size_t>(header.tracks_size())) {
    return base::IntegrityError(
        absl::StrCat("its header has leaves of ", header.tracks_size(),
                     " tracks, and packets of ", leaves.size(), " are inside"));
  }
  for (const stored::v1::ChunkTrack& track : header.tracks()) {
    const auto found = leaves.find(track.track_id());
    if (found == leaves.end()) {
      return base::IntegrityError(
          absl::StrCat("its header has a leaf of track ", track.track_id(),
                       ", and no packet of it is inside"));
    }
    ASSIGN_OR_RETURN(
        const std::string track_salt,
        opener_->SaltOf(stored::v1::KEY_CLASS_MEDIA, header.segment(),
                        seal::SaltKind::kTrack, track.track_id()));
    const auto fits = [&](const evidence::TrackLeaf& leaf) {
      return track.leaf() ==
             leaf.Finish(evidence::ChunkSalt(track_salt, header.chunk()),
                         header.session_id(), header.chunk(), track.track_id());
    };
    const auto& [sound, video] = found->second;
    bool whole = false;
    if (tracks == nullptr) {
      whole = fits(sound) || fits(video);
    } else {
      const auto known = tracks->find(track.track_id());
      if (known == tracks->end() || known->second.side != track.side()) {
        return base::IntegrityError(
            absl::StrCat("its header has a leaf of track ", track.track_id(),
                         ", which its span does not have on that side"));
      }
      whole = fits(known->second.video ? video : sound);
    }
    if (!whole) {
      return base::IntegrityError(
          absl::StrCat("its leaf of track ", track.track_id(),
                       " does not stand for the packets that are inside"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ChunkContents> SealCheck::Chunk(
    const log::StoredRecord& record, const stored::v1::Chunk& header) const {
  ASSIGN_OR_RETURN(const std::string plain,
                   opener_->Open(stored::v1::KEY_CLASS_MEDIA, record.type,
                                 header.segment(), record.header, record.body));
  ASSIGN_OR_RETURN(const media::ChunkBody body, media::DecodeChunkBody(plain));
  std::vector<std::string> hashes;
  hashes.reserve(body.packets.size());
  for (const media::ChunkPacket& packet : body.packets) {
    hashes.push_back(base::Sha256(packet.payload));
  }
  // Which side a track is on is metadata, which other keys may be needed for.
  const auto span = spans_.find(header.span());
  const Tracks* const tracks = span == spans_.end() ? nullptr : &span->second;
  ChunkContents contents;
  if (tracks == nullptr) {
    RETURN_IF_ERROR(CheckLeaves(header, body, hashes, tracks));
    return contents;
  }
  std::map<int, SideSum> sums;
  for (size_t i = 0; i < body.packets.size(); ++i) {
    const media::ChunkPacket& packet = body.packets[i];
    const auto track = tracks->find(packet.info.track_id);
    if (track == tracks->end()) {
      return base::IntegrityError(
          absl::StrCat("it holds a packet of track ", packet.info.track_id,
                       ", which its span does not have"));
    }
    SideSum& sum = sums[track->second.side];
    sum.sequences.push_back(packet.info.sequence);
    sum.payload_bytes += packet.payload.size();
    const evidence::PacketLine sent = {
        .pts_ms =
            evidence::ToMs(packet.info.pts_us + packet.info.raw_offset_us),
        .key_frame = track->second.video && packet.info.key_frame,
        .payload_bytes = packet.info.payload_bytes,
        .payload_sha256 = hashes[i]};
    contents.packets.push_back({packet.info.track_id, packet.info.sequence,
                                evidence::LeafHash(sent.Bytes())});
  }
  if (sums.size() != static_cast<size_t>(header.sides_size())) {
    return base::IntegrityError(
        absl::StrCat("its header counts ", header.sides_size(),
                     " sides, and packets of ", sums.size(), " are inside"));
  }
  for (const stored::v1::ChunkSide& side : header.sides()) {
    RETURN_IF_ERROR(CompareSide(side, &sums[side.side()]));
  }
  RETURN_IF_ERROR(CheckLeaves(header, body, hashes, tracks));
  return contents;
}

}  // namespace diptych::check
