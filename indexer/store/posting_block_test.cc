#include "indexer/store/posting_block.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_test_data.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

constexpr uint32_t kGroup = limits::kPostingSkip_entries;

std::vector<PostingEntry> Forwards(PostingBlockReader* reader) {
  std::vector<PostingEntry> entries;
  for (reader->Seek(SessionNumber()); reader->Valid(); reader->Next()) {
    entries.push_back({reader->session(), reader->runs_here()});
  }
  return entries;
}

std::vector<PostingEntry> Backwards(PostingBlockReader* reader) {
  std::vector<PostingEntry> entries;
  for (reader->SeekForPrev(SessionNumber::Largest()); reader->Valid();
       reader->Prev()) {
    entries.push_back({reader->session(), reader->runs_here()});
  }
  std::reverse(entries.begin(), entries.end());
  return entries;
}

uint64_t RunsOf(const std::vector<PostingEntry>& entries) {
  uint64_t runs = 0;
  for (const PostingEntry& entry : entries) runs += entry.runs.size();
  return runs;
}

TEST(PostingBlockTest, WhatWentInComesOutBothWays) {
  PostingDice dice(1);
  for (const size_t count : {1u, 2u, 3u, kGroup - 1, kGroup, kGroup + 1,
                             2 * kGroup, 2 * kGroup + 1, 1000u, 20'000u}) {
    for (const uint64_t step : {1u, 100u, 100'000u}) {
      for (const bool short_runs : {false, true}) {
        const std::vector<PostingEntry> entries =
            dice.Entries(count, step, short_runs);
        SCOPED_TRACE(absl::StrCat(count, " entries, steps of ", step));
        const std::string bytes = EncodePostingBlock(entries);
        absl::StatusOr<PostingBlockReader> reader =
            PostingBlockReader::Open(bytes);
        ASSERT_TRUE(reader.ok()) << reader.status();
        EXPECT_EQ(reader->sessions(), entries.size());
        EXPECT_EQ(reader->runs(), RunsOf(entries));
        EXPECT_EQ(reader->min(), entries.front().session);
        EXPECT_EQ(reader->max(), entries.back().session);
        EXPECT_FALSE(reader->Valid());
        EXPECT_TRUE(Forwards(&*reader) == entries);
        EXPECT_TRUE(Backwards(&*reader) == entries);
        EXPECT_TRUE(reader->status().ok());
      }
    }
  }
}

TEST(PostingBlockTest, TheEndsOfTimeFit) {
  const std::vector<PostingEntry> entries = {
      {SessionNumber(), RunSet(0, 0)},
      {SessionNumber(0, 0xffff), RunSet(0, ~0u)},
      {SessionNumber(~0u, 0), RunSet(~0u, ~0u)},
      {SessionNumber::Largest(), RunSet(15, 22)}};
  const std::string bytes = EncodePostingBlock(entries);
  absl::StatusOr<PostingBlockReader> reader = PostingBlockReader::Open(bytes);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(Forwards(&*reader), entries);
  EXPECT_EQ(reader->runs(), (uint64_t{1} << 32) + 10);
}

TEST(PostingBlockTest, AnEmptyBlockHasNothing) {
  const std::string bytes = EncodePostingBlock({});
  absl::StatusOr<PostingBlockReader> reader = PostingBlockReader::Open(bytes);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->sessions(), 0u);
  EXPECT_EQ(reader->runs(), 0u);
  reader->Seek(SessionNumber());
  EXPECT_FALSE(reader->Valid());
  reader->SeekForPrev(SessionNumber::Largest());
  EXPECT_FALSE(reader->Valid());
  EXPECT_TRUE(reader->status().ok());
}

TEST(PostingBlockTest, SeeksFindWhatABinarySearchFinds) {
  PostingDice dice(2);
  for (const size_t count : {1u, 5u, kGroup, 5 * kGroup + 7}) {
    const std::vector<PostingEntry> entries = dice.Entries(count, 50);
    const std::string bytes = EncodePostingBlock(entries);
    PostingBlockReader reader = PostingBlockReader::Open(bytes).value();
    const uint64_t low = entries.front().session.value() - 3;
    const uint64_t span = entries.back().session.value() - low + 6;
    for (int round = 0; round < 2000; ++round) {
      const SessionNumber target =
          dice.OneIn(2) ? entries[dice.Below(count)].session
                        : SessionNumber::FromValue(low + dice.Below(span));
      const auto at = std::lower_bound(
          entries.begin(), entries.end(), target,
          [](const PostingEntry& entry, SessionNumber session) {
            return entry.session < session;
          });
      reader.Seek(target);
      ASSERT_EQ(reader.Valid(), at != entries.end());
      if (reader.Valid()) {
        EXPECT_EQ(reader.session(), at->session);
        EXPECT_EQ(reader.runs_here(), at->runs);
      }
      reader.SeekForPrev(target);
      const bool exact = at != entries.end() && at->session == target;
      ASSERT_EQ(reader.Valid(), exact || at != entries.begin());
      if (reader.Valid()) {
        EXPECT_EQ(reader.session(), (exact ? at : at - 1)->session);
      }
    }
  }
}

TEST(PostingBlockTest, ASeekUnpacksOneGroup) {
  PostingDice dice(3);
  const std::vector<PostingEntry> entries = dice.Entries(100 * kGroup, 30);
  const std::string bytes = EncodePostingBlock(entries);
  PostingBlockReader reader = PostingBlockReader::Open(bytes).value();
  EXPECT_EQ(reader.decoded(), 0u);
  reader.Seek(entries[70 * kGroup + 5].session);
  EXPECT_EQ(reader.decoded(), kGroup);
  // A group at hand is not unpacked again.
  reader.Seek(entries[70 * kGroup + 60].session);
  reader.SeekForPrev(entries[70 * kGroup + 1].session);
  EXPECT_EQ(reader.decoded(), kGroup);
}

// The bytes of the format, so that no change to it goes unseen.
TEST(PostingBlockTest, TheFormatStaysAsItIs) {
  const SessionNumber session(0x66554433, 0);
  EXPECT_EQ(absl::BytesToHexString(EncodePostingBlock({})), "0100");
  EXPECT_EQ(
      absl::BytesToHexString(EncodePostingBlock({{session, RunSet(0, 0)}})),
      "216655443300");
  EXPECT_EQ(absl::BytesToHexString(EncodePostingChange({{session, RunSet()}})),
            "61665544338000");
  EXPECT_EQ(absl::BytesToHexString(EncodePostingChange(
                {{SessionNumber(0x66554433, 3), RunSet(2, 3)}})),
            "71665544330311");
  // Codes 0, 1, 4 in 3 bits; 10 and 30 seconds after, with 3 low bits: 2 and
  // 6; high parts 1 and 3 in unary.
  EXPECT_EQ(absl::BytesToHexString(EncodePostingBlock(
                {{session, RunSet(0, 0)},
                 {SessionNumber(0x6655443d, 0), RunSet(0, 1)},
                 {SessionNumber(0x66554451, 0), RunSet(0, 4)}})),
            "010366554433"
            "0303"
            "086509");
}

TEST(PostingBlockTest, ChangesAndBlocksAreNotTakenForEachOther) {
  const PostingEntry entry = {SessionNumber(5, 0), RunSet(0, 0)};
  EXPECT_FALSE(PostingBlockReader::Open(EncodePostingChange({entry})).ok());
  EXPECT_FALSE(
      PostingBlockReader::OpenChange(EncodePostingBlock({entry})).ok());
  EXPECT_FALSE(PostingBlockReader::Open("").ok());
}

TEST(PostingBlockTest, WhatIsCutIsNotRead) {
  PostingDice dice(4);
  for (const size_t count : {1u, 2u, 30u, 3 * kGroup}) {
    const std::string bytes = EncodePostingBlock(dice.Entries(count, 1000));
    for (size_t size = 0; size < bytes.size(); ++size) {
      // A copy, so that a sanitizer sees a read behind it.
      const std::vector<char> cut(bytes.begin(),
                                  bytes.begin() + static_cast<long>(size));
      absl::StatusOr<PostingBlockReader> reader =
          PostingBlockReader::Open(absl::string_view(cut.data(), cut.size()));
      if (!reader.ok()) continue;
      Forwards(&*reader);
      EXPECT_TRUE(absl::IsDataLoss(reader->status())) << size;
    }
    const std::string longer = bytes + '\0';
    absl::StatusOr<PostingBlockReader> reader =
        PostingBlockReader::Open(longer);
    if (!reader.ok()) continue;
    Forwards(&*reader);
    EXPECT_TRUE(absl::IsDataLoss(reader->status()));
  }
}

TEST(PostingBlockTest, DamagedBytesGiveAnErrorOrEntriesInOrder) {
  PostingDice dice(5);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = EncodePostingBlock(
        dice.Entries(1 + dice.Below(round % 10 == 0 ? 300 : 20), 1000));
    if (dice.OneIn(10)) {
      for (char& byte : bytes) byte = static_cast<char>(dice.Below(256));
      bytes.front() = dice.OneIn(2) ? 1 : 0x21;
    } else {
      for (uint64_t flips = 1 + dice.Below(3); flips > 0; --flips) {
        bytes[dice.Below(bytes.size())] ^=
            static_cast<char>(1 << dice.Below(8));
      }
    }
    const std::vector<char> copy(bytes.begin(), bytes.end());
    absl::StatusOr<PostingBlockReader> reader =
        PostingBlockReader::Open(absl::string_view(copy.data(), copy.size()));
    if (!reader.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(reader.status()));
      continue;
    }
    const std::vector<PostingEntry> entries = Forwards(&*reader);
    for (size_t i = 1; i < entries.size(); ++i) {
      EXPECT_LT(entries[i - 1].session, entries[i].session);
    }
    if (reader->status().ok()) EXPECT_EQ(entries.size(), reader->sessions());
    PostingBlockReader again =
        PostingBlockReader::Open(absl::string_view(copy.data(), copy.size()))
            .value();
    Backwards(&again);
    again =
        PostingBlockReader::Open(absl::string_view(copy.data(), copy.size()))
            .value();
    again.Seek(SessionNumber::FromValue(dice.Below(uint64_t{1} << 48)));
  }
}

}  // namespace
}  // namespace diptych::indexer
