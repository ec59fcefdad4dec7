#include "tools/diptych/check_command.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/key_file.h"
#include "tools/diptych/check/archive_checker.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/offset.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"
#include "tools/pki/pki.h"

namespace diptych::cli {
namespace {

// Every recipient's key that lies in the folder: not all need to be on this
// machine.
absl::StatusOr<std::vector<seal::KeyPair>> ReadKeys(
    const std::string& folder, const std::string& passphrase_file) {
  std::optional<std::string> passphrase;
  if (!passphrase_file.empty()) {
    ASSIGN_OR_RETURN(passphrase, pki::ReadPassphraseFile(passphrase_file));
  }
  std::vector<seal::KeyPair> keys;
  for (const char* name : {"index", "audit", "escrow"}) {
    absl::StatusOr<seal::KeyPair> key =
        seal::ReadKeyFile(folder, name, passphrase);
    if (absl::IsNotFound(key.status())) continue;
    RETURN_IF_ERROR(key.status());
    keys.push_back(*std::move(key));
  }
  if (keys.empty()) {
    return absl::NotFoundError(absl::StrCat(
        folder, " holds none of index.key, audit.key and escrow.key"));
  }
  return keys;
}

Json CountsJson(const check::CheckCounts& counts) {
  return {{"volumes", counts.volumes},
          {"bytes", counts.bytes},
          {"records", counts.records},
          {"key_records", counts.key_records},
          {"open_sessions", counts.open_sessions},
          {"closed_sessions", counts.closed_sessions},
          {"segments", counts.segments},
          {"chunks", counts.chunks},
          {"notes", counts.notes},
          {"attachment_parts", counts.attachment_parts},
          {"access_records", counts.access_records},
          {"bodies_read", counts.bodies_read},
          {"seals_opened", counts.seals_opened},
          {"seals_without_key", counts.seals_without_key},
          {"remarks", counts.remarks},
          {"errors", counts.errors}};
}

std::string CountsText(const check::CheckCounts& counts) {
  return absl::StrCat(
      Counted(counts.open_sessions + counts.closed_sessions, "session"), " (",
      counts.open_sessions, " open), ", Counted(counts.segments, "segment"),
      ", ", Counted(counts.chunks, "chunk"), " in ", FormatBytes(counts.bytes),
      "; ", counts.bodies_read, " bodies read, ", counts.seals_opened,
      " seals opened; ", Counted(counts.remarks, "remark"), ", ",
      Counted(counts.errors, "error"));
}

}  // namespace

absl::StatusOr<ExitCode> RunCheck(const CommandContext& context,
                                  const CheckCommandOptions& options) {
  Output& output = *context.output;
  check::CheckOptions check;
  check.data_dir = options.data_dir;
  check.data_share = options.read_data ? 1 : 0;
  if (!options.read_data_subset.empty()) {
    ASSIGN_OR_RETURN(check.data_share, ParseShare(options.read_data_subset));
  }
  if (!options.keys_dir.empty()) {
    ASSIGN_OR_RETURN(check.keys,
                     ReadKeys(options.keys_dir, options.passphrase_file));
  }
  std::optional<check::Finding> first;
  uint64_t shown = 0;
  check.on_finding = [&](const check::Finding& finding) {
    if (finding.is_error && !first.has_value()) first = finding;
    if (++shown > limits::kMaxShownFindings) return;
    output.Line("finding", {{"severity", finding.is_error ? "error" : "remark"},
                            {"store", finding.store},
                            {"position", finding.position},
                            {"place", finding.place},
                            {"what", finding.what}});
    output.Text(absl::StrCat(finding.is_error ? "error   " : "remark  ",
                             finding.place, ": ", finding.what));
  };
  check.on_progress = [&](uint64_t done, uint64_t total) {
    output.Progress("checking", done, total);
    return context.interrupt->Check();
  };
  ASSIGN_OR_RETURN(const check::CheckCounts counts,
                   check::CheckArchive(base::FileSystem::Real(), check));
  if (shown > limits::kMaxShownFindings) {
    output.Note(absl::StrCat(shown - limits::kMaxShownFindings,
                             " more findings are not shown"));
  }
  if (first.has_value()) {
    output.Line("counts", CountsJson(counts));
    output.Text(CountsText(counts));
    return base::IntegrityError(
        absl::StrCat("the archive is not what was stored: ", first->place, ": ",
                     first->what));
  }
  output.Text(CountsText(counts));
  output.Summary(CountsJson(counts), "");
  return ExitCode::kDone;
}

}  // namespace diptych::cli
