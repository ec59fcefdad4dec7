#include "indexer/retrieval/test_archive.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/media/matroska_muxer.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "indexer/retrieval/test_media.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kStartTime_us = 1'681'718'400'000'000;

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::abort();
  }
  return *std::move(value);
}

void Must(const absl::Status& status) {
  Must(status.ok() ? absl::StatusOr<int>(0) : absl::StatusOr<int>(status));
}

std::unique_ptr<log::LogStore> OpenStore(const std::string& folder,
                                         const base::Uuid& archive_id,
                                         const std::string& store) {
  log::LocalLogStoreOptions options;
  options.directory = folder + "/" + store;
  options.lost_and_found = folder + "/lost+found";
  options.archive_id = archive_id;
  options.store = store;
  options.volume_max_bytes = limits::kVolumeMax_bytes;
  Must(base::FileSystem::Real()->CreateDirectory(options.directory));
  log::RecoveryReport report;
  return Must(log::OpenLocalLogStore(base::FileSystem::Real(),
                                     base::Clock::Real(), options, &report));
}

}  // namespace

TestArchive::TestArchive()
    : archive_id_(base::Uuid::Random()),
      folder_(absl::StrCat(::testing::TempDir(), "/archive_",
                           base::Uuid::Random().ToString())) {
  config_.set_archive_id(std::string(archive_id_.bytes()));
  config_.set_suite(seal::kSuite1);
  keys_.push_back(seal::KeyPair::Generate("audit"));
  auto* recipient = config_.add_recipients();
  recipient->set_name("audit");
  recipient->set_public_key(keys_[0].public_key);
  recipient->add_classes(stored::v1::KEY_CLASS_MEDIA);
  recipient->add_classes(stored::v1::KEY_CLASS_METADATA);
  log_store_ = OpenStore(folder_, archive_id_, "log");
  keys_log_store_ = OpenStore(folder_, archive_id_, "keys");
  log_ = std::make_unique<log::LogReader>(base::FileSystem::Real(),
                                          folder_ + "/log");
  key_store_ = std::make_unique<log::LogReader>(base::FileSystem::Real(),
                                                folder_ + "/keys");
}

TestArchive::~TestArchive() { std::filesystem::remove_all(folder_); }

std::vector<seal::KeyPair> TestArchive::CloneKeys() const {
  std::vector<seal::KeyPair> keys;
  for (const seal::KeyPair& key : keys_) keys.push_back(key.Clone());
  return keys;
}

log::Position TestArchive::Append(log::LogStore* store, log::Record record) {
  const std::vector<log::Record> batch = {std::move(record)};
  return Must(store->Append(batch))[0];
}

void TestArchive::BeginEpoch(SessionMedia* media, uint32_t segment) {
  ++epoch_;
  sealer_ =
      std::make_unique<seal::SessionSealer>(Must(seal::SessionSealer::Create(
          config_, media->session_id, epoch_, segment)));
  stored::v1::KeyWraps header;
  header.set_session_id(sealer_->wraps().session_id());
  header.set_epoch(epoch_);
  const log::Position position =
      Append(keys_log_store_.get(),
             {log::RecordType::kKeyWraps, header.SerializeAsString(),
              sealer_->wraps().SerializeAsString()});
  media->epochs.push_back({epoch_, position});
}

base::Uuid TestArchive::AddSession(const std::vector<SpanOfMedia>& spans,
                                   const std::set<uint32_t>& tampered) {
  SessionMedia media;
  media.session_id = base::Uuid::Random();
  media.start_time_us = kStartTime_us;
  for (const SpanOfMedia& span : spans) {
    const auto segment =
        media.chunks.empty() ? 0 : media.chunks.back().segment + 1;
    if (media.epochs.empty() || span.new_epoch) {
      BeginEpoch(&media, segment);
    } else {
      sealer_->NextSegment();
    }
    AddSpan(span, tampered, &media);
  }
  media_[media.session_id] = media;
  return media.session_id;
}

uint32_t TestArchive::StartSpan(const TestMedia& span_media,
                                std::string container_header,
                                SessionMedia* media) {
  const auto span = static_cast<uint32_t>(media->spans.size());
  stored::v1::SpanDescription description;
  for (const auto& track : span_media.tracks) *description.add_tracks() = track;
  description.set_container_header(std::move(container_header));
  stored::v1::SpanStarted span_header;
  span_header.set_session_id(std::string(media->session_id.bytes()));
  span_header.set_epoch(epoch_);
  span_header.set_segment(sealer_->segment());
  span_header.set_span(span);
  const std::string span_bytes = span_header.SerializeAsString();
  const log::Position span_position =
      Append(log_store_.get(),
             {log::RecordType::kSpanStarted, span_bytes,
              sealer_->Seal(stored::v1::KEY_CLASS_METADATA,
                            log::RecordType::kSpanStarted, span_bytes,
                            description.SerializeAsString())});
  media->spans.push_back({span, epoch_, sealer_->segment(), span_position});
  return span;
}

