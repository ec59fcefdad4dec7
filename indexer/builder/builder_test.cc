#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/builder_fixture.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/rebuild.h"
#include "indexer/builder/synthetic_archive.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/media_index.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

using Numbers = std::vector<uint32_t>;

TEST_F(BuilderTest, TheRatingAtTheEndFindsTheWholeSession) {
  const base::Uuid id = BusySession();
  CatchUp(1);
  // Runs: C1; C1 and C2; C2.
  EXPECT_EQ(Runs(id, "", ""), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(id, "rating", "1"), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(id, "resident", "310106195202030021"), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(id, "event", "card_read"), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(id, "rating", ""), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(id, "clerk", "C1"), (Numbers{0, 1}));
  EXPECT_EQ(Runs(id, "clerk", "C2"), (Numbers{1, 2}));
  EXPECT_EQ(Runs(id, "item", "0417"), (Numbers{0, 1, 2}));
  EXPECT_EQ(builder_->state().sessions(), 1u);
  EXPECT_EQ(builder_->state().segments(), 3u);
}

TEST_F(BuilderTest, BatchesOfAnySizeComeToTheSame) {
  for (int i = 0; i < 3; ++i) BusySession();
  CatchUp(1);
  const auto one_by_one = Content();
  CloseIndex();
  fs::remove_all(IndexFolder());
  CatchUp(7);
  EXPECT_EQ(Content(), one_by_one);
  CloseIndex();
  fs::remove_all(IndexFolder());
  CatchUp(1000);
  EXPECT_EQ(Content(), one_by_one);
}

TEST_F(BuilderTest, ALateNoteCutsRunsAnew) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"a"}, 0);
  for (int i = 0; i < 4; ++i) {
    archive_->Segment(id, i * 10 * kSecond_us, (i + 1) * 10 * kSecond_us);
  }
  CatchUp();
  EXPECT_EQ(Runs(id, "item", "a"), (Numbers{0}));
  // Known only now: from 10 s on it was b, from 20 s on a again.
  archive_->Tag(id, "item", {"b"}, 10 * kSecond_us);
  archive_->Tag(id, "item", {"a"}, 20 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "", ""), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(id, "item", "a"), (Numbers{0, 2}));
  EXPECT_EQ(Runs(id, "item", "b"), (Numbers{1}));
  const auto run = Run(id, 2);
  ASSERT_TRUE(run.has_value());
  ASSERT_EQ(run->segments_size(), 1);
  EXPECT_EQ(run->segments(0).first(), 2u);
  EXPECT_EQ(run->segments(0).last(), 3u);
  // And back to one run: what was posted for others is gone.
  archive_->Tag(id, "item", {"a"}, 10 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "", ""), (Numbers{0}));
  EXPECT_EQ(Runs(id, "item", "b"), (Numbers{}));
  EXPECT_FALSE(Run(id, 1).has_value());
}

TEST_F(BuilderTest, ARevisedValueIsForgotten) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "rating", {"1"}, kSecond_us);
  archive_->Segment(id, 0, 10 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "rating", "1"), (Numbers{0}));
  archive_->Tag(id, "rating", {"5"}, 2 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "rating", "1"), (Numbers{}));
  EXPECT_EQ(Runs(id, "rating", "5"), (Numbers{0}));
}

TEST_F(BuilderTest, ASessionWithoutSegmentsIsFound) {
  const base::Uuid announced = archive_->Open(kStart_us);
  const base::Uuid tagged = archive_->Open(kStart_us + 1);
  archive_->Tag(tagged, "item", {"0417"}, 30 * kSecond_us);
  archive_->Chunk(tagged, 0, kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(announced, "", ""), (Numbers{0}));
  EXPECT_EQ(Runs(tagged, "item", "0417"), (Numbers{0}));
  const auto run = Run(tagged, 0);
  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->segments_size(), 0);
  EXPECT_EQ(View().Session(tagged).value()->end_us(), kSecond_us);
}

TEST_F(BuilderTest, NotesSeenBeforeCountOnce) {
  const base::Uuid id = archive_->Open(kStart_us);
  std::vector<stored::v1::Note> first = {TagNote("item", {"a"}, 0),
                                         EventNote("card_read", 0)};
  first[0].set_note(1);
  first[1].set_note(2);
  archive_->NumberedNotes(id, stored::v1::SIDE_CLERK, first);
  std::vector<stored::v1::Note> again = {EventNote("card_read", 0),
                                         TagNote("item", {"b"}, 5)};
  again[0].set_note(2);
  again[1].set_note(3);
  archive_->NumberedNotes(id, stored::v1::SIDE_CLERK, again);
  // The other side has numbers of its own.
  std::vector<stored::v1::Note> other = {TagNote("clerk", {"C1"}, 0)};
  other[0].set_note(1);
  archive_->NumberedNotes(id, stored::v1::SIDE_RESIDENT, other);
  CatchUp();
  const auto events = View().Details<stored::v1::EventRow>(
      DetailPrefix(id, DetailKind::kEvent));
  EXPECT_EQ(events.value().size(), 1u);
  EXPECT_EQ(Runs(id, "item", "b"), (Numbers{0}));
  EXPECT_EQ(Runs(id, "clerk", "C1"), (Numbers{0}));
}

