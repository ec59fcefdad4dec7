// What sessions leave behind so that others can prove them: leaves, roots,
// commitments, digests and what gateways sign, also across a crash.

#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/leaf_prover.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/ingest/session_registry.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/session_opener.h"
#include "archiver/seal/signing.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/ingest/ingest_fixture.h"

namespace diptych::ingest {
namespace {

using api::v1::SIDE_CLERK;
using api::v1::SIDE_RESIDENT;
using log::RecordType;
using log::StoredRecord;
using stored::v1::KEY_CLASS_MEDIA;
using stored::v1::KEY_CLASS_METADATA;

// Gives its proof when it is told to.
class FakeProver final : public evidence::LeafProver {
 public:
  void AwaitProof(log::Position position, Done done) override {
    position_ = position;
    done_ = std::move(done);
  }

  log::Position position_ = 0;
  Done done_;
};

class EvidenceTest : public SessionRegistryTest {
 protected:
  void SetUp() override {
    stored::v1::SigningIdentity* source = archive_.add_sources();
    source->set_name("a/gateway/g");
    source->set_public_key(source_key_.public_key());
    SessionRegistryTest::SetUp();
  }

  std::vector<StoredRecord> Log() const {
    std::vector<StoredRecord> records;
    EXPECT_TRUE(reader_
                    ->Scan(
                        {},
                        [&](const StoredRecord& record) {
                          records.push_back(record);
                          return absl::OkStatus();
                        },
                        [](const log::Damage& damage) {
                          ADD_FAILURE() << damage.what;
                          return absl::OkStatus();
                        })
                    .ok());
    return records;
  }

  template <typename Message>
  static Message Parse(const StoredRecord& record) {
    Message message;
    EXPECT_TRUE(message.ParseFromString(record.header));
    return message;
  }

  static std::string Digest(const StoredRecord& record) {
    return evidence::RecordDigest(record.type, record.header, record.body);
  }

  // By epoch.
  std::map<uint64_t, std::unique_ptr<seal::SessionOpener>> Openers() const {
    const log::LogReader key_reader(files_, root_ + "/keys");
    std::map<uint64_t, std::unique_ptr<seal::SessionOpener>> openers;
    for (const StoredRecord& record : Log()) {
      if (record.type != RecordType::kSessionOpened) continue;
      const auto opened = Parse<stored::v1::SessionOpened>(record);
      const auto wraps_record = key_reader.Read(opened.key_position());
      EXPECT_EQ(opened.key_wraps_digest(), Digest(*wraps_record));
      stored::v1::KeyWraps wraps;
      EXPECT_TRUE(wraps.ParseFromString(wraps_record->body));
      std::vector<seal::KeyPair> keys;
      keys.push_back(audit_.Clone());
      openers[opened.epoch()] =
          seal::SessionOpener::Create(archive_id_, wraps, keys).value();
    }
    return openers;
  }

  // Everything of the one session is named once, in order, on one chain, and
  // every leaf and commitment is of what the bodies hold.
  void ExpectProvable() const {
    const auto openers = Openers();
    std::vector<std::string> unnamed;
    std::map<uint32_t, std::string> chunk_digests;
    std::map<uint32_t, stored::v1::Chunk> chunks;
    std::string manifest;
    bool closed = false;
    for (const StoredRecord& record : Log()) {
      SCOPED_TRACE(absl::StrCat(log::RecordTypeName(record.type), " at ",
                                record.position));
      switch (record.type) {
        case RecordType::kVolumeHeader:
        case RecordType::kSnapshot:
          break;
        case RecordType::kChunk: {
          const auto chunk = Parse<stored::v1::Chunk>(record);
          ExpectLeaves(*openers.at(chunk.epoch()), record, chunk);
          chunk_digests[chunk.chunk()] = Digest(record);
          chunks[chunk.chunk()] = chunk;
          break;
        }
        case RecordType::kSegment: {
          const auto segment = Parse<stored::v1::Segment>(record);
          EXPECT_EQ(segment.previous_manifest_sha256(), manifest);
          manifest = evidence::ManifestHash(record.header);
          EXPECT_THAT(segment.records(), testing::ElementsAreArray(unnamed));
          unnamed.clear();
          ExpectTracks(segment, chunks);
          for (const auto& named : segment.chunks()) {
            EXPECT_EQ(named.digest(), chunk_digests.at(named.chunk()));
            chunk_digests.erase(named.chunk());
          }
          break;
        }
        case RecordType::kSessionClosed: {
          const auto end = Parse<stored::v1::SessionClosed>(record);
          EXPECT_EQ(end.manifest_sha256(), manifest);
          EXPECT_THAT(end.records(), testing::ElementsAreArray(unnamed));
          closed = true;
          break;
        }
        default:
          ExpectCommitments(openers, record);
          unnamed.push_back(Digest(record));
      }
    }
    EXPECT_TRUE(closed);
    EXPECT_TRUE(chunk_digests.empty()) << "chunks that no manifest names";
  }

