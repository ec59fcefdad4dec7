#include "archiver/media/packet_table.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace diptych::media {
namespace {

using ::testing::HasSubstr;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

// ---- A Matroska writer as small as can be, apart from the muxer's ----

std::string Id(uint32_t id) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto byte = static_cast<char>(id >> shift);
    if (!out.empty() || byte != 0) out.push_back(byte);
  }
  return out;
}

std::string Element(uint32_t id, absl::string_view content) {
  std::string out = Id(id);
  // Sizes of four bytes throughout.
  out.push_back(static_cast<char>(0x10 | content.size() >> 24));
  for (int shift = 16; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(content.size() >> shift));
  }
  return absl::StrCat(out, content);
}

std::string BlockContent(uint32_t track, absl::string_view payload,
                         char flags = 0) {
  const std::string head = {static_cast<char>(0x80 | track), 0, 5, flags};
  return absl::StrCat(head, payload);
}

std::string SimpleBlock(uint32_t track, absl::string_view payload) {
  return Element(0xA3, BlockContent(track, payload));
}

std::string BlockGroup(uint32_t track, absl::string_view payload) {
  return Element(0xA0, absl::StrCat(Element(0xA1, BlockContent(track, payload)),
                                    Element(0x9B, "\x14")));
}

std::string Timestamp() { return Element(0xE7, "\x01\x02"); }

std::string Cluster(absl::string_view children) {
  return Element(0x1F43B675, absl::StrCat(Timestamp(), children));
}

std::string UnknownSizeCluster(absl::string_view children) {
  return absl::StrCat(Id(0x1F43B675), "\xFF", Timestamp(), children);
}

// ---- Samples ----

PacketInfo Info(uint32_t track, uint64_t sequence, int64_t pts_us,
                int64_t dts_us, uint32_t payload_bytes) {
  PacketInfo info;
  info.track_id = track;
  info.sequence = sequence;
  info.pts_us = pts_us;
  info.dts_us = dts_us;
  info.payload_bytes = payload_bytes;
  return info;
}

