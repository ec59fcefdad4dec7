#include "tools/diptych/verify/gzip_text.h"

#include <zlib.h>

#include <cstddef>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace diptych::verify {
namespace {

constexpr size_t kMax_bytes = 1 << 20;

std::string Pack(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED,
                         MAX_WBITS + 16, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY),
            Z_OK);
  std::string in = text;
  std::string out(text.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(UnpackGzipTest, GivesWhatWasPacked) {
  for (const std::string& text :
       {std::string(), std::string("{}\n"), std::string(500'000, 'x')}) {
    const auto unpacked = UnpackGzip(Pack(text), kMax_bytes);
    ASSERT_TRUE(unpacked.ok()) << unpacked.status();
    EXPECT_EQ(*unpacked, text);
  }
}

TEST(UnpackGzipTest, EveryBitCounts) {
  // Of many lengths, so that the last byte is used to any bit.
  for (int length = 0; length < 24; ++length) {
    std::string text = R"({"format":"diptych-evidence-1","x":")";
    for (int i = 0; i < length; ++i) absl::StrAppend(&text, i * i % 7);
    absl::StrAppend(&text, "\"}\n");
    const std::string packed = Pack(text);
    for (size_t at = 0; at < packed.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = packed;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        EXPECT_EQ(UnpackGzip(flipped, kMax_bytes).status().code(),
                  absl::StatusCode::kDataLoss)
            << "length " << length << ", byte " << at << ", bit " << bit;
      }
    }
  }
}

TEST(UnpackGzipTest, NothingMoreAndNothingLess) {
  const std::string packed = Pack("{}\n");
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(UnpackGzip(packed.substr(0, size), kMax_bytes).ok()) << size;
  }
  EXPECT_FALSE(UnpackGzip(packed + '\0', kMax_bytes).ok());
  EXPECT_FALSE(UnpackGzip(packed + packed, kMax_bytes).ok());
}

TEST(UnpackGzipTest, ABombIsNoText) {
  EXPECT_EQ(UnpackGzip(Pack(std::string(kMax_bytes + 1, '0')), kMax_bytes)
                .status()
                .code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace diptych::verify