TEST_F(BuilderTest, WhatCannotBeOpenedIsCountedAndPassedOver) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->UnopenableNotes(id, stored::v1::SIDE_CLERK);
  archive_->Append(log::RecordType::kNotes, "\xff not a header", "");
  archive_->Tag(id, "item", {"a"}, 0);
  archive_->Segment(id, 0, 10 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "item", "a"), (Numbers{0}));
  EXPECT_EQ(View().Session(id).value()->unopened_records(), 1u);
  EXPECT_EQ(builder_->state().unopened_records(), 1u);
  EXPECT_EQ(builder_->state().unreadable_headers(), 1u);
}

TEST_F(BuilderTest, EveryEpochIsOpened) {
  const base::Uuid id = archive_->Open(kStart_us);
  archive_->Tag(id, "item", {"a"}, 0);
  archive_->Segment(id, 0, 10 * kSecond_us);
  archive_->Resume(id);
  archive_->Tag(id, "item", {"b"}, 10 * kSecond_us);
  archive_->Segment(id, 10 * kSecond_us, 20 * kSecond_us);
  CatchUp();
  EXPECT_EQ(Runs(id, "item", "a"), (Numbers{0}));
  EXPECT_EQ(Runs(id, "item", "b"), (Numbers{1}));
  EXPECT_EQ(View().Session(id).value()->epochs_size(), 2);
}

TEST_F(BuilderTest, GoesOnWhereItStopped) {
  const base::Uuid first = BusySession();
  CatchUp();
  const log::Position consumed = builder_->position();
  CloseIndex();
  const base::Uuid second = BusySession();
  OpenIndex();
  EXPECT_EQ(builder_->position(), consumed);
  CatchUp();
  EXPECT_EQ(builder_->state().sessions(), 2u);
  EXPECT_EQ(Runs(first, "rating", "1"), (Numbers{0, 1, 2}));
  EXPECT_EQ(Runs(second, "rating", "1"), (Numbers{0, 1, 2}));
}

TEST_F(BuilderTest, AnotherLogIsNoticed) {
  BusySession();
  CatchUp();
  CloseIndex();
  // The same archive with another history, as after restoring a backup.
  fs::remove_all(absl::StrCat(folder_, "/volumes"));
  const std::string other = absl::StrCat(folder_, "/other");
  fs::create_directories(other);
  SyntheticArchive another(other);
  another.Open(kStart_us);
  for (int i = 0; i < 40; ++i) another.Open(kStart_us);
  fs::rename(absl::StrCat(other, "/volumes"),
             absl::StrCat(folder_, "/volumes"));
  store_ = IndexStore::Open(IndexFolder(), archive_->archive_id()).value();
  const log::LogReader reader(base::FileSystem::Real(),
                              absl::StrCat(folder_, "/volumes"));
  IndexBuilder::Options options;
  options.archive_id = archive_->archive_id();
  options.store = store_.get();
  options.index_keys = &archive_->index_keys();
  options.log = &reader;
  options.key_store = &archive_->key_store();
  const absl::Status status = IndexBuilder::Create(std::move(options)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("index rebuild"), absl::string_view::npos);
}