  void ExpectLeaves(const seal::SessionOpener& opener,
                    const StoredRecord& record,
                    const stored::v1::Chunk& chunk) const {
    const auto body = opener.Open(KEY_CLASS_MEDIA, record.type, chunk.segment(),
                                  record.header, record.body);
    ASSERT_TRUE(body.ok()) << body.status();
    const auto decoded = media::DecodeChunkBody(*body);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    std::map<uint32_t, evidence::TrackLeaf> leaves;
    for (const media::ChunkPacket& packet : decoded->packets) {
      leaves[packet.info.track_id].Add(
          {.pts_ms = evidence::ToMs(packet.info.pts_us),
           .key_frame = false,
           .payload_bytes = static_cast<uint32_t>(packet.payload.size()),
           .payload_sha256 = base::Sha256(packet.payload)});
    }
    ASSERT_EQ(static_cast<size_t>(chunk.tracks_size()), leaves.size());
    int next = 0;
    for (const auto& [track_id, leaf] : leaves) {
      const stored::v1::ChunkTrack& track = chunk.tracks(next++);
      EXPECT_EQ(track.track_id(), track_id);
      EXPECT_EQ(static_cast<uint32_t>(track.side()), track_id);
      const std::string salt = opener
                                   .SaltOf(KEY_CLASS_MEDIA, chunk.segment(),
                                           seal::SaltKind::kTrack, track_id)
                                   .value();
      EXPECT_EQ(track.leaf(),
                leaf.Finish(evidence::ChunkSalt(salt, chunk.chunk()), id_bytes_,
                            chunk.chunk(), track_id));
    }
  }

  static void ExpectTracks(
      const stored::v1::Segment& segment,
      const std::map<uint32_t, stored::v1::Chunk>& chunks) {
    std::map<uint32_t, std::vector<std::string>> leaves;
    std::map<uint32_t, std::vector<uint32_t>> in;
    for (const auto& named : segment.chunks()) {
      for (const auto& track : chunks.at(named.chunk()).tracks()) {
        leaves[track.track_id()].push_back(evidence::LeafHash(track.leaf()));
        in[track.track_id()].push_back(named.chunk());
      }
    }
    ASSERT_EQ(static_cast<size_t>(segment.tracks_size()), leaves.size());
    for (const auto& track : segment.tracks()) {
      const auto& expected = leaves.at(track.track_id());
      EXPECT_EQ(track.root(), evidence::RootOf(expected));
      if (expected.size() == static_cast<size_t>(segment.chunks_size())) {
        EXPECT_EQ(track.chunks_size(), 0);
      } else {
        EXPECT_THAT(track.chunks(),
                    testing::ElementsAreArray(in.at(track.track_id())));
      }
    }
  }

