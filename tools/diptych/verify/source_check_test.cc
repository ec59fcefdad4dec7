#include "tools/diptych/verify/source_check.h"

#include <zlib.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/ids.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/log/record.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr int64_t kRawOffset_ms = 7;

std::string RawTimes(size_t packets) {
  // The first differs by 7 from 0, the others by nothing.
  std::string varints(packets, '\0');
  if (packets > 0) varints[0] = 2 * kRawOffset_ms;
  uLongf size = compressBound(varints.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(varints.data()), varints.size());
  packed.resize(size);
  return packed;
}

evidence::PacketLine Line(int64_t number) {
  evidence::PacketLine line;
  line.pts_ms = 20 * number;
  line.payload_bytes = 3;
  line.payload_sha256 = base::Sha256(absl::StrCat("packet ", number));
  return line;
}

// A track of ten packets under two statements, of which the bundle has some.
class SourceCheckTest : public testing::Test {
 protected:
  SourceCheckTest() : key_(seal::SigningKey::Generate()) {
    evidence_.archive = base::Uuid::Random();
    evidence_.session = base::Uuid::Random();
    evidence_.archive_bytes = std::string(evidence_.archive.bytes());
    evidence_.session_bytes = std::string(evidence_.session.bytes());
    EvidenceTrack track;
    track.track_id = 1;
    track.side = "resident";
    track.source = "camera";
    evidence_.tracks.push_back(track);
    AddStatement(0, 6);
    AddStatement(6, 4);
    evidence::NoteKey trusted;
    trusted.name = evidence::SourceName(evidence_.archive.ToString(), "g1");
    trusted.public_key = key_.public_key();
    trust_.sources.push_back(trusted);
  }

  void AddStatement(int64_t first, uint64_t count) {
    evidence::SourceStatement statement;
    statement.side = 1;
    statement.track_id = 1;
    statement.first_sequence = static_cast<uint64_t>(first) + 1;
    statement.last_sequence = static_cast<uint64_t>(first) + count;
    statement.packets = count;
    statement.root = evidence::RootOf(Leaves(first, count));
    statement.signed_time_us = 5;
    stored::v1::SourceDigest digest;
    digest.set_key_id(evidence::SigningKeyId(key_.public_key()));
    digest.set_signature(key_.Sign(statement.SignedBytes(
        evidence_.archive_bytes, evidence_.session_bytes)));
    stored::v1::SourceStatement* stored = digest.mutable_statement();
    stored->set_side(stored::v1::SIDE_RESIDENT);
    stored->set_track_id(1);
    stored->set_first_sequence(statement.first_sequence);
    stored->set_last_sequence(statement.last_sequence);
    stored->set_packets(count);
    stored->set_root(statement.root);
    stored->set_signed_time_us(5);
    evidence_.records.push_back(
        {static_cast<uint8_t>(log::RecordType::kSourceDigest),
         digest.SerializeAsString(), base::Sha256("")});
  }

  static std::vector<std::string> Leaves(int64_t first, uint64_t count) {
    std::vector<std::string> leaves;
    for (uint64_t i = 0; i < count; ++i) {
      evidence::PacketLine line = Line(first + static_cast<int64_t>(i));
      line.pts_ms += kRawOffset_ms;
      leaves.push_back(evidence::LeafHash(line.Bytes()));
    }
    return leaves;
  }

  // Packets [first, first + count) of what statement `record` covers.
  void AddRun(size_t record, int64_t statement_first, uint64_t statement_count,
              uint64_t first, uint64_t count) {
    SourceRun run;
    run.track_id = 1;
    run.packets = count;
    run.record = record;
    run.first = first;
    run.others = evidence::ProveRange(Leaves(statement_first, statement_count),
                                      first, count);
    evidence_.sources.push_back(std::move(run));
  }

  // Packets [first, last) go through it.
  absl::Status Check(int64_t first, int64_t last, int64_t altered = -1) {
    const auto count = static_cast<uint64_t>(last - first);
    evidence_.tracks[0].raw_ms = RawTimes(count);
    absl::StatusOr<SourceCheck> check = SourceCheck::Create(
        evidence_, evidence_.tracks[0], count, trust_, &result_);
    if (!check.ok()) return check.status();
    for (int64_t i = first; i < last; ++i) {
      evidence::PacketLine line = Line(i);
      if (i == altered) ++line.pts_ms;
      const absl::StatusOr<std::optional<size_t>> added =
          check->Add(static_cast<uint64_t>(i - first), line);
      if (!added.ok()) return added.status();
    }
    return absl::OkStatus();
  }

