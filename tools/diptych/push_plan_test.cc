#include "tools/diptych/push_plan.h"

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/push_command.h"

namespace diptych::cli {
namespace {

using gateway::PumpNote;

std::vector<PumpNote> Plan(const PushOptions& options) {
  auto notes = PlanNotes(options);
  EXPECT_TRUE(notes.ok()) << notes.status();
  return notes.ok() ? *std::move(notes) : std::vector<PumpNote>();
}

TEST(PushPlanTest, TagsOfOneKeyJoin) {
  PushOptions options;
  options.tags = {"item=0417", "clerk=C0231", "item=0420", "case=a=b"};
  const auto notes = Plan(options);
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_EQ(notes[0].note.tag().key(), "item");
  EXPECT_EQ(notes[0].note.tag().operation(), api::v1::TAG_OPERATION_ADD);
  ASSERT_EQ(notes[0].note.tag().values_size(), 2);
  EXPECT_EQ(notes[0].note.tag().values(1), "0420");
  EXPECT_EQ(notes[0].note.at_us(), 0);
  EXPECT_EQ(notes[2].note.tag().values(0), "a=b");
}

TEST(PushPlanTest, OffsetsMayHaveColons) {
  PushOptions options;
  options.set_tags = {"00:01:30:item=0420", "90s:clerk=C1"};
  options.events = {"card_read@00:01:00", "rated@2.5:score=5,by=resident",
                    "seen@00:00:10:x=a:b"};
  const auto notes = Plan(options);
  ASSERT_EQ(notes.size(), 5u);
  EXPECT_EQ(notes[0].note.at_us(), 2'500'000);
  ASSERT_EQ(notes[0].note.event().attributes_size(), 2);
  EXPECT_EQ(notes[0].note.event().attributes(1).key(), "by");
  EXPECT_EQ(notes[0].note.event().attributes(1).value(), "resident");
  EXPECT_EQ(notes[1].note.at_us(), 10'000'000);
  EXPECT_EQ(notes[1].note.event().attributes(0).value(), "a:b");
  EXPECT_EQ(notes[2].note.event().type(), "card_read");
  EXPECT_EQ(notes[2].note.at_us(), 60'000'000);
  EXPECT_EQ(notes[3].note.at_us(), 90'000'000);
  EXPECT_EQ(notes[3].note.tag().operation(), api::v1::TAG_OPERATION_SET);
  EXPECT_EQ(notes[3].note.tag().values(0), "0420");
}

TEST(PushPlanTest, AttachmentsSayWhatTheyAre) {
  const std::string path = absl::StrCat(testing::TempDir(), "/paper.dat");
  std::ofstream(path) << "\x89PNG\r\n\x1a\nand more";
  PushOptions options;
  options.attachments = {"document_captured@3s=" + path,
                         "document_captured@1s=" + path};
  const auto notes = Plan(options);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_EQ(notes[0].note.at_us(), 1'000'000);
  EXPECT_EQ(notes[0].note.event().attachment_id(), 2u);
  EXPECT_EQ(notes[0].note.event().attachment_media_type(), "image/png");
  EXPECT_EQ(notes[0].note.event().attachment_name(), "paper.dat");
  EXPECT_EQ(notes[0].note.event().attachment_bytes(), 16u);
  EXPECT_EQ(notes[0].attachment.size(), 16u);
}

TEST(PushPlanTest, WrongUseIsNamedWithoutValues) {
  const auto refused = [](auto change, const char* option) {
    PushOptions options;
    change(&options);
    const absl::Status status = PlanNotes(options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), option)) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "310106")) << status;
  };
  refused([](auto* o) { o->tags = {"310106195202030021"}; }, "--tag");
  refused([](auto* o) { o->tags = {"Resident=310106"}; }, "--tag");
  refused([](auto* o) { o->tags = {"resident="}; }, "--tag");
  refused([](auto* o) { o->tags = {"resident=310106\n"}; }, "--tag");
  refused([](auto* o) { o->tags = {"event=rated"}; }, "--tag");
  refused([](auto* o) { o->set_tags = {"resident=310106"}; }, "--set_tag");
  refused([](auto* o) { o->set_tags = {"soon:resident=310106"}; }, "--set_tag");
  refused([](auto* o) { o->set_tags = {"5s"}; }, "--set_tag");
  refused([](auto* o) { o->events = {"rated"}; }, "--event");
  refused([](auto* o) { o->events = {"Rated@5s"}; }, "--event");
  refused([](auto* o) { o->events = {"rated@-5s"}; }, "--event");
  refused([](auto* o) { o->events = {"rated@5s:310106"}; }, "--event");
  refused([](auto* o) { o->attachments = {"seen@5s"}; }, "--attach");
}

TEST(PushPlanTest, AFileThatIsNotThereIsNotFound) {
  PushOptions options;
  options.attachments = {"seen@5s=/no/such/file"};
  EXPECT_TRUE(absl::IsNotFound(PlanNotes(options).status()))
      << PlanNotes(options).status();
}

}  // namespace
}  // namespace diptych::cli