  void ExpectCommitments(
      const std::map<uint64_t, std::unique_ptr<seal::SessionOpener>>& openers,
      const StoredRecord& record) const {
    if (record.type == RecordType::kSpanStarted) {
      const auto span = Parse<stored::v1::SpanStarted>(record);
      const auto& opener = *openers.at(span.epoch());
      const auto body = opener.Open(KEY_CLASS_METADATA, record.type,
                                    span.segment(), record.header, record.body);
      EXPECT_EQ(span.commitment(),
                evidence::SpanCommitment(
                    opener
                        .SaltOf(KEY_CLASS_METADATA, span.segment(),
                                seal::SaltKind::kSpan, span.span())
                        .value(),
                    id_bytes_, span.span(), *body));
    }
    if (record.type == RecordType::kNotes) {
      const auto notes = Parse<stored::v1::Notes>(record);
      const auto& opener = *openers.at(notes.epoch());
      const auto body =
          opener.Open(KEY_CLASS_METADATA, record.type, notes.segment(),
                      record.header, record.body);
      stored::v1::NoteList list;
      ASSERT_TRUE(list.ParseFromString(*body));
      ASSERT_EQ(notes.commitments_size(), list.notes_size());
      for (int i = 0; i < list.notes_size(); ++i) {
        const auto side = static_cast<uint8_t>(notes.side());
        EXPECT_EQ(notes.commitments(i),
                  evidence::NoteCommitment(
                      opener
                          .SaltOf(KEY_CLASS_METADATA, notes.segment(),
                                  seal::SaltKind::kNote,
                                  seal::NoteSaltId(side, list.notes(i).note()))
                          .value(),
                      id_bytes_, side, list.notes(i).note(),
                      list.notes(i).SerializeAsString()));
      }
    }
    if (record.type == RecordType::kAttachmentPart) {
      const auto part = Parse<stored::v1::AttachmentPart>(record);
      const auto& opener = *openers.at(part.epoch());
      const auto body = opener.Open(KEY_CLASS_MEDIA, record.type,
                                    part.segment(), record.header, record.body);
      EXPECT_EQ(
          part.commitment(),
          evidence::PartCommitment(
              opener
                  .SaltOf(KEY_CLASS_MEDIA, part.segment(),
                          seal::SaltKind::kAttachmentPart,
                          seal::NoteSaltId(static_cast<uint8_t>(part.side()),
                                           part.note()))
                  .value(),
              id_bytes_, part.attachment_id(), part.offset(), *body));
    }
  }

