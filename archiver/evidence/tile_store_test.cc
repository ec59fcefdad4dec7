#include "archiver/evidence/tile_store.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/faulty_file.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/evidence/tree_proof.h"

namespace diptych::evidence {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kFolder[] = "/a/tlog";

// Positions grow by 1000, digests differ.
LogLeaf TestLeaf(uint64_t index) {
  std::string digest(32, 'd');
  for (int i = 0; i < 8; ++i) digest[i] = static_cast<char>(index >> (8 * i));
  return {.position = 48 + index * 1000, .digest = digest};
}

class TileStoreTest : public testing::Test {
 protected:
  TileStoreTest() : files_("/a") {
    EXPECT_TRUE(files_.CreateDirectory(kFolder).ok());
    EXPECT_TRUE(files_.SyncDirectory("/a").ok());
  }

  TileWriter Writer(uint64_t size) {
    auto writer = TileWriter::Open(&files_, kFolder, size);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }

  // Publishes the tree at each of the sizes.
  void Grow(const std::vector<uint64_t>& sizes) {
    for (const uint64_t size : sizes) {
      TileWriter writer = Writer(hashes_.size());
      while (writer.size() < size) {
        writer.Add(TestLeaf(writer.size()).Data());
        hashes_.push_back(LeafHash(TestLeaf(hashes_.size()).Data()));
      }
      ASSERT_TRUE(writer.Write().ok());
      writer.RemovePartials();
    }
  }

  std::string RootAt(uint64_t size) const {
    return RootOf({hashes_.begin(), hashes_.begin() + static_cast<long>(size)});
  }

  TileTree Tree(uint64_t size) { return TileTree(&files_, kFolder, size); }

