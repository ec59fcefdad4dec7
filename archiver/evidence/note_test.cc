#include "archiver/evidence/note.h"

#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "archiver/base/limits.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/tlog_proof.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {
namespace {

// The example of the signed-note specification, "Verifier keys".
constexpr char kSpecKey[] =
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
constexpr char kSpecNote[] =
    "This is an example message.\n"
    "\n"
    "\xe2\x80\x94 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRK"
    "uwHjG1Yu72IneyaQM=\n";

seal::SigningKey TestKey(char fill) {
  return seal::SigningKey::FromSeed(
      *seal::SecretKey::FromBytes(std::string(32, fill)));
}

NoteKey PublicKey(const std::string& name, NoteKeyType type,
                  const seal::SigningKey& key) {
  return {.name = name, .type = type, .public_key = key.public_key()};
}

TEST(NoteTest, TheSpecificationsExample) {
  const auto key = NoteKey::Parse(kSpecKey);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->name, "example.com/foo");
  EXPECT_EQ(key->Id(), 0x530d903au);
  EXPECT_EQ(key->ToText(), kSpecKey);
  const auto note = SignedNote::Parse(kSpecNote);
  ASSERT_TRUE(note.ok()) << note.status();
  EXPECT_EQ(note->text, "This is an example message.\n");
  EXPECT_TRUE(VerifyNote(*note, *key).ok());
  EXPECT_EQ(note->ToText(), kSpecNote);
}

TEST(NoteTest, EveryFlippedBitOfTheExampleIsNoticed) {
  const NoteKey key = NoteKey::Parse(kSpecKey).value();
  const std::string good = kSpecNote;
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] ^= static_cast<char>(1 << bit);
      const auto note = SignedNote::Parse(bad);
      EXPECT_FALSE(note.ok() && VerifyNote(*note, key).ok()) << i << " " << bit;
    }
  }
}

TEST(NoteTest, EveryFlippedBitOfAKeyIsNoticed) {
  const std::string good = kSpecKey;
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] ^= static_cast<char>(1 << bit);
      EXPECT_FALSE(NoteKey::Parse(bad).ok()) << bad;
    }
  }
}

TEST(NoteTest, TextsMayHaveEmptyLines) {
  const seal::SigningKey key = TestKey('a');
  SignedNote note = {.text = "a\n\nb\n"};
  note.signatures.push_back(SignNote(note.text, "n", key));
  const auto parsed = SignedNote::Parse(note.ToText());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->text, "a\n\nb\n");
  EXPECT_TRUE(
      VerifyNote(*parsed, PublicKey("n", NoteKeyType::kEd25519, key)).ok());
}

TEST(NoteTest, OthersSignaturesAreKeptAndCountForNothing) {
  const seal::SigningKey ours = TestKey('a');
  const seal::SigningKey theirs = TestKey('b');
  SignedNote note = {.text = "text\n"};
  note.signatures.push_back(SignNote(note.text, "theirs", theirs));
  const NoteKey key = PublicKey("ours", NoteKeyType::kEd25519, ours);
  EXPECT_TRUE(absl::IsNotFound(VerifyNote(note, key).status()));
  // Their signature under our name has their key's number.
  note.signatures.push_back(SignNote(note.text, "ours", theirs));
  EXPECT_TRUE(absl::IsNotFound(VerifyNote(note, key).status()));
  note.signatures.push_back(SignNote(note.text, "ours", ours));
  EXPECT_TRUE(VerifyNote(note, key).ok());
  EXPECT_EQ(SignedNote::Parse(note.ToText())->signatures.size(), 3u);
  // A false one of ours beside the right one.
  note.signatures.push_back(SignNote("other\n", "ours", ours));
  EXPECT_TRUE(absl::IsDataLoss(VerifyNote(note, key).status()));
}

