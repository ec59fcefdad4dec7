#include "archiver/evidence/publisher.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {
namespace {

using base::FaultyFileSystem;
using log::RecordType;
using testing::HasSubstr;
using Loss = FaultyFileSystem::Loss;

constexpr char kTree[] = "/a/tlog";
constexpr char kVolumes[] = "/a/volumes";
constexpr char kFirstVolume[] = "/a/volumes/0000000000000000.vol";
constexpr char kOrigin[] = "diptych/test";

seal::SigningKey LogKey(char fill = 'k') {
  return seal::SigningKey::FromSeed(
      *seal::SecretKey::FromBytes(std::string(32, fill)));
}

NoteKey PublicKey() {
  return {.name = kOrigin,
          .type = NoteKeyType::kEd25519,
          .public_key = LogKey().public_key()};
}

log::Record Leaf(int number) {
  // Those with a body and those without.
  if (number % 3 == 0) {
    return {RecordType::kAccess, "h", absl::StrCat("body ", number)};
  }
  return {RecordType::kSegment, absl::StrCat("segment ", number), ""};
}

log::Record NoLeaf() { return {RecordType::kChunk, "chunk", "media"}; }

// One archive's log and tree on a file system.
class Archive {
 public:
  explicit Archive(FaultyFileSystem* files) : files_(files) {
    log::RecoveryReport report;
    auto store = log::OpenLocalLogStore(
        files_, base::Clock::Real(),
        {.directory = kVolumes,
         .lost_and_found = "/a/lost+found",
         .archive_id = base::Uuid::FromBytes(std::string(16, 'u')).value(),
         .store = "log",
         .volume_max_bytes = 1 << 20},
        &report);
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    reader_ = std::make_unique<log::LogReader>(files_, kVolumes);
    durable_end_ = store_->durable_end();
  }

  absl::Status OpenTree(char key = 'k') {
    auto opened = TreePublisher::Open({.file_system = files_,
                                       .directory = kTree,
                                       .origin = kOrigin,
                                       .log = reader_.get(),
                                       .durable_end = durable_end_},
                                      LogKey(key));
    if (!opened.ok()) return opened.status();
    tree_ = *std::move(opened);
    return absl::OkStatus();
  }

  // To the log alone.
  std::vector<log::Position> Append(const std::vector<log::Record>& records) {
    auto positions = store_->Append(records);
    EXPECT_TRUE(positions.ok()) << positions.status();
    return *positions;
  }
  // What was appended so far is what a start finds; what comes is told.
  void MarkStart() { durable_end_ = store_->durable_end(); }
  // To the log, and told to the tree.
  std::vector<log::Position> Add(const std::vector<log::Record>& records) {
    const std::vector<log::Position> positions = Append(records);
    for (size_t i = 0; i < records.size(); ++i) {
      tree_->OnRecord(records[i], positions[i]);
    }
    return positions;
  }

  absl::StatusOr<LeafProof> Prove(log::Position position) {
    base::Mutex mutex;
    base::CondVar answered;
    std::optional<absl::StatusOr<LeafProof>> answer;
    tree_->AwaitProof(position, [&](const absl::StatusOr<LeafProof>& proof) {
      base::MutexLock lock(&mutex);
      answer = proof;
      answered.NotifyOne();
    });
    base::MutexLock lock(&mutex);
    while (!answer.has_value()) answered.Wait(&mutex);
    return *answer;
  }

  TreePublisher& tree() { return *tree_; }
  void Stop() { tree_.reset(); }

  // Hashes of all leaves that the log has, computed apart from the tree.
  std::vector<std::string> LeafHashes() const {
    std::vector<std::string> hashes;
    const auto scanned = reader_->Scan(
        {},
        [&](const log::StoredRecord& record) {
          if (IsLogLeaf(record.type)) {
            hashes.push_back(LeafHash(LogLeafData(
                record.position,
                RecordDigest(record.type, record.header, record.body))));
          }
          return absl::OkStatus();
        },
        [](const log::Damage&) { return absl::OkStatus(); });
    EXPECT_TRUE(scanned.ok()) << scanned.status();
    return hashes;
  }

