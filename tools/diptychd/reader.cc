#include "tools/diptychd/reader.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/transparency_service.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_source.h"
#include "archiver/seal/secret.h"
#include "indexer/builder/index_builder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/builder/rebuild.h"
#include "indexer/builder/rebuild_job.h"
#include "indexer/query/catalog.h"
#include "indexer/query/catalog_service.h"
#include "indexer/retrieval/media_service.h"
#include "indexer/store/index_folder.h"
#include "indexer/store/index_store.h"
#include "indexer/store/media_index.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptychd/server.h"
#include "tools/diptychd/writer_link.h"
#include "tools/pki/pki.h"

namespace diptych::daemon {
namespace {

constexpr absl::Duration kStopGrace = absl::Seconds(2);
// For an access record to be in the index.
constexpr absl::Duration kIndexWait = absl::Seconds(5);
constexpr absl::Duration kWriterWait = absl::Seconds(2);
// A new index follows a log up to this long from its beginning; of a longer one
// it is made by sorting, which is faster.
constexpr uint64_t kFollowAtMost_bytes = uint64_t{1} << 30;

absl::StatusOr<std::optional<seal::SecretText>> ReadPassphrase(
    const DaemonOptions& options) {
  std::optional<seal::SecretText> passphrase;
  if (!options.passphrase_file.empty()) {
    ASSIGN_OR_RETURN(passphrase,
                     seal::ReadPassphraseFile(options.passphrase_file));
  } else if (!options.passphrase.empty()) {
    ASSIGN_OR_RETURN(const seal::KeySource source,
                     seal::KeySource::Parse(options.passphrase));
    ASSIGN_OR_RETURN(passphrase, seal::ReadPassphrase(source));
  }
  return passphrase;
}

// The recipient's key first, then those of it that are retired and still lie in
// the key folder: what was wrapped to them stays readable.
absl::StatusOr<std::vector<seal::KeyPair>> ReadKeys(
    const DaemonOptions& options, const std::string& name,
    const std::string& given, std::optional<absl::string_view> passphrase) {
  std::vector<seal::KeyPair> keys;
  if (given.empty()) {
    ASSIGN_OR_RETURN(keys.emplace_back(),
                     seal::ReadKeyFile(options.keys, name, passphrase));
  } else {
    ASSIGN_OR_RETURN(const seal::KeySource source,
                     seal::KeySource::Parse(given));
    ASSIGN_OR_RETURN(seal::SecretText text,
                     source.Read(limits::kMaxKeyFile_bytes));
    ASSIGN_OR_RETURN(
        keys.emplace_back(),
        seal::ParseKeyFile(std::move(text), source.Name(), name, passphrase));
  }
  std::vector<absl::Status> left_out;
  ASSIGN_OR_RETURN(
      std::vector<seal::KeyPair> others,
      seal::ReadOtherKeyFiles(options.keys, name, passphrase, &left_out));
  for (seal::KeyPair& key : others) keys.push_back(std::move(key));
  for (const absl::Status& why : left_out) {
    base::LogLine(
        base::Severity::kWarning,
        "an earlier key was left out: what only it opens stays closed",
        {{"error", absl::string_view(why.message())}});
  }
  return keys;
}

absl::StatusOr<TlsIdentity> ReadIdentity(
    const DaemonOptions& options, const std::string& name,
    std::optional<absl::string_view> passphrase) {
  TlsIdentity identity;
  ASSIGN_OR_RETURN(
      identity.ca_pem,
      base::ReadWholeFile(absl::StrCat(options.data_dir, "/tls/ca.crt"),
                          limits::kMaxPemFile_bytes));
  const std::string stem = absl::StrCat(options.keys, "/", name);
  ASSIGN_OR_RETURN(
      identity.certificate_pem,
      base::ReadWholeFile(stem + ".crt", limits::kMaxPemFile_bytes));
  std::optional<std::string> copy;
  if (passphrase.has_value()) copy.emplace(*passphrase);
  absl::StatusOr<std::string> pem = pki::ReadPrivateKeyPem(stem + ".key", copy);
  if (copy.has_value()) const seal::SecretText wiped(*std::move(copy));
  ASSIGN_OR_RETURN(identity.private_key_pem, std::move(pem));
  return identity;
}

class ReaderImpl final : public Reader {
 public:
  ~ReaderImpl() override { Stop(); }