  // A side's packets [from, to], signed.
  api::v1::Notes Signed(api::v1::Side side, uint64_t note, uint64_t from,
                        uint64_t to) const {
    evidence::GrowingTree tree;
    for (uint64_t i = from; i <= to; ++i) {
      const api::v1::Packet packet = MakePacket(side, i);
      tree.Add(evidence::LeafHash(evidence::PacketLine{
          .pts_ms = evidence::ToMs(packet.pts_us()),
          .key_frame = false,
          .payload_bytes = static_cast<uint32_t>(packet.payload().size()),
          .payload_sha256 = base::Sha256(packet.payload())}
                                      .Bytes()));
    }
    api::v1::Notes notes;
    notes.set_side(side);
    api::v1::Note* added = notes.add_notes();
    added->set_note_sequence(note);
    api::v1::SourceDigest* digest = added->mutable_source_digest();
    digest->set_track_id(side);
    digest->set_first_sequence(from);
    digest->set_last_sequence(to);
    digest->set_packets(tree.size());
    digest->set_root(tree.Root());
    digest->mutable_signed_time()->set_seconds(1'700'000'000);
    Sign(source_key_, digest, side);
    return notes;
  }

  void Sign(const seal::SigningKey& key, api::v1::SourceDigest* digest,
            api::v1::Side side) const {
    const evidence::SourceStatement statement = {
        .side = static_cast<uint8_t>(side),
        .track_id = digest->track_id(),
        .first_sequence = digest->first_sequence(),
        .last_sequence = digest->last_sequence(),
        .packets = digest->packets(),
        .root = digest->root(),
        .signed_time_us = digest->signed_time().seconds() * 1'000'000};
    digest->set_signature(key.Sign(
        statement.SignedBytes(std::string(archive_id_.bytes()), id_bytes_)));
    digest->set_key_id(evidence::SigningKeyId(key.public_key()));
  }

  const std::string id_bytes_{id_.bytes()};
  seal::SigningKey source_key_ = seal::SigningKey::Generate();
};

TEST_F(EvidenceTest, EverythingIsNamedAndCommitted) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_RESIDENT, 1, 0, "resident", "r"))
          .ok());
  api::v1::Notes event;
  event.set_side(SIDE_RESIDENT);
  api::v1::Note* captured = event.add_notes();
  captured->set_note_sequence(2);
  captured->mutable_event()->set_type("document_captured");
  captured->mutable_event()->set_attachment_id(1);
  captured->mutable_event()->set_attachment_bytes(5);
  api::v1::Note* part = event.add_notes();
  part->set_note_sequence(3);
  part->mutable_attachment_part()->set_attachment_id(1);
  part->mutable_attachment_part()->set_data("image");
  ASSERT_TRUE(session->OnNotes(sink, event).ok());
  // The clerk comes later, so that segments differ in their tracks' chunks.
  Send(session.get(), sink, SIDE_RESIDENT, 1, 800);
  Send(session.get(), sink, SIDE_CLERK, 1, 300);
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_CLERK, 1, 6'000'000, "item", "0417"))
          .ok());
  Send(session.get(), sink, SIDE_CLERK, 301, 320);
  ASSERT_TRUE(session
                  ->OnClose(sink,
                            MakeClose({{SIDE_RESIDENT, 800}, {SIDE_CLERK, 320}},
                                      {{SIDE_RESIDENT, 3}, {SIDE_CLERK, 1}}),
                            {})
                  .ok());
  sink->WaitReceipt();
  ExpectProvable();
  EXPECT_GT(Headers<stored::v1::Segment>(RecordType::kSegment).size(), 1u);
}

TEST_F(EvidenceTest, ACrashLeavesNothingUnnamed) {
  auto sink = std::make_shared<FakeSink>();
  auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_RESIDENT, 1, 200);
  Send(session.get(), sink, SIDE_CLERK, 1, 200);
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_RESIDENT, 1, 0, "resident", "r"))
          .ok());
  sink->WaitNotesDurable(SIDE_RESIDENT, 1);
  session.reset();
  StopWriter();
  StartWriter();
  // And once more, with notes alone since the last manifest.
  sink = std::make_shared<FakeSink>();
  session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_RESIDENT, 2, 0, "street", "s")).ok());
  sink->WaitNotesDurable(SIDE_RESIDENT, 2);
  session.reset();
  StopWriter();
  StartWriter();
  sink = std::make_shared<FakeSink>();
  session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  std::map<api::v1::Side, uint64_t> durable;
  for (const auto& progress : last_opened_.progress()) {
    durable[progress.side()] = progress.sequence();
  }
  Send(session.get(), sink, SIDE_RESIDENT, durable[SIDE_RESIDENT] + 1, 400);
  Send(session.get(), sink, SIDE_CLERK, durable[SIDE_CLERK] + 1, 400);
  ASSERT_TRUE(session
                  ->OnClose(sink,
                            MakeClose({{SIDE_RESIDENT, 400}, {SIDE_CLERK, 400}},
                                      {{SIDE_RESIDENT, 2}}),
                            {})
                  .ok());
  sink->WaitReceipt();
  ExpectProvable();
  EXPECT_EQ(
      Headers<stored::v1::SessionOpened>(RecordType::kSessionOpened).size(),
      3u);
}

