#include "archiver/evidence/tree_additions.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/test_authority.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/evidence/timestamp.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {
namespace {

using testing::ElementsAre;

constexpr char kOrigin[] = "diptych/test";
constexpr char kTree[] = "/a/tlog";

seal::SigningKey TestKey(char fill) {
  return seal::SigningKey::FromSeed(
      *seal::SecretKey::FromBytes(std::string(32, fill)));
}

class TreeAdditionsTest : public testing::Test {
 protected:
  TreeAdditionsTest() : files_("/a"), log_key_(TestKey('l')) {
    EXPECT_TRUE(files_.CreateDirectory(kTree).ok());
    EXPECT_TRUE(files_.SyncDirectory("/a").ok());
    Grow(3);
    NewAdditions();
  }

  void NewAdditions() {
    additions_ = std::make_unique<TreeAdditions>(
        TreeAdditions::Options{
            .file_system = &files_,
            .directory = kTree,
            .log_key = {.name = kOrigin, .public_key = log_key_.public_key()},
            .witnesses = {Witness("w1", '1'), Witness("w2", '2')}},
        &clock_);
  }

  static NoteKey Witness(const std::string& name, char key) {
    return {.name = name,
            .type = NoteKeyType::kCosignature,
            .public_key = TestKey(key).public_key()};
  }

  // The tree gets so many leaves, and a checkpoint.
  void Grow(uint64_t size) {
    TileWriter writer = *TileWriter::Open(&files_, kTree, hashes_.size());
    while (hashes_.size() < size) {
      const LogLeaf leaf = {.position = hashes_.size() * 100,
                            .digest = std::string(32, 'd')};
      writer.Add(leaf.Data());
      hashes_.push_back(LeafHash(leaf.Data()));
    }
    ASSERT_TRUE(writer.Write().ok());
    ASSERT_TRUE(
        base::ReplaceFile(&files_, "/a/tlog/checkpoint", Signed(size).ToText())
            .ok());
  }

  SignedNote Signed(uint64_t size, std::optional<std::string> root = {}) {
    const std::vector<std::string> leaves(
        hashes_.begin(), hashes_.begin() + static_cast<long>(std::min<uint64_t>(
                                               size, hashes_.size())));
    const Checkpoint checkpoint = {
        .origin = kOrigin, .size = size, .root = root.value_or(RootOf(leaves))};
    SignedNote note = {.text = checkpoint.ToText(), .signatures = {}};
    note.signatures.push_back(SignNote(note.text, kOrigin, log_key_));
    return note;
  }

  std::string Cosigned(uint64_t size, const std::string& name, char key) {
    SignedNote note = Signed(size);
    note.signatures.push_back(CosignNote(note.text, name, TestKey(key), 1000));
    return note.ToText();
  }

  // Size, and who signed.
  std::vector<std::string> Kept() {
    const auto text = files_.Content("/a/tlog/cosigned");
    if (!text.has_value()) return {};
    const auto parsed = SignedCheckpoint::Parse(*text);
    EXPECT_TRUE(parsed.ok());
    std::vector<std::string> kept = {absl::StrCat(parsed->checkpoint.size)};
    for (const auto& line : parsed->note.signatures) kept.push_back(line.name);
    return kept;
  }

  base::FaultyFileSystem files_;
  base::FakeClock clock_;
  const seal::SigningKey log_key_;
  std::vector<std::string> hashes_;
  std::unique_ptr<TreeAdditions> additions_;
};

TEST_F(TreeAdditionsTest, WitnessesLinesComeTogether) {
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(3, "w2", '2')).ok());
  EXPECT_THAT(Kept(), ElementsAre("3", kOrigin, "w2"));
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(3, "w1", '1')).ok());
  EXPECT_THAT(Kept(), ElementsAre("3", kOrigin, "w1", "w2"));
  // Fewer witnesses on a later one take nothing away.
  Grow(5);
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(5, "w1", '1')).ok());
  EXPECT_THAT(Kept(), ElementsAre("3", kOrigin, "w1", "w2"));
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(5, "w2", '2')).ok());
  EXPECT_THAT(Kept(), ElementsAre("5", kOrigin, "w1", "w2"));
  // An older one that comes late.
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(3, "w1", '1')).ok());
  EXPECT_THAT(Kept(), ElementsAre("5", kOrigin, "w1", "w2"));
}

TEST_F(TreeAdditionsTest, TheLatestOfAsManyIsKept) {
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(3, "w1", '1')).ok());
  Grow(4);
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(4, "w2", '2')).ok());
  EXPECT_THAT(Kept(), ElementsAre("4", kOrigin, "w2"));
  // After a restart too.
  NewAdditions();
  Grow(6);
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(6, "w1", '1')).ok());
  EXPECT_THAT(Kept(), ElementsAre("6", kOrigin, "w1"));
}

TEST_F(TreeAdditionsTest, AWitnessThatIsGoneDoesNotStandInTheWay) {
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(3, "w1", '1')).ok());
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(3, "w2", '2')).ok());
  Grow(5);
  clock_.Advance(limits::kWitnessesWait);
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(5, "w1", '1')).ok());
  EXPECT_THAT(Kept(), ElementsAre("3", kOrigin, "w1", "w2"));
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(additions_->AddCosignature(Cosigned(5, "w1", '1')).ok());
  EXPECT_THAT(Kept(), ElementsAre("5", kOrigin, "w1"));
}