  absl::Status Run(const DaemonOptions& options);
  void Stop() override;
  bool failed() const override { return failed_; }

 private:
  // Opens the index. What can't be used makes room for an empty one, and
  // `unusable` then says why; so does an index that has much of the log before
  // it.
  absl::Status OpenIndex(const DaemonOptions& options,
                         const base::Uuid& archive_id, std::string* unusable);
  absl::Status MakeBuilder(const base::Uuid& archive_id);
  // UNAVAILABLE if the index does not come to have all before `position`.
  absl::Status AwaitIndex(log::Position position) const;

  // In the order of their lives: what comes later uses what came before.
  std::optional<seal::IndexKeys> index_keys_;
  std::unique_ptr<log::LogReader> log_;
  std::unique_ptr<log::LogReader> key_store_;
  std::vector<seal::KeyPair> index_recipients_;
  std::unique_ptr<indexer::IndexDatabase> store_;
  std::unique_ptr<indexer::IndexBuilder> builder_;
  std::unique_ptr<indexer::LogFollower> follower_;
  std::unique_ptr<indexer::RebuildJob> rebuilds_;
  std::atomic<bool> failed_ = false;
  std::unique_ptr<WriterLink> link_;
  std::unique_ptr<indexer::MediaIndex> media_index_;
  std::unique_ptr<indexer::Catalog> catalog_;
  std::unique_ptr<indexer::CatalogService> catalog_service_;
  std::unique_ptr<indexer::MediaService> media_service_;
  std::unique_ptr<evidence::TransparencyService> tree_service_;
  std::unique_ptr<RpcServer> server_;
};

absl::Status ReaderImpl::MakeBuilder(const base::Uuid& archive_id) {
  indexer::IndexBuilder::Options builder;
  builder.archive_id = archive_id;
  builder.store = store_.get();
  builder.index_keys = &*index_keys_;
  builder.log = log_.get();
  builder.key_store = key_store_.get();
  for (const seal::KeyPair& key : index_recipients_) {
    builder.recipient_keys.push_back(key.Clone());
  }
  ASSIGN_OR_RETURN(builder_, indexer::IndexBuilder::Create(std::move(builder)));
  return absl::OkStatus();
}

absl::Status ReaderImpl::AwaitIndex(log::Position position) const {
  std::string why = rebuilds_->trouble();
  if (why.empty()) {
    // A record that lies there is in once the index is past its place.
    if (follower_->WaitUntil(position + 1, kIndexWait)) {
      return absl::OkStatus();
    }
    why = "the index is behind the log";
  }
  api::v1::ErrorDetail detail;
  detail.set_reason("INDEX_BEHIND");
  detail.set_retryable(true);
  return base::MakeError(absl::StatusCode::kUnavailable,
                         absl::StrCat(why, ": try again"), detail);
}

absl::Status ReaderImpl::OpenIndex(const DaemonOptions& options,
                                   const base::Uuid& archive_id,
                                   std::string* unusable) {
  const auto open = [&](std::string* why) -> absl::Status {
    absl::StatusOr<std::unique_ptr<indexer::IndexDatabase>> store =
        indexer::OpenOrReplaceIndex(options.index_dir, archive_id,
                                    indexer::NewerIndex::kRefuse, why);
    if (!store.ok()) return std::move(store).status();
    store_ = *std::move(store);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(indexer::CheckIndexFolder(options.index_dir, options.data_dir,
                                            options.keys));
  RETURN_IF_ERROR(base::FileSystem::Real()->CreateDirectory(options.index_dir));
  RETURN_IF_ERROR(open(unusable));
  absl::Status made = MakeBuilder(archive_id);
  if (store_->damaged()) {
    // It has just been met, and is known when the store is opened again.
    store_.reset();
    RETURN_IF_ERROR(open(unusable));
    made = MakeBuilder(archive_id);
  }
  if (indexer::IsNeedsRebuild(made)) {
    *unusable = std::string(made.message());
    ASSIGN_OR_RETURN(std::unique_ptr<indexer::IndexGeneration> empty,
                     store_->BeginGeneration());
    RETURN_IF_ERROR(store_->SwitchTo(std::move(empty)));
    made = MakeBuilder(archive_id);
  }
  RETURN_IF_ERROR(made);
  if (!unusable->empty() || builder_->position() > 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto volumes, log_->ListVolumes());
  if (!volumes.empty() &&
      volumes.back().base + volumes.back().size_bytes > kFollowAtMost_bytes) {
    *unusable = "it is new, and the log is long";
  }
  return absl::OkStatus();
}

absl::Status ReaderImpl::Run(const DaemonOptions& options) {
  ASSIGN_OR_RETURN(stored::v1::ArchiveConfig archive,
                   seal::ReadArchiveConfig(options.data_dir));
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(archive.archive_id()));
  ASSIGN_OR_RETURN(const std::optional<seal::SecretText> secret,
                   ReadPassphrase(options));
  std::optional<absl::string_view> passphrase;
  if (secret.has_value()) passphrase = secret->view();
  ASSIGN_OR_RETURN(std::vector<seal::KeyPair> index_key,
                   ReadKeys(options, "index", options.index_key, passphrase));
  ASSIGN_OR_RETURN(std::vector<seal::KeyPair> audit_key,
                   ReadKeys(options, "audit", options.audit_key, passphrase));
  index_keys_ = seal::IndexKeys::Derive(index_key.front());

  base::FileSystem* const files = base::FileSystem::Real();
  log_ = std::make_unique<log::LogReader>(
      files, absl::StrCat(options.data_dir, "/volumes"));
  key_store_ = std::make_unique<log::LogReader>(
      files, absl::StrCat(options.data_dir, "/keystore"));
  index_recipients_ = std::move(index_key);
  std::string unusable;
  RETURN_IF_ERROR(OpenIndex(options, archive_id, &unusable));
  if (!unusable.empty()) {
    base::LogLine(base::Severity::kWarning,
                  "the index can't be used and will be made again",
                  {{"why", unusable}});
  }
  using Follower = indexer::LogFollower;
  follower_ = std::make_unique<Follower>(
      log_.get(), builder_.get(), base::Clock::Real(),
      unusable.empty() ? Follower::Begin::kFollowing
                       : Follower::Begin::kPaused);
  indexer::RebuildJob::Options rebuilds;
  rebuilds.source.archive_id = archive_id;
  rebuilds.source.index_keys = &*index_keys_;
  rebuilds.source.log = log_.get();
  rebuilds.source.key_store = key_store_.get();
  rebuilds.source.recipient_keys = &index_recipients_;
  rebuilds.source.work_folder = indexer::RebuildFolder(options.index_dir);
  rebuilds.source.reserve_bytes = options.reserve_bytes;
  if (unusable.empty()) {
    // A rebuild that somebody asked for once: the index that is there does.
    const absl::Status cleared = indexer::ClearRebuildFiles(rebuilds.source);
    if (!cleared.ok()) {
      base::LogLine(base::Severity::kWarning, "files of a rebuild are left",
                    {{"error", cleared.message()}});
    }
  }
  rebuilds.source.pace.checkpoint_bytes = options.rebuild_checkpoint_bytes;
  rebuilds.store = store_.get();
  rebuilds.follower = follower_.get();
  rebuilds.builder = std::move(builder_);
  rebuilds.unusable = !unusable.empty();
  rebuilds.on_hopeless = [this] {
    failed_ = true;
    kill(getpid(), SIGTERM);
  };
  rebuilds_ = std::make_unique<indexer::RebuildJob>(std::move(rebuilds));

  WriterLink::Options link;
  const std::string link_address_file =
      absl::StrCat(options.data_dir, "/run/ingest.address");
  link.address_file = link_address_file;
  ASSIGN_OR_RETURN(link.identity,
                   ReadIdentity(options, "indexer-client", passphrase));
  link.archive = archive;
  link.follower = follower_.get();
  link_ = std::make_unique<WriterLink>(std::move(link));

  // So that the first answer is complete. Without a writer there will be
  // answers too, which say that they are not.
  if (!link_->WaitConnected(kWriterWait)) {
    base::LogLine(base::Severity::kWarning, "the writer is not there yet",
                  {{"address_file", link_address_file}});
  }

  media_index_ = indexer::NewMediaIndex(store_.get(), &*index_keys_);
  indexer::Catalog::Options catalog;
  catalog.store = store_.get();
  catalog.keys = &*index_keys_;
  catalog.follower = follower_.get();
  catalog.access = link_.get();
  catalog.clock = base::Clock::Real();
  catalog.rebuild = [this]() -> std::optional<api::v1::RebuildProgress> {
    const indexer::RebuildJob::News news = rebuilds_->news();
    if (!news.running) return std::nullopt;
    return indexer::ToApi(news.progress);
  };
  catalog.trouble = [this] { return rebuilds_->trouble(); };
  catalog_ = std::make_unique<indexer::Catalog>(catalog);
  catalog_service_ = std::make_unique<indexer::CatalogService>(
      archive_id, catalog_.get(), rebuilds_.get());
  indexer::MediaService::Options media;
  media.archive_id = archive_id;
  media.index = media_index_.get();
  media.log = log_.get();
  media.key_store = key_store_.get();
  media.access = link_.get();
  media.clock = base::Clock::Real();
  media.tree = {files, absl::StrCat(options.data_dir, "/tlog"),
                archive.witnesses_size() > 0};
  media.keys = std::move(audit_key);
  media.await_index = [this](log::Position position) {
    return AwaitIndex(position);
  };
  media_service_ = std::make_unique<indexer::MediaService>(std::move(media));

  ASSIGN_OR_RETURN(tree_service_,
                   evidence::TransparencyService::Create(
                       {.file_system = files,
                        .directory = absl::StrCat(options.data_dir, "/tlog")},
                       archive));

  RpcServer::Options server;
  server.listen = options.audit_listen;
  RETURN_IF_ERROR(files->CreateDirectory(options.run_dir));
  server.address_file = absl::StrCat(options.run_dir, "/audit.address");
  ASSIGN_OR_RETURN(server.identity,
                   ReadIdentity(options, "audit-server", passphrase));
  server.services = {catalog_service_.get(), media_service_.get(),
                     tree_service_.get()};
  server.max_receive_message_bytes = limits::kMaxQueryMessage_bytes;
  server.max_threads = limits::kMaxServerThreads;
  ASSIGN_OR_RETURN(server_, RpcServer::Start(server));
  base::LogLine(base::Severity::kInfo, "serving",
                {{"role", "indexer"}, {"address", server_->address()}});
  return absl::OkStatus();
}

void ReaderImpl::Stop() {
  if (server_ == nullptr) return;
  server_->SetServing(false);
  tree_service_->StopWaiting();
  rebuilds_->StopWaiting();
  server_->Stop(kStopGrace);
  server_.reset();
  base::LogLine(base::Severity::kInfo, "stopped", {{"role", "indexer"}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Reader>> Reader::Start(
    const DaemonOptions& options) {
  auto reader = std::make_unique<ReaderImpl>();
  RETURN_IF_ERROR(reader->Run(options));
  return reader;
}

}  // namespace diptych::daemon