 private:
  FaultyFileSystem* const files_;
  std::unique_ptr<log::LogStore> store_;
  std::unique_ptr<log::LogReader> reader_;
  log::Position durable_end_ = 0;
  std::unique_ptr<TreePublisher> tree_;
};

// The checkpoint on disk, verified; nullopt if there is none.
std::optional<Checkpoint> OnDisk(const FaultyFileSystem& files) {
  const auto text = files.Content("/a/tlog/checkpoint");
  if (!text.has_value()) return std::nullopt;
  const auto opened = SignedCheckpoint::Open(*text, PublicKey());
  EXPECT_TRUE(opened.ok()) << opened.status();
  if (!opened.ok()) return std::nullopt;
  return opened->checkpoint;
}

void RemoveAll(FaultyFileSystem* files, const std::string& path) {
  const auto names = files->List(path);
  if (names.ok()) {
    for (const std::string& name : *names) {
      RemoveAll(files, absl::StrCat(path, "/", name));
    }
  }
  EXPECT_TRUE(files->Remove(path).ok()) << path;
}

class PublisherTest : public testing::Test {
 protected:
  PublisherTest() : files_("/a") {}

  // A log with leaves [first, end), among others, and its tree.
  void Grow(int first, int end) {
    Archive archive(&files_);
    const absl::Status opened = archive.OpenTree();
    ASSERT_TRUE(opened.ok()) << opened;
    for (int i = first; i < end; ++i) archive.Add({NoLeaf(), Leaf(i)});
    archive.Stop();
    ExpectWhole(files_, archive);
  }

  // The tree has exactly the log's leaves.
  static void ExpectWhole(FaultyFileSystem& files, const Archive& archive) {
    const std::vector<std::string> hashes = archive.LeafHashes();
    const auto checkpoint = OnDisk(files);
    ASSERT_TRUE(checkpoint.has_value());
    EXPECT_EQ(checkpoint->size, hashes.size());
    EXPECT_EQ(checkpoint->root, RootOf(hashes));
    TileTree tree(&files, kTree, checkpoint->size);
    EXPECT_EQ(tree.Root().value(), checkpoint->root);
  }

  absl::Status OpenAgain() {
    Archive archive(&files_);
    return archive.OpenTree();
  }

