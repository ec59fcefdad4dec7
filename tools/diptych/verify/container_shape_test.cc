#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "tools/diptych/verify/matroska_shape.h"
#include "tools/diptych/verify/mp4_shape.h"

namespace diptych::verify {
namespace {

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

std::string Hex(absl::string_view digits) {
  return absl::HexStringToBytes(digits);
}

// An element whose id is given in hexadecimal, with a size of 8 bytes.
std::string Element(absl::string_view id, const std::string& value) {
  std::string size(1, '\x01');
  for (int shift = 48; shift >= 0; shift -= 8) {
    size.push_back(static_cast<char>(value.size() >> shift));
  }
  return Hex(id) + size + value;
}

std::string WithCrc(absl::string_view id, const std::string& value) {
  const auto crc = static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(value.data()),
            static_cast<uInt>(value.size())));
  std::string stored;
  for (int i = 0; i < 4; ++i) stored.push_back(static_cast<char>(crc >> 8 * i));
  return Element(id, Hex("bf84") + stored + value);
}

const std::string kHeader = Hex(
    "1a45dfa3a34286810142f7810142f2810442f381084282886d6174726f736b614287810442"
    "858102");
const std::string kInfo = WithCrc("1549a966", Element("2ad7b1", Hex("0f4240")));
const std::string kBlock = Element("a3", Hex("81000080") + "payload");

std::string Cluster(const std::string& blocks) {
  return WithCrc("1f43b675", Element("e7", std::string(1, '\0')) + blocks);
}

std::string File(const std::string& parts) {
  return kHeader + Element("18538067", parts);
}

absl::Status Matroska(const std::string& bytes) {
  MemoryFile file(bytes);
  return CheckMatroskaShape(&file, "f.mkv");
}

void ExpectFalse(const absl::Status& status, absl::string_view words) {
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StartsWith(status.message(), "f.m")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), words)) << status;
}

TEST(MatroskaShapeTest, TakesWhatExportsHave) {
  EXPECT_TRUE(Matroska(File(kInfo + Cluster(kBlock))).ok());
  EXPECT_TRUE(Matroska(File(Element("ec", std::string(9, '\0')) + kInfo)).ok());
}

TEST(MatroskaShapeTest, EveryFlippedBitIsFound) {
  const std::string good = File(kInfo + Cluster(kBlock + kBlock));
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bad = good;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << i % 8));
    EXPECT_FALSE(Matroska(bad).ok()) << "bit " << i;
  }
}

TEST(MatroskaShapeTest, EveryCutIsFound) {
  const std::string good = File(kInfo + Cluster(kBlock));
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(Matroska(good.substr(0, i)).ok()) << i;
  }
}

TEST(MatroskaShapeTest, RefusesWhatExportsNeverHave) {
  ExpectFalse(Matroska(File(kInfo + WithCrc("1941a469", ""))), "1941a469");
  ExpectFalse(Matroska(File(kInfo + WithCrc("1043a770", ""))), "1043a770");
  ExpectFalse(Matroska(File(kInfo) + kInfo), "byte ");
  ExpectFalse(Matroska(File(kInfo) + File(kInfo)), "twice");
  // Of two, a reader takes the one it likes.
  EXPECT_TRUE(Matroska(File(kInfo)).ok());
  ExpectFalse(Matroska(File(kInfo + kInfo)), "twice");
  ExpectFalse(Matroska(File(Element("ec", "text"))), "empty");
  ExpectFalse(
      Matroska(File(WithCrc("1549a966", Element("2ad7b1", Hex("0f4241"))))),
      "ms");
  ExpectFalse(Matroska(File(Element("1549a966", ""))), "byte ");
}

TEST(MatroskaShapeTest, RefusesDelaysThatAreNotTheCodecs) {
  const auto track = [](const std::string& values) {
    return File(WithCrc("1654ae6b", Element("ae", values)));
  };
  // 312 samples at 48 kHz.
  const std::string opus =
      Element("63a2", "OpusHead" + Hex("0101380180bb0000000000"));
  EXPECT_TRUE(Matroska(track(opus + Element("56aa", Hex("632ea0")))).ok());
  ExpectFalse(Matroska(track(opus + Element("56aa", Hex("632ea1")))), "delay");
  ExpectFalse(Matroska(track(Element("56aa", Hex("632ea0")))), "delay");
}

TEST(MatroskaShapeTest, RefusesHiddenAndLacedBlocks) {
  for (const char* flags : {"88", "08", "82", "84", "86", "81", "90"}) {
    const std::string block =
        Element("a3", Hex("810000") + Hex(flags) + "payload");
    ExpectFalse(Matroska(File(Cluster(block))), "hidden");
  }
  // In a group a block says nothing.
  const auto group = [](absl::string_view flags) {
    return Element("a0", Element("a1", Hex("810000") + Hex(flags) + "p"));
  };
  EXPECT_TRUE(Matroska(File(Cluster(group("00")))).ok());
  ExpectFalse(Matroska(File(Cluster(group("08")))), "hidden");
}

