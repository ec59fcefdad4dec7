// What a check says of the log tree: of its files, of what it lags behind, and
// of checkpoints and receipts that somebody kept elsewhere.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "archiver/base/file.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/test_archive.h"

namespace diptych::check {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kMinute_us = 60'000'000;

class TreeCheckTest : public TestArchive {
 protected:
  std::string Tlog(const std::string& name) { return dir_ + "/tlog/" + name; }

  void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }

  // All of an archive but its keys, as it is now.
  void Copy(const std::string& name) {
    const std::string copy = absl::StrCat(dir_, ".", name);
    fs::remove_all(copy);
    fs::copy(dir_ + "/" + name, copy, fs::copy_options::recursive);
  }
  void PutBack(const std::string& name) {
    fs::remove_all(dir_ + "/" + name);
    fs::rename(absl::StrCat(dir_, ".", name), dir_ + "/" + name);
  }

  void AppendAccesses(int count) {
    std::vector<Record> records;
    for (int i = 0; i < count; ++i) records.push_back(AccessRecord());
    Append(records);
  }

  // A receipt of the session, which closes the log.
  std::string Receipt(const std::string& header, uint64_t position) {
    const auto signed_checkpoint =
        evidence::SignedCheckpoint::Parse(Checkpoint());
    evidence::TileTree tree(base::FileSystem::Real(), dir_ + "/tlog",
                            signed_checkpoint->checkpoint.size);
    const uint64_t index = *tree.FindLeaf(position);
    std::string proof;
    const auto hashes = tree.ProveInclusion(index);
    for (const std::string& hash : *hashes) {
      absl::StrAppend(&proof, proof.empty() ? "" : ",", "\"",
                      absl::Base64Escape(hash), "\"");
    }
    return absl::StrCat(R"({"format":"diptych-receipt-1","closed_header":")",
                        absl::Base64Escape(header), R"(","log_position":)",
                        position, R"(,"log_index":)", index,
                        R"(,"inclusion_proof":[)", proof, R"(],"checkpoint":")",
                        absl::StrReplaceAll(Checkpoint(), {{"\n", "\\n"}}),
                        "\"}");
  }
};

TEST_F(TreeCheckTest, TilesOfEveryLevel) {
  AppendAccesses(600);
  const CheckCounts counts = Check(1, true);
  EXPECT_THAT(findings_, IsEmpty());
  EXPECT_EQ(counts.leaves, 600u);
  EXPECT_EQ(counts.leaves_in_checkpoint, 600u);
  for (const char* tile :
       {"tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2",
        "tile/entries/001", "tile/entries/002.p/88"}) {
    const auto size = fs::file_size(Tlog(tile));
    FlipByte(Tlog(tile), size - 1);
    Quick();
    EXPECT_THAT(all_, Contains(Field(&Finding::place, HasSubstr(tile))))
        << tile;
    EXPECT_THAT(findings_, testing::Not(IsEmpty())) << tile;
    FlipByte(Tlog(tile), size - 1);
    fs::rename(Tlog(tile), dir_ + "/aside");
    EXPECT_THAT(Quick(), ElementsAre("the tile is missing")) << tile;
    fs::rename(dir_ + "/aside", Tlog(tile));
  }
  EXPECT_THAT(Quick(), IsEmpty());
}

TEST_F(TreeCheckTest, ACheckpointThatLags) {
  AppendAccesses(3);
  publish_ = false;
  Append({AccessRecord(kMinute_us)});
  EXPECT_THAT(Quick(), IsEmpty()) << "a killed daemon leaves it so";
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("the last 1 leaves")));
  Append({AccessRecord(2 * kMinute_us)});
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("stands for 3 leaves; the log "
                                             "holds 2 more")));
}

TEST_F(TreeCheckTest, AnOlderCopyOfTheTree) {
  Append({AccessRecord(kMinute_us)});
  Copy("tlog");
  Append({AccessRecord(2 * kMinute_us), AccessRecord(3 * kMinute_us)});
  const std::string outside = Checkpoint();
  PutBack("tlog");
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("stands for 1 leaves")));
  against_ = {{"kept", outside}};
  EXPECT_THAT(Quick(),
              Contains(HasSubstr("an older copy was put in its place")));
  fs::remove_all(dir_ + "/tlog");
  EXPECT_THAT(Quick(), Contains(HasSubstr("there is no checkpoint")));
}

TEST_F(TreeCheckTest, AnOlderCopyOfEverything) {
  Append(MakeSession(session_, {}));
  for (const char* name : {"tlog", "volumes", "keystore"}) Copy(name);
  Append({AccessRecord()});
  const std::string outside = Checkpoint();
  for (const char* name : {"tlog", "volumes", "keystore"}) PutBack(name);
  EXPECT_THAT(Quick(), IsEmpty()) << "it is what it was";
  against_ = {{"kept", outside}};
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("the checkpoint stands for 4 leaves, kept"),
                          HasSubstr("the archive holds 4: it was cut")));
  EXPECT_EQ(all_.back().place, "kept");
}

TEST_F(TreeCheckTest, AForkOfTheLog) {
  Append({AccessRecord()});
  const std::string outside = Checkpoint();
  // Another history, signed by the same key.
  log_.reset();
  for (const char* name : {"tlog", "volumes"})
    fs::remove_all(dir_ + "/" + name);
  log_ = OpenStore("volumes", "log");
  AppendAccesses(2);
  EXPECT_THAT(Quick(), IsEmpty());
  against_ = {{"kept", outside}};
  EXPECT_THAT(Quick(),
              ElementsAre(HasSubstr("the tree of 1 leaves has another root")));
}