TEST_F(EvidenceTest, WhatTheGatewaySignedIsKept) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
  ASSERT_TRUE(session->OnNotes(sink, Signed(SIDE_RESIDENT, 1, 1, 60)).ok());
  ASSERT_TRUE(session->OnNotes(sink, Signed(SIDE_RESIDENT, 2, 61, 100)).ok());
  sink->WaitNotesDurable(SIDE_RESIDENT, 2);
  ASSERT_TRUE(session
                  ->OnClose(sink,
                            MakeClose({{SIDE_RESIDENT, 100}, {SIDE_CLERK, 0}},
                                      {{SIDE_RESIDENT, 2}}),
                            {})
                  .ok());
  sink->WaitReceipt();
  ExpectProvable();
  const auto kept =
      Headers<stored::v1::SourceDigest>(RecordType::kSourceDigest);
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[1].statement().first_sequence(), 61u);
  EXPECT_EQ(kept[1].statement().packets(), 40u);
}

TEST_F(EvidenceTest, WhatTheGatewayDidNotSendIsRefused) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
  const seal::SigningKey other = seal::SigningKey::Generate();

  api::v1::Notes notes = Signed(SIDE_RESIDENT, 1, 1, 60);
  Sign(other, notes.mutable_notes(0)->mutable_source_digest(), SIDE_RESIDENT);
  EXPECT_EQ(Reason(session->OnNotes(sink, notes)), "SOURCE_UNKNOWN");

  notes = Signed(SIDE_RESIDENT, 1, 1, 60);
  notes.mutable_notes(0)->mutable_source_digest()->set_packets(59);
  EXPECT_EQ(Reason(session->OnNotes(sink, notes)), "SOURCE_SIGNATURE");

  EXPECT_EQ(Reason(session->OnNotes(sink, Signed(SIDE_RESIDENT, 1, 1, 101))),
            "BAD_NOTE")
      << "ahead of its packets";

  // Signed well, but of something else.
  notes = Signed(SIDE_RESIDENT, 1, 1, 60);
  api::v1::SourceDigest* digest =
      notes.mutable_notes(0)->mutable_source_digest();
  (*digest->mutable_root())[0] ^= 1;
  Sign(source_key_, digest, SIDE_RESIDENT);
  EXPECT_EQ(Reason(session->OnNotes(sink, notes)), "SOURCE_MISMATCH");
  EXPECT_TRUE(
      Headers<stored::v1::SourceDigest>(RecordType::kSourceDigest).empty());
}

TEST_F(EvidenceTest, WhatIsSignedLiesAheadOfItsSignature) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  // Less than a chunk: nothing is cut yet.
  Send(session.get(), sink, SIDE_RESIDENT, 1, 10);
  ASSERT_TRUE(session->OnNotes(sink, Signed(SIDE_RESIDENT, 1, 1, 10)).ok());
  sink->WaitNotesDurable(SIDE_RESIDENT, 1);
  uint64_t stored = 0;
  for (const StoredRecord& record : Log()) {
    if (record.type == RecordType::kChunk) {
      stored = Parse<stored::v1::Chunk>(record).sides(0).last_sequence();
    }
    if (record.type == RecordType::kSourceDigest) {
      EXPECT_EQ(stored, 10u);
      stored = 0;
    }
  }
  EXPECT_EQ(stored, 0u) << "no statement was stored";
}

TEST_F(EvidenceTest, OneSideCantSignTheOthersTrack) {
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_RESIDENT, 1, 100);
  Send(session.get(), sink, SIDE_CLERK, 1, 100);
  api::v1::Notes notes = Signed(SIDE_CLERK, 1, 1, 60);
  api::v1::SourceDigest* digest =
      notes.mutable_notes(0)->mutable_source_digest();
  digest->set_track_id(SIDE_RESIDENT);
  Sign(source_key_, digest, SIDE_CLERK);
  EXPECT_EQ(Reason(session->OnNotes(sink, notes)), "BAD_NOTE");
  // And a false one takes nothing from the true one after it.
  notes = Signed(SIDE_RESIDENT, 1, 1, 60);
  digest = notes.mutable_notes(0)->mutable_source_digest();
  (*digest->mutable_root())[0] ^= 1;
  Sign(source_key_, digest, SIDE_RESIDENT);
  EXPECT_EQ(Reason(session->OnNotes(sink, notes)), "SOURCE_MISMATCH");
  EXPECT_TRUE(session->OnNotes(sink, Signed(SIDE_RESIDENT, 1, 1, 60)).ok());
}