  const seal::SigningKey key_;
  Evidence evidence_;
  Trust trust_;
  VerifyResult result_;
};

TEST_F(SourceCheckTest, ProvesAllAndParts) {
  AddRun(0, 0, 6, 2, 4);
  AddRun(1, 6, 4, 0, 3);
  EXPECT_TRUE(Check(2, 9).ok());
  ASSERT_EQ(result_.source_keys.size(), 1u);
  EXPECT_TRUE(result_.source_keys[0].verified);
  EXPECT_TRUE(absl::EndsWith(result_.source_keys[0].name, "/gateway/g1"));
  EXPECT_TRUE(result_.missing.empty());
}

TEST_F(SourceCheckTest, EachPacketCounts) {
  AddRun(0, 0, 6, 0, 6);
  AddRun(1, 6, 4, 0, 4);
  for (int64_t altered = 0; altered < 10; ++altered) {
    const absl::Status status = Check(0, 10, altered);
    EXPECT_TRUE(absl::IsDataLoss(status)) << altered;
    EXPECT_TRUE(absl::StrContains(
        status.message(), altered < 6 ? "numbers 1 to 6" : "numbers 7 to 10"))
        << status;
  }
}

TEST_F(SourceCheckTest, AnUnknownKeyVerifiesNothing) {
  trust_.sources.clear();
  AddRun(0, 0, 6, 0, 6);
  EXPECT_TRUE(Check(0, 6).ok());
  EXPECT_FALSE(result_.source_keys[0].verified);
}

TEST_F(SourceCheckTest, AKeyOfAnotherArchiveVerifiesNothing) {
  trust_.sources[0].name =
      evidence::SourceName(base::Uuid::Random().ToString(), "g1");
  AddRun(0, 0, 6, 0, 6);
  EXPECT_TRUE(Check(0, 6).ok());
  EXPECT_FALSE(result_.source_keys[0].verified);
}

TEST_F(SourceCheckTest, AFalseSignatureIsFound) {
  stored::v1::SourceDigest digest;
  ASSERT_TRUE(digest.ParseFromString(evidence_.records[0].header));
  (*digest.mutable_signature())[3] ^= 1;
  evidence_.records[0].header = digest.SerializeAsString();
  AddRun(0, 0, 6, 0, 6);
  EXPECT_TRUE(absl::StrContains(Check(0, 6).message(), "not signed by"));
}

TEST_F(SourceCheckTest, AnotherSessionsStatementIsFound) {
  evidence_.session = base::Uuid::Random();
  evidence_.session_bytes = std::string(evidence_.session.bytes());
  AddRun(0, 0, 6, 0, 6);
  EXPECT_TRUE(absl::IsDataLoss(Check(0, 6)));
}

TEST_F(SourceCheckTest, RunsCoverTheTrackExactly) {
  AddRun(0, 0, 6, 0, 6);
  EXPECT_TRUE(absl::IsDataLoss(Check(0, 5)));
  EXPECT_TRUE(absl::IsDataLoss(Check(0, 7)));
}

TEST_F(SourceCheckTest, SaysWhatWasSignedAndIsNotHere) {
  // The first statement's last two packets are gone.
  AddRun(0, 0, 6, 0, 4);
  AddRun(1, 6, 4, 0, 4);
  evidence_.tracks[0].raw_ms = RawTimes(8);
  ASSERT_TRUE(
      SourceCheck::Create(evidence_, evidence_.tracks[0], 8, trust_, &result_)
          .ok());
  ASSERT_EQ(result_.missing.size(), 1u);
  EXPECT_TRUE(absl::StrContains(result_.missing[0], "counts 2 packets"));
}

TEST_F(SourceCheckTest, SaysThatAStatementIsMissing) {
  AddStatement(12, 4);
  AddRun(0, 0, 6, 0, 6);
  AddRun(2, 12, 4, 0, 4);
  evidence_.tracks[0].raw_ms = RawTimes(10);
  ASSERT_TRUE(
      SourceCheck::Create(evidence_, evidence_.tracks[0], 10, trust_, &result_)
          .ok());
  ASSERT_EQ(result_.missing.size(), 1u);
  EXPECT_TRUE(absl::StrContains(result_.missing[0], "does not follow"));
}

}  // namespace
}  // namespace diptych::verify