std::vector<PacketInfo> SomePackets() {
  std::vector<PacketInfo> packets = {
      Info(1, 1, 0, -80'000, 5), Info(2, 1, 3, 3, 1),
      Info(1, 2, 80'000, -40'000, 0), Info(2, 2, 20'003, 20'003, 300),
      Info(1, 3, 40'000, 0, 2)};
  packets[0].key_frame = true;
  packets[0].discard = true;
  packets[0].duration_us = 40'000;
  packets[1].skip_start_samples = 312;
  packets[3].skip_end_samples = 77;
  packets[3].raw_offset_us = -1'234'567;
  packets[4].duration_us = 33'333;
  return packets;
}

std::string Payload(size_t row, size_t bytes) {
  return std::string(bytes, static_cast<char>('a' + row));
}

std::string SomeClusters() {
  const auto packets = SomePackets();
  std::vector<std::string> payloads;
  for (size_t i = 0; i < packets.size(); ++i) {
    payloads.push_back(Payload(i, packets[i].payload_bytes));
  }
  return absl::StrCat(
      Cluster(absl::StrCat(Element(0xAB, "\x07"), SimpleBlock(1, payloads[0]),
                           BlockGroup(2, payloads[1]))),
      UnknownSizeCluster(
          absl::StrCat(SimpleBlock(1, payloads[2]), Element(0xEC, "xxx"))),
      UnknownSizeCluster(absl::StrCat(SimpleBlock(2, payloads[3]),
                                      BlockGroup(1, payloads[4]))));
}

TEST(PacketTableTest, BodyComesBack) {
  const auto packets = SomePackets();
  const std::string clusters = SomeClusters();
  const std::string body = EncodeChunkBody(packets, clusters);
  const auto chunk = DecodeChunkBody(body);
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  EXPECT_EQ(chunk->clusters, clusters);
  ASSERT_EQ(chunk->packets.size(), packets.size());
  for (size_t i = 0; i < packets.size(); ++i) {
    EXPECT_EQ(chunk->packets[i].info, packets[i]) << i;
    EXPECT_EQ(chunk->packets[i].payload, Payload(i, packets[i].payload_bytes));
  }
}

TEST(PacketTableTest, EmptyChunkComesBack) {
  const std::string body = EncodeChunkBody({}, "");
  const auto chunk = DecodeChunkBody(body);
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  EXPECT_TRUE(chunk->packets.empty());
}

TEST(PacketTableTest, ExtremeNumbersComeBack) {
  auto packets = SomePackets();
  packets[0].pts_us = INT64_MAX;
  packets[0].dts_us = INT64_MIN;
  packets[2].pts_us = INT64_MIN;
  packets[2].dts_us = INT64_MAX;
  packets[1].sequence = UINT64_MAX;
  packets[1].duration_us = UINT64_MAX;
  packets[1].raw_offset_us = INT64_MIN;
  packets[1].skip_start_samples = UINT32_MAX;
  const std::string body = EncodeChunkBody(packets, SomeClusters());
  const auto chunk = DecodeChunkBody(body);
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  for (size_t i = 0; i < packets.size(); ++i) {
    EXPECT_EQ(chunk->packets[i].info, packets[i]) << i;
  }
}

TEST(PacketTableTest, TakesAFewBytesAPacket) {
  // A second of a call's one side: 50 audio packets, 25 pictures.
  std::vector<PacketInfo> packets;
  uint64_t sequence = 1000;
  for (int i = 0; i < 75; ++i) {
    const bool video = i % 3 == 2;
    const int64_t at_us =
        5'000'000'000 +
        (video ? (i / 3) * 40'000 + (i * 37 % 11) * 11 : (i - i / 3) * 20'000);
    packets.push_back(Info(video ? 1 : 2, sequence++, at_us, at_us,
                           video ? 2000 + i * 7 : 80));
    packets.back().duration_us = video ? 0 : 20'000;
  }
  EXPECT_LT(EncodePacketTable(packets).size(), packets.size() * 5);
}

TEST(PacketTableTest, DisagreementIsNamed) {
  auto packets = SomePackets();
  packets[3].payload_bytes = 299;
  auto chunk = DecodeChunkBody(EncodeChunkBody(packets, SomeClusters()));
  EXPECT_EQ(chunk.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(chunk.status()), HasSubstr("packet 3 of track 2"));

  packets = SomePackets();
  packets[1].track_id = 3;
  chunk = DecodeChunkBody(EncodeChunkBody(packets, SomeClusters()));
  EXPECT_EQ(chunk.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(chunk.status()), HasSubstr("its block lies on another"));

  packets = SomePackets();
  packets.pop_back();
  chunk = DecodeChunkBody(EncodeChunkBody(packets, SomeClusters()));
  EXPECT_THAT(Message(chunk.status()), HasSubstr("the clusters have more"));

  packets = SomePackets();
  packets.push_back(Info(1, 9, 0, 0, 1));
  chunk = DecodeChunkBody(EncodeChunkBody(packets, SomeClusters()));
  EXPECT_THAT(Message(chunk.status()), HasSubstr("end at packet 5"));
}

TEST(PacketTableTest, StrangeClustersAreRefused) {
  const std::vector<PacketInfo> one = {Info(1, 1, 0, 0, 1)};
  const std::string block = SimpleBlock(1, "x");
  ASSERT_TRUE(DecodeChunkBody(EncodeChunkBody(one, Cluster(block))).ok());
  const std::vector<std::string> strange = {
      // Laced.
      Cluster(Element(0xA3, BlockContent(1, "x", 0x02))),
      // Without a timestamp.
      Element(0x1F43B675, block),
      // With two.
      Cluster(absl::StrCat(Timestamp(), block)),
      // Another element between clusters, and in one.
      absl::StrCat(Cluster(block), Element(0x1C53BB6B, "cues")),
      Cluster(absl::StrCat(block, Element(0x4D80, "app"))),
      // A group with two blocks, and with none.
      Cluster(absl::StrCat(
          block,
          Element(0xA0, absl::StrCat(Element(0xA1, BlockContent(1, "x")),
                                     Element(0xA1, BlockContent(1, "x")))))),
      Cluster(absl::StrCat(block, Element(0xA0, ""))),
      // A block of unknown size.
      Cluster(absl::StrCat("\xA3\xFF", BlockContent(1, "x"))),
      // A block that is only a header's beginning.
      Cluster(absl::StrCat(block, Element(0xA3, "\x81"))),
  };
  for (size_t i = 0; i < strange.size(); ++i) {
    EXPECT_EQ(DecodeChunkBody(EncodeChunkBody(one, strange[i])).status().code(),
              absl::StatusCode::kDataLoss)
        << i;
  }
}

TEST(PacketTableTest, HugeCountAllocatesNothing) {
  // Version, length, a count of 2^62, and runs that claim as many.
  std::string table;
  for (int i = 0; i < 8; ++i) table.push_back('\x80');
  table.push_back('\x40');
  std::string body = {1, static_cast<char>(table.size())};
  body += table + Cluster(SimpleBlock(1, "x"));
  EXPECT_EQ(DecodeChunkBody(body).status().code(), absl::StatusCode::kDataLoss);
}

TEST(PacketTableTest, NoByteFlipOrCutCrashes) {
  const std::string body = EncodeChunkBody(SomePackets(), SomeClusters());
  const auto decode = [](const std::string& damaged) {
    const auto chunk = DecodeChunkBody(damaged);
    if (!chunk.ok()) {
      EXPECT_EQ(chunk.status().code(), absl::StatusCode::kDataLoss)
          << chunk.status();
      return;
    }
    // What is handed out lies inside.
    for (const ChunkPacket& packet : chunk->packets) {
      EXPECT_GE(packet.payload.data(), damaged.data());
      EXPECT_LE(packet.payload.data() + packet.payload.size(),
                damaged.data() + damaged.size());
    }
  };
  for (size_t i = 0; i < body.size(); ++i) {
    for (int bits = 1; bits < 256; ++bits) {
      std::string damaged = body;
      damaged[i] = static_cast<char>(damaged[i] ^ bits);
      decode(damaged);
    }
    // Exactly as long as it is, so that a sanitizer sees a byte too far.
    std::string cut(body.data(), i);
    cut.shrink_to_fit();
    EXPECT_FALSE(DecodeChunkBody(cut).ok()) << i;
    decode(cut);
  }
}

}  // namespace
}  // namespace diptych::media