  base::FaultyFileSystem files_;
  std::vector<std::string> hashes_;
};

TEST_F(TileStoreTest, PathsAreThoseOfTheSpecification) {
  EXPECT_EQ(TilePath(0, 1234067, kTileWidth), "tile/0/x001/x234/067");
  EXPECT_EQ(TilePath(63, 5, 17), "tile/63/005.p/17");
  EXPECT_EQ(EntriesPath(1000, 1), "tile/entries/x001/000.p/1");
  EXPECT_EQ(EntriesPath(0, kTileWidth), "tile/entries/000");
}

// The specification's example: 273 whole tiles, and partial ones of 112, 17, 1.
TEST_F(TileStoreTest, ATreeOf70000HasTheTilesOfTheSpecification) {
  Grow({70'000});
  EXPECT_TRUE(files_.Content("/a/tlog/tile/0/272").has_value());
  EXPECT_EQ(files_.Content("/a/tlog/tile/0/272")->size(), 8192u);
  EXPECT_EQ(files_.Content("/a/tlog/tile/0/273"), std::nullopt);
  EXPECT_EQ(files_.Content("/a/tlog/tile/0/273.p/112")->size(), 112u * 32);
  EXPECT_EQ(files_.Content("/a/tlog/tile/1/000")->size(), 8192u);
  EXPECT_EQ(files_.Content("/a/tlog/tile/1/001.p/17")->size(), 17u * 32);
  EXPECT_EQ(files_.Content("/a/tlog/tile/2/000.p/1"), RootAt(65'536));
  const std::string entries =
      files_.Content("/a/tlog/tile/entries/273.p/112").value();
  EXPECT_EQ(entries.size(), 112u * 42);
  EXPECT_EQ(entries.substr(0, 42),
            std::string("\0\x28", 2) + TestLeaf(273 * 256).Data());
  EXPECT_EQ(*Tree(70'000).Root(), RootAt(70'000));
}

TEST_F(TileStoreTest, EveryProofOfEverySizeHolds) {
  // Across a whole tile, published in steps.
  Grow({1, 2, 3, 7, 64, 200, 255, 256, 257, 300});
  for (uint64_t size = 1; size <= 300; size += size < 20 ? 1 : 13) {
    SCOPED_TRACE(size);
    TileTree tree = Tree(size);
    const auto root = tree.Root();
    ASSERT_TRUE(root.ok()) << root.status();
    EXPECT_EQ(*root, RootAt(size));
    for (uint64_t index = 0; index < size; ++index) {
      const auto proof = tree.ProveInclusion(index);
      ASSERT_TRUE(proof.ok()) << proof.status();
      EXPECT_TRUE(
          VerifyInclusion(hashes_[index], index, size, *proof, *root).ok());
      EXPECT_FALSE(
          VerifyInclusion(hashes_[index ^ 1], index, size, *proof, *root).ok());
    }
    for (uint64_t old_size = 1; old_size <= size; ++old_size) {
      const auto proof = tree.ProveConsistency(old_size);
      ASSERT_TRUE(proof.ok()) << proof.status();
      EXPECT_TRUE(
          VerifyConsistency(old_size, size, RootAt(old_size), *root, *proof)
              .ok())
          << old_size;
      // A fork: the older tree was another.
      EXPECT_FALSE(
          VerifyConsistency(old_size, size, LeafHash("x"), *root, *proof).ok());
    }
  }
  EXPECT_EQ(*Tree(0).Root(), EmptyRoot());
}

TEST_F(TileStoreTest, FindsLeavesByTheirRecords) {
  Grow({600});
  TileTree tree = Tree(590);
  for (uint64_t index = 0; index < 590; ++index) {
    EXPECT_EQ(tree.FindLeaf(TestLeaf(index).position).value(), index);
    EXPECT_TRUE(
        absl::IsNotFound(tree.FindLeaf(TestLeaf(index).position + 1).status()));
  }
  EXPECT_TRUE(absl::IsNotFound(tree.FindLeaf(0).status()));
  // In a later tree only.
  EXPECT_TRUE(absl::IsNotFound(tree.FindLeaf(TestLeaf(590).position).status()));
  EXPECT_EQ(tree.Leaf(589)->digest, TestLeaf(589).digest);
  EXPECT_TRUE(absl::IsInvalidArgument(tree.Leaf(590).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(tree.ProveInclusion(590).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(tree.ProveConsistency(0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(tree.ProveConsistency(591).status()));
}

TEST_F(TileStoreTest, PartialTilesStayUntilTheirWholeTileIsThere) {
  Grow({5, 9});
  EXPECT_THAT(*files_.List("/a/tlog/tile/0/000.p"), ElementsAre("5", "9"));
  EXPECT_THAT(*files_.List("/a/tlog/tile/entries/000.p"),
              ElementsAre("5", "9"));
  Grow({256});
  EXPECT_FALSE(files_.List("/a/tlog/tile/0/000.p").ok());
  EXPECT_FALSE(files_.List("/a/tlog/tile/entries/000.p").ok());
  EXPECT_EQ(*Tree(7).Root(), RootAt(7));
  EXPECT_EQ(Tree(7).Leaf(6)->digest, TestLeaf(6).digest);
}

TEST_F(TileStoreTest, PartialTilesThatSomebodyDidNotComeToRemoveGoLater) {
  Grow({5});
  TileWriter killed = Writer(5);
  for (uint64_t i = 5; i < 256; ++i) killed.Add(TestLeaf(i).Data());
  ASSERT_TRUE(killed.Write().ok());
  EXPECT_TRUE(files_.List("/a/tlog/tile/0/000.p").ok());
  TileWriter next = Writer(256);
  next.RemovePartials();
  EXPECT_FALSE(files_.List("/a/tlog/tile/0/000.p").ok());
  EXPECT_FALSE(files_.List("/a/tlog/tile/entries/000.p").ok());
}

TEST_F(TileStoreTest, NamesATileThatIsLostOrCutShort) {
  Grow({300});
  ASSERT_TRUE(files_.Remove("/a/tlog/tile/0/000").ok());
  const auto lost = Tree(300).Root();
  // The tile above has its root; its leaves are needed for a proof.
  EXPECT_TRUE(lost.ok()) << lost.status();
  const auto proof = Tree(300).ProveInclusion(3);
  EXPECT_TRUE(absl::IsNotFound(proof.status()));
  EXPECT_THAT(std::string(proof.status().message()), HasSubstr("tile/0/000"));

  ASSERT_TRUE(files_.Truncate("/a/tlog/tile/0/001.p/44", 44 * 32 - 1).ok());
  const auto cut = Tree(300).Root();
  EXPECT_TRUE(absl::IsDataLoss(cut.status())) << cut.status();
  EXPECT_THAT(std::string(cut.status().message()), HasSubstr("001.p/44"));

  files_.FlipBit("/a/tlog/tile/entries/001.p/44", 42, 0);
  EXPECT_TRUE(absl::IsDataLoss(Tree(300).Leaf(299).status()));
}

// Wherever the power is cut, what has appeared is right, and the tree that was
// there before is whole.
TEST_F(TileStoreTest, APowerCutLeavesTheOlderTreeWhole) {
  using Loss = base::FaultyFileSystem::Loss;
  Grow({250});
  for (uint64_t i = 250; i < 515; ++i) {
    hashes_.push_back(LeafHash(TestLeaf(i).Data()));
  }
  bool done = false;
  for (uint64_t step = 1; !done; ++step) {
    ASSERT_LT(step, 200u);
    auto copy = files_.Reboot(Loss::kAll, 1);
    TileWriter writer = *TileWriter::Open(copy.get(), kFolder, 250);
    for (uint64_t i = 250; i < 515; ++i) writer.Add(TestLeaf(i).Data());
    copy->CutPowerAt(copy->operations() + step);
    done = writer.Write().ok();
    for (const Loss loss : {Loss::kAll, Loss::kTail, Loss::kSectors}) {
      auto after = copy->Reboot(loss, step);
      EXPECT_EQ(TileTree(after.get(), kFolder, 250).Root().value(), RootAt(250))
          << step;
      const auto root = TileTree(after.get(), kFolder, 515).Root();
      EXPECT_TRUE(done ? root.ok() : true) << root.status();
      if (root.ok()) EXPECT_EQ(*root, RootAt(515)) << step;
    }
  }
}

}  // namespace
}  // namespace diptych::evidence
