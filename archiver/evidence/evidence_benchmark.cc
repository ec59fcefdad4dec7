// What sealing and evidence cost beside one AEAD pass and two SHA-256 passes
// over the same bytes, in the same run: the counter `ratio`, of the fastest
// second of each. A second is one chunk of both sides; what is done to it is
// what ingest does (archiver/ingest/session_writer.cc, source_check.cc),
// without muxing: the payloads' hashes, the source tree's leaves, the tracks'
// leaves, the seal, the record's digest; every tenth time also the manifest
// with its track roots, new keys, and the gateway's statements with their
// signatures.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "archiver/base/ids.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/evidence/segment_tracks.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/session_sealer.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::evidence {
namespace {

constexpr int kChunksPerSegment = 10;
constexpr int kOpusPerSecond = 50;

// CPU time of this thread.
int64_t Now_ns() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

struct Packet {
  uint32_t track_id = 0;
  bool video = false;
  bool key_frame = false;
  int64_t pts_us = 0;
  std::string payload;
};

std::vector<Packet> MakeSecond(size_t video_bytes, int frames,
                               size_t audio_bytes) {
  std::vector<Packet> packets;
  for (uint32_t side = 0; side < 2; ++side) {
    for (int i = 0; i < frames; ++i) {
      packets.push_back(
          {.track_id = side * 2 + 1,
           .video = true,
           .key_frame = i == 0,
           .pts_us = int64_t{i} * 1'000'000 / frames,
           .payload = std::string(video_bytes / static_cast<size_t>(frames),
                                  static_cast<char>(i + 1))});
    }
    for (int i = 0; i < kOpusPerSecond; ++i) {
      packets.push_back({.track_id = side * 2 + 2,
                         .pts_us = int64_t{i} * 20'000,
                         .payload = std::string(audio_bytes / kOpusPerSecond,
                                                static_cast<char>(i + 1))});
    }
  }
  return packets;
}

// One session, as the archiver has it.
class Writing {
 public:
  explicit Writing(const std::vector<Packet>& packets)
      : packets_(packets),
        session_(session_id_.bytes()),
        archive_(archive_id_.bytes()),
        sealer_(MakeSealer()) {
    for (const Packet& packet : packets) body_ += packet.payload;
  }

  // One AEAD pass and two of SHA-256 over the payload.
  void Floor() {
    benchmark::DoNotOptimize(sealer_.Seal(stored::v1::KEY_CLASS_MEDIA,
                                          log::RecordType::kChunk, "", body_));
    benchmark::DoNotOptimize(base::Sha256(body_));
    benchmark::DoNotOptimize(base::Sha256(body_));
  }

  void Second() {
    stored::v1::Chunk chunk;
    chunk.set_session_id(session_);
    chunk.set_segment(sealer_.segment());
    chunk.set_chunk(chunk_++);
    struct Leaf {
      bool video = false;
      TrackLeaf lines;
    };
    std::map<uint32_t, Leaf> leaves;
    for (const Packet& packet : packets_) {
      const std::string hash = base::Sha256(packet.payload);
      PacketLine line = {
          .pts_ms = ToMs(packet.pts_us),
          .key_frame = packet.video && packet.key_frame,
          .payload_bytes = static_cast<uint32_t>(packet.payload.size()),
          .payload_sha256 = hash};
      source_[packet.track_id].Add(LeafHash(line.Bytes()));
      leaves[packet.track_id].lines.Add(line);
    }
    for (const auto& [track_id, leaf] : leaves) {
      std::string& salt = track_salts_[track_id];
      if (salt.empty()) {
        salt = sealer_.SaltOf(stored::v1::KEY_CLASS_MEDIA,
                              seal::SaltKind::kTrack, track_id);
      }
      stored::v1::ChunkTrack* named = chunk.add_tracks();
      named->set_track_id(track_id);
      named->set_leaf(leaf.lines.Finish(ChunkSalt(salt, chunk.chunk()),
                                        session_, chunk.chunk(), track_id));
    }
    tracks_.Add(chunk);
    const std::string header = chunk.SerializeAsString();
    const std::string sealed = sealer_.Seal(
        stored::v1::KEY_CLASS_MEDIA, log::RecordType::kChunk, header, body_);
    stored::v1::SegmentChunk* listed = segment_.add_chunks();
    listed->set_chunk(chunk.chunk());
    listed->set_digest(RecordDigest(log::RecordType::kChunk, header, sealed));
    if (segment_.chunks_size() == kChunksPerSegment) EndSegment();
  }

