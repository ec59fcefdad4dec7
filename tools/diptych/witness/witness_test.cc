#include "tools/diptych/witness/witness.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/faulty_file.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/signing.h"

namespace diptych::cli {
namespace {

using evidence::NoteKey;
using evidence::NoteKeyType;
using testing::HasSubstr;
using Loss = base::FaultyFileSystem::Loss;

constexpr char kOrigin[] = "diptych/test";
constexpr char kState[] = "/w/state";
constexpr uint64_t kTime_s = 1'800'000'000;

seal::SigningKey TestKey(char fill) {
  return seal::SigningKey::FromSeed(
      *seal::SecretKey::FromBytes(std::string(32, fill)));
}

NoteKey LogKey(char fill = 'l') {
  return {.name = kOrigin, .public_key = TestKey(fill).public_key()};
}

NoteKey WitnessName() {
  return {.name = "w1",
          .type = NoteKeyType::kCosignature,
          .public_key = TestKey('w').public_key()};
}

// A log in memory that may be forked: after `fork_at` leaves it has others.
class Log {
 public:
  explicit Log(uint64_t size, uint64_t fork_at = UINT64_MAX) : files_("/l") {
    auto writer = evidence::TileWriter::Open(&files_, "/l", 0);
    for (uint64_t i = 0; i < size; ++i) {
      const evidence::LogLeaf leaf = {
          .position = i, .digest = std::string(32, i < fork_at ? 'd' : 'f')};
      writer->Add(leaf.Data());
    }
    EXPECT_TRUE(writer->Write().ok());
  }

  std::string Checkpoint(uint64_t size, char key = 'l') {
    evidence::TileTree tree(&files_, "/l", size);
    const evidence::Checkpoint checkpoint = {
        .origin = kOrigin, .size = size, .root = tree.Root().value()};
    evidence::SignedNote note = {.text = checkpoint.ToText(), .signatures = {}};
    note.signatures.push_back(
        evidence::SignNote(note.text, kOrigin, TestKey(key)));
    return note.ToText();
  }

  Witness::FetchProof Proofs() {
    return [this](uint64_t from, uint64_t to) {
      return evidence::TileTree(&files_, "/l", to).ProveConsistency(from);
    };
  }

 private:
  base::FaultyFileSystem files_;
};

class WitnessTest : public testing::Test {
 protected:
  WitnessTest() : files_("/w"), log_(20) {
    EXPECT_TRUE(files_.CreateDirectory(kState).ok());
    EXPECT_TRUE(files_.SyncDirectory("/w").ok());
  }

  static absl::StatusOr<std::unique_ptr<Witness>> TryOpen(
      base::FaultyFileSystem* files, std::optional<NoteKey> log_key) {
    return Witness::Open({.file_system = files,
                          .state_directory = kState,
                          .log_key = std::move(log_key),
                          .name = WitnessName()},
                         TestKey('w'));
  }
  std::unique_ptr<Witness> Open() {
    auto witness = TryOpen(&files_, LogKey());
    EXPECT_TRUE(witness.ok()) << witness.status();
    return *std::move(witness);
  }

  // OK if `cosigned` is a checkpoint of that size with both signatures.
  static void ExpectCosigned(const absl::StatusOr<std::string>& cosigned,
                             uint64_t size) {
    ASSERT_TRUE(cosigned.ok()) << cosigned.status();
    const auto opened = evidence::SignedCheckpoint::Open(*cosigned, LogKey());
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->checkpoint.size, size);
    const auto line = evidence::VerifyNote(opened->note, WitnessName());
    ASSERT_TRUE(line.ok()) << line.status();
    EXPECT_EQ(line->time_s, kTime_s);
  }

  base::FaultyFileSystem files_;
  Log log_;
};

TEST_F(WitnessTest, SignsALogThatOnlyGrows) {
  auto witness = Open();
  for (const uint64_t size : {3, 4, 4, 16, 17}) {
    ExpectCosigned(witness->Sign(log_.Checkpoint(size), log_.Proofs(), kTime_s),
                   size);
    EXPECT_EQ(witness->last_size(), size);
  }
  // What it remembers outlives it, and the log's key needs no repeating.
  auto again = TryOpen(&files_, std::nullopt);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->last_size(), 17u);
}

TEST_F(WitnessTest, ALogThatWasCutIsRefusedUntilItIsBack) {
  auto witness = Open();
  ASSERT_TRUE(witness->Sign(log_.Checkpoint(10), log_.Proofs(), kTime_s).ok());
  for (int start = 0; start < 2; ++start) {
    const auto refused =
        witness->Sign(log_.Checkpoint(9), log_.Proofs(), kTime_s);
    EXPECT_TRUE(absl::IsDataLoss(refused.status())) << refused.status();
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("was cut"));
    witness = Open();
  }
  ExpectCosigned(witness->Sign(log_.Checkpoint(11), log_.Proofs(), kTime_s),
                 11);
}

