#include "indexer/retrieval/bundle_proofs.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/evidence/tlog_proof.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/seal/signing.h"

namespace diptych::indexer {
namespace {

constexpr char kOrigin[] = "diptych/0f8fad5b-d9cb-469f-a165-70867728950e";

std::string DigestOf(log::Position position) {
  return base::Sha256(absl::StrCat("record at ", position));
}

class BundleProofsTest : public ::testing::Test {
 protected:
  BundleProofsTest() : log_key_(seal::SigningKey::Generate()) {
    std::string folder = ::testing::TempDir() + "/tlog-XXXXXX";
    folder_ = mkdtemp(folder.data());
    tree_ = {base::FileSystem::Real(), folder_, false};
  }
  ~BundleProofsTest() override { std::filesystem::remove_all(folder_); }

  // Leaves lie at positions 0, 100, 200, ...
  void Grow(uint64_t size) {
    std::vector<std::string> hashes;
    auto writer = evidence::TileWriter::Open(tree_.file_system, folder_, size_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (; size_ < size; ++size_) {
      const std::string data =
          evidence::LogLeafData(100 * size_, DigestOf(100 * size_));
      leaves_.push_back(evidence::LeafHash(data));
      writer->Add(data);
    }
    ASSERT_TRUE(writer->Write().ok());
  }

  std::string Note(uint64_t size) {
    evidence::Checkpoint checkpoint;
    checkpoint.origin = kOrigin;
    checkpoint.size = size;
    checkpoint.root = evidence::RootOf(std::vector<std::string>(
        leaves_.begin(), leaves_.begin() + static_cast<ptrdiff_t>(size)));
    evidence::SignedNote note;
    note.text = checkpoint.ToText();
    note.signatures.push_back(evidence::SignNote(note.text, kOrigin, log_key_));
    return note.ToText();
  }

  void Put(absl::string_view name, const std::string& text) {
    const std::string path = absl::StrCat(folder_, "/", name);
    std::filesystem::create_directories(
        std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }

  absl::StatusOr<BundleProofs> Await(log::Position position) {
    return BundleProofs::Await(tree_, position,
                               [] { return absl::OkStatus(); });
  }

  const seal::SigningKey log_key_;
  std::string folder_;
  LogTree tree_;
  uint64_t size_ = 0;
  std::vector<std::string> leaves_;
};

TEST_F(BundleProofsTest, ProvesEachLeafInTheCheckpoint) {
  Grow(700);
  Put("checkpoint", Note(700));
  auto proofs = Await(69'900);
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  EXPECT_EQ(proofs->checkpoint(), Note(700));
  for (const uint64_t index : {uint64_t{0}, uint64_t{255}, uint64_t{699}}) {
    const auto text = proofs->Prove(100 * index, DigestOf(100 * index));
    ASSERT_TRUE(text.ok()) << text.status();
    const auto proof = evidence::TlogProof::Parse(*text);
    ASSERT_TRUE(proof.ok()) << proof.status();
    EXPECT_EQ(proof->index, index);
    EXPECT_EQ(proof->checkpoint, proofs->checkpoint());
    EXPECT_TRUE(evidence::VerifyInclusion(leaves_[index], index, 700,
                                          proof->hashes,
                                          evidence::RootOf(leaves_))
                    .ok());
  }
  EXPECT_EQ(proofs->last_leaf(), 699u);
  EXPECT_EQ(proofs->Prove(100, DigestOf(200)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(proofs->Prove(150, DigestOf(150)).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(BundleProofsTest, WaitsUntilACheckpointHasTheLeaf) {
  Grow(10);
  Put("checkpoint", Note(9));
  int looks = 0;
  const auto proofs = BundleProofs::Await(tree_, 900, [&] {
    if (++looks == 3) Put("checkpoint", Note(10));
    return absl::OkStatus();
  });
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  EXPECT_EQ(proofs->checkpoint(), Note(10));
  EXPECT_GE(looks, 3);
}

TEST_F(BundleProofsTest, AWaitEndsWithItsCall) {
  Grow(10);
  Put("checkpoint", Note(9));
  const auto proofs = BundleProofs::Await(
      tree_, 900, [] { return absl::CancelledError("gone"); });
  EXPECT_EQ(proofs.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(BundleProofsTest, ACosignedCheckpointIsTakenIfItHasTheLeaf) {
  tree_.witnessed = true;
  Grow(12);
  Put("checkpoint", Note(12));
  const std::string cosigned = Note(11) + "\xe2\x80\x94 witness AAAAAAAA\n";
  Put("cosigned", cosigned);
  const auto proofs = Await(1000);
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  EXPECT_EQ(proofs->checkpoint(), cosigned);
}

TEST_F(BundleProofsTest, WitnessesThatNeverSignedAreNotWaitedFor) {
  tree_.witnessed = true;
  Grow(12);
  Put("checkpoint", Note(12));
  const absl::Time begun = absl::Now();
  const auto proofs = Await(1100);
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  EXPECT_LT(absl::Now() - begun, limits::kCosignatureWait);
  EXPECT_EQ(proofs->checkpoint(), Note(12));
}

TEST_F(BundleProofsTest, AnOlderCosignedOneIsAnAnchor) {
  tree_.witnessed = true;
  Grow(12);
  Put("checkpoint", Note(12));
  const std::string cosigned = Note(5) + "\xe2\x80\x94 witness AAAAAAAA\n";
  Put("cosigned", cosigned);
  const absl::Time begun = absl::Now();
  auto proofs = Await(1100);
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  EXPECT_GE(absl::Now() - begun, limits::kCosignatureWait);
  EXPECT_EQ(proofs->checkpoint(), Note(12));
  const auto anchors = proofs->Anchors(3);
  ASSERT_TRUE(anchors.ok()) << anchors.status();
  ASSERT_EQ(anchors->size(), 1u);
  EXPECT_EQ((*anchors)[0].checkpoint, cosigned);
  EXPECT_TRUE((*anchors)[0].timestamp.empty());
  const std::vector<std::string> old(leaves_.begin(), leaves_.begin() + 5);
  EXPECT_TRUE(evidence::VerifyConsistency(5, 12, evidence::RootOf(old),
                                          evidence::RootOf(leaves_),
                                          (*anchors)[0].consistency)
                  .ok());
}

TEST_F(BundleProofsTest, TimeStampsAroundTheLeafAreAnchors) {
  Grow(40);
  Put("checkpoint", Note(40));
  for (const uint64_t size : {3, 8, 15, 22, 30, 41}) {
    Put(absl::StrCat("timestamps/", size, ".checkpoint"),
        Note(std::min<uint64_t>(size, 40)));
    Put(absl::StrCat("timestamps/", size, ".tsr"),
        absl::StrCat("stamp of ", size));
  }
  auto proofs = Await(3900);
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  const auto anchors = proofs->Anchors(10);
  ASSERT_TRUE(anchors.ok()) << anchors.status();
  // The first that has the leaf, and the latest.
  ASSERT_EQ(anchors->size(), 2u);
  EXPECT_EQ((*anchors)[0].timestamp, "stamp of 15");
  EXPECT_EQ((*anchors)[1].timestamp, "stamp of 30");
  // Of 30 leaves the last is leaf 29.
  EXPECT_EQ(proofs->Anchors(29)->size(), 1u);
  EXPECT_EQ(proofs->Anchors(30)->size(), 0u);
}

TEST_F(BundleProofsTest, ACosignedCheckpointWithATimeStampIsOneAnchor) {
  Grow(40);
  Put("checkpoint", Note(40));
  const std::string cosigned = Note(15) + "\xe2\x80\x94 witness AAAAAAAA\n";
  Put("cosigned", cosigned);
  Put("timestamps/15.checkpoint", cosigned);
  Put("timestamps/15.tsr", "stamp of 15");
  auto proofs = Await(3900);
  ASSERT_TRUE(proofs.ok()) << proofs.status();
  const auto anchors = proofs->Anchors(14);
  ASSERT_TRUE(anchors.ok()) << anchors.status();
  ASSERT_EQ(anchors->size(), 1u);
  EXPECT_EQ((*anchors)[0].checkpoint, cosigned);
  EXPECT_EQ((*anchors)[0].timestamp, "stamp of 15");
  // It has leaf 14 and not leaf 15.
  EXPECT_EQ(proofs->Anchors(15)->size(), 0u);
}

TEST_F(BundleProofsTest, ACheckpointThatIsNoneIsNamed) {
  Put("checkpoint", "nothing\n");
  const auto proofs = Await(0);
  EXPECT_EQ(proofs.status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace diptych::indexer
