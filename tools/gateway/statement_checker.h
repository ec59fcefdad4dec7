#ifndef TOOLS_GATEWAY_STATEMENT_CHECKER_H_
#define TOOLS_GATEWAY_STATEMENT_CHECKER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::gateway {

// Reads what a gateway sends as an archive does, and says what is wrong with
// its statements: made from archiver/evidence/FORMAT.md alone, with nothing of
// the code that makes them.
class StatementChecker {
 public:
  StatementChecker(std::string public_key, const base::Uuid& archive_id,
                   const base::Uuid& session_id)
      : public_key_(std::move(public_key)),
        archive_id_(archive_id.bytes()),
        session_id_(session_id.bytes()) {}

  // In the order in which they were sent, also over several streams.
  void Take(const api::v1::RecordRequest& request) {
    for (const auto& side : request.open().sides()) TakeTracks(side);
    if (request.has_tracks_changed()) {
      TakeTracks(request.tracks_changed().side());
    }
    for (const auto& packet : request.packets().packets()) {
      const int side = side_of_track_[packet.track_id()];
      const std::string bytes = packet.SerializeAsString();
      const auto [had, first] =
          packets_[side].try_emplace(packet.sequence(), packet);
      if (!first && had->second.SerializeAsString() != bytes) {
        Wrong(absl::StrCat("packet ", packet.sequence(), " is another one"));
      }
    }
    for (const auto& note : request.notes().notes()) {
      if (note.has_source_digest()) TakeStatement(request.notes().side(), note);
    }
  }
  void TakeAll(const std::vector<api::v1::RecordRequest>& requests) {
    for (const auto& request : requests) Take(request);
  }

  // All that is wrong so far; empty if nothing is.
  const std::string& wrong() const { return wrong_; }
  // "FIRST-LAST/PACKETS" of a track's statements, in the order they came.
  std::string StatementsOf(uint32_t track_id) {
    std::string text;
    for (const auto& digest : statements_[track_id]) {
      absl::StrAppend(&text, text.empty() ? "" : " ", digest.first_sequence(),
                      "-", digest.last_sequence(), "/", digest.packets());
    }
    return text;
  }
  // Packets that came and that no statement speaks of.
  std::vector<uint64_t> Unsigned(int side) {
    std::vector<uint64_t> numbers;
    for (const auto& [number, packet] : packets_[side]) {
      bool covered = false;
      for (const auto& digest : statements_[packet.track_id()]) {
        covered = covered || (digest.first_sequence() <= number &&
                              number <= digest.last_sequence());
      }
      if (!covered) numbers.push_back(number);
    }
    return numbers;
  }

 private:
  using Hash = std::string;

  void Wrong(const std::string& what) { absl::StrAppend(&wrong_, what, "\n"); }

  void TakeTracks(const api::v1::OpenSide& side) {
    for (const auto& track : side.tracks()) {
      side_of_track_[track.track_id()] = side.side();
      if (track.codec() < api::v1::CODEC_OPUS) video_.insert(track.track_id());
    }
  }

  static Hash Sha256(const std::string& data) {
    Hash hash(32, '\0');
    SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
           reinterpret_cast<unsigned char*>(hash.data()));
    return hash;
  }
  static std::string Number(uint64_t value, int bytes) {
    std::string text;
    for (int i = bytes - 1; i >= 0; --i) {
      text.push_back(static_cast<char>(value >> (8 * i)));
    }
    return text;
  }
  // Of leaf data, as RFC 6962 defines it.
  static Hash Root(const std::vector<std::string>& leaves, size_t from,
                   size_t to) {
    if (to - from == 1) return Sha256(std::string(1, '\0') + leaves[from]);
    size_t half = 1;
    while (half * 2 < to - from) half *= 2;
    return Sha256("\x01" + Root(leaves, from, from + half) +
                  Root(leaves, from + half, to));
  }

  std::string Line(const api::v1::Packet& packet) {
    const int64_t us = packet.pts_us() + 500;
    const int64_t ms = us / 1000 - (us % 1000 < 0 ? 1 : 0);
    const bool key = packet.key_frame() && video_.contains(packet.track_id());
    return Number(static_cast<uint64_t>(ms), 8) + Number(key ? 1 : 0, 1) +
           Number(packet.payload().size(), 4) + Sha256(packet.payload());
  }

  bool Verify(const std::string& data, const std::string& signature) {
    EVP_PKEY* const key = EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, nullptr,
        reinterpret_cast<const unsigned char*>(public_key_.data()),
        public_key_.size());
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, key);
    const bool good =
        EVP_DigestVerify(
            context, reinterpret_cast<const unsigned char*>(signature.data()),
            signature.size(),
            reinterpret_cast<const unsigned char*>(data.data()),
            data.size()) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return good;
  }

  void TakeStatement(int side, const api::v1::Note& note) {
    const api::v1::SourceDigest& digest = note.source_digest();
    const std::string name = absl::StrCat("statement ", note.note_sequence(),
                                          " of track ", digest.track_id());
    const auto [had, first] = notes_[side].try_emplace(
        note.note_sequence(), note.SerializeAsString());
    if (!first) {
      if (had->second != note.SerializeAsString()) {
        Wrong(name + " was another one before");
      }
      return;
    }
    std::vector<std::string> lines;
    for (const auto& [number, packet] : packets_[side]) {
      if (packet.track_id() == digest.track_id() &&
          number >= digest.first_sequence() &&
          number <= digest.last_sequence()) {
        lines.push_back(Line(packet));
      }
    }
    if (packets_[side].empty() ||
        packets_[side].rbegin()->first < digest.last_sequence()) {
      Wrong(name + " came before its packets");
    }
    const Hash root = lines.empty() ? "" : Root(lines, 0, lines.size());
    if (root != digest.root() || lines.size() != digest.packets()) {
      Wrong(name + " is not of the packets that came");
    }
    const uint64_t time_us = digest.signed_time().seconds() * 1'000'000 +
                             digest.signed_time().nanos() / 1000;
    const std::string signed_bytes =
        "diptych-source-1" + archive_id_ + session_id_ + Number(side, 1) +
        Number(digest.track_id(), 4) + Number(digest.first_sequence(), 8) +
        Number(digest.last_sequence(), 8) + Number(digest.packets(), 8) +
        (root.empty() ? std::string(32, '\0') : root) + Number(time_us, 8);
    if (!Verify(signed_bytes, digest.signature())) {
      Wrong(name + " is not signed");
    }
    if (digest.key_id() != Sha256(public_key_).substr(0, 8)) {
      Wrong(name + " names another key");
    }
    statements_[digest.track_id()].push_back(digest);
  }

  const std::string public_key_;
  const std::string archive_id_;
  const std::string session_id_;
  std::map<uint32_t, int> side_of_track_;
  std::set<uint32_t> video_;
  std::map<int, std::map<uint64_t, api::v1::Packet>> packets_;
  std::map<int, std::map<uint64_t, std::string>> notes_;
  std::map<uint32_t, std::vector<api::v1::SourceDigest>> statements_;
  std::string wrong_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_STATEMENT_CHECKER_H_
