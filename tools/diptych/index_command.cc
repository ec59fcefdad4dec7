#include "tools/diptych/index_command.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/rebuild.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/audit_client.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/init_command.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"
#include "tools/pki/pki.h"

namespace diptych::cli {
namespace {

using Phase = indexer::RebuildProgress::Phase;

absl::string_view PhaseWords(Phase phase) {
  switch (phase) {
    case Phase::kReading:
      return "reading the log";
    case Phase::kWriting:
      return "writing the index";
    case Phase::kCatchingUp:
      return "taking in what came since";
  }
  return "rebuilding the index";
}

}  // namespace

absl::StatusOr<ExitCode> RunIndexRebuild(const CommandContext& context,
                                         const IndexRebuildOptions& options) {
  std::optional<std::string> passphrase;
  if (!options.passphrase_file.empty()) {
    ASSIGN_OR_RETURN(passphrase,
                     pki::ReadPassphraseFile(options.passphrase_file));
  }
  const std::string keys_dir = options.keys_dir.empty()
                                   ? DefaultKeysDir(options.data_dir)
                                   : options.keys_dir;
  ASSIGN_OR_RETURN(const stored::v1::ArchiveConfig config,
                   seal::ReadArchiveConfig(options.data_dir));
  ASSIGN_OR_RETURN(seal::KeyPair index_key,
                   seal::ReadKeyFile(keys_dir, "index", passphrase));
  const seal::IndexKeys index_keys = seal::IndexKeys::Derive(index_key);

  Output& output = *context.output;
  indexer::RebuildOptions rebuild;
  rebuild.data_directory = options.data_dir;
  ASSIGN_OR_RETURN(rebuild.archive_id,
                   base::Uuid::FromBytes(config.archive_id()));
  rebuild.index_keys = &index_keys;
  rebuild.recipient_keys.push_back(std::move(index_key));
  rebuild.on_progress = [&](const indexer::RebuildProgress& progress) {
    output.Progress(PhaseWords(progress.phase), progress.done, progress.total);
    return context.interrupt->Check();
  };
  ASSIGN_OR_RETURN(const stored::v1::IndexState state,
                   indexer::RebuildIndex(rebuild));
  const uint64_t left_out = state.damage_count() + state.unopened_records() +
                            state.unreadable_headers();
  if (left_out > 0) {
    output.Warning(
        absl::StrCat(left_out,
                     " places of the log could not be read into the index: run "
                     "diptych check ",
                     options.data_dir, " to see which"));
  }
  output.Summary(
      {{"indexed_position", state.position()},
       {"sessions", state.sessions()},
       {"segments", state.segments()},
       {"damages", state.damage_count()},
       {"unopened_records", state.unopened_records()},
       {"unreadable_headers", state.unreadable_headers()},
       {"complete", left_out == 0}},
      absl::StrCat("The index is new: ", Counted(state.sessions(), "session"),
                   ", ", Counted(state.segments(), "segment"),
                   ", up to position ", state.position(), " of the log."));
  return left_out == 0 ? ExitCode::kDone : ExitCode::kIncomplete;
}

absl::StatusOr<ExitCode> RunIndexStatus(const CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  ASSIGN_OR_RETURN(const api::v1::GetIndexStatusResponse status,
                   client->GetIndexStatus());
  const uint64_t behind_bytes =
      status.log_position() > status.indexed_position()
          ? status.log_position() - status.indexed_position()
          : 0;
  Output& output = *context.output;
  output.Text(absl::StrCat("sessions  ", status.sessions()));
  output.Text(absl::StrCat("segments  ", status.segments()));
  output.Text(absl::StrCat("indexed   ", status.indexed_position()));
  output.Text(absl::StrCat("log       ", status.log_position()));
  output.Text(absl::StrCat("behind    ", FormatBytes(behind_bytes)));
  if (!status.writer_reachable()) {
    output.Warning(
        "the log's writer can't be asked: the log may hold more than this");
  }
  output.Summary({{"sessions", status.sessions()},
                  {"segments", status.segments()},
                  {"indexed_position", status.indexed_position()},
                  {"log_position", status.log_position()},
                  {"behind_bytes", behind_bytes},
                  {"writer_reachable", status.writer_reachable()},
                  {"schema_version", status.schema_version()},
                  {"complete", status.writer_reachable()}},
                 "");
  return status.writer_reachable() ? ExitCode::kDone : ExitCode::kIncomplete;
}

}  // namespace diptych::cli