void TestArchive::AddSpan(const SpanOfMedia& added,
                          const std::set<uint32_t>& tampered,
                          SessionMedia* media) {
  const TestMedia& span_media = added.media;
  const std::string session_id(media->session_id.bytes());
  const auto muxer = Must(media::MatroskaMuxer::Create(span_media.tracks));
  const uint32_t span = added.again
                            ? *added.again
                            : StartSpan(span_media, muxer->header(), media);

  std::vector<TestPacket> packets = span_media.packets;
  std::stable_sort(packets.begin(), packets.end(),
                   [](const TestPacket& a, const TestPacket& b) {
                     return a.info.dts_us < b.info.dts_us;
                   });
  int64_t segment_start_us = packets.front().info.dts_us;
  for (size_t begin = 0; begin < packets.size();) {
    ChunkRef chunk;
    chunk.chunk = static_cast<uint32_t>(media->chunks.size());
    chunk.span = span;
    chunk.epoch = epoch_;
    chunk.window_start_us = packets[begin].info.dts_us;
    if (chunk.window_start_us - segment_start_us >= limits::kSegmentMax_us) {
      sealer_->NextSegment();
      segment_start_us = chunk.window_start_us;
    }
    chunk.segment = sealer_->segment();
    chunk.window_end_us = chunk.window_start_us + limits::kChunkMax_us;
    chunk.start_us = INT64_MAX;
    std::vector<media::PacketInfo> table;
    size_t end = begin;
    for (;
         end < packets.size() && packets[end].info.dts_us < chunk.window_end_us;
         ++end) {
      const media::PacketInfo& info = packets[end].info;
      table.push_back(info);
      Must(muxer->Write(info, packets[end].payload));
      chunk.start_us = std::min(chunk.start_us, info.pts_us);
      chunk.end_us = std::max(
          chunk.end_us, info.pts_us + static_cast<int64_t>(info.duration_us));
      if (info.key_frame) {
        stored::v1::KeyFrame key;
        key.set_track_id(info.track_id);
        key.set_pts_us(info.pts_us);
        chunk.key_frames.push_back(key);
      }
    }
    begin = end;
    std::string plaintext = media::EncodeChunkBody(table, Must(muxer->Flush()));

    stored::v1::Chunk header;
    header.set_suite(seal::kSuite1);
    header.set_session_id(session_id);
    header.set_epoch(epoch_);
    header.set_span(span);
    header.set_segment(chunk.segment);
    header.set_chunk(chunk.chunk);
    header.set_start_us(chunk.start_us);
    header.set_end_us(chunk.end_us);
    const std::string header_bytes = header.SerializeAsString();
    std::string sealed =
        sealer_->Seal(stored::v1::KEY_CLASS_MEDIA, log::RecordType::kChunk,
                      header_bytes, plaintext);
    if (tampered.contains(chunk.chunk)) sealed[sealed.size() / 2] ^= 1;
    chunk.position = Append(log_store_.get(),
                            {log::RecordType::kChunk, header_bytes, sealed});
    chunk.record_bytes =
        static_cast<uint32_t>(log_store_->durable_end() - chunk.position);
    media->chunks.push_back(chunk);
  }
}

void TestArchive::AddAttachment(const base::Uuid& session_id,
                                uint32_t attachment_id,
                                const std::vector<std::string>& parts) {
  attachment_ = AttachmentRef();
  attachment_.attachment_id = attachment_id;
  for (const std::string& part : parts) {
    stored::v1::AttachmentPart header;
    header.set_session_id(std::string(session_id.bytes()));
    header.set_epoch(epoch_);
    header.set_segment(sealer_->segment());
    header.set_attachment_id(attachment_id);
    header.set_offset(attachment_.size_bytes);
    const std::string bytes = header.SerializeAsString();
    const log::Position position =
        Append(log_store_.get(),
               {log::RecordType::kAttachmentPart, bytes,
                sealer_->Seal(stored::v1::KEY_CLASS_MEDIA,
                              log::RecordType::kAttachmentPart, bytes, part)});
    attachment_.parts.push_back(
        {attachment_.size_bytes, sealer_->segment(), epoch_, position});
    attachment_.size_bytes += part.size();
  }
}

void TestArchive::DamageRecord(log::Position position, uint32_t at_byte) {
  // Everything is in one volume, whose first record is at position 0.
  const auto volumes = Must(log_->ListVolumes());
  std::fstream file(volumes[0].path,
                    std::ios::in | std::ios::out | std::ios::binary);
  const auto at = static_cast<std::streamoff>(position + at_byte);
  file.seekg(at);
  const int byte = file.get();
  file.seekp(at);
  file.put(static_cast<char>(byte ^ 1));
}

absl::StatusOr<SessionMedia> TestArchive::GetSessionMedia(
    const base::Uuid& session_id) const {
  const auto found = media_.find(session_id);
  if (found == media_.end()) return absl::NotFoundError("no such session");
  return found->second;
}

absl::StatusOr<SessionRecords> TestArchive::GetSessionRecords(
    const base::Uuid&) const {
  return absl::UnimplementedError("this archive has no evidence");
}

absl::StatusOr<AttachmentRef> TestArchive::GetAttachment(
    const base::Uuid&, uint32_t attachment_id) const {
  if (attachment_.attachment_id != attachment_id) {
    return absl::NotFoundError("no such attachment");
  }
  return attachment_;
}

}  // namespace diptych::indexer
