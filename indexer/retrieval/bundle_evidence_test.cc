#include "indexer/retrieval/bundle_evidence.h"

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"
#include "indexer/retrieval/packet_merger.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

// `form` is added to the window's size: 0 for zlib's frame, 16 for gzip's.
std::string Inflate(const std::string& compressed, int form) {
  z_stream stream = {};
  EXPECT_EQ(inflateInit2(&stream, MAX_WBITS + form), Z_OK);
  std::string bytes(64 << 20, '\0');
  std::string in = compressed;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0u);
  bytes.resize(stream.total_out);
  inflateEnd(&stream);
  return bytes;
}

ChunkedPacket Packet(uint32_t track, int64_t pts_us, bool key,
                     const std::string& payload) {
  ChunkedPacket packet;
  packet.info.track_id = track;
  packet.info.pts_us = pts_us;
  packet.info.key_frame = key;
  packet.chunk_body = std::make_shared<const std::string>(payload);
  packet.payload = *packet.chunk_body;
  return packet;
}

// A video and a sound track, of which the video has two segments.
class BundleEvidenceTest : public ::testing::Test {
 protected:
  BundleEvidenceTest() {
    for (const uint32_t id : {1, 2}) {
      evidence_.tracks[id].set_track_id(id);
      evidence_.tracks[id].set_codec(id == 1 ? api::v1::CODEC_VP8
                                             : api::v1::CODEC_OPUS);
    }
    TrackClip video;
    video.track_id = 1;
    video.runs.resize(2);
    video.runs[0].pairs = {{7, 3, "leaf"}};
    video.runs[0].before = 1;
    video.runs[1].pairs = {{8, 2, "leaf"}, {9, 4, "leaf"}};
    video.runs[1].after = 2;
    video.before = {Packet(1, -1500, true, "first")};
    video.after = {Packet(1, 20'000'499, false, "last but one"),
                   Packet(1, 20'066'501, false, "last")};
    video.sources.resize(2);
    video.sources[0].packets = 4;
    video.sources[0].record = 700;
    video.sources[0].first = 2;
    video.sources[0].others = {"other"};
    video.sources[1].packets = 5;
    TrackClip sound;
    sound.track_id = 2;
    sound.runs.resize(1);
    sound.runs[0].pairs = {{8, 50, "leaf"}};
    sound.runs[0].after = 1;
    sound.after = {Packet(2, 19'000'000, true, "sound")};
    evidence_.clips = {video, sound};
    evidence_.segments.resize(2);
    EvidenceRun run;
    run.track_id = 1;
    run.run = &evidence_.clips[0].runs[0];
    run.first = 4;
    run.salts = {"salt of a chunk"};
    run.others = {"a", "b"};
    evidence_.segments[0].runs = {run};
    run.run = &evidence_.clips[0].runs[1];
    run.first = 0;
    run.track_salt = "salt of the track";
    EvidenceRun of_sound = run;
    of_sound.track_id = 2;
    of_sound.run = &evidence_.clips[1].runs[0];
    evidence_.segments[1].runs = {run, of_sound};
    evidence_.segments[1].manifest = 1;
    evidence_.manifests = {{"first", "", 100, ""},
                           {"second", "", 200, "proofs/x"}};
    evidence_.opened = {"opened", "", 50, "proofs/opened"};
    evidence_.access = {"access", "hash", 900, "proofs/access"};
    evidence_.disclosed.records[800] = {log::RecordType::kNotes, "notes",
                                        "hash"};
    evidence_.disclosed.records[700] = {log::RecordType::kSourceDigest,
                                        "digest", ""};
    evidence_.disclosed.notes = {{800, 3, "salt", "note"}};
  }

