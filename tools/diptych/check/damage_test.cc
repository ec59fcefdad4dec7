// What a check says of bytes that have changed on disk, and of records that do
// not fit those before them.

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/test_archive.h"

namespace diptych::check {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class DamageTest : public TestArchive {};

TEST_F(DamageTest, AFlippedBitInMedia) {
  Append(MakeSession(session_, {}));
  const log::StoredRecord chunk = FindRecord(RecordType::kChunk, 1);
  FlipByte(FirstVolume("volumes"), chunk.end - 1);
  EXPECT_THAT(Quick(), IsEmpty()) << "media are not read";
  Check(1, false);
  EXPECT_THAT(findings_, ElementsAre(HasSubstr("the body of a Chunk record "
                                               "differs from its checksum")));
}

TEST_F(DamageTest, AFlippedBitInMetadata) {
  Append(MakeSession(session_, {}));
  const log::StoredRecord notes = FindRecord(RecordType::kNotes, 0);
  FlipByte(FirstVolume("volumes"), notes.end - 1);
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("the body of a Notes record")));
}

TEST_F(DamageTest, AFlippedBitInAHeader) {
  Append(MakeSession(session_, {}));
  const log::StoredRecord segment = FindRecord(RecordType::kSegment, 0);
  FlipByte(FirstVolume("volumes"), segment.end - 1);
  const std::vector<std::string> findings = Quick();
  ASSERT_FALSE(findings.empty());
  EXPECT_THAT(findings.front(), HasSubstr("header checksum differs"));
}

TEST_F(DamageTest, AFlippedBitInTheKeyStore) {
  Append(MakeSession(session_, {}));
  MakeSession(base::Uuid::Random(), {});
  const log::LogReader reader(base::FileSystem::Real(), dir_ + "/keystore");
  const auto volume_header = reader.Read(0);
  const auto wraps = reader.Read(volume_header->end);
  FlipByte(FirstVolume("keystore"), wraps->end - 1);
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("the body of a KeyWraps record"),
                                   HasSubstr("the key store does not hold")));
}

TEST_F(DamageTest, ATornTailIsARemark) {
  Append(MakeSession(session_, {}));
  const std::string volume = FirstVolume("volumes");
  // No checkpoint stands for it.
  publish_ = false;
  Append({AccessRecord()});
  fs::resize_file(volume, fs::file_size(volume) - 5);
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("a tail that a crash has torn")));
}

// No record says what of the last batch was durable; the signed tree does.
TEST_F(DamageTest, TheCheckpointStandsForTheLastBatch) {
  ASSERT_TRUE(log_->Append(MakeSession(session_, {})).ok());
  const log::StoredRecord chunk = FindRecord(RecordType::kChunk, 1);
  const std::string volume = FirstVolume("volumes");
  FlipByte(volume, chunk.end - 1);
  Check(1, false);
  EXPECT_THAT(findings_, IsEmpty()) << "no checkpoint stands for it";
  EXPECT_THAT(remarks_, Contains(HasSubstr("a tail that a crash has torn")));
  FlipByte(volume, chunk.end - 1);
  Publish();
  Check(1, false);
  ASSERT_THAT(findings_, IsEmpty());
  FlipByte(volume, chunk.end - 1);
  Check(1, false);
  EXPECT_THAT(findings_,
              ElementsAre("the body of a Chunk record differs from its "
                          "checksum"));
  EXPECT_THAT(remarks_, Not(Contains(HasSubstr("torn"))));
  FlipByte(volume, chunk.end - 1);
  // Everything from a chunk's header on is gone.
  fs::resize_file(volume, chunk.position + 9);
  Check(1, false);
  EXPECT_THAT(all_, Contains(AllOf(Field(&Finding::severity, Severity::kError),
                                   Field(&Finding::store, "log"),
                                   Field(&Finding::position, chunk.position))));
}

TEST_F(DamageTest, AMissingVolume) {
  log_ = nullptr;
  fs::remove_all(dir_ + "/volumes");
  log_ = OpenStore("volumes", "log", /*volume_bytes=*/256);
  Append(MakeSession(session_, {}));
  EXPECT_THAT(Quick(), IsEmpty());
  std::vector<fs::path> volumes;
  for (const auto& entry : fs::directory_iterator(dir_ + "/volumes")) {
    volumes.push_back(entry.path());
  }
  std::sort(volumes.begin(), volumes.end());
  ASSERT_GT(volumes.size(), 3u);
  fs::remove(volumes[1]);
  const std::vector<std::string> findings = Quick();
  ASSERT_FALSE(findings.empty());
  EXPECT_THAT(findings.front(), HasSubstr("the volume before it is missing"));
}

TEST_F(DamageTest, AVolumeOfAnotherArchive) {
  Append(MakeSession(session_, {}));
  stored::v1::ArchiveConfig other = config_;
  other.set_archive_id(std::string(base::Uuid::Random().bytes()));
  fs::remove(dir_ + "/archive.textproto");
  ASSERT_TRUE(seal::WriteArchiveConfig(dir_, other).ok());
  const std::vector<std::string> findings = Quick();
  ASSERT_GE(findings.size(), 2u);
  EXPECT_EQ(findings[0], "the volume is another archive's");
  EXPECT_EQ(findings[1], "the volume is another archive's");
}

TEST_F(DamageTest, AnAccessRecordThatDoesNotOpen) {
  Record record = AccessRecord();
  stored::v1::SealedEnvelope envelope;
  ASSERT_TRUE(envelope.ParseFromString(record.body));
  envelope.mutable_sealed()->back() ^= 1;
  record.body = envelope.SerializeAsString();
  Append({record});
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(Full(), ElementsAre(HasSubstr("a Access record does not open")));
}

TEST_F(DamageTest, SnapshotsMustAgreeWithTheLogBeforeThem) {
  std::vector<Record> records = MakeSession(session_, {});
  records.resize(4);
  Append(records);
  log::OpenSessions fold;
  const log::LogReader reader(base::FileSystem::Real(), dir_ + "/volumes");
  ASSERT_TRUE(reader
                  .Scan(
                      {},
                      [&](const log::StoredRecord& record) {
                        return fold.Apply(record.type, record.header,
                                          record.body, record.position);
                      },
                      [](const log::Damage&) { return absl::OkStatus(); })
                  .ok());
  Record record = fold.MakeSnapshot(7);
  Append({record});
  EXPECT_THAT(Quick(), IsEmpty());
  stored::v1::Snapshot snapshot;
  ASSERT_TRUE(snapshot.ParseFromString(record.body));
  // What no other record says again is compared as well.
  snapshot.mutable_open_sessions(0)->set_gateway("another");
  Append({{RecordType::kSnapshot, "", snapshot.SerializeAsString()}});
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("is not what the log before it")));
  snapshot.mutable_open_sessions(0)->set_next_chunk(2);
  Append({{RecordType::kSnapshot, "", snapshot.SerializeAsString()}});
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("is not what the log before it"),
                                   HasSubstr("the snapshot has next chunk 2")));
  Append({{RecordType::kSnapshot, "",
           stored::v1::Snapshot().SerializeAsString()}});
  EXPECT_THAT(findings_ = Quick(),
              ElementsAre(HasSubstr("is not what the log before it"),
                          HasSubstr("next chunk 2"),
                          HasSubstr("the snapshot lacks session")));
}

}  // namespace
}  // namespace diptych::check