  FaultyFileSystem files_;
};

TEST_F(PublisherTest, ProvesEveryLeafAndNothingElse) {
  Archive archive(&files_);
  ASSERT_TRUE(archive.OpenTree().ok());
  EXPECT_FALSE(archive.tree().latest().has_value());
  std::vector<log::Position> leaves;
  log::Position other = 0;
  for (int i = 0; i < 10; ++i) {
    const auto positions = archive.Add({NoLeaf(), Leaf(i)});
    other = positions[0];
    leaves.push_back(positions[1]);
  }
  const std::vector<std::string> hashes = archive.LeafHashes();
  for (size_t i = leaves.size(); i-- > 0;) {
    const auto proof = archive.Prove(leaves[i]);
    ASSERT_TRUE(proof.ok()) << proof.status();
    EXPECT_EQ(proof->index, i);
    const auto opened = SignedCheckpoint::Open(proof->checkpoint, PublicKey());
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(VerifyInclusion(hashes[i], i, opened->checkpoint.size,
                                proof->hashes, opened->checkpoint.root)
                    .ok());
  }
  EXPECT_TRUE(absl::IsNotFound(archive.Prove(other).status()));
  EXPECT_EQ(archive.tree().latest()->size, 10u);
  EXPECT_EQ(archive.tree().latest()->checkpoint,
            files_.Content("/a/tlog/checkpoint"));
}

TEST_F(PublisherTest, GoesOnAfterAStartAndFindsWhatItWasNotTold) {
  Grow(0, 5);
  const Checkpoint before = *OnDisk(files_);
  {
    // Durable, and killed before the tree had it.
    Archive archive(&files_);
    archive.Append({Leaf(5), NoLeaf(), Leaf(6)});
  }
  Grow(7, 9);
  const Checkpoint after = *OnDisk(files_);
  EXPECT_EQ(after.size, 9u);
  TileTree tree(&files_, kTree, 9);
  EXPECT_TRUE(VerifyConsistency(before.size, after.size, before.root,
                                after.root, *tree.ProveConsistency(before.size))
                  .ok());
}

TEST_F(PublisherTest, ALeafThatIsToldTwiceIsOne) {
  Archive archive(&files_);
  const auto positions = archive.Append({Leaf(0), Leaf(1)});
  archive.MarkStart();
  ASSERT_TRUE(archive.OpenTree().ok());
  archive.tree().OnRecord(Leaf(0), positions[0]);
  archive.tree().OnRecord(Leaf(1), positions[1]);
  archive.Add({Leaf(2)});
  archive.Stop();
  ExpectWhole(files_, archive);
}

TEST_F(PublisherTest, AStartWithoutNewsSignsNothing) {
  Grow(0, 3);
  const uint64_t before = files_.operations();
  const auto text = files_.Content("/a/tlog/checkpoint");
  ASSERT_TRUE(OpenAgain().ok());
  EXPECT_EQ(files_.Content("/a/tlog/checkpoint"), text);
  // The log's own syncs, and that of the tree's folder.
  EXPECT_LE(files_.operations(), before + 10);
}

// A checkpoint that anybody may have seen stays true wherever the power is cut.
TEST_F(PublisherTest, APowerCutAtEveryStepLosesNothingThatWasSigned) {
  Grow(0, 250);
  bool done = false;
  for (uint64_t step = 1; !done; ++step) {
    ASSERT_LT(step, 100u);
    SCOPED_TRACE(step);
    auto copy = files_.Reboot(Loss::kAll, 1);
    std::optional<Checkpoint> seen;
    {
      Archive archive(copy.get());
      archive.Append({Leaf(250)});
      archive.MarkStart();
      const auto positions = archive.Append(
          {Leaf(251), Leaf(252), Leaf(253), Leaf(254), Leaf(255), Leaf(256)});
      copy->CutPowerAt(copy->operations() + step);
      if (archive.OpenTree().ok()) {
        for (int i = 0; i < 6; ++i) {
          archive.tree().OnRecord(Leaf(251 + i), positions[i]);
        }
        archive.tree().Stop();
        seen = OnDisk(*copy);
      }
      done = !copy->power_is_off();
    }
    for (const Loss loss :
         {Loss::kAll, Loss::kNone, Loss::kTail, Loss::kSectors}) {
      for (uint64_t seed = 0; seed < 5; ++seed) {
        auto after = copy->Reboot(loss, seed);
        const auto found = OnDisk(*after);
        ASSERT_TRUE(found.has_value());
        Archive archive(after.get());
        const absl::Status opened = archive.OpenTree();
        ASSERT_TRUE(opened.ok()) << opened;
        archive.Stop();
        ExpectWhole(*after, archive);
        EXPECT_EQ(OnDisk(*after)->size, 257u);
        if (!seen.has_value()) continue;
        TileTree tree(after.get(), kTree, 257);
        EXPECT_TRUE(VerifyConsistency(seen->size, 257, seen->root, *tree.Root(),
                                      *tree.ProveConsistency(seen->size))
                        .ok());
      }
    }
  }
}

TEST_F(PublisherTest, AnErrorAtEveryStepOnlyDelays) {
  Grow(0, 254);
  bool done = false;
  for (uint64_t step = 1; !done; ++step) {
    ASSERT_LT(step, 100u);
    for (const auto fault : {FaultyFileSystem::Fault::kIoError,
                             FaultyFileSystem::Fault::kShortNoSpace}) {
      auto copy = files_.Reboot(Loss::kAll, 1);
      {
        Archive archive(copy.get());
        ASSERT_TRUE(archive.OpenTree().ok());
        const auto positions =
            archive.Append({Leaf(254), Leaf(255), Leaf(256), Leaf(257)});
        const uint64_t fail_at = copy->operations() + step;
        copy->FailAt(fail_at, fault);
        for (int i = 0; i < 4; ++i) {
          archive.tree().OnRecord(Leaf(254 + i), positions[i]);
        }
        archive.Stop();
        done = copy->operations() < fail_at;
      }
      copy->ClearFaults();
      Archive archive(copy.get());
      const absl::Status opened = archive.OpenTree();
      ASSERT_TRUE(opened.ok()) << opened << " at step " << step;
      archive.Stop();
      ExpectWhole(*copy, archive);
    }
  }
}

TEST_F(PublisherTest, TriesAgainByItself) {
  Archive archive(&files_);
  ASSERT_TRUE(archive.OpenTree().ok());
  const auto positions = archive.Append({Leaf(0)});
  files_.FailAt(files_.operations() + 2, FaultyFileSystem::Fault::kIoError);
  archive.tree().OnRecord(Leaf(0), positions[0]);
  const auto proof = archive.Prove(positions[0]);
  EXPECT_TRUE(proof.ok()) << proof.status();
}

TEST_F(PublisherTest, WhoeverWaitsIsAnsweredInTimeThoughTheDiskHangs) {
  Archive archive(&files_);
  ASSERT_TRUE(archive.OpenTree().ok());
  const auto positions = archive.Append({Leaf(0), Leaf(1)});
  files_.HoldSyncs();
  archive.tree().OnRecord(Leaf(0), positions[0]);
  ASSERT_TRUE(files_.WaitForHeldSync(absl::Seconds(20)));
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(archive.Prove(positions[0]).status()));
  EXPECT_LT(absl::Now() - begin, 2 * limits::kReceiptProofWait);
  files_.LetSyncsGo();
  EXPECT_TRUE(archive.Prove(positions[0]).ok());
  // Nobody will prove this one.
  std::optional<absl::Status> answer;
  archive.tree().AwaitProof(
      positions[1] + 1000, [&](const auto& proof) { answer = proof.status(); });
  archive.Stop();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*answer)) << *answer;
}