// Turns over one byte of the log.
void Damage(const std::string& volume, uint64_t offset) {
  std::fstream file(volume, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ 0x40);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

TEST_F(BuilderTest, DamageIsRememberedAndTheRestIsIndexed) {
  // An opening's header, and a body of notes.
  const base::Uuid lost = base::Uuid::Random();
  const log::Position opening = archive_->durable_end();
  archive_->OpenAs(lost, kStart_us);
  const log::Position notes = archive_->durable_end();
  archive_->Tag(lost, "item", {"a"}, 0);
  const log::Position after = archive_->durable_end();
  archive_->Segment(lost, 0, 10 * kSecond_us);
  const base::Uuid whole = BusySession();
  const std::string volume = archive_->log().ListVolumes().value().front().path;
  ASSERT_GT(notes, opening);
  Damage(volume, notes - 3);
  Damage(volume, after - 3);
  CatchUp();
  EXPECT_EQ(builder_->state().damage_count(), 2u);
  EXPECT_EQ(Runs(whole, "item", "0417"), (Numbers{0, 1, 2}));
  // It can't be found by what was lost, but it is there.
  EXPECT_EQ(Runs(lost, "", ""), (Numbers{0}));
  EXPECT_TRUE(View().Session(lost).value()->opening_lost());
  // Seeing the damage again does not count it again.
  CatchUp();
  EXPECT_EQ(builder_->state().damage_count(), 2u);
}

TEST_F(BuilderTest, RebuildingGivesTheSameIndex) {
  for (int i = 0; i < 3; ++i) BusySession();
  const base::Uuid open = archive_->Open(kStart_us);
  archive_->Chunk(open, 0, kSecond_us);
  CatchUp(3);
  const auto before = Content();
  RebuildOptions options;
  options.data_directory = folder_;
  options.archive_id = archive_->archive_id();
  options.index_keys = &archive_->index_keys();
  options.recipient_keys = archive_->RecipientKeys();
  // Not while somebody uses it.
  EXPECT_TRUE(absl::IsFailedPrecondition(RebuildIndex(options).status()));
  CloseIndex();
  uint64_t done = 0;
  options.on_progress = [&](const RebuildProgress& progress) {
    if (progress.phase != RebuildProgress::Phase::kReading) {
      return absl::OkStatus();
    }
    done = progress.done;
    EXPECT_EQ(progress.total, archive_->durable_end());
    return absl::OkStatus();
  };
  const auto state = RebuildIndex(options);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->sessions(), 4u);
  EXPECT_EQ(done, archive_->durable_end());
  EXPECT_FALSE(fs::exists(absl::StrCat(folder_, "/index.rebuild")));
  OpenIndex();
  EXPECT_EQ(builder_->position(), archive_->durable_end());
  EXPECT_EQ(Content(), before);
  // Who is told to stop leaves the old one as it was.
  CloseIndex();
  RebuildOptions stopped = {.data_directory = options.data_directory,
                            .archive_id = options.archive_id,
                            .index_keys = options.index_keys,
                            .recipient_keys = archive_->RecipientKeys(),
                            .on_progress = [](const RebuildProgress&) {
                              return absl::CancelledError("told to stop");
                            }};
  EXPECT_TRUE(absl::IsCancelled(RebuildIndex(stopped).status()));
  // What it has done is there to go on from.
  EXPECT_TRUE(fs::exists(absl::StrCat(folder_, "/index.rebuild")));
  OpenIndex();
  EXPECT_EQ(Content(), before);
  // From nothing as well.
  CloseIndex();
  fs::remove_all(IndexFolder());
  ASSERT_TRUE(RebuildIndex(options).ok());
  OpenIndex();
  EXPECT_EQ(Content(), before);
}

TEST_F(BuilderTest, ARebuildStandsBeforeATornTail) {
  BusySession();
  const base::Uuid id = archive_->Open(kStart_us);
  const log::Position end = archive_->durable_end();
  // All its bytes are there, but not all are its own; then half a record.
  archive_->Chunk(id, 0, kSecond_us);
  const std::string volume = archive_->log().ListVolumes().value().front().path;
  Damage(volume, archive_->durable_end() - 1);
  std::ofstream(volume, std::ios::app | std::ios::binary) << "torn off here";
  RebuildOptions options;
  options.data_directory = folder_;
  options.archive_id = archive_->archive_id();
  options.index_keys = &archive_->index_keys();
  options.recipient_keys = archive_->RecipientKeys();
  const auto state = RebuildIndex(options);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->position(), end);
  EXPECT_EQ(state->damage_count(), 0u);
}