TEST(NoteTest, ACosignatureSaysWhenAndIsNoPlainSignature) {
  const seal::SigningKey key = TestKey('w');
  SignedNote note = {.text = "origin\n1\nroot\n"};
  note.signatures.push_back(CosignNote(note.text, "w", key, 1'700'000'000));
  const NoteKey cosigner = PublicKey("w", NoteKeyType::kCosignature, key);
  const auto verified = VerifyNote(note, cosigner);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->time_s, 1'700'000'000u);
  EXPECT_TRUE(absl::IsNotFound(
      VerifyNote(note, PublicKey("w", NoteKeyType::kEd25519, key)).status()));
  // The time is signed too.
  note.signatures[0].bytes[7] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(VerifyNote(note, cosigner).status()));
  const auto again = NoteKey::Parse(cosigner.ToText());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->type, NoteKeyType::kCosignature);
}

TEST(NoteTest, RefusesWhatIsNoNote) {
  const std::string line = SignNote("t\n", "n", TestKey('a')).ToLine();
  EXPECT_TRUE(SignedNote::Parse("t\n\n" + line).ok());
  std::string many = "t\n\n";
  for (size_t i = 0; i <= limits::kMaxNoteSignatures; ++i) many += line;
  const std::vector<std::string> bad = {
      "",
      "\n",
      "t\n",
      "t\n\n",
      "t\n" + line,
      "\n" + line,
      "t\n\n" + line.substr(0, line.size() - 1),
      "t\n\n" + line + "\n",
      "t\n\n" + line + "x\n",
      "t\x01\n\n" + line,
      "t\t\n\n" + line,
      "t\r\n\n" + line,
      "\xff\n\n" + line,
      "\xc0\xaf\n\n" + line,
      absl::StrCat("t\n\n", absl::StrReplaceAll(line, {{" n ", " a b "}})),
      absl::StrCat("t\n\n", absl::StrReplaceAll(line, {{" n ", " a+b "}})),
      absl::StrCat("t\n\n", absl::StrReplaceAll(line, {{" n ", "  "}})),
      absl::StrCat("t\n\n", absl::StrReplaceAll(line, {{" n ",
                                                        " a\xc2\xa0"
                                                        "b "}})),
      "t\n\n\xe2\x80\x94 n AAAAAA==\n",
      "t\n\n\xe2\x80\x94 n AAAAAB==\n",
      "t\n\n\xe2\x80\x94 n AAAA\n",
      many,
      std::string(limits::kMaxCheckpoint_bytes, 't') + "\n\n" + line,
  };
  for (const std::string& note : bad) {
    EXPECT_TRUE(absl::IsInvalidArgument(SignedNote::Parse(note).status()))
        << absl::CEscape(note.substr(0, 200));
  }
}

TEST(NoteTest, RefusesWhatIsNoKey) {
  for (const char* const key : {
           "",
           "name",
           "name+530d903a",
           "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
           "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3"
           "U2k",
           "example.com/foo+530d903a+"
           "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
           "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3"
           "U2k=",
           "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv",
       }) {
    EXPECT_TRUE(absl::IsInvalidArgument(NoteKey::Parse(key).status())) << key;
  }
}

TEST(CheckpointTest, IsWhatTheLogSigned) {
  const seal::SigningKey key = TestKey('l');
  const NoteKey log_key = PublicKey("diptych/x", NoteKeyType::kEd25519, key);
  const Checkpoint checkpoint = {
      .origin = "diptych/x", .size = 12, .root = std::string(32, 'r')};
  EXPECT_EQ(checkpoint.ToText(),
            "diptych/x\n12\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n");
  SignedNote note = {.text = checkpoint.ToText()};
  note.signatures.push_back(SignNote(note.text, "diptych/x", key));
  const auto opened = SignedCheckpoint::Open(note.ToText(), log_key);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->checkpoint.size, 12u);
  EXPECT_EQ(opened->checkpoint.root, checkpoint.root);

  EXPECT_TRUE(absl::IsNotFound(
      SignedCheckpoint::Open(
          note.ToText(),
          PublicKey("diptych/x", NoteKeyType::kEd25519, TestKey('m')))
          .status()));
  // The right key over another log's checkpoint.
  SignedNote other = {.text = absl::StrReplaceAll(note.text, {{"/x", "/y"}})};
  other.signatures.push_back(SignNote(other.text, "diptych/x", key));
  EXPECT_TRUE(absl::IsDataLoss(
      SignedCheckpoint::Open(other.ToText(), log_key).status()));
}

