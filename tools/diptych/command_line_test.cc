#include "tools/diptych/command_line.h"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace diptych::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<CommandLine> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "diptych");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

template <typename Options>
Options Command(const std::vector<const char*>& arguments) {
  const auto line = Parse(arguments);
  EXPECT_TRUE(line.ok()) << line.status();
  if (!line.ok() || !std::holds_alternative<Options>(line->command)) {
    ADD_FAILURE() << "another command";
    return {};
  }
  return std::get<Options>(line->command);
}

TEST(CommandLineTest, GlobalOptionsBeforeAndAfter) {
  for (const std::vector<const char*>& arguments :
       {std::vector<const char*>{"--profile=P", "--json", "--quiet", "index",
                                 "status"},
        {"index", "status", "--profile", "P", "--json", "--quiet"},
        {"--json", "index", "--quiet", "status", "--profile=P"}}) {
    const auto line = Parse(arguments);
    ASSERT_TRUE(line.ok()) << line.status();
    EXPECT_EQ(line->profile, "P");
    EXPECT_TRUE(line->json);
    EXPECT_TRUE(line->quiet);
    EXPECT_TRUE(std::holds_alternative<IndexStatusOptions>(line->command));
  }
}

TEST(CommandLineTest, Init) {
  const auto options =
      Command<InitOptions>({"init", "D", "--keys=K", "--passphrase_file=F"});
  EXPECT_EQ(options.data_dir, "D");
  EXPECT_EQ(options.keys_dir, "K");
  EXPECT_EQ(options.passphrase_file, "F");
}

TEST(CommandLineTest, Push) {
  const auto options = Command<PushOptions>(
      {"push", "--resident=a.mkv", "--clerk", "-", "--session=U", "--tag",
       "item=0417", "--tag", "clerk=C,1", "--event", "rated@90s:level=5",
       "--attach", "doc@1s=x.png", "--fast"});
  EXPECT_EQ(options.resident, "a.mkv");
  EXPECT_EQ(options.clerk, "-");
  EXPECT_EQ(options.session, "U");
  EXPECT_THAT(options.tags, ElementsAre("item=0417", "clerk=C,1"));
  EXPECT_THAT(options.events, ElementsAre("rated@90s:level=5"));
  EXPECT_THAT(options.attachments, ElementsAre("doc@1s=x.png"));
  EXPECT_TRUE(options.fast);
}

TEST(CommandLineTest, Query) {
  auto options = Command<QueryOptions>({"query", "clerk = \"C1\""});
  EXPECT_EQ(options.filter, "clerk = \"C1\"");
  EXPECT_EQ(options.limit, 50u);
  EXPECT_FALSE(options.segments);
  options = Command<QueryOptions>({"query", "", "--segments", "--limit", "7",
                                   "--page=T", "--oldest-first"});
  EXPECT_EQ(options.filter, "");
  EXPECT_TRUE(options.segments);
  EXPECT_EQ(options.limit, 7u);
  EXPECT_EQ(options.page, "T");
  EXPECT_TRUE(options.oldest_first);
  options = Command<QueryOptions>({"query", "--", "-clerk:C1"});
  EXPECT_EQ(options.filter, "-clerk:C1");
}

TEST(CommandLineTest, Export) {
  auto options = Command<ExportOptions>(
      {"export", "S", "--from", "90s", "--to=2m", "--side=clerk",
       "--format=mp4", "-o", "P", "--purpose", "a complaint", "--force",
       "--attachments"});
  EXPECT_EQ(options.session, "S");
  EXPECT_FALSE(options.has_filter);
  EXPECT_EQ(options.from, "90s");
  EXPECT_EQ(options.to, "2m");
  EXPECT_EQ(options.side, "clerk");
  EXPECT_EQ(options.format, "mp4");
  EXPECT_EQ(options.path, "P");
  EXPECT_EQ(options.purpose, "a complaint");
  EXPECT_TRUE(options.force);
  EXPECT_TRUE(options.attachments);
  options = Command<ExportOptions>(
      {"export", "--filter", "", "-o", "P", "--purpose=x"});
  EXPECT_TRUE(options.has_filter);
  EXPECT_EQ(options.session, "");
}

TEST(CommandLineTest, CheckAndRebuild) {
  const auto check = Command<CheckCommandOptions>(
      {"check", "D", "--read-data-subset=5%", "--keys=K"});
  EXPECT_EQ(check.data_dir, "D");
  EXPECT_EQ(check.read_data_subset, "5%");
  EXPECT_EQ(check.keys_dir, "K");
  EXPECT_TRUE(
      Command<CheckCommandOptions>({"check", "D", "--read-data"}).read_data);
  EXPECT_EQ(Command<IndexRebuildOptions>({"index", "rebuild", "D"}).data_dir,
            "D");
}