TEST_F(TreeAdditionsTest, RefusesForgedCosignatures) {
  // Nobody's, a stranger's, a witness's name with another key, a witness's line
  // of another checkpoint, no log's signature.
  EXPECT_TRUE(
      absl::IsInvalidArgument(additions_->AddCosignature(Signed(3).ToText())));
  EXPECT_TRUE(absl::IsInvalidArgument(
      additions_->AddCosignature(Cosigned(3, "w3", '3'))));
  EXPECT_TRUE(absl::IsInvalidArgument(
      additions_->AddCosignature(Cosigned(3, "w1", '2'))));
  SignedNote moved = Signed(3);
  moved.signatures.push_back(
      CosignNote(Signed(2).text, "w1", TestKey('1'), 1000));
  EXPECT_TRUE(absl::IsDataLoss(additions_->AddCosignature(moved.ToText())));
  SignedNote unsigned_note = Signed(3);
  unsigned_note.signatures = {
      CosignNote(unsigned_note.text, "w1", TestKey('1'), 1000)};
  EXPECT_TRUE(absl::IsInvalidArgument(
      additions_->AddCosignature(unsigned_note.ToText())));
  EXPECT_TRUE(absl::IsInvalidArgument(additions_->AddCosignature("x")));
  EXPECT_THAT(Kept(), ElementsAre());
}

TEST_F(TreeAdditionsTest, NoticesWhatTheLogsKeySignedElsewhere) {
  for (const auto& [size, code] :
       {std::pair(uint64_t{3}, absl::StatusCode::kDataLoss),
        std::pair(uint64_t{9}, absl::StatusCode::kFailedPrecondition)}) {
    SignedNote fork = Signed(size, std::string(32, 'f'));
    fork.signatures.push_back(CosignNote(fork.text, "w1", TestKey('1'), 1000));
    EXPECT_EQ(additions_->AddCosignature(fork.ToText()).code(), code);
  }
  EXPECT_THAT(Kept(), ElementsAre());
}

TEST_F(TreeAdditionsTest, StrangersLinesAreNotKept) {
  SignedNote note = Signed(3);
  note.signatures.push_back(CosignNote(note.text, "w3", TestKey('3'), 1000));
  note.signatures.push_back(CosignNote(note.text, "w1", TestKey('1'), 1000));
  ASSERT_TRUE(additions_->AddCosignature(note.ToText()).ok());
  EXPECT_THAT(Kept(), ElementsAre("3", kOrigin, "w1"));
}

TEST_F(TreeAdditionsTest, KeepsTheFirstTimeStampOfASize) {
  const TestAuthority authority;
  const std::string note = Signed(3).ToText();
  const auto stamp = [&](const std::string& data) {
    return authority.Answer(MakeTimestampRequest(data).value());
  };
  const std::string first = stamp(note);
  ASSERT_TRUE(additions_->AddTimestamp(note, first).ok());
  ASSERT_TRUE(additions_->AddTimestamp(note, stamp(note)).ok());
  EXPECT_EQ(files_.Content("/a/tlog/timestamps/3.tsr"), first);
  EXPECT_EQ(files_.Content("/a/tlog/timestamps/3.checkpoint"), note);
  EXPECT_THAT(*ListTimestamps(&files_, kTree), ElementsAre(3));
  // With a witness's line it is another text.
  Grow(4);
  const std::string cosigned = Cosigned(4, "w1", '1');
  EXPECT_TRUE(absl::IsInvalidArgument(
      additions_->AddTimestamp(cosigned, stamp(Signed(4).ToText()))));
  EXPECT_TRUE(additions_->AddTimestamp(cosigned, stamp(cosigned)).ok());
  EXPECT_THAT(*ListTimestamps(&files_, kTree), ElementsAre(3, 4));
  EXPECT_TRUE(absl::IsInvalidArgument(additions_->AddTimestamp(note, "x")));
  const std::string fork = Signed(4, std::string(32, 'f')).ToText();
  EXPECT_TRUE(absl::IsDataLoss(additions_->AddTimestamp(fork, stamp(fork))));
}

TEST_F(TreeAdditionsTest, OldTimeStampsThinOut) {
  const TestAuthority authority;
  const uint64_t last = limits::kMaxTimestamps + 10;
  Grow(last);
  for (uint64_t size = 1; size < last; ++size) {
    if (size < limits::kMaxTimestamps) {
      // As if they had come long ago.
      ASSERT_TRUE(files_.CreateDirectory("/a/tlog/timestamps").ok());
      for (const std::string& path :
           {TimestampPath(size), TimestampedCheckpointPath(size)}) {
        ASSERT_TRUE(files_.WriteFile(absl::StrCat("/a/tlog/", path), "x").ok());
      }
    }
  }
  for (uint64_t size = last - 1; size <= last; ++size) {
    const std::string note = Signed(size).ToText();
    ASSERT_TRUE(
        additions_
            ->AddTimestamp(note,
                           authority.Answer(MakeTimestampRequest(note).value()))
            .ok());
  }
  const std::vector<uint64_t> sizes = *ListTimestamps(&files_, kTree);
  EXPECT_LT(sizes.size(), limits::kMaxTimestamps * 4 / 5);
  EXPECT_GT(sizes.size(), limits::kMaxTimestamps * 7 / 10);
  EXPECT_EQ(sizes.front(), 1u);
  EXPECT_EQ(sizes.back(), last);
}

}  // namespace
}  // namespace diptych::evidence
