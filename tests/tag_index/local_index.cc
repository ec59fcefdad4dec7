#include "tests/tag_index/local_index.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/access/access_recorder.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/query/catalog.h"
#include "indexer/store/index_store.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/tag_index/catalog_asker.h"

namespace diptych::bench {
namespace {

class NoRecorder final : public indexer::AccessRecorder {
 public:
  absl::StatusOr<log::Position> Record(
      const stored::v1::AccessRecord&) override {
    return 0;
  }
};

class LocalIndexImpl final : public LocalIndex {
 public:
  LocalIndexImpl(const std::string& data_folder, seal::KeyPair index_key)
      : index_key_(std::move(index_key)),
        keys_(seal::IndexKeys::Derive(index_key_)),
        log_(base::FileSystem::Real(), absl::StrCat(data_folder, "/volumes")),
        key_store_(base::FileSystem::Real(),
                   absl::StrCat(data_folder, "/keystore")) {}

  absl::Status Start(const std::string& data_folder,
                     const base::Uuid& archive_id) {
    ASSIGN_OR_RETURN(
        store_, indexer::IndexStore::Open(absl::StrCat(data_folder, "/index"),
                                          archive_id));
    indexer::IndexBuilder::Options options;
    options.archive_id = archive_id;
    options.store = store_.get();
    options.index_keys = &keys_;
    options.log = &log_;
    options.key_store = &key_store_;
    options.recipient_keys.push_back(index_key_.Clone());
    ASSIGN_OR_RETURN(builder_,
                     indexer::IndexBuilder::Create(std::move(options)));
    state_ = builder_->state();
    follower_ = std::make_unique<indexer::LogFollower>(&log_, builder_.get());
    follower_->SetDurableEnd(state_.position());
    indexer::Catalog::Options catalog;
    catalog.store = store_.get();
    catalog.keys = &keys_;
    catalog.follower = follower_.get();
    catalog.access = &recorder_;
    catalog.clock = base::Clock::Real();
    catalog_ = std::make_unique<indexer::Catalog>(catalog);
    return absl::OkStatus();
  }

  CatalogDoor door() override {
    const indexer::Caller caller = {"diptych://bench/auditor/bench", {}};
    CatalogDoor door;
    door.list_segments = [this,
                          caller](const api::v1::ListSegmentsRequest& request) {
      return catalog_->ListSegments(request, caller);
    };
    door.list_sessions = [this,
                          caller](const api::v1::ListSessionsRequest& request) {
      return catalog_->ListSessions(request, caller);
    };
    door.count_sessions =
        [this, caller](const api::v1::CountSessionsRequest& request) {
          return catalog_->CountSessions(request, caller);
        };
    return door;
  }
  absl::Status CatchUp(log::Position end) override {
    follower_->SetDurableEnd(end);
    if (follower_->WaitUntil(end, absl::Minutes(10))) return absl::OkStatus();
    return absl::DeadlineExceededError("the index does not catch up");
  }
  indexer::IndexDatabase* store() override { return store_.get(); }
  const seal::IndexKeys& keys() const override { return keys_; }
  const stored::v1::IndexState& state() const override { return state_; }

 private:
  const seal::KeyPair index_key_;
  const seal::IndexKeys keys_;
  const log::LogReader log_;
  const log::LogReader key_store_;
  NoRecorder recorder_;
  stored::v1::IndexState state_;
  std::unique_ptr<indexer::IndexDatabase> store_;
  std::unique_ptr<indexer::IndexBuilder> builder_;
  std::unique_ptr<indexer::LogFollower> follower_;
  std::unique_ptr<indexer::Catalog> catalog_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalIndex>> LocalIndex::Open(
    const std::string& data_folder) {
  ASSIGN_OR_RETURN(const stored::v1::ArchiveConfig config,
                   seal::ReadArchiveConfig(data_folder));
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(config.archive_id()));
  ASSIGN_OR_RETURN(seal::KeyPair key,
                   seal::ReadKeyFile(absl::StrCat(data_folder, ".keys"),
                                     "index", std::nullopt));
  auto index = std::make_unique<LocalIndexImpl>(data_folder, std::move(key));
  RETURN_IF_ERROR(index->Start(data_folder, archive_id));
  return index;
}

}  // namespace diptych::bench