TEST_F(PublisherTest, MoreThanItRemembersIsReadFromTheLog) {
  Archive archive(&files_);
  ASSERT_TRUE(archive.OpenTree().ok());
  const auto first = archive.Append({Leaf(0)});
  files_.HoldSyncs();
  archive.tree().OnRecord(Leaf(0), first[0]);
  ASSERT_TRUE(files_.WaitForHeldSync(absl::Seconds(20)));
  // The log's own syncs would hang as well, so that it is written after.
  files_.LetSyncsGo();
  const int more = static_cast<int>(limits::kTreeQueue_leaves) + 100;
  std::vector<log::Record> records;
  for (int i = 1; i <= more; ++i) records.push_back(Leaf(i));
  std::vector<log::Position> positions;
  for (size_t i = 0; i < records.size(); i += 1000) {
    const std::vector<log::Record> part(
        records.begin() + static_cast<long>(i),
        records.begin() +
            static_cast<long>(std::min(i + 1000, records.size())));
    const auto these = archive.Append(part);
    positions.insert(positions.end(), these.begin(), these.end());
  }
  ASSERT_TRUE(archive.Prove(first[0]).ok());
  // Within one interval between checkpoints, so that nobody takes them.
  for (size_t i = 0; i < records.size(); ++i) {
    archive.tree().OnRecord(records[i], positions[i]);
  }
  archive.Stop();
  ExpectWhole(files_, archive);
}

TEST_F(PublisherTest, LostTilesAreMadeAgainFromTheLog) {
  Grow(0, 300);
  const Checkpoint before = *OnDisk(files_);
  RemoveAll(&files_, "/a/tlog/tile");
  ASSERT_TRUE(OpenAgain().ok());
  TileTree tree(&files_, kTree, before.size);
  EXPECT_EQ(tree.Root().value(), before.root);
  EXPECT_TRUE(tree.Leaf(0).ok());
  Grow(300, 301);
}

TEST_F(PublisherTest, DamagedTilesAreMadeAgainFromTheLog) {
  Grow(0, 300);
  for (const char* const path :
       {"/a/tlog/tile/0/001.p/44", "/a/tlog/tile/1/000.p/1",
        "/a/tlog/tile/entries/001.p/44"}) {
    files_.FlipBit(path, 20, 3);
    Grow(0, 0);
  }
}

TEST_F(PublisherTest, ALostTreeBeginsAgain) {
  Grow(0, 20);
  RemoveAll(&files_, kTree);
  Grow(20, 21);
}

TEST_F(PublisherTest, ALostLogIsRefused) {
  Grow(0, 10);
  RemoveAll(&files_, kVolumes);
  const absl::Status status = OpenAgain();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(PublisherTest, ALogThatWasCutIsRefused) {
  Grow(0, 10);
  const std::string whole = *files_.Content(kFirstVolume);
  // By one record, which is the smallest cut that there is.
  const LogLeaf last = TileTree(&files_, kTree, 10).Leaf(9).value();
  ASSERT_TRUE(files_.Truncate(kFirstVolume, last.position).ok());
  const absl::Status status = OpenAgain();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("was cut"));
  // It goes on refusing, also once the cut log has grown again.
  for (int i = 0; i < 3; ++i) {
    {
      Archive archive(&files_);
      archive.Append({Leaf(100 + i), NoLeaf()});
    }
    EXPECT_TRUE(absl::IsDataLoss(OpenAgain())) << i;
  }
  ASSERT_TRUE(base::ReplaceFile(&files_, kFirstVolume, whole).ok());
  EXPECT_TRUE(OpenAgain().ok());
}