TEST_F(EvidenceTest, ADamagedRecordDoesNotEndItsSession) {
  auto sink = std::make_shared<FakeSink>();
  auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  ASSERT_TRUE(
      session->OnNotes(sink, MakeTag(SIDE_RESIDENT, 1, 0, "resident", "r"))
          .ok());
  sink->WaitNotesDurable(SIDE_RESIDENT, 1);
  log::Position damaged = 0;
  for (const StoredRecord& record : Log()) {
    if (record.type == RecordType::kNotes) damaged = record.end - 1;
  }
  // Behind it, so that it is damage and no torn tail.
  Send(session.get(), sink, SIDE_RESIDENT, 1, 60);
  session->Drain();
  sink->WaitDurable(SIDE_RESIDENT, 60);
  session.reset();
  StopWriter();
  {
    std::fstream volume(root_ + "/log/0000000000000000.vol",
                        std::ios::in | std::ios::out | std::ios::binary);
    volume.seekg(static_cast<std::streamoff>(damaged));
    const char byte = static_cast<char>(volume.get() ^ 1);
    volume.seekp(static_cast<std::streamoff>(damaged));
    volume.put(byte);
  }
  StartWriter();
  sink = std::make_shared<FakeSink>();
  session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  ASSERT_NE(session, nullptr);
  Send(session.get(), sink, SIDE_RESIDENT, 61, 80);
  ASSERT_TRUE(session
                  ->OnClose(sink,
                            MakeClose({{SIDE_RESIDENT, 80}, {SIDE_CLERK, 0}},
                                      {{SIDE_RESIDENT, 1}}),
                            {})
                  .ok());
  EXPECT_EQ(sink->WaitReceipt().sides(0).packets(), 80u);
}

TEST_F(EvidenceTest, AReceiptWaitsForItsProof) {
  FakeProver prover;
  context_->prover = &prover;
  const auto sink = std::make_shared<FakeSink>();
  const auto session = Open(sink, {SIDE_RESIDENT, SIDE_CLERK});
  Send(session.get(), sink, SIDE_RESIDENT, 1, 60);
  ASSERT_TRUE(
      session
          ->OnClose(sink, MakeClose({{SIDE_RESIDENT, 60}, {SIDE_CLERK, 0}}), {})
          .ok());
  // Whatever is submitted now calls back after the close has.
  ASSERT_TRUE(committer_->SubmitAndWait({}).ok());
  ASSERT_TRUE(prover.done_ != nullptr);
  EXPECT_EQ(sink->Count(api::v1::RecordResponse::kReceipt), 0u);
  prover.done_(evidence::LeafProof{
      .index = 7, .hashes = {std::string(32, 'h')}, .checkpoint = "note"});
  const api::v1::Receipt receipt = sink->WaitReceipt();
  EXPECT_EQ(receipt.log_index(), 7u);
  EXPECT_EQ(receipt.checkpoint(), "note");
  EXPECT_EQ(receipt.log_position(), prover.position_);
  const auto record = reader_->Read(receipt.log_position());
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(receipt.closed_header(), record->header);

  // Asked for again, it waits again, and goes without if there is none.
  const auto again = std::make_shared<FakeSink>();
  auto opened =
      registry_->Open(again, MakeOpen({SIDE_RESIDENT, SIDE_CLERK}), "gateway");
  ASSERT_TRUE(opened.ok());
  registry_->GiveReceipt(std::get<api::v1::Receipt>(*opened), again);
  prover.done_(absl::DeadlineExceededError("no checkpoint"));
  EXPECT_EQ(again->WaitReceipt().checkpoint(), "");
  EXPECT_TRUE(again->WaitFinished().ok());
}

}  // namespace
}  // namespace diptych::ingest