TEST(CommandLineTest, LogAndWitness) {
  EXPECT_TRUE(Command<LogCheckpointOptions>({"log", "checkpoint", "--cosigned"})
                  .cosigned);
  const auto prove =
      Command<LogProveOptions>({"log", "prove", "--index=0", "--log-key=K"});
  EXPECT_EQ(prove.index, 0u);
  EXPECT_FALSE(prove.position.has_value());
  EXPECT_EQ(prove.log_key, "K");
  EXPECT_EQ(Command<LogProveOptions>(
                {"log", "prove", "--position", "18446744073709551615"})
                .position,
            UINT64_MAX);
  const auto consistency =
      Command<LogConsistencyOptions>({"log", "consistency", "A", "B"});
  EXPECT_EQ(consistency.older, "A");
  EXPECT_EQ(consistency.newer, "B");
  const auto stamp = Command<TimestampOptions>(
      {"log", "timestamp", "--tsa=http://t/", "--out=F", "--tsa-ca=C"});
  EXPECT_EQ(stamp.url, "http://t/");
  EXPECT_EQ(stamp.path, "F");
  EXPECT_EQ(stamp.ca_file, "C");
  const auto witness = Command<WitnessOptions>(
      {"witness", "--state=S", "--key=F", "--log-key=K", "--once"});
  EXPECT_EQ(witness.state_dir, "S");
  EXPECT_EQ(witness.key_file, "F");
  EXPECT_EQ(witness.log_key, "K");
  EXPECT_TRUE(witness.once);
  const auto init =
      Command<WitnessInitOptions>({"witness", "init", "--key=F", "--name=N"});
  EXPECT_EQ(init.key_file, "F");
  EXPECT_EQ(init.name, "N");
}

TEST(CommandLineTest, HelpOnEveryCommand) {
  for (const std::vector<const char*>& arguments :
       {std::vector<const char*>{"--help"},
        {"init", "--help"},
        {"push", "--help"},
        {"query", "--help"},
        {"count", "--help"},
        {"show", "--help"},
        {"export", "--help"},
        {"check", "--help"},
        {"index", "--help"},
        {"index", "rebuild", "--help"},
        {"index", "status", "--help"},
        {"log", "--help"},
        {"log", "checkpoint", "--help"},
        {"log", "prove", "--help"},
        {"log", "consistency", "--help"},
        {"log", "timestamp", "--help"},
        {"witness", "--help"},
        {"witness", "init", "--help"}}) {
    const auto help = Command<HelpOptions>(arguments);
    EXPECT_THAT(help.text, HasSubstr("Usage: diptych"));
  }
  EXPECT_THAT(Command<HelpOptions>({"export", "--help"}).text,
              HasSubstr("--purpose"));
}

TEST(CommandLineTest, WrongUse) {
  for (const std::vector<const char*>& arguments :
       {std::vector<const char*>{},
        {"frobnicate"},
        {"init"},
        {"query"},
        {"query", "a", "b"},
        {"query", "a", "--limit=0"},
        {"query", "a", "--limit=x"},
        {"query", "a", "--nothing"},
        {"export", "S", "-o", "P"},
        {"export", "S", "--purpose=x"},
        {"export", "S", "--filter=a", "-o", "P", "--purpose=x"},
        {"export", "S", "--side=left", "-o", "P", "--purpose=x"},
        {"check", "D", "--read-data", "--read-data-subset=5%"},
        {"index"},
        {"log"},
        {"log", "prove", "--index=1", "--position=2"},
        {"log", "prove", "--index=-1"},
        {"log", "consistency"},
        {"log", "timestamp"},
        {"witness", "init", "--key=F"}}) {
    EXPECT_EQ(Parse(arguments).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(CommandLineTest, ErrorsSayWhereHelpIsAndNotWhatWasTyped) {
  const std::string message(
      Parse({"query", "a", "310106195202030021"}).status().message());
  EXPECT_THAT(message, HasSubstr("diptych query --help"));
  EXPECT_THAT(message, Not(HasSubstr("310106195202030021")));
  EXPECT_THAT(std::string(Parse({"query", "a", "--nothing=310106195202030021"})
                              .status()
                              .message()),
              testing::AllOf(HasSubstr("--nothing"),
                             Not(HasSubstr("310106195202030021"))));
}

TEST(CommandLineTest, Keys) {
  EXPECT_EQ(Command<KeysListOptions>({"keys", "list", "D"}).data_dir, "D");
  const auto exported =
      Command<KeysExportOptions>({"keys", "export", "D", "-o", "F"});
  EXPECT_EQ(exported.data_dir, "D");
  EXPECT_EQ(exported.path, "F");
  const auto recipient = Command<KeysAddRecipientOptions>(
      {"keys", "add-recipient", "D", "court", "--public-key=P",
       "--classes=media,metadata"});
  EXPECT_EQ(recipient.data_dir, "D");
  EXPECT_EQ(recipient.name, "court");
  EXPECT_EQ(recipient.public_key, "P");
  EXPECT_EQ(recipient.classes, "media,metadata");
  const auto witness =
      Command<KeysAddWitnessOptions>({"keys", "add-witness", "D", "V"});
  EXPECT_EQ(witness.data_dir, "D");
  EXPECT_EQ(witness.verifier_key, "V");
  const auto generated = Command<KeysGenerateOptions>(
      {"keys", "generate", "court", "-o", "F", "--passphrase_file=P"});
  EXPECT_EQ(generated.name, "court");
  EXPECT_EQ(generated.path, "F");
  EXPECT_EQ(generated.passphrase_file, "P");
  const auto rotated = Command<KeysRotateOptions>(
      {"keys", "rotate", "D", "audit", "--keys=K", "--passphrase=fd:3"});
  EXPECT_EQ(rotated.data_dir, "D");
  EXPECT_EQ(rotated.name, "audit");
  EXPECT_EQ(rotated.keys_dir, "K");
  EXPECT_EQ(rotated.passphrase, "fd:3");
  for (const std::vector<const char*>& wrong :
       {std::vector<const char*>{"keys"},
        {"keys", "rotate", "D"},
        {"keys", "add-recipient", "D", "court", "--public-key=P"},
        {"keys", "rotate", "D", "audit", "--passphrase=fd:3",
         "--passphrase_file=F"}}) {
    EXPECT_EQ(Parse(wrong).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace diptych::cli
