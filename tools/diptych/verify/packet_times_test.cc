#include "tools/diptych/verify/packet_times.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/sha256.h"

namespace diptych::verify {
namespace {

std::string Deflate(absl::string_view text) {
  uLongf size = compressBound(text.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(text.data()), text.size());
  packed.resize(size);
  return packed;
}

class MemoryFile final : public base::ReadFile {
 public:
  explicit MemoryFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, size_t size, std::string* out) override {
    *out = offset < bytes_.size() ? bytes_.substr(offset, size) : "";
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> Size() override { return bytes_.size(); }

 private:
  const std::string bytes_;
};

TEST(UnpackRawTimesTest, AddsDifferencesUp) {
  // 5, then -3 and 64 to the one before: zigzag 10, 5, 128.
  const std::string packed = Deflate(std::string("\x0a\x05\x80\x01", 4));
  EXPECT_EQ(*UnpackRawTimes(packed, 3), (std::vector<int64_t>{5, 2, 66}));
  EXPECT_EQ(*UnpackRawTimes(Deflate(""), 0), std::vector<int64_t>());
}

TEST(UnpackRawTimesTest, RefusesOtherNumbersOfPackets) {
  const std::string packed = Deflate(std::string(3, '\0'));
  EXPECT_TRUE(UnpackRawTimes(packed, 3).ok());
  EXPECT_TRUE(absl::IsDataLoss(UnpackRawTimes(packed, 2).status()));
  EXPECT_TRUE(absl::IsDataLoss(UnpackRawTimes(packed, 4).status()));
}

TEST(UnpackRawTimesTest, RefusesWhatIsNotWhole) {
  const std::string packed = Deflate(std::string(100, '\x02'));
  EXPECT_FALSE(UnpackRawTimes("", 0).ok());
  EXPECT_FALSE(UnpackRawTimes(packed.substr(0, packed.size() - 1), 100).ok());
  EXPECT_FALSE(UnpackRawTimes(packed + "x", 100).ok());
  std::string flipped = packed;
  flipped[packed.size() - 2] ^= 1;
  EXPECT_FALSE(UnpackRawTimes(flipped, 100).ok());
  EXPECT_FALSE(UnpackRawTimes(Deflate("\x80"), 1).ok());
  EXPECT_FALSE(UnpackRawTimes(Deflate(std::string(11, '\xff')), 1).ok());
}

TEST(UnpackRawTimesTest, ABombEndsAtTheNumberOfPackets) {
  const std::string bomb = Deflate(std::string(64 << 20, '\0'));
  EXPECT_LT(bomb.size(), 1u << 20);
  EXPECT_TRUE(absl::IsDataLoss(UnpackRawTimes(bomb, 1000).status()));
}

std::string Packet(char track, char flags, absl::string_view payload) {
  std::string bytes("\0\0\0", 3);
  bytes += track;
  bytes += std::string("\0\0\0\0\0\0\x01\0", 8);
  bytes += flags;
  bytes += std::string(3, '\0');
  bytes += static_cast<char>(payload.size());
  bytes.append(payload.data(), payload.size());
  return bytes;
}

TEST(BoundaryReaderTest, ReadsPacketAfterPacket) {
  MemoryFile file(Packet(1, 1, "abc") + Packet(2, 0, "d"));
  BoundaryReader reader(&file);
  const auto first = reader.Next(1);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->pts_ms, 256);
  EXPECT_TRUE(first->key_frame);
  EXPECT_EQ(first->payload_bytes, 3u);
  EXPECT_EQ(first->payload_sha256, base::Sha256("abc"));
  EXPECT_FALSE(*reader.AtEnd());
  ASSERT_TRUE(reader.Next(2).ok());
  EXPECT_TRUE(*reader.AtEnd());
  EXPECT_TRUE(absl::IsDataLoss(reader.Next(2).status()));
}

TEST(BoundaryReaderTest, RefusesOtherTracksFlagsAndTorn) {
  const auto refused = [](const std::string& bytes) {
    MemoryFile file(bytes);
    return absl::IsDataLoss(BoundaryReader(&file).Next(1).status());
  };
  EXPECT_FALSE(refused(Packet(1, 0, "abc")));
  EXPECT_TRUE(refused(Packet(2, 0, "abc")));
  EXPECT_TRUE(refused(Packet(1, 2, "abc")));
  EXPECT_TRUE(refused(Packet(1, 0, "")));
  EXPECT_TRUE(refused(Packet(1, 0, "abc").substr(0, 19)));
  EXPECT_TRUE(refused(Packet(1, 0, "abc").substr(0, 5)));
}

}  // namespace
}  // namespace diptych::verify