TEST(CheckpointTest, RefusesWhatIsNone) {
  const std::string root = "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=";
  EXPECT_TRUE(Checkpoint::Parse("o\n0\n" + root + "\n").ok());
  EXPECT_TRUE(Checkpoint::Parse("o\n0\n" + root + "\nmore\n").ok());
  for (const std::string& text : std::vector<std::string>{
           "", "o\n", "o\n1\n", "o\n1\n" + root, "\n1\n" + root + "\n",
           "o\n01\n" + root + "\n", "o\n-1\n" + root + "\n",
           "o\n+1\n" + root + "\n", "o\n 1\n" + root + "\n",
           "o\n18446744073709551616\n" + root + "\n", "o\n1\ncnI=\n",
           "o\n1\n" + root + "\n\n", "o\n1\n" + root + "\n\nmore\n"}) {
    EXPECT_FALSE(Checkpoint::Parse(text).ok()) << absl::CEscape(text);
  }
}

TEST(TlogProofTest, ReadsWhatItWrites) {
  TlogProof proof = {.extra = "more",
                     .index = 73894,
                     .hashes = {std::string(32, 'a'), std::string(32, 'b')},
                     .checkpoint = "o\n1\nr\n\n\xe2\x80\x94 n AAAAAAA=\n"};
  EXPECT_EQ(proof.ToText(),
            "c2sp.org/tlog-proof@v1\n"
            "extra bW9yZQ==\n"
            "index 73894\n"
            "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n"
            "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=\n"
            "\n"
            "o\n1\nr\n\n\xe2\x80\x94 n AAAAAAA=\n");
  for (int with = 0; with < 3; ++with) {
    const auto parsed = TlogProof::Parse(proof.ToText());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->extra, proof.extra);
    EXPECT_EQ(parsed->index, proof.index);
    EXPECT_EQ(parsed->hashes, proof.hashes);
    EXPECT_EQ(parsed->checkpoint, proof.checkpoint);
    if (with == 0) proof.extra.reset();
    if (with == 1) proof.hashes.clear();
  }
}

TEST(TlogProofTest, RefusesOtherForms) {
  const std::string hash = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n";
  const std::string first = "c2sp.org/tlog-proof@v1\n";
  EXPECT_TRUE(TlogProof::Parse(first + "index 0\n" + hash + "\nc\n").ok());
  std::string long_proof = first + "index 0\n";
  for (size_t i = 0; i <= limits::kMaxProofHashes; ++i) long_proof += hash;
  for (const std::string& text : std::vector<std::string>{
           "", first, first + "index 0\n", first + "index 0\n\n",
           first + "index 0\n" + hash, first + "index 00\n\nc\n",
           first + "index -1\n\nc\n", first + "index\n\nc\n",
           first + "index 0\nAAAA\n\nc\n", first + "extra !\nindex 0\n\nc\n",
           first + hash + "\nc\n", "c2sp.org/tlog-proof@v2\nindex 0\n\nc\n",
           first + "index 0\nextra AAAA\n\nc\n", long_proof + "\nc\n",
           first + "index 0\n\n" +
               std::string(limits::kMaxCheckpoint_bytes + 1, 'c')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(TlogProof::Parse(text).status()))
        << absl::CEscape(text.substr(0, 200));
  }
}

}  // namespace
}  // namespace diptych::evidence
