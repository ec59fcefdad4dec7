#include "tools/diptychd/writer.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/publisher.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/evidence/transparency_service.h"
#include "archiver/ingest/archive_log_service.h"
#include "archiver/ingest/ingest_service.h"
#include "archiver/ingest/session_registry.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/open_sessions.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptychd/server.h"
#include "tools/diptychd/storage_guard.h"
#include "tools/pki/pki.h"

namespace diptych::daemon {
namespace {

using base::LogLine;
using base::Severity;

constexpr absl::Duration kStopGrace = absl::Seconds(5);

void ReportRecovery(absl::string_view store,
                    const log::RecoveryReport& report) {
  for (const log::Damage& damage : report.damages) {
    LogLine(damage.was_durable ? Severity::kError : Severity::kWarning,
            damage.was_durable
                ? "damage to records that were durable; left as it is"
                : "a torn tail, never acknowledged, was moved aside",
            {{"store", store},
             {"volume", damage.volume},
             {"from", absl::StrCat(damage.from)},
             {"to", absl::StrCat(damage.to)},
             {"what", damage.what}});
  }
  for (const std::string& file : report.moved_aside) {
    LogLine(Severity::kWarning, "torn bytes kept", {{"file", file}});
  }
}

class WriterImpl final : public Writer {
 public:
  ~WriterImpl() override;

  absl::Status Run(const DaemonOptions& options);
  void Drain() override;

 private:
  // The log tree, with the key that signs it.
  absl::Status OpenTree(const std::string& data_dir,
                        const base::Uuid& archive_id);

  // In the order of their lives: what comes later uses what came before.
  stored::v1::ArchiveConfig archive_;
  std::unique_ptr<log::LogStore> key_store_;
  std::unique_ptr<log::LogStore> log_store_;
  std::unique_ptr<log::LogReader> log_reader_;
  std::unique_ptr<evidence::TreePublisher> tree_;
  std::unique_ptr<ingest::SessionRegistry> registry_;
  std::unique_ptr<StorageGuard> guard_;
  // Set before the first record is submitted; read by commit threads.
  std::atomic<ingest::ArchiveLogService*> followers_ = nullptr;
  std::unique_ptr<log::Committer> key_committer_;
  std::unique_ptr<log::Committer> log_committer_;
  ingest::SessionContext context_;
  std::unique_ptr<ingest::ArchiveLogService> log_service_;
  std::unique_ptr<ingest::IngestService> ingest_service_;
  std::unique_ptr<evidence::TransparencyService> tree_service_;
  std::unique_ptr<RpcServer> server_;
};

absl::Status WriterImpl::Run(const DaemonOptions& options) {
  ASSIGN_OR_RETURN(archive_, seal::ReadArchiveConfig(options.data_dir));
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(archive_.archive_id()));
  base::FileSystem* const files = base::FileSystem::Real();
  base::Clock* const clock = base::Clock::Real();
  ASSIGN_OR_RETURN(const base::DiskSpace space, files->Space(options.data_dir));
  const uint64_t reserve_bytes =
      options.reserve_bytes.value_or(DefaultReserve(space));
  guard_ = std::make_unique<StorageGuard>(
      StorageGuard::Options{.file_system = files,
                            .clock = clock,
                            .directory = options.data_dir,
                            .reserve_bytes = reserve_bytes});

  const auto open_store = [&](const std::string& folder,
                              const std::string& store,
                              log::Position known_durable)
      -> absl::StatusOr<std::unique_ptr<log::LogStore>> {
    log::RecoveryReport report;
    auto opened = log::OpenLocalLogStore(
        files, clock,
        {.directory = absl::StrCat(options.data_dir, "/", folder),
         .lost_and_found = absl::StrCat(options.data_dir, "/lost+found"),
         .archive_id = archive_id,
         .store = store,
         .volume_max_bytes = limits::kVolumeMax_bytes,
         .floor_bytes = DiskFloor(reserve_bytes),
         .known_durable = known_durable},
        &report);
    ReportRecovery(store, report);
    return opened;
  };
  ASSIGN_OR_RETURN(key_store_, open_store("keystore", "keys", 0));
  ASSIGN_OR_RETURN(
      log_store_, open_store("volumes", "log",
                             evidence::SignedUntil(
                                 files, absl::StrCat(options.data_dir, "/tlog"),
                                 evidence::LogOrigin(archive_id.ToString()),
                                 archive_.log_key().public_key())));
  log_reader_ = std::make_unique<log::LogReader>(
      files, absl::StrCat(options.data_dir, "/volumes"));
  uint64_t skipped = 0;
  ASSIGN_OR_RETURN(log::OpenSessions recovered,
                   log::RecoverOpenSessions(*log_reader_, &skipped));
  if (skipped > 0) {
    LogLine(Severity::kError,
            "records that do not fit the log were passed over",
            {{"records", absl::StrCat(skipped)}});
  }
  LogLine(Severity::kInfo, "recovered",
          {{"open_sessions", absl::StrCat(recovered.open().size())},
           {"durable_end", absl::StrCat(log_store_->durable_end())}});
  registry_ = std::make_unique<ingest::SessionRegistry>(std::move(recovered));
  RETURN_IF_ERROR(OpenTree(options.data_dir, archive_id));

