#include "archiver/evidence/timestamp.h"

#include <cstddef>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/test_authority.h"

namespace diptych::evidence {
namespace {

class TimestampTest : public testing::Test {
 protected:
  TimestampTest()
      : request_(MakeTimestampRequest(kData).value()),
        response_(authority_.Answer(request_)) {}

  static constexpr char kData[] = "a checkpoint\n";

  const TestAuthority authority_;
  const std::string request_;
  const std::string response_;
};

TEST_F(TimestampTest, SaysWhenTheDataWasThere) {
  const auto stamp = VerifyTimestamp(response_, kData, authority_.ca_pem());
  ASSERT_TRUE(stamp.ok()) << stamp.status();
  EXPECT_LT(absl::AbsDuration(stamp->time - absl::Now()), absl::Minutes(1));
  EXPECT_EQ(stamp->imprint, base::Sha256(kData));
  EXPECT_EQ(stamp->serial, "07");
  EXPECT_TRUE(CheckTimestampAnswer(request_, response_).ok());
  EXPECT_EQ(ParseTimestamp(response_)->imprint, base::Sha256(kData));
}

TEST_F(TimestampTest, IsOfOneRequest) {
  // The same data, another nonce.
  const std::string again = MakeTimestampRequest(kData).value();
  EXPECT_NE(again, request_);
  EXPECT_TRUE(
      absl::IsInvalidArgument(CheckTimestampAnswer(again, response_).status()));
  const std::string other = MakeTimestampRequest("other").value();
  EXPECT_TRUE(
      absl::IsInvalidArgument(CheckTimestampAnswer(other, response_).status()));
  EXPECT_TRUE(absl::IsDataLoss(
      VerifyTimestamp(response_, "other", authority_.ca_pem()).status()));
}

TEST_F(TimestampTest, IsOfOneAuthority) {
  const TestAuthority other;
  EXPECT_TRUE(absl::IsDataLoss(
      VerifyTimestamp(response_, kData, other.ca_pem()).status()));
  // Among others it is found.
  EXPECT_TRUE(
      VerifyTimestamp(response_, kData, other.ca_pem() + authority_.ca_pem())
          .ok());
  for (const char* const ca : {"", "text", "-----BEGIN CERTIFICATE-----\n"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        VerifyTimestamp(response_, kData, ca).status()));
  }
}

// Every byte is looked at, or is one that means nothing; none crashes.
TEST_F(TimestampTest, AFlippedBitMakesItFalseOrChangesNothing) {
  size_t refused = 0;
  for (size_t i = 0; i < response_.size(); ++i) {
    std::string bad = response_;
    bad[i] ^= 1;
    const auto stamp = VerifyTimestamp(bad, kData, authority_.ca_pem());
    if (!stamp.ok()) {
      ++refused;
      continue;
    }
    EXPECT_EQ(stamp->time, ParseTimestamp(response_)->time) << i;
    EXPECT_EQ(stamp->imprint, base::Sha256(kData)) << i;
  }
  EXPECT_GT(refused, response_.size() * 9 / 10);
  for (size_t size = 0; size < response_.size(); ++size) {
    EXPECT_FALSE(ParseTimestamp(response_.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(ParseTimestamp(response_ + "x").ok());
}

TEST_F(TimestampTest, RefusesWhatIsNoStamp) {
  EXPECT_FALSE(ParseTimestamp("").ok());
  EXPECT_FALSE(ParseTimestamp(request_).ok());
  EXPECT_FALSE(
      ParseTimestamp(std::string(limits::kMaxTimestamp_bytes + 1, '\x30'))
          .ok());
  // It could not read what was asked, and says so.
  const std::string refused = authority_.Answer("nonsense");
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTimestamp(refused).status()));
  // Over SHA-1, with the bytes of the algorithm's name put in its place.
  std::string sha1 = request_;
  const std::string name_of_sha256(
      "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65"
      "\x03\x04\x02\x01\x05\x00\x04\x20",
      19);
  const size_t at = sha1.find(name_of_sha256);
  ASSERT_NE(at, std::string::npos);
  sha1.replace(at, name_of_sha256.size() + 32,
               std::string("\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05"
                           "\x00\x04\x14",
                           15) +
                   std::string(20, 'h'));
  // The whole is shorter by as much.
  sha1[1] = static_cast<char>(sha1[1] - 16);
  EXPECT_TRUE(absl::IsInvalidArgument(
      ParseTimestamp(authority_.Answer(sha1)).status()));
}

}  // namespace
}  // namespace diptych::evidence
