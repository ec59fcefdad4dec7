#include "tools/diptych/verify/json_fields.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/limits.h"

namespace diptych::verify {
namespace {

TEST(ParseJsonTest, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[]", "1", "{", "{\"a\":}", "{} {}", "\xff"}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseJson(text, "f").status())) << text;
  }
}

TEST(ParseJsonTest, RefusesAFieldThatIsThereTwice) {
  // Two readers could take one each.
  EXPECT_TRUE(absl::IsDataLoss(ParseJson(R"({"a":1,"a":2})", "f").status()));
  EXPECT_TRUE(
      absl::IsDataLoss(ParseJson(R"({"o":[{"a":1,"a":1}]})", "f").status()));
  EXPECT_TRUE(ParseJson(R"({"a":{"a":1},"b":{"a":1}})", "f").ok());
}

TEST(ParseJsonTest, DepthAndNumberOfValuesAreBounded) {
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + "}";
  EXPECT_TRUE(absl::IsDataLoss(ParseJson(deep, "f").status()));
  std::string many = "{\"a\":[0";
  for (size_t i = 0; i <= limits::kMaxEvidenceValues; ++i) many += ",0";
  many += "]}";
  EXPECT_TRUE(absl::IsDataLoss(ParseJson(many, "f").status()));
}

TEST(DecodeBase64Test, TakesOneFormAlone) {
  std::string bytes;
  EXPECT_TRUE(DecodeBase64("YQ==", &bytes));
  EXPECT_EQ(bytes, "a");
  // Other bits behind the end, no padding, spaces, the other alphabet.
  for (const char* text : {"YR==", "YQ", "YQ= =", "Y Q==", "_-8="}) {
    EXPECT_FALSE(DecodeBase64(text, &bytes)) << text;
  }
}

TEST(JsonFieldsTest, FirstErrorNamesThePlace) {
  const nlohmann::json json = *ParseJson(
      R"({"list":[{"n":1},{"n":"x"},{"n":-1}],"big":70000})", "file");
  absl::Status error;
  const JsonFields top(json, "file", &error);
  uint64_t sum = 0;
  top.ForEach("list", [&](const JsonFields& item) { sum += item.UInt("n"); });
  EXPECT_EQ(sum, 1u);
  EXPECT_TRUE(absl::IsDataLoss(error));
  EXPECT_EQ(error.message(),
            "file.list[1].n: is no number that can stand here");
  // Nothing is read after it.
  EXPECT_EQ(top.UInt("big"), 0u);
}

TEST(JsonFieldsTest, RefusesOtherTypes) {
  const nlohmann::json json = *ParseJson(
      R"({"t":1,"u":-1,"f":1.5,"h":"YQ==","l":{},"o":[],"e":1e300})", "f");
  const auto fails = [&json](auto use) {
    absl::Status error;
    use(JsonFields(json, "f", &error));
    return absl::IsDataLoss(error);
  };
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Text("t"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.UInt("u"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Int("f"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Int("e"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Hash("h"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Hashes("l"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Numbers("l"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Bool("t"); }));
  EXPECT_TRUE(fails([](const JsonFields& f) { f.Text("nowhere"); }));
  EXPECT_TRUE(fails(
      [](const JsonFields& f) { f.IfObject("o", [](const JsonFields&) {}); }));
  EXPECT_FALSE(fails([](const JsonFields& f) { f.UInt("nowhere"); }));
}

}  // namespace
}  // namespace diptych::verify
