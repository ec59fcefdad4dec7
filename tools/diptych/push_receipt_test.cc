#include "tools/diptych/push_receipt.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/output.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kSession[] = "5b1c3a52-0d4e-4a86-9f0c-1c7d2a4f8e10";

api::v1::Receipt Proven() {
  api::v1::Receipt receipt;
  receipt.set_session_id(kSession);
  receipt.set_archive_id("0f8fad5b-d9cb-469f-a165-70867728950e");
  receipt.set_state(api::v1::SESSION_STATE_CLOSED);
  receipt.mutable_start_time()->set_seconds(1'700'000'000);
  receipt.mutable_closed_time()->set_seconds(1'700'000'060);
  receipt.mutable_closed_time()->set_nanos(250'000'000);
  api::v1::SideTotals* const side = receipt.add_sides();
  side->set_side(api::v1::SIDE_CLERK);
  side->set_final_sequence(12);
  side->set_packets(11);
  side->set_payload_bytes(3000);
  side->set_start_us(40'000);
  side->set_end_us(59'960'000);
  receipt.set_segments(6);
  receipt.set_manifest_sha256(std::string("\x01\xab", 2));
  receipt.set_log_position(uint64_t{1} << 60);
  receipt.set_closed_header(std::string("\x00\xff\xfe", 3));
  receipt.set_log_index(7);
  receipt.add_inclusion_proof(std::string(32, '\0'));
  receipt.add_inclusion_proof(std::string(32, '\xff'));
  receipt.set_checkpoint("diptych/0f8f\n9\nAAAA\n\n\xe2\x80\x94 x y\n");
  return receipt;
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class PushReceiptTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }

  size_t FilesIn() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(dir_), fs::directory_iterator()));
  }

  const std::string dir_ =
      absl::StrCat(std::getenv("TEST_TMPDIR"), "/push_receipt_test");
  const std::string path_ = dir_ + "/receipt.json";
};

TEST_F(PushReceiptTest, SaysWhatTheFormatSays) {
  const Json json = ReceiptJson(Proven());
  EXPECT_EQ(json["format"], "diptych-receipt-1");
  EXPECT_EQ(json["session"], kSession);
  EXPECT_EQ(json["archive"], "0f8fad5b-d9cb-469f-a165-70867728950e");
  EXPECT_EQ(json["closed_header"], "AP/+");
  EXPECT_EQ(json["log_position"].get<uint64_t>(), uint64_t{1} << 60);
  EXPECT_EQ(json["log_index"], 7);
  EXPECT_THAT(json["inclusion_proof"].get<std::vector<std::string>>(),
              ElementsAre("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                          "//////////////////////////////////////////8="));
  EXPECT_EQ(json["checkpoint"].get<std::string>(), Proven().checkpoint());
  EXPECT_EQ(json["state"], "closed");
  EXPECT_EQ(json["start_time"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(json["closed_time"], "2023-11-14T22:14:20.250Z");
  EXPECT_EQ(json["segments"], 6);
  EXPECT_EQ(json["manifest_sha256"], "01ab");
  const Json& side = json["sides"][0];
  EXPECT_EQ(side["side"], "clerk");
  EXPECT_EQ(side["final_sequence"], 12);
  EXPECT_EQ(side["packets"], 11);
  EXPECT_EQ(side["bytes"], 3000);
  EXPECT_EQ(side["start_s"], 0.04);
  EXPECT_EQ(side["end_s"], 59.96);
}

TEST_F(PushReceiptTest, AnEntryOfTheFirstPlaceIsProvenToo) {
  api::v1::Receipt receipt = Proven();
  receipt.set_log_index(0);
  receipt.clear_inclusion_proof();
  const Json json = ReceiptJson(receipt);
  EXPECT_EQ(json["log_index"], 0);
  EXPECT_EQ(json["inclusion_proof"], Json::array());
}

TEST_F(PushReceiptTest, WithoutACheckpointNothingSoundsProven) {
  api::v1::Receipt receipt = Proven();
  receipt.clear_checkpoint();
  const Json json = ReceiptJson(receipt);
  for (const char* field : {"log_index", "inclusion_proof", "checkpoint"}) {
    EXPECT_FALSE(json.contains(field)) << field;
  }
  EXPECT_EQ(json["log_position"].get<uint64_t>(), uint64_t{1} << 60);
}

TEST_F(PushReceiptTest, IsWrittenWholeAndReplacesOnlyItsOwn) {
  ASSERT_TRUE(CheckReceiptPath(path_, kSession).ok());
  EXPECT_EQ(FilesIn(), 0u);
  api::v1::Receipt receipt = Proven();
  receipt.clear_checkpoint();
  ASSERT_TRUE(WriteReceipt(path_, receipt).ok());
  EXPECT_FALSE(Json::parse(Content(path_)).contains("checkpoint"));
  ASSERT_TRUE(CheckReceiptPath(path_, kSession).ok());
  ASSERT_TRUE(WriteReceipt(path_, Proven()).ok());
  EXPECT_EQ(Json::parse(Content(path_)), ReceiptJson(Proven()));
  EXPECT_EQ(FilesIn(), 1u);
  struct stat info = {};
  stat(path_.c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  // Somebody else's proof is not written over.
  const absl::Status other =
      CheckReceiptPath(path_, "00000000-0000-4000-8000-000000000000");
  EXPECT_EQ(other.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(other.message()), HasSubstr(path_));
}

TEST_F(PushReceiptTest, WhatIsNoReceiptStays) {
  for (const char* content :
       {"", "not JSON", "[]", "{\"format\":1,\"session\":[]}",
        "{\"format\":\"diptych-receipt-1\"}"}) {
    std::ofstream(path_, std::ios::trunc) << content;
    EXPECT_EQ(CheckReceiptPath(path_, kSession).code(),
              absl::StatusCode::kAlreadyExists)
        << content;
    EXPECT_EQ(Content(path_), content);
  }
  EXPECT_FALSE(CheckReceiptPath(dir_, kSession).ok());
}

TEST_F(PushReceiptTest, AFolderThatIsNotThereIsSaidAtOnce) {
  const absl::Status status =
      CheckReceiptPath(dir_ + "/none/receipt.json", kSession);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("none/receipt.json"));
}

}  // namespace
}  // namespace diptych::cli
