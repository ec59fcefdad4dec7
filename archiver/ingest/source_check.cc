#include "archiver/ingest/source_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <google/protobuf/util/time_util.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/ingest/ingest_errors.h"
#include "archiver/ingest/stored_form.h"
#include "archiver/seal/signing.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

using google::protobuf::util::TimeUtil;

SourceCheck::SourceCheck(const stored::v1::ArchiveConfig* archive,
                         const base::Uuid& session_id)
    : archive_(archive), session_id_(session_id) {}

void SourceCheck::Take(uint32_t track_id, uint64_t sequence,
                       uint64_t known_after, const evidence::PacketLine& line) {
  if (archive_->sources().empty()) return;
  const auto [found, added] = tracks_.try_emplace(track_id);
  Track& track = found->second;
  if (added) track.after = known_after;
  if (!track.whole) return;
  if (track.packets.size() >= limits::kMaxSourceRun_packets ||
      (!track.packets.empty() &&
       (line.pts_ms - track.packets.front().pts_ms) * 1000 >
           limits::kUnsignedHashes_us)) {
    // Nobody signs, or too late: not to be compared until the next statement.
    track.packets = {};
    track.whole = false;
    return;
  }
  Packet& packet = track.packets.emplace_back();
  packet.sequence = sequence;
  packet.pts_ms = line.pts_ms;
  const std::string hash = evidence::LeafHash(line.Bytes());
  std::copy(hash.begin(), hash.end(), packet.hash.begin());
}

absl::Status SourceCheck::CheckSignature(
    stored::v1::Side side, uint64_t note,
    const api::v1::SourceDigest& digest) const {
  evidence::SourceStatement statement;
  statement.side = static_cast<uint8_t>(side);
  statement.track_id = digest.track_id();
  statement.first_sequence = digest.first_sequence();
  statement.last_sequence = digest.last_sequence();
  statement.packets = digest.packets();
  statement.root = digest.root();
  statement.signed_time_us =
      TimeUtil::TimestampToMicroseconds(digest.signed_time());
  const std::string signed_bytes = statement.SignedBytes(
      archive_->archive_id(), std::string(session_id_.bytes()));
  for (const stored::v1::SigningIdentity& source : archive_->sources()) {
    if (evidence::SigningKeyId(source.public_key()) != digest.key_id()) {
      continue;
    }
    if (seal::VerifySignature(source.public_key(), signed_bytes,
                              digest.signature())) {
      return absl::OkStatus();
    }
    return BadSourceSignature(ToWire(side), note, digest.key_id());
  }
  return UnknownSource(ToWire(side), note, digest.key_id());
}

absl::StatusOr<stored::v1::SourceDigest> SourceCheck::Check(
    stored::v1::Side side, uint64_t note, uint64_t received,
    const api::v1::SourceDigest& digest) {
  const auto bad = [&](absl::string_view why) {
    return BadNote(ToWire(side), note, why);
  };
  if (digest.first_sequence() == 0 ||
      digest.last_sequence() < digest.first_sequence() ||
      digest.packets() > digest.last_sequence() - digest.first_sequence() + 1) {
    return bad("a source digest's numbers do not fit one another");
  }
  if (digest.last_sequence() > received) {
    return bad("a source digest speaks of packets that have not come");
  }
  if (digest.root().size() != (digest.packets() == 0 ? 0 : 32)) {
    return bad("a source digest's root has 32 bytes, or none without packets");
  }
  if (digest.packets() > limits::kMaxSourceRun_packets) {
    return bad(absl::StrCat("a source digest has at most ",
                            limits::kMaxSourceRun_packets, " packets"));
  }
  RETURN_IF_ERROR(CheckSignature(side, note, digest));

  if (const auto found = tracks_.find(digest.track_id());
      found != tracks_.end()) {
    Track& track = found->second;
    // What was signed before, and again after a break, is not here any more.
    const bool comparable =
        track.whole && digest.first_sequence() > track.after;
    evidence::GrowingTree tree;
    size_t passed = 0;
    for (const Packet& packet : track.packets) {
      if (packet.sequence > digest.last_sequence()) break;
      ++passed;
      if (packet.sequence < digest.first_sequence()) continue;
      tree.Add(std::string(packet.hash.begin(), packet.hash.end()));
    }
    if (comparable && (tree.size() != digest.packets() ||
                       (tree.size() > 0 && tree.Root() != digest.root()))) {
      return SourceMismatch(ToWire(side), note, digest.track_id(),
                            digest.first_sequence(), digest.last_sequence());
    }
    track.packets.erase(
        track.packets.begin(),
        track.packets.begin() + static_cast<std::ptrdiff_t>(passed));
    if (!track.whole) {
      // All that came since is lost too, if anything did.
      track.whole = digest.last_sequence() == received;
      track.after = received;
    } else {
      track.after = std::max(track.after, digest.last_sequence());
    }
  }

  stored::v1::SourceDigest stored;
  stored.set_note(note);
  stored::v1::SourceStatement* statement = stored.mutable_statement();
  statement->set_side(side);
  statement->set_track_id(digest.track_id());
  statement->set_first_sequence(digest.first_sequence());
  statement->set_last_sequence(digest.last_sequence());
  statement->set_packets(digest.packets());
  statement->set_root(digest.root());
  statement->set_signed_time_us(
      TimeUtil::TimestampToMicroseconds(digest.signed_time()));
  stored.set_signature(digest.signature());
  stored.set_key_id(digest.key_id());
  return stored;
}

}  // namespace diptych::ingest
