#include "tools/diptych/verify/trust.h"

#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "archiver/evidence/note.h"

namespace diptych::verify {
namespace {

evidence::NoteKey Key(const std::string& name, evidence::NoteKeyType type) {
  evidence::NoteKey key;
  key.name = name;
  key.type = type;
  key.public_key = std::string(32, 'k');
  return key;
}

TEST(TrustTest, TellsKeysApart) {
  const std::string log =
      Key("diptych/A", evidence::NoteKeyType::kEd25519).ToText();
  const std::string source =
      Key("diptych/A/gateway/g1", evidence::NoteKeyType::kEd25519).ToText();
  const std::string witness =
      Key("w.example", evidence::NoteKeyType::kCosignature).ToText();
  Trust trust;
  ASSERT_TRUE(
      AddKeys(absl::StrCat("# keys\n\n", log, "\n  ", source, "\r\n", witness),
              &trust)
          .ok());
  ASSERT_EQ(trust.logs.size(), 1u);
  ASSERT_EQ(trust.sources.size(), 1u);
  ASSERT_EQ(trust.witnesses.size(), 1u);
  EXPECT_NE(trust.FindLog("diptych/A"), nullptr);
  EXPECT_EQ(trust.FindLog("diptych/B"), nullptr);
}

TEST(TrustTest, NamesTheLineThatIsNoKey) {
  const std::string log =
      Key("diptych/A", evidence::NoteKeyType::kEd25519).ToText();
  Trust trust;
  const absl::Status added = AddKeys(absl::StrCat(log, "\n", log, "x"), &trust);
  EXPECT_TRUE(absl::IsInvalidArgument(added));
  EXPECT_TRUE(absl::StrContains(added.message(), "line 2"));
}

}  // namespace
}  // namespace diptych::verify
