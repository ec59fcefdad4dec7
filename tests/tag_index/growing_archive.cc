#include "tests/tag_index/growing_archive.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/clock.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/unsynced_file.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/tag_index/city_log.h"
#include "tests/tag_index/local_index.h"

namespace diptych::bench {
namespace {

absl::StatusOr<std::unique_ptr<log::LogStore>> OpenStore(
    base::FileSystem* files, const std::string& data_folder,
    const base::Uuid& archive_id, const std::string& folder,
    const std::string& store) {
  log::LocalLogStoreOptions options;
  options.directory = absl::StrCat(data_folder, "/", folder);
  options.lost_and_found = absl::StrCat(data_folder, "/lost+found");
  options.archive_id = archive_id;
  options.store = store;
  options.volume_max_bytes = limits::kVolumeMax_bytes;
  log::RecoveryReport report;
  return log::OpenLocalLogStore(files, base::Clock::Real(), options, &report);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrowingArchive>> GrowingArchive::Make(
    const std::string& data_folder) {
  std::unique_ptr<GrowingArchive> archive(new GrowingArchive());
  const std::string keys_folder = absl::StrCat(data_folder, ".keys");
  std::error_code error;
  std::filesystem::create_directories(data_folder, error);
  std::filesystem::create_directories(keys_folder, error);
  if (error) return absl::InternalError("cannot make the archive's folders");
  const base::Uuid id = base::Uuid::Random();
  const seal::KeyPair key = seal::KeyPair::Generate("index");
  RETURN_IF_ERROR(seal::WriteKeyFile(keys_folder, key, std::nullopt));
  stored::v1::ArchiveConfig& config = archive->config_;
  config.set_archive_id(std::string(id.bytes()));
  config.set_suite(seal::kSuite1);
  stored::v1::Recipient* const recipient = config.add_recipients();
  recipient->set_name(key.name);
  recipient->set_public_key(key.public_key);
  recipient->add_classes(stored::v1::KEY_CLASS_METADATA);
  // Media is sealed to it too: nobody ever opens it.
  recipient->add_classes(stored::v1::KEY_CLASS_MEDIA);
  RETURN_IF_ERROR(seal::WriteArchiveConfig(data_folder, config));
  archive->files_ = base::NewUnsyncedFileSystem();
  ASSIGN_OR_RETURN(archive->log_, OpenStore(archive->files_.get(), data_folder,
                                            id, "volumes", "log"));
  ASSIGN_OR_RETURN(
      archive->key_store_,
      OpenStore(archive->files_.get(), data_folder, id, "keystore", "keys"));
  ASSIGN_OR_RETURN(archive->index_, LocalIndex::Open(data_folder));
  return archive;
}

absl::Status GrowingArchive::Append(const SessionRecords& session, size_t from,
                                    size_t to) {
  std::vector<log::Record> records;
  for (size_t i = from; i < to; ++i) {
    records.push_back(session.records[i].record);
  }
  if (from == 0) {
    ASSIGN_OR_RETURN(const auto positions,
                     key_store_->Append({&session.key_wraps, 1}));
    stored::v1::SessionOpened opened;
    opened.ParseFromString(records.front().header);
    opened.set_key_position(positions.front());
    records.front().header = opened.SerializeAsString();
  }
  return log_->Append(records).status();
}

absl::Status GrowingArchive::CatchUp() {
  return index_->CatchUp(log_->durable_end());
}

}  // namespace diptych::bench