 private:
  seal::SessionSealer MakeSealer() {
    if (!seal::InitializeCrypto().ok()) std::abort();
    stored::v1::ArchiveConfig config;
    config.set_archive_id(archive_);
    config.set_suite(seal::kSuite1);
    stored::v1::Recipient* audit = config.add_recipients();
    audit->set_name("audit");
    audit->set_public_key(seal::KeyPair::Generate("audit").public_key);
    audit->add_classes(stored::v1::KEY_CLASS_MEDIA);
    audit->add_classes(stored::v1::KEY_CLASS_METADATA);
    auto sealer = seal::SessionSealer::Create(config, session_id_, 1, 0);
    if (!sealer.ok()) std::abort();
    return *std::move(sealer);
  }

  void EndSegment() {
    tracks_.WriteTo(&segment_);
    segment_.set_previous_manifest_sha256(manifest_);
    manifest_ = ManifestHash(segment_.SerializeAsString());
    segment_.Clear();
    tracks_.Clear();
    track_salts_.clear();
    sealer_.NextSegment();
    for (auto& [track_id, tree] : source_) {
      SourceStatement statement = {.side = 1,
                                   .track_id = track_id,
                                   .first_sequence = 1,
                                   .last_sequence = tree.size(),
                                   .packets = tree.size(),
                                   .root = tree.Root()};
      const std::string bytes = statement.SignedBytes(archive_, session_);
      // The gateway's; it is not the archive's cost, and the same again.
      std::string& signature = signatures_[track_id];
      if (signature.empty()) signature = key_.Sign(bytes);
      if (!seal::VerifySignature(key_.public_key(), bytes, signature)) {
        std::abort();
      }
      tree = GrowingTree();
    }
  }

  const std::vector<Packet>& packets_;
  const base::Uuid session_id_ = base::Uuid::Random();
  const base::Uuid archive_id_ = base::Uuid::Random();
  const std::string session_;
  const std::string archive_;
  const seal::SigningKey key_ = seal::SigningKey::Generate();
  seal::SessionSealer sealer_;
  std::string body_;
  uint32_t chunk_ = 0;
  std::map<uint32_t, GrowingTree> source_;
  std::map<uint32_t, std::string> signatures_;
  std::map<uint32_t, std::string> track_salts_;
  SegmentTracks tracks_;
  stored::v1::Segment segment_;
  std::string manifest_;
};

// Bytes of video and frames a second, bytes of sound a second, of each side.
void SealAndProve(benchmark::State& state) {
  const std::vector<Packet> packets = MakeSecond(
      static_cast<size_t>(state.range(0)), static_cast<int>(state.range(1)),
      static_cast<size_t>(state.range(2)));
  Writing writing(packets);
  // Whole segments, so that what comes once in ten seconds is in each.
  int64_t floor_ns = INT64_MAX;
  int64_t cost_ns = INT64_MAX;
  for (auto _ : state) {
    const int64_t begin = Now_ns();
    for (int i = 0; i < kChunksPerSegment; ++i) writing.Floor();
    const int64_t middle = Now_ns();
    for (int i = 0; i < kChunksPerSegment; ++i) writing.Second();
    const int64_t end = Now_ns();
    floor_ns = std::min(floor_ns, middle - begin);
    cost_ns = std::min(cost_ns, end - middle);
  }
  state.counters["floor_us"] = static_cast<double>(floor_ns) / 1e4;
  state.counters["cost_us"] = static_cast<double>(cost_ns) / 1e4;
  state.counters["ratio"] =
      static_cast<double>(cost_ns) / static_cast<double>(floor_ns);
}

// Two sides at 1 Mbit/s with 15 pictures a second; two with sound alone, 64
// kbit/s.
BENCHMARK(SealAndProve)
    ->ArgNames({"video", "frames", "sound"})
    ->Args({117'000, 15, 8'000})
    ->Args({0, 0, 8'000});

}  // namespace
}  // namespace diptych::evidence
