#include "tools/diptych/check/statement_check.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/log/record.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/seal_check.h"
#include "tools/diptych/check/session_check.h"

namespace diptych::check {
namespace {

std::string TrackName(int side, uint32_t track_id) {
  return absl::StrCat(SideName(side), " track ", track_id);
}

std::string Name(const stored::v1::SourceStatement& statement) {
  return absl::StrCat("the source's statement of ",
                      TrackName(statement.side(), statement.track_id()),
                      ", packets ", statement.first_sequence(), " to ",
                      statement.last_sequence());
}

}  // namespace

StatementCheck::StatementCheck(const stored::v1::ArchiveConfig* archive,
                               const base::Uuid& session_id,
                               FalseThing on_false, FalseThing on_remark)
    : archive_(archive),
      session_(session_id.bytes()),
      on_false_(std::move(on_false)),
      on_remark_(std::move(on_remark)) {}

void StatementCheck::CheckSignature(
    log::Position position, const stored::v1::SourceDigest& header) const {
  const stored::v1::SourceStatement& stored = header.statement();
  evidence::SourceStatement statement;
  statement.side = static_cast<uint8_t>(stored.side());
  statement.track_id = stored.track_id();
  statement.first_sequence = stored.first_sequence();
  statement.last_sequence = stored.last_sequence();
  statement.packets = stored.packets();
  statement.root = stored.root();
  statement.signed_time_us = stored.signed_time_us();
  for (const stored::v1::SigningIdentity& source : archive_->sources()) {
    if (evidence::SigningKeyId(source.public_key()) != header.key_id()) {
      continue;
    }
    if (!seal::VerifySignature(
            source.public_key(),
            statement.SignedBytes(archive_->archive_id(), session_),
            header.signature())) {
      on_false_(position, absl::StrCat(Name(stored), " is not signed by ",
                                       source.name()));
    }
    return;
  }
  on_false_(position,
            absl::StrCat(Name(stored), " is signed by the unknown key ",
                         absl::BytesToHexString(header.key_id())));
}

bool StatementCheck::CheckOrder(log::Position position,
                                const stored::v1::SourceStatement& statement,
                                Track* track) {
  // One that says that there were none between two numbers may be empty.
  if (statement.first_sequence() == 0 ||
      statement.last_sequence() + 1 < statement.first_sequence() ||
      statement.root().size() != (statement.packets() == 0 ? 0 : 32)) {
    on_false_(position, absl::StrCat(Name(statement), " can't be"));
    return false;
  }
  const uint64_t next = track->signed_to + 1;
  if (track->has_statement && statement.first_sequence() > next) {
    on_remark_(position,
               absl::StrCat(TrackName(statement.side(), statement.track_id()),
                            " is not signed by its source from packet ", next,
                            " to packet ", statement.first_sequence() - 1));
  }
  track->has_statement = true;
  track->signed_to = std::max(track->signed_to, statement.last_sequence());
  return true;
}

void StatementCheck::Statement(log::Position position,
                               const stored::v1::SourceDigest& header) {
  any_ = true;
  const stored::v1::SourceStatement& statement = header.statement();
  CheckSignature(position, header);
  Track& track = tracks_[{statement.side(), statement.track_id()}];
  if (!CheckOrder(position, statement, &track)) return;
  // More than wait for packets are made by no gateway.
  if (track.pending.size() < limits::kMaxSourceRun_packets) {
    track.pending.push_back({position, statement});
  }
  Settle(statement.side(), &track);
}

void StatementCheck::Settle(int side, Track* track) {
  const Side& read = sides_[side];
  while (!track->pending.empty()) {
    const Pending& next = track->pending.front();
    const stored::v1::SourceStatement& statement = next.statement;
    if (statement.last_sequence() > read.last_sequence) return;
    evidence::GrowingTree tree;
    while (!track->packets.empty() &&
           track->packets.front().sequence <= statement.last_sequence()) {
      Packet& packet = track->packets.front();
      if (packet.sequence >= statement.first_sequence()) {
        tree.Add(std::move(packet.leaf_hash));
      }
      track->packets.pop_front();
    }
    const uint64_t not_at_hand = std::max(track->forgotten_to, read.unread_to);
    if (statement.first_sequence() > not_at_hand) {
      if (tree.size() == statement.packets() &&
          (tree.size() == 0 || tree.Root() == statement.root())) {
        ++proven_;
      } else {
        on_false_(next.position,
                  absl::StrCat(Name(statement),
                               ": other packets are stored than were signed"));
      }
    }
    track->forgotten_to =
        std::max(track->forgotten_to, statement.last_sequence());
    track->pending.pop_front();
  }
}

void StatementCheck::Chunk(const stored::v1::Chunk& header,
                           const ChunkContents* contents) {
  const bool read = contents != nullptr && !contents->packets.empty();
  std::map<int, uint64_t> first_sequences;
  for (const stored::v1::ChunkSide& side : header.sides()) {
    Side& state = sides_[side.side()];
    state.last_sequence = std::max(state.last_sequence, side.last_sequence());
    if (!read) state.unread_to = state.last_sequence;
    first_sequences[side.side()] = side.first_sequence();
  }
  std::map<uint32_t, Track*> tracks;
  for (const stored::v1::ChunkTrack& named : header.tracks()) {
    Track& track = tracks_[{named.side(), named.track_id()}];
    track.last_chunk_first_sequence = first_sequences[named.side()];
    track.last_chunk_start_us = header.start_us();
    track.last_chunk_end_us = header.end_us();
    if (!read) track.packets.clear();
    tracks[named.track_id()] = &track;
  }
  // An archive that knows no source has no statements that hold.
  if (read && !archive_->sources().empty()) {
    for (const SentPacket& packet : contents->packets) {
      const auto found = tracks.find(packet.track_id);
      if (found == tracks.end()) continue;
      Track& track = *found->second;
      if (track.packets.size() >= limits::kMaxSourceRun_packets) {
        track.forgotten_to = track.packets.back().sequence;
        track.packets.clear();
      }
      track.packets.push_back({packet.sequence, packet.leaf_hash});
    }
  }
  for (auto& [key, track] : tracks_) {
    if (!track.pending.empty()) Settle(key.first, &track);
  }
}

void StatementCheck::Closed(log::Position position) {
  if (!any_) return;
  for (auto& [key, track] : tracks_) {
    const auto& [side, track_id] = key;
    for (const Pending& left : track.pending) {
      on_false_(left.position,
                absl::StrCat(Name(left.statement),
                             " speaks of packets that the log does not hold"));
    }
    if (track.last_chunk_first_sequence <= track.signed_to) continue;
    on_remark_(position,
               absl::StrFormat(
                   "%s is not signed by its source after packet %d: the last "
                   "that is stored lies at %.3f s to %.3f s",
                   TrackName(side, track_id), track.signed_to,
                   static_cast<double>(track.last_chunk_start_us) / 1e6,
                   static_cast<double>(track.last_chunk_end_us) / 1e6));
  }
}

void StatementCheck::Adopt(const stored::v1::OpenSession& stored) {
  tracks_.clear();
  sides_.clear();
  for (const stored::v1::SideTotals& side : stored.sides()) {
    sides_[side.side()] = {side.last_sequence(), side.last_sequence()};
  }
}

}  // namespace diptych::check