  key_committer_ = std::make_unique<log::Committer>(
      key_store_.get(),
      log::Committer::Hooks{
          .on_unhealthy =
              [this](const absl::Status& why) { guard_->Report("keys", why); },
          .on_healthy = [this] { guard_->Report("keys", absl::OkStatus()); }});
  log_committer_ = std::make_unique<log::Committer>(
      log_store_.get(),
      log::Committer::Hooks{
          .snapshot = [this] { return registry_->MakeSnapshot(); },
          .on_record =
              [this](const log::Record& record, log::Position position) {
                registry_->OnRecord(record, position);
                tree_->OnRecord(record, position);
              },
          .on_durable =
              [this](log::Position end) {
                if (auto* followers = followers_.load()) {
                  followers->SetDurableEnd(end);
                }
              },
          .on_unhealthy =
              [this](const absl::Status& why) { guard_->Report("log", why); },
          .on_healthy = [this] { guard_->Report("log", absl::OkStatus()); }});
  context_.archive = &archive_;
  context_.clock = clock;
  context_.admit = [this] { return guard_->Admit(); };
  context_.log = log_committer_.get();
  context_.key_store = key_committer_.get();
  context_.prover = tree_.get();
  log_service_ = std::make_unique<ingest::ArchiveLogService>(
      log_committer_.get(), clock, archive_id, log_store_->durable_end());
  followers_ = log_service_.get();
  // A start on a full disk fails and says why, rather than wait unheard.
  log_committer_->SetWaitsForSpace(false);
  RETURN_IF_ERROR(registry_->Start(&context_, *log_reader_));
  log_committer_->SetWaitsForSpace(true);
  ingest_service_ =
      std::make_unique<ingest::IngestService>(registry_.get(), archive_id);

  ASSIGN_OR_RETURN(tree_service_,
                   evidence::TransparencyService::Create(
                       {.file_system = files,
                        .directory = absl::StrCat(options.data_dir, "/tlog"),
                        .takes_additions = true},
                       archive_));

  const std::string tls = absl::StrCat(options.data_dir, "/tls/");
  RpcServer::Options server;
  server.listen = options.ingest_listen;
  server.address_file = absl::StrCat(options.data_dir, "/run/ingest.address");
  ASSIGN_OR_RETURN(
      server.identity.ca_pem,
      base::ReadWholeFile(tls + "ca.crt", limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(
      server.identity.certificate_pem,
      base::ReadWholeFile(tls + "ingest.crt", limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(server.identity.private_key_pem,
                   pki::ReadPrivateKeyPem(tls + "ingest.key", std::nullopt));
  server.services = {ingest_service_.get(), log_service_.get(),
                     tree_service_.get()};
  server.max_receive_message_bytes = limits::kMaxMessage_bytes;
  server.max_threads = limits::kMaxServerThreads;
  ASSIGN_OR_RETURN(server_, RpcServer::Start(server));
  guard_->SetListener([this](bool well) { server_->SetServing(well); });
  LogLine(Severity::kInfo, "serving",
          {{"role", "archiver"},
           {"address", server_->address()},
           {"reserve_bytes", absl::StrCat(reserve_bytes)}});
  return absl::OkStatus();
}

absl::Status WriterImpl::OpenTree(const std::string& data_dir,
                                  const base::Uuid& archive_id) {
  const std::string path = absl::StrCat(data_dir, "/tls/log.key");
  if (archive_.log_key().public_key().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the archive in ", data_dir,
                     " has no key for its transparency log: it was made by an "
                     "earlier version"));
  }
  ASSIGN_OR_RETURN(seal::SigningKey key, seal::ReadSigningKey(path));
  if (key.public_key() != archive_.log_key().public_key()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is not the key that archive.textproto names as the log's"));
  }
  ASSIGN_OR_RETURN(tree_,
                   evidence::TreePublisher::Open(
                       {.file_system = base::FileSystem::Real(),
                        .directory = absl::StrCat(data_dir, "/tlog"),
                        .origin = evidence::LogOrigin(archive_id.ToString()),
                        .log = log_reader_.get(),
                        .durable_end = log_store_->durable_end()},
                       std::move(key)));
  const auto latest = tree_->latest();
  LogLine(Severity::kInfo, "the log tree is there",
          {{"leaves", absl::StrCat(latest.has_value() ? latest->size : 0)}});
  return absl::OkStatus();
}

WriterImpl::~WriterImpl() {
  Drain();
  server_.reset();
  // Whatever calls back goes before what it calls.
  if (registry_ != nullptr) registry_->StopTicking();
  followers_ = nullptr;
  key_committer_.reset();
  log_committer_.reset();
  // Its last checkpoint has what they wrote.
  if (tree_ != nullptr) tree_->Stop();
}

void WriterImpl::Drain() {
  if (server_ == nullptr) return;
  guard_->SetListener(nullptr);
  server_->SetServing(false);
  // A full disk may stay full; what waits for it, its gateways still have.
  key_committer_->SetWaitsForSpace(false);
  log_committer_->SetWaitsForSpace(false);
  registry_->Drain(limits::kDrainTimeout);
  log_service_->StopFollowers();
  tree_service_->StopWaiting();
  server_->Stop(kStopGrace);
  server_.reset();
  LogLine(Severity::kInfo, "drained", {{"role", "archiver"}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Writer>> Writer::Start(
    const DaemonOptions& options) {
  auto writer = std::make_unique<WriterImpl>();
  RETURN_IF_ERROR(writer->Run(options));
  return writer;
}

}  // namespace diptych::daemon