TEST_F(WitnessTest, AForkedLogIsRefusedForGood) {
  for (const uint64_t size : {10, 15}) {
    base::FaultyFileSystem files("/w");
    ASSERT_TRUE(files.CreateDirectory(kState).ok());
    auto witness = TryOpen(&files, LogKey());
    ASSERT_TRUE(
        (*witness)->Sign(log_.Checkpoint(10), log_.Proofs(), kTime_s).ok());
    Log fork(20, 9);
    const auto refused =
        (*witness)->Sign(fork.Checkpoint(size), fork.Proofs(), kTime_s);
    EXPECT_TRUE(absl::IsDataLoss(refused.status())) << refused.status();
    // Both sides of the contradiction are kept.
    const auto kept = files.Content("/w/state/refused");
    ASSERT_TRUE(kept.has_value());
    EXPECT_THAT(*kept, HasSubstr(log_.Checkpoint(10)));
    EXPECT_THAT(*kept, HasSubstr(fork.Checkpoint(size)));
    EXPECT_TRUE(absl::IsDataLoss(TryOpen(&files, LogKey()).status()));
  }
}

TEST_F(WitnessTest, AProofOfAnotherLogDoesNotHelpAFork) {
  auto witness = Open();
  ASSERT_TRUE(witness->Sign(log_.Checkpoint(10), log_.Proofs(), kTime_s).ok());
  Log fork(20, 9);
  EXPECT_TRUE(absl::IsDataLoss(
      witness->Sign(fork.Checkpoint(15), log_.Proofs(), kTime_s).status()));
}

TEST_F(WitnessTest, SignsNothingThatIsNotTheLogs) {
  auto witness = Open();
  Log& log = log_;
  EXPECT_TRUE(absl::IsDataLoss(
      witness->Sign(log.Checkpoint(5, 'x'), log.Proofs(), kTime_s).status()));
  EXPECT_TRUE(
      absl::IsDataLoss(witness->Sign("", log.Proofs(), kTime_s).status()));
  std::string bad = log.Checkpoint(5);
  // The size.
  bad[sizeof(kOrigin)] = '6';
  EXPECT_TRUE(
      absl::IsDataLoss(witness->Sign(bad, log.Proofs(), kTime_s).status()));
  EXPECT_EQ(witness->last_size(), 0u);
  // A proof that can't be had is no contradiction.
  ASSERT_TRUE(witness->Sign(log.Checkpoint(5), log.Proofs(), kTime_s).ok());
  const auto no_answer = [](uint64_t, uint64_t) {
    return absl::StatusOr<std::vector<std::string>>(
        absl::UnavailableError("gone"));
  };
  EXPECT_TRUE(absl::IsUnavailable(
      witness->Sign(log.Checkpoint(6), no_answer, kTime_s).status()));
  // Nor is one that has not the form of one.
  const auto no_proof = [](uint64_t, uint64_t) {
    return absl::StatusOr<std::vector<std::string>>({"short"});
  };
  EXPECT_TRUE(absl::IsDataLoss(
      witness->Sign(log.Checkpoint(6), no_proof, kTime_s).status()));
  EXPECT_FALSE(files_.Content("/w/state/refused").has_value());
  ExpectCosigned(witness->Sign(log.Checkpoint(6), log.Proofs(), kTime_s), 6);
}

TEST_F(WitnessTest, IsOneLogsWitness) {
  EXPECT_TRUE(
      absl::IsFailedPrecondition(TryOpen(&files_, std::nullopt).status()));
  Open();
  EXPECT_TRUE(
      absl::IsFailedPrecondition(TryOpen(&files_, LogKey('x')).status()));
}

TEST_F(WitnessTest, DoesNotGoOnFromAStateThatIsFalse) {
  auto witness = Open();
  ASSERT_TRUE(witness->Sign(log_.Checkpoint(10), log_.Proofs(), kTime_s).ok());
  files_.FlipBit("/w/state/checkpoint", 14, 0);
  EXPECT_TRUE(absl::IsDataLoss(TryOpen(&files_, LogKey()).status()));
}

// No cosignature leaves before its checkpoint is remembered, durably.
TEST_F(WitnessTest, RemembersWhatItSignedWhereverThePowerIsCut) {
  ASSERT_TRUE(Open()->Sign(log_.Checkpoint(5), log_.Proofs(), kTime_s).ok());
  bool done = false;
  for (uint64_t step = 1; !done; ++step) {
    ASSERT_LT(step, 30u);
    auto copy = files_.Reboot(Loss::kAll, 1);
    auto witness = TryOpen(copy.get(), LogKey());
    ASSERT_TRUE(witness.ok());
    copy->CutPowerAt(copy->operations() + step);
    done = (*witness)->Sign(log_.Checkpoint(9), log_.Proofs(), kTime_s).ok();
    for (const Loss loss : {Loss::kAll, Loss::kTail, Loss::kSectors}) {
      auto after = copy->Reboot(loss, step);
      auto again = TryOpen(after.get(), LogKey());
      ASSERT_TRUE(again.ok()) << again.status() << " at step " << step;
      EXPECT_TRUE((*again)->last_size() == 9 ||
                  (!done && (*again)->last_size() == 5))
          << step;
    }
  }
}

}  // namespace
}  // namespace diptych::cli