TEST(MatroskaShapeTest, RefusesCroppedPictures) {
  const auto tracks = [](const std::string& video) {
    return File(WithCrc("1654ae6b", Element("ae", Element("e0", video))));
  };
  EXPECT_TRUE(Matroska(tracks(Element("b0", Hex("0280")))).ok());
  EXPECT_TRUE(Matroska(tracks(Element("54b2", Hex("04")))).ok());
  ExpectFalse(Matroska(tracks(Element("54dd", Hex("64")))), "54dd");
  ExpectFalse(Matroska(tracks(Element("54b0", Hex("64")))), "54b0");
  ExpectFalse(Matroska(tracks(Element("54b2", Hex("00")))), "shape");
}

// ---- MP4 ----

std::string U32(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(value >> shift));
  }
  return bytes;
}

std::string Box(const std::string& type, const std::string& body) {
  return U32(static_cast<uint32_t>(body.size() + 8)) + type + body;
}

const std::string kUnity = Hex(
    "00010000000000000000000000000000000100000000000000000000000000004000000"
    "0");

std::string MovieHeader(const std::string& matrix = kUnity) {
  return Box("mvhd", std::string(12, '\0') + U32(1000) + U32(5000) +
                         U32(0x10000) + Hex("0100") + std::string(10, '\0') +
                         matrix + std::string(28, '\0'));
}

std::string TrackHeader(uint32_t flags = 3,
                        const std::string& matrix = kUnity) {
  return Box("tkhd", U32(flags) + std::string(20, '\0') +
                         std::string(16, '\0') + matrix + std::string(8, '\0'));
}

std::string Edits(const std::vector<std::string>& entries) {
  std::string body = U32(0) + U32(static_cast<uint32_t>(entries.size()));
  for (const std::string& entry : entries) body += entry;
  return Box("edts", Box("elst", body));
}

std::string Edit(uint32_t duration, uint32_t time, uint32_t rate = 0x10000) {
  return U32(duration) + U32(time) + U32(rate);
}

std::string Movie(const std::string& header, const std::string& track) {
  return Box("ftyp", "isom") + Box("mdat", "media") +
         Box("moov", header + Box("trak", track));
}

absl::StatusOr<std::vector<ShownTime>> Mp4(const std::string& bytes) {
  MemoryFile file(bytes);
  return CheckMp4Shape(&file, "f.mp4");
}

TEST(Mp4ShapeTest, SaysWhatIsShown) {
  const auto shown = Mp4(
      Movie(MovieHeader(),
            TrackHeader() + Edits({Edit(250, 0xffffffff), Edit(2000, 10)})));
  ASSERT_TRUE(shown.ok()) << shown.status();
  ASSERT_EQ(shown->size(), 1u);
  EXPECT_EQ((*shown)[0].from_ms, 250);
  EXPECT_EQ((*shown)[0].to_ms, 2251);
}

TEST(Mp4ShapeTest, RefusesOtherEdits) {
  const auto edited = [](const std::vector<std::string>& edits) {
    return Mp4(Movie(MovieHeader(), TrackHeader() + Edits(edits))).status();
  };
  EXPECT_TRUE(edited({Edit(2000, 0)}).ok());
  ExpectFalse(edited({Edit(2000, 0), Edit(2000, 5000)}), "edit list");
  ExpectFalse(edited({Edit(1, 0xffffffff), Edit(1, 0), Edit(1, 9)}),
              "edit list");
  ExpectFalse(edited({Edit(2000, 0, 0x20000)}), "edit list");
  ExpectFalse(edited({Edit(2000, 0xffffffff)}), "edit list");
  ExpectFalse(edited({}), "edit list");
  ExpectFalse(Mp4(Movie(MovieHeader(), TrackHeader())).status(), "edit list");
}

TEST(Mp4ShapeTest, RefusesTracksThatAreHiddenOrTurned) {
  const std::string edits = Edits({Edit(2000, 0)});
  std::string turned = kUnity;
  turned[0] = 1;
  const auto with = [&](const std::string& movie, const std::string& track) {
    return Mp4(Movie(movie, track + edits)).status();
  };
  EXPECT_TRUE(with(MovieHeader(), TrackHeader()).ok());
  ExpectFalse(with(MovieHeader(), TrackHeader(2)), "hide");
  ExpectFalse(with(MovieHeader(), TrackHeader(3, turned)), "turn");
  ExpectFalse(with(MovieHeader(turned), TrackHeader()), "shape");
}

TEST(Mp4ShapeTest, RefusesOtherBoxesAndCutFiles) {
  const std::string good =
      Movie(MovieHeader(), TrackHeader() + Edits({Edit(2000, 0)}));
  ASSERT_TRUE(Mp4(good).ok());
  ExpectFalse(Mp4(good + Box("moof", "")).status(), "moof");
  ExpectFalse(Mp4(good + Box("mdat", "")).status(), "no export");
  ExpectFalse(Mp4(Movie(MovieHeader(), TrackHeader() + Edits({Edit(2000, 0)}) +
                                           Box("tref", "")))
                  .status(),
              "tref");
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(Mp4(good.substr(0, i)).ok()) << i;
  }
}

}  // namespace
}  // namespace diptych::verify