  nlohmann::json Written() {
    std::string written;
    const absl::Status status =
        WriteEvidence(evidence_, [&](absl::string_view bytes) {
          absl::StrAppend(&written, bytes);
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    // What BUNDLE_FORMAT.md says of its beginning.
    EXPECT_EQ(absl::BytesToHexString(written.substr(0, 10)),
              "1f8b0800000000000203");
    return nlohmann::json::parse(Inflate(written, 16));
  }

  BundleEvidence evidence_;
};

TEST_F(BundleEvidenceTest, SaysWhatTheFormatHas) {
  const nlohmann::json json = Written();
  EXPECT_EQ(json["format"], "diptych-evidence-1");
  EXPECT_TRUE(json["closed"].is_null());
  EXPECT_EQ(json["records"].size(), 2u);
  // In the order of the log, and named by their places.
  EXPECT_EQ(json["records"][0]["type"], 13);
  EXPECT_FALSE(json["records"][0].contains("body_sha256"));
  EXPECT_EQ(json["records"][1]["header"], absl::Base64Escape("notes"));
  EXPECT_EQ(json["notes"][0]["record"], 1);
  EXPECT_EQ(json["sources"][0]["record"], 0);
  EXPECT_EQ(json["sources"][0]["first"], 2);
  EXPECT_FALSE(json["sources"][1].contains("record"));
  const auto& first = json["segments"][0]["tracks"][0];
  EXPECT_EQ(first["first"], 4);
  EXPECT_EQ(first["packets"], nlohmann::json({3}));
  EXPECT_EQ(first["boundary"]["before"], 1);
  EXPECT_FALSE(first.contains("salt"));
  EXPECT_EQ(first["others"].size(), 2u);
  const auto& second = json["segments"][1]["tracks"][0];
  EXPECT_EQ(second["packets"], nlohmann::json({2, 4}));
  EXPECT_EQ(second["salt"], absl::Base64Escape("salt of the track"));
  EXPECT_FALSE(second.contains("salts"));
  EXPECT_FALSE(json["manifests"][0].contains("position"));
  EXPECT_EQ(json["manifests"][1]["position"], 200);
  EXPECT_EQ(json["access"]["body_sha256"], absl::Base64Escape("hash"));
  EXPECT_TRUE(json["tracks"][0]["video"]);
  EXPECT_EQ(json["tracks"][1]["codec"], "opus");
}

TEST_F(BundleEvidenceTest, TheSameEvidenceIsTheSameBytes) {
  std::string written[2];
  for (std::string& bytes : written) {
    ASSERT_TRUE(WriteEvidence(evidence_, [&](absl::string_view piece) {
                  absl::StrAppend(&bytes, piece);
                  return absl::OkStatus();
                }).ok());
  }
  EXPECT_EQ(written[0], written[1]);
}

TEST_F(BundleEvidenceTest, MuchOfItComesInPieces) {
  // Notes that do not compress.
  uint32_t random = 1;
  for (int i = 0; i < 2000; ++i) {
    DisclosedNote note = {800, 0, "salt", ""};
    for (int j = 0; j < 1000; ++j) {
      random = random * 1664525 + 1013904223;
      note.note.push_back(static_cast<char>(random >> 24));
    }
    evidence_.disclosed.notes.push_back(note);
  }
  size_t largest = 0;
  std::string written;
  ASSERT_TRUE(WriteEvidence(evidence_, [&](absl::string_view piece) {
                largest = std::max(largest, piece.size());
                absl::StrAppend(&written, piece);
                return absl::OkStatus();
              }).ok());
  EXPECT_GT(written.size(), 1'900'000u);
  EXPECT_LE(largest, limits::kReadData_bytes);
  const nlohmann::json json = nlohmann::json::parse(Inflate(written, 16));
  EXPECT_EQ(json["notes"].size(), 2001u);
  EXPECT_EQ(json["notes"][2000]["note"],
            absl::Base64Escape(evidence_.disclosed.notes[2000].note));
}

TEST_F(BundleEvidenceTest, AReceiverThatIsGoneEndsIt) {
  EXPECT_EQ(WriteEvidence(
                evidence_,
                [](absl::string_view) { return absl::CancelledError("gone"); })
                .code(),
            absl::StatusCode::kCancelled);
}

TEST_F(BundleEvidenceTest, BoundaryPacketsLieInTheOrderOfTheRuns) {
  std::string bytes;
  ASSERT_TRUE(WriteBoundary(evidence_, [&](absl::string_view piece) {
                absl::StrAppend(&bytes, piece);
                return absl::OkStatus();
              }).ok());
  const auto packet = [](const char* track, const char* ms, const char* flags,
                         const char* length, const char* payload) {
    return absl::StrCat(
        absl::HexStringToBytes(track), absl::HexStringToBytes(ms),
        absl::HexStringToBytes(flags), absl::HexStringToBytes(length), payload);
  };
  EXPECT_EQ(
      bytes,
      packet("00000001", "ffffffffffffffff", "01", "00000005", "first") +
          packet("00000001", "0000000000004e20", "00", "0000000c",
                 "last but one") +
          packet("00000001", "0000000000004e63", "00", "00000004", "last") +
          // Of sound, key frames say nothing.
          packet("00000002", "0000000000004a38", "00", "00000005", "sound"));
}

TEST(EncodeRawMsTest, IsDifferencesAsZigzagVarints) {
  std::string compressed;
  ASSERT_TRUE(absl::Base64Unescape(EncodeRawMs({0, 0, -1, 299, 299, -150'000}),
                                   &compressed));
  EXPECT_EQ(absl::BytesToHexString(Inflate(compressed, 0)),
            // 0, 0, -1, 300, 0, -150299
            "000001d80400b5ac12");
}

}  // namespace
}  // namespace diptych::indexer