TEST_F(BuilderTest, NoTagIsReadableInAnyFileOfTheIndex) {
  const base::Uuid id = archive_->Open(kStart_us);
  const std::string values[] = {"310106195202030021", "QITEM0417", "QCLERK231",
                                "QCASE-2023-000981"};
  archive_->Tag(id, "resident", {values[0]}, 0);
  archive_->Tag(id, "item", {values[1]}, 0);
  archive_->Tag(id, "clerk", {values[2]}, 0);
  archive_->Tag(id, "case", {values[3]}, 0);
  archive_->Event(id, "qcard_read", 0);
  archive_->Segment(id, 0, 10 * kSecond_us);
  CatchUp();
  ASSERT_TRUE(store_->Flush().ok());
  size_t bytes = 0;
  for (const auto& file : fs::recursive_directory_iterator(IndexFolder())) {
    if (!file.is_regular_file()) continue;
    std::ifstream in(file.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    bytes += content.size();
    for (const std::string& value : values) {
      EXPECT_EQ(content.find(value), std::string::npos) << file.path();
    }
    EXPECT_EQ(content.find("qcard_read"), std::string::npos) << file.path();
  }
  EXPECT_GT(bytes, 1000u);
}

TEST_F(BuilderTest, MediaIndexSaysWhereEverythingLies) {
  const base::Uuid id = archive_->Open(kStart_us);
  stored::v1::SpanDescription description;
  description.set_start_us(0);
  description.add_tracks()->set_track_id(3);
  archive_->Span(id, 0, description);
  stored::v1::Note event = EventNote("document_captured", 5);
  event.mutable_event()->set_attachment_id(7);
  event.mutable_event()->set_attachment_bytes(10);
  event.mutable_event()->set_attachment_media_type("image/png");
  archive_->Notes(id, stored::v1::SIDE_CLERK, {event});
  archive_->AttachmentPart(id, 7, 0);
  archive_->AttachmentPart(id, 7, 5);
  archive_->Segment(id, 0, 10 * kSecond_us);
  archive_->Chunk(id, 10 * kSecond_us, 11 * kSecond_us);
  CatchUp();
  const auto index = NewMediaIndex(store_.get(), &archive_->index_keys());
  const SessionMedia media = index->GetSessionMedia(id).value();
  EXPECT_EQ(media.start_time_us, kStart_us);
  ASSERT_EQ(media.epochs.size(), 1u);
  ASSERT_EQ(media.spans.size(), 1u);
  EXPECT_EQ(archive_->log().Read(media.spans[0].position)->type,
            log::RecordType::kSpanStarted);
  // The second one is under no manifest yet.
  ASSERT_EQ(media.chunks.size(), 2u);
  for (const ChunkRef& chunk : media.chunks) {
    const auto record = archive_->log().Read(chunk.position).value();
    EXPECT_EQ(record.type, log::RecordType::kChunk);
    EXPECT_EQ(record.end - record.position, chunk.record_bytes);
    ASSERT_EQ(chunk.key_frames.size(), 1u);
    EXPECT_EQ(chunk.key_frames[0].pts_us(), chunk.start_us);
  }
  const AttachmentRef attachment = index->GetAttachment(id, 7).value();
  EXPECT_EQ(attachment.size_bytes, 10u);
  EXPECT_EQ(attachment.media_type, "image/png");
  ASSERT_EQ(attachment.parts.size(), 2u);
  EXPECT_EQ(attachment.parts[1].offset, 5u);
  EXPECT_EQ(archive_->log().Read(attachment.parts[1].position)->type,
            log::RecordType::kAttachmentPart);
  EXPECT_TRUE(absl::IsNotFound(index->GetAttachment(id, 8).status()));
  EXPECT_TRUE(
      absl::IsNotFound(index->GetSessionMedia(base::Uuid::Random()).status()));
}

TEST_F(BuilderTest, TheFollowerReadsWhatIsDurableAndNoMore) {
  const base::Uuid first = BusySession();
  const log::Position durable = archive_->durable_end();
  const base::Uuid second = BusySession();
  OpenIndex();
  LogFollower follower(&archive_->log(), builder_.get());
  EXPECT_FALSE(follower.status().writer_reachable);
  follower.SetDurableEnd(durable);
  ASSERT_TRUE(follower.WaitUntil(durable, absl::Seconds(30)));
  EXPECT_EQ(follower.status().consumed, durable);
  EXPECT_EQ(Runs(first, "rating", "1"), (Numbers{0, 1, 2}));
  EXPECT_FALSE(View().Session(second).value().has_value());
  EXPECT_FALSE(follower.WaitUntil(durable + 1, absl::Milliseconds(1)));
  // Never goes back.
  follower.SetDurableEnd(archive_->durable_end());
  follower.SetDurableEnd(durable);
  ASSERT_TRUE(follower.WaitUntil(archive_->durable_end(), absl::Seconds(30)));
  EXPECT_EQ(Runs(second, "rating", "1"), (Numbers{0, 1, 2}));
  EXPECT_EQ(follower.status().state.sessions(), 2u);
  EXPECT_TRUE(follower.status().writer_reachable);
  follower.SetWriterUnreachable();
  EXPECT_FALSE(follower.status().writer_reachable);
  follower.Stop();
}

TEST_F(BuilderTest, TheFollowerCrossesVolumes) {
  archive_.reset();
  fs::remove_all(folder_);
  fs::create_directories(folder_);
  archive_ = std::make_unique<SyntheticArchive>(folder_, 2000);
  OpenIndex();
  LogFollower follower(&archive_->log(), builder_.get());
  for (int i = 0; i < 5; ++i) {
    const base::Uuid id = BusySession();
    follower.SetDurableEnd(archive_->durable_end());
    ASSERT_TRUE(follower.WaitUntil(archive_->durable_end(), absl::Seconds(30)));
    EXPECT_EQ(Runs(id, "rating", "1"), (Numbers{0, 1, 2}));
  }
  EXPECT_GT(archive_->log().ListVolumes().value().size(), 3u);
}

}  // namespace
}  // namespace diptych::indexer