TEST_F(TreeCheckTest, AReceiptFromOutside) {
  const std::vector<Record> records = MakeSession(session_, {});
  Append(records);
  const log::StoredRecord closed = FindRecord(RecordType::kSessionClosed, 0);
  const std::string receipt = Receipt(closed.header, closed.position);
  AppendAccesses(1);
  against_ = {{"receipt", receipt}};
  EXPECT_THAT(Quick(), IsEmpty());
  // A forged one does not prove its own record.
  against_ = {{"receipt", Receipt(closed.header + "x", closed.position)}};
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("does not prove its own record")));
  // The session is left out of a new history.
  against_ = {{"receipt", receipt}};
  log_.reset();
  for (const char* name : {"tlog", "volumes"})
    fs::remove_all(dir_ + "/" + name);
  log_ = OpenStore("volumes", "log");
  AppendAccesses(9);
  const std::vector<std::string> findings = Quick();
  EXPECT_THAT(findings, Contains(HasSubstr("is of another record than that")));
  EXPECT_THAT(findings, Contains(HasSubstr("has another root")));
}

TEST_F(TreeCheckTest, NothingOfALogFromOutside) {
  AppendAccesses(1);
  CheckOptions options;
  options.data_dir = dir_;
  for (const char* text : {"", "{}", "hello\n", "c2sp.org/tlog-proof@v1\n"}) {
    options.against = {{"kept", text}};
    EXPECT_EQ(CheckArchive(base::FileSystem::Real(), options).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
  // Another archive's is a mistake of who gives it.
  evidence::SignedNote foreign;
  foreign.text =
      evidence::Checkpoint{
          .origin = "diptych/other", .size = 1, .root = std::string(32, 'r')}
          .ToText();
  foreign.signatures = {evidence::SignNote(foreign.text, "diptych/other",
                                           seal::SigningKey::Generate())};
  options.against = {{"kept", foreign.ToText()}};
  const auto other_archive =
      CheckArchive(base::FileSystem::Real(), options).status();
  EXPECT_EQ(other_archive.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(other_archive.message()), HasSubstr("another"));
  // One of this name by another key is a finding: one of the two is not what it
  // says.
  const seal::SigningKey other = seal::SigningKey::Generate();
  evidence::SignedNote note;
  note.text = evidence::Checkpoint{.origin = config_.log_key().name(),
                                   .size = 1,
                                   .root = std::string(32, 'r')}
                  .ToText();
  note.signatures = {
      evidence::SignNote(note.text, config_.log_key().name(), other)};
  against_ = {{"kept", note.ToText()}};
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("is not of this archive's log")));
}

TEST_F(TreeCheckTest, WhatACheckpointHoldsBesides) {
  AppendAccesses(2);
  const std::string good = Checkpoint();
  const seal::SigningKey witness = seal::SigningKey::Generate();
  auto note = evidence::SignedCheckpoint::Parse(good);
  ASSERT_TRUE(note.ok());
  note->note.signatures.push_back(
      evidence::CosignNote(note->note.text, "witness", witness, 7));
  Write(Tlog("cosigned"), note->note.ToText());
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("of the unknown witness")));
  stored::v1::SigningIdentity* known = config_.add_witnesses();
  known->set_name("witness");
  known->set_public_key(witness.public_key());
  fs::remove(dir_ + "/archive.textproto");
  ASSERT_TRUE(seal::WriteArchiveConfig(dir_, config_).ok());
  EXPECT_THAT(Quick(), IsEmpty());
  note->note.signatures.back().bytes.back() ^= 1;
  Write(Tlog("cosigned"), note->note.ToText());
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("signature of witness is false")));
  fs::remove(Tlog("cosigned"));

  Write(Tlog("checkpoint"), good + good);
  EXPECT_THAT(Quick(), testing::Not(IsEmpty()));
  Write(Tlog("checkpoint"), "");
  EXPECT_THAT(Quick(), testing::Not(IsEmpty()));
  Write(Tlog("checkpoint"), good);
  Write(Tlog("stray"), "x");
  EXPECT_THAT(Quick(), IsEmpty());
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("is none of a log tree")));
}

TEST_F(TreeCheckTest, ATimestampThatIsNoneOfItsCheckpoint) {
  AppendAccesses(2);
  fs::create_directories(Tlog("timestamps"));
  Write(Tlog("timestamps/2.tsr"), "no time stamp");
  EXPECT_THAT(Quick(), ElementsAre(HasSubstr("it stamps is missing")));
  Write(Tlog("timestamps/2.checkpoint"), Checkpoint());
  EXPECT_EQ(Quick().size(), 1u);
  EXPECT_THAT(all_,
              Contains(Field(&Finding::place, HasSubstr("timestamps/2.tsr"))));
}

TEST_F(TreeCheckTest, ALogWithoutKey) {
  AppendAccesses(1);
  config_.clear_log_key();
  fs::remove(dir_ + "/archive.textproto");
  ASSERT_TRUE(seal::WriteArchiveConfig(dir_, config_).ok());
  EXPECT_EQ(Check(1, false).unread, 1u);
  EXPECT_THAT(unread_, ElementsAre(HasSubstr("no checkpoint can be verified")));
}

}  // namespace
}  // namespace diptych::check
