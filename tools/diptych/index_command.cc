#include "tools/diptych/index_command.h"

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/rebuild.h"
#include "indexer/store/index_folder.h"
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

absl::string_view PhaseWords(api::v1::RebuildProgress::Phase phase) {
  switch (phase) {
    case api::v1::RebuildProgress::PHASE_WRITING:
      return PhaseWords(Phase::kWriting);
    case api::v1::RebuildProgress::PHASE_CATCHING_UP:
      return PhaseWords(Phase::kCatchingUp);
    default:
      return PhaseWords(Phase::kReading);
  }
}

// For programs.
absl::string_view PhaseName(api::v1::RebuildProgress::Phase phase) {
  switch (phase) {
    case api::v1::RebuildProgress::PHASE_WRITING:
      return "writing";
    case api::v1::RebuildProgress::PHASE_CATCHING_UP:
      return "catching_up";
    default:
      return "reading";
  }
}

// What a new index has.
struct Rebuilt {
  uint64_t position = 0;
  uint64_t sessions = 0;
  uint64_t segments = 0;
  // Places of the log that are not in it.
  uint64_t left_out = 0;
};

// `more` goes to the end of the summary.
ExitCode Finish(const CommandContext& context, const Rebuilt& rebuilt,
                const std::string& data_dir, const Json& more) {
  Output& output = *context.output;
  if (rebuilt.left_out > 0) {
    output.Warning(
        absl::StrCat(rebuilt.left_out,
                     " places of the log could not be read into the index: run "
                     "diptych check ",
                     data_dir.empty() ? "DIR" : data_dir, " to see which"));
  }
  Json summary = {{"indexed_position", rebuilt.position},
                  {"sessions", rebuilt.sessions},
                  {"segments", rebuilt.segments},
                  {"left_out", rebuilt.left_out},
                  {"complete", rebuilt.left_out == 0}};
  summary.update(more);
  output.Summary(
      summary,
      absl::StrCat("The index is new: ", Counted(rebuilt.sessions, "session"),
                   ", ", Counted(rebuilt.segments, "segment"),
                   ", up to position ", rebuilt.position, " of the log."));
  return rebuilt.left_out == 0 ? ExitCode::kDone : ExitCode::kIncomplete;
}

absl::StatusOr<ExitCode> RebuildOfDaemon(const CommandContext& context) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  std::optional<api::v1::RebuildResult> done;
  RETURN_IF_ERROR(
      client->RebuildIndex([&](const api::v1::RebuildIndexResponse& response) {
        if (response.has_done()) {
          done = response.done();
          return absl::OkStatus();
        }
        const api::v1::RebuildProgress& progress = response.progress();
        context.output->Progress(PhaseWords(progress.phase()), progress.done(),
                                 progress.total());
        return absl::OkStatus();
      }));
  if (!done.has_value()) {
    return absl::InternalError("the daemon did not say how the rebuild ended");
  }
  return Finish(context,
                {.position = done->indexed_position(),
                 .sessions = done->sessions(),
                 .segments = done->segments(),
                 .left_out = done->left_out()},
                "", Json::object());
}

}  // namespace

absl::StatusOr<ExitCode> RunIndexRebuild(const CommandContext& context,
                                         const IndexRebuildOptions& options) {
  if (options.data_dir.empty()) return RebuildOfDaemon(context);
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
  // As the daemon makes its files.
  umask(0027);
  rebuild.data_directory = options.data_dir;
  rebuild.index_directory = options.index_dir;
  if (!options.index_dir.empty()) {
    RETURN_IF_ERROR(indexer::CheckIndexFolder(options.index_dir,
                                              options.data_dir, keys_dir));
  }
  rebuild.pace.checkpoint_bytes = options.checkpoint_bytes;
  ASSIGN_OR_RETURN(rebuild.archive_id,
                   base::Uuid::FromBytes(config.archive_id()));
  rebuild.index_keys = &index_keys;
  rebuild.recipient_keys.push_back(std::move(index_key));
  // What was wrapped to the ones before stays readable.
  std::vector<absl::Status> left_out;
  ASSIGN_OR_RETURN(
      std::vector<seal::KeyPair> others,
      seal::ReadOtherKeyFiles(keys_dir, "index", passphrase, &left_out));
  for (seal::KeyPair& key : others) {
    rebuild.recipient_keys.push_back(std::move(key));
  }
  for (const absl::Status& why : left_out) {
    output.Warning(absl::StrCat(
        "an earlier key was left out: what only it opens stays closed: ",
        why.message()));
  }
  rebuild.on_progress = [&](const indexer::RebuildProgress& progress) {
    output.Progress(PhaseWords(progress.phase), progress.done, progress.total);
    return context.interrupt->Check();
  };
  ASSIGN_OR_RETURN(const stored::v1::IndexState state,
                   indexer::RebuildIndex(rebuild));
  return Finish(context,
                {.position = state.position(),
                 .sessions = state.sessions(),
                 .segments = state.segments(),
                 .left_out = state.damage_count() + state.unopened_records() +
                             state.unreadable_headers()},
                options.data_dir,
                {{"damages", state.damage_count()},
                 {"unopened_records", state.unopened_records()},
                 {"unreadable_headers", state.unreadable_headers()}});
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
  const double lag_s = static_cast<double>(status.lag_us()) / 1e6;
  const double worst_lag_s = static_cast<double>(status.worst_lag_us()) / 1e6;
  const bool complete =
      status.writer_reachable() && status.incomplete_reason().empty();
  Output& output = *context.output;
  output.Text(absl::StrCat("sessions  ", status.sessions()));
  output.Text(absl::StrCat("segments  ", status.segments()));
  output.Text(absl::StrCat("indexed   ", status.indexed_position()));
  output.Text(absl::StrCat("log       ", status.log_position()));
  output.Text(absl::StrCat("behind    ", FormatBytes(behind_bytes)));
  output.Text(
      absl::StrFormat("lag       %.3f s, at most %.3f s in the last "
                      "minute",
                      lag_s, worst_lag_s));
  if (status.has_rebuild()) {
    output.Text(absl::StrCat("rebuild   ", PhaseWords(status.rebuild().phase()),
                             ": ", status.rebuild().done(), " of ",
                             status.rebuild().total()));
  }
  if (!status.incomplete_reason().empty()) {
    output.Warning(status.incomplete_reason());
  }
  if (!status.writer_reachable()) {
    output.Warning(
        "the log's writer can't be asked: the log may hold more than this");
  }
  Json summary = {{"sessions", status.sessions()},
                  {"segments", status.segments()},
                  {"indexed_position", status.indexed_position()},
                  {"log_position", status.log_position()},
                  {"behind_bytes", behind_bytes},
                  {"writer_reachable", status.writer_reachable()},
                  {"schema_version", status.schema_version()},
                  {"lag_s", lag_s},
                  {"worst_lag_s", worst_lag_s},
                  {"complete", complete}};
  if (status.has_rebuild()) {
    summary["rebuild"] = {{"phase", PhaseName(status.rebuild().phase())},
                          {"done", status.rebuild().done()},
                          {"total", status.rebuild().total()}};
  }
  if (!status.incomplete_reason().empty()) {
    summary["incomplete_reason"] = status.incomplete_reason();
  }
  output.Summary(summary, "");
  return complete ? ExitCode::kDone : ExitCode::kIncomplete;
}

}  // namespace diptych::cli