// With an older checkpoint the tree still says that there was more.
TEST_F(PublisherTest, ALogThatWasCutWithItsCheckpointIsRefused) {
  Grow(0, 6);
  const std::string older = *files_.Content("/a/tlog/checkpoint");
  Grow(6, 10);
  const LogLeaf seventh = TileTree(&files_, kTree, 10).Leaf(7).value();
  ASSERT_TRUE(base::ReplaceFile(&files_, "/a/tlog/checkpoint", older).ok());
  EXPECT_TRUE(OpenAgain().ok());
  ASSERT_TRUE(base::ReplaceFile(&files_, "/a/tlog/checkpoint", older).ok());
  ASSERT_TRUE(files_.Truncate(kFirstVolume, seventh.position).ok());
  const absl::Status status = OpenAgain();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(PublisherTest, AnotherLogInItsPlaceIsRefused) {
  Grow(0, 10);
  // The last record is another of the same length; one in the middle is longer,
  // so that what follows lies elsewhere.
  const std::map<int, log::Record> others = {
      {9, {RecordType::kAccess, "h", "body x"}}, {4, Leaf(1'000'000)}};
  for (const auto& [other, record] : others) {
    FaultyFileSystem files("/a");
    {
      Archive archive(&files);
      for (int i = 0; i < 10; ++i) {
        archive.Append({NoLeaf(), i == other ? record : Leaf(i)});
      }
    }
    auto copy = files_.Reboot(Loss::kNone, 1);
    ASSERT_TRUE(base::ReplaceFile(copy.get(), kFirstVolume,
                                  *files.Content(kFirstVolume))
                    .ok());
    Archive archive(copy.get());
    const absl::Status status = archive.OpenTree();
    EXPECT_TRUE(absl::IsDataLoss(status)) << other << status;
  }
}

TEST_F(PublisherTest, DamageToARecordOfTheLogStopsNothing) {
  Grow(0, 9);
  // In the header of the last leaf's record, and in the body of one that has
  // one.
  const LogLeaf last = TileTree(&files_, kTree, 9).Leaf(8).value();
  {
    Archive archive(&files_);
    archive.Append({NoLeaf()});
  }
  files_.FlipBit(kFirstVolume, last.position + 50, 0);
  EXPECT_TRUE(OpenAgain().ok());
  Archive archive(&files_);
  ASSERT_TRUE(archive.OpenTree().ok());
  archive.Add({Leaf(9)});
  archive.Stop();
  EXPECT_EQ(OnDisk(files_)->size, 10u);
}

TEST_F(PublisherTest, AnotherKeyOrAForgedCheckpointIsRefused) {
  Grow(0, 3);
  Archive archive(&files_);
  EXPECT_TRUE(absl::IsDataLoss(archive.OpenTree('x')));
  const size_t bytes = files_.Content("/a/tlog/checkpoint")->size();
  for (size_t i = 0; i < bytes; ++i) {
    files_.FlipBit("/a/tlog/checkpoint", i, 0);
    EXPECT_TRUE(absl::IsDataLoss(archive.OpenTree())) << i;
    files_.FlipBit("/a/tlog/checkpoint", i, 0);
  }
  EXPECT_TRUE(archive.OpenTree().ok());
}

// What witnesses cosigned lies beside the checkpoint, and is believed as much.
TEST_F(PublisherTest, ATreeThatIsNotTheWitnessedOneIsRefused) {
  Grow(0, 5);
  const std::string witnessed = *files_.Content("/a/tlog/checkpoint");
  ASSERT_TRUE(files_.WriteFile("/a/tlog/cosigned", witnessed).ok());
  Grow(5, 7);
  EXPECT_TRUE(OpenAgain().ok());

  // The key signed another tree of five leaves once.
  FaultyFileSystem files("/a");
  Archive other(&files);
  ASSERT_TRUE(other.OpenTree().ok());
  for (int i = 0; i < 5; ++i) other.Add({Leaf(i + 50)});
  other.Stop();
  ASSERT_TRUE(base::ReplaceFile(&files_, "/a/tlog/cosigned",
                                *files.Content("/a/tlog/checkpoint"))
                  .ok());
  const absl::Status status = OpenAgain();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;

  // The witnessed tree was larger than what is here now.
  ASSERT_TRUE(base::ReplaceFile(&files, "/a/tlog/cosigned",
                                *files_.Content("/a/tlog/checkpoint"))
                  .ok());
  Archive rolled_back(&files);
  EXPECT_TRUE(absl::IsDataLoss(rolled_back.OpenTree()));
}

}  // namespace
}  // namespace diptych::evidence
