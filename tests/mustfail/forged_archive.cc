#include "tests/mustfail/forged_archive.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "archiver/base/file.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/publisher.h"
#include "archiver/log/frame.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::mustfail {
namespace {

namespace fs = std::filesystem;
using log::Record;
using log::RecordType;

void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << std::endl;
  std::abort();
}

// All but volume headers and snapshots; the first volume's header goes to
// `volume`.
std::vector<Record> ReadAll(const std::string& folder,
                            stored::v1::VolumeHeader* volume) {
  const log::LogReader reader(base::FileSystem::Real(), folder);
  std::vector<Record> records;
  Require(reader
              .Scan(
                  {},
                  [&](log::StoredRecord&& record) {
                    if (record.position == 0) {
                      if (!volume->ParseFromString(record.header)) std::abort();
                    } else if (record.type != RecordType::kVolumeHeader &&
                               record.type != RecordType::kSnapshot) {
                      records.push_back({record.type, std::move(record.header),
                                         std::move(record.body)});
                    }
                    return absl::OkStatus();
                  },
                  [](const log::Damage& damage) {
                    return absl::DataLossError(damage.what);
                  })
              .status());
  return records;
}

template <typename Message>
Message Parse(const Record& record) {
  Message message;
  if (!message.ParseFromString(record.header)) std::abort();
  return message;
}

}  // namespace

ForgedArchive::ForgedArchive(const std::string& original,
                             const std::string& directory)
    : original_(original), directory_(directory) {
  Restore();
  auto config = seal::ReadArchiveConfig(directory_);
  Require(config.status());
  config_ = *std::move(config);
  records_ = ReadAll(directory_ + "/volumes", &log_volume_);
  key_records_ = ReadAll(directory_ + "/keystore", &key_volume_);
}

void ForgedArchive::Restore() const {
  fs::remove_all(directory_);
  fs::create_directories(directory_);
  for (const char* name : {"volumes", "keystore", "tlog"}) {
    fs::copy(original_ + "/" + name, directory_ + "/" + name,
             fs::copy_options::recursive);
  }
  fs::copy_file(original_ + "/archive.textproto",
                directory_ + "/archive.textproto");
}

void ForgedArchive::Write(const std::string& folder,
                          stored::v1::VolumeHeader header,
                          const std::vector<Record>& records,
                          size_t records_per_volume) const {
  fs::remove_all(folder);
  fs::create_directories(folder);
  std::ofstream volume;
  log::Position position = 0;
  log::OpenSessions fold;
  const auto append = [&](const Record& record) {
    // Each in a batch of its own.
    const std::string frame = log::EncodeFrame(record, position, position);
    volume << frame << record.header << record.body;
    const log::Position at = position;
    position += frame.size() + record.header.size() + record.body.size();
    return at;
  };
  size_t in_volume = SIZE_MAX;
  for (const Record& record : records) {
    if (in_volume >= records_per_volume) {
      in_volume = 0;
      volume.close();
      volume.open(folder + "/" + absl::StrFormat("%016x.vol", position),
                  std::ios::binary);
      header.set_base_position(position);
      append({RecordType::kVolumeHeader, header.SerializeAsString(), ""});
      if (header.store() == "log") {
        append(fold.MakeSnapshot(header.record_time_us()));
      }
    }
    ++in_volume;
    const log::Position at = append(record);
    // What does not fit any more is what the forger is after.
    fold.Apply(record.type, record.header, record.body, at).IgnoreError();
  }
}

void ForgedArchive::WriteLog(const std::vector<Record>& records,
                             size_t records_per_volume) const {
  Write(directory_ + "/volumes", log_volume_, records, records_per_volume);
}

void ForgedArchive::WriteKeyStore(const std::vector<Record>& records) const {
  Write(directory_ + "/keystore", key_volume_, records, SIZE_MAX);
}

void ForgedArchive::SignTree() const {
  fs::remove_all(directory_ + "/tlog");
  auto key = seal::ReadSigningKey(original_ + "/tls/log.key");
  Require(key.status());
  const log::LogReader log(base::FileSystem::Real(), directory_ + "/volumes");
  log::Position end = 0;
  const auto volumes = log.ListVolumes();
  Require(volumes.status());
  for (const log::VolumeInfo& volume : *volumes) {
    end = volume.base + volume.size_bytes;
  }
  auto publisher =
      evidence::TreePublisher::Open({.file_system = base::FileSystem::Real(),
                                     .directory = directory_ + "/tlog",
                                     .origin = config_.log_key().name(),
                                     .log = &log,
                                     .durable_end = end},
                                    *std::move(key));
  Require(publisher.status());
  (*publisher)->Stop();
}

std::string ForgedArchive::Checkpoint() const {
  std::ifstream file(directory_ + "/tlog/checkpoint");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string SessionOf(const Record& record) {
  switch (record.type) {
    case RecordType::kSessionOpened:
      return Parse<stored::v1::SessionOpened>(record).session_id();
    case RecordType::kSpanStarted:
      return Parse<stored::v1::SpanStarted>(record).session_id();
    case RecordType::kChunk:
      return Parse<stored::v1::Chunk>(record).session_id();
    case RecordType::kNotes:
      return Parse<stored::v1::Notes>(record).session_id();
    case RecordType::kAttachmentPart:
      return Parse<stored::v1::AttachmentPart>(record).session_id();
    case RecordType::kSegment:
      return Parse<stored::v1::Segment>(record).session_id();
    case RecordType::kSessionClosed:
      return Parse<stored::v1::SessionClosed>(record).session_id();
    case RecordType::kStateChanged:
      return Parse<stored::v1::StateChanged>(record).session_id();
    case RecordType::kClockChanged:
      return Parse<stored::v1::ClockChanged>(record).session_id();
    case RecordType::kSourceDigest:
      return Parse<stored::v1::SourceDigest>(record).session_id();
    default:
      return "";
  }
}

std::vector<Record> Rechain(std::vector<Record> records) {
  struct Session {
    std::map<uint32_t, std::string> chunks;
    std::vector<std::string> unnamed;
    std::string manifest;
  };
  std::map<std::string, Session> sessions;
  for (Record& record : records) {
    const std::string id = SessionOf(record);
    if (id.empty()) continue;
    Session& session = sessions[id];
    const auto digest = [&record] {
      return evidence::RecordDigest(record.type, record.header, record.body);
    };
    const auto name_records = [&session](auto* message) {
      message->clear_records();
      for (const std::string& named : session.unnamed) {
        message->add_records(named);
      }
      session.unnamed.clear();
    };
    if (record.type == RecordType::kChunk) {
      session.chunks[Parse<stored::v1::Chunk>(record).chunk()] = digest();
    } else if (record.type == RecordType::kSegment) {
      auto manifest = Parse<stored::v1::Segment>(record);
      for (auto& chunk : *manifest.mutable_chunks()) {
        chunk.set_digest(session.chunks[chunk.chunk()]);
      }
      name_records(&manifest);
      manifest.set_previous_manifest_sha256(session.manifest);
      record.header = manifest.SerializeAsString();
      session.manifest = evidence::ManifestHash(record.header);
    } else if (record.type == RecordType::kSessionClosed) {
      auto closed = Parse<stored::v1::SessionClosed>(record);
      name_records(&closed);
      closed.set_manifest_sha256(session.manifest);
      record.header = closed.SerializeAsString();
    } else {
      session.unnamed.push_back(digest());
    }
  }
  return records;
}

}  // namespace diptych::mustfail
