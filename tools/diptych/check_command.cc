#include "tools/diptych/check_command.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_source.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/check/archive_checker.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/offset.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"

namespace diptych::cli {
namespace {

// Every key that lies in the folder of anybody whom the archive knows, retired
// ones too: not all need to be on this machine.
absl::StatusOr<std::vector<seal::KeyPair>> ReadKeys(
    const stored::v1::ArchiveConfig& archive, const std::string& folder,
    const std::string& passphrase_file) {
  std::optional<seal::SecretText> secret;
  std::optional<absl::string_view> passphrase;
  if (!passphrase_file.empty()) {
    ASSIGN_OR_RETURN(secret, seal::ReadPassphraseFile(passphrase_file));
    passphrase = secret->view();
  }
  std::set<std::string> names;
  for (const stored::v1::Recipient& recipient : archive.recipients()) {
    names.insert(recipient.name());
  }
  std::vector<seal::KeyPair> keys;
  for (const std::string& name : names) {
    absl::StatusOr<seal::KeyPair> key =
        seal::ReadKeyFile(folder, name, passphrase);
    if (key.ok()) {
      keys.push_back(*std::move(key));
    } else if (!absl::IsNotFound(key.status())) {
      return key.status();
    }
    std::vector<absl::Status> left_out;
    ASSIGN_OR_RETURN(
        std::vector<seal::KeyPair> others,
        seal::ReadOtherKeyFiles(folder, name, passphrase, &left_out));
    for (seal::KeyPair& other : others) keys.push_back(std::move(other));
    if (!left_out.empty()) return left_out.front();
  }
  if (keys.empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder, " holds no key of the archive's recipients"));
  }
  return keys;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ReadOutside(
    const std::vector<std::string>& paths) {
  if (paths.size() > limits::kMaxOutsideCheckpoints) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--against takes at most ", limits::kMaxOutsideCheckpoints, " files"));
  }
  std::vector<std::pair<std::string, std::string>> outside;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string text,
                     base::ReadWholeFile(path, limits::kMaxReceipt_bytes));
    outside.emplace_back(path, std::move(text));
  }
  return outside;
}

absl::string_view SeverityName(check::Severity severity) {
  switch (severity) {
    case check::Severity::kError:
      return "error";
    case check::Severity::kRemark:
      return "remark";
    case check::Severity::kUnread:
      return "unread";
  }
  return "unknown";
}

Json FindingJson(const check::Finding& finding) {
  Json json = {{"severity", std::string(SeverityName(finding.severity))},
               {"store", finding.store},
               {"position", finding.position},
               {"place", finding.place},
               {"what", finding.what}};
  if (!finding.where.session.empty()) json["session"] = finding.where.session;
  if (finding.where.chunk.has_value()) json["chunk"] = *finding.where.chunk;
  if (finding.where.at_us.has_value()) {
    json["second"] = Seconds(*finding.where.at_us);
  }
  return json;
}

// "PLACE: WHAT (session S, chunk 5 at 0:00:04.000)".
std::string FindingText(const check::Finding& finding) {
  std::vector<std::string> where;
  // Most say their session themselves.
  if (!finding.where.session.empty() &&
      !absl::StrContains(finding.what, finding.where.session)) {
    where.push_back(absl::StrCat("session ", finding.where.session));
  }
  if (finding.where.chunk.has_value()) {
    where.push_back(absl::StrCat("chunk ", *finding.where.chunk));
  }
  if (finding.where.at_us.has_value()) {
    where.push_back(absl::StrCat("from ", FormatOffset(*finding.where.at_us)));
  }
  return absl::StrCat(finding.place, ": ", finding.what,
                      where.empty() ? "" : " (", absl::StrJoin(where, ", "),
                      where.empty() ? "" : ")");
}

// How long it will still take, once that can be told.
class Estimate {
 public:
  std::string Text(uint64_t done, uint64_t total) const {
    const absl::Duration elapsed = base::Clock::Real()->Monotonic() - started_;
    if (elapsed < absl::Seconds(2) || done == 0 || done >= total) {
      return "checking";
    }
    const double left =
        static_cast<double>(total - done) / static_cast<double>(done);
    return absl::StrCat(
        "checking, ",
        absl::FormatDuration(absl::Ceil(elapsed * left, absl::Seconds(1))),
        " left");
  }

 private:
  const absl::Duration started_ = base::Clock::Real()->Monotonic();
};

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
          {"source_statements", counts.source_statements},
          {"source_statements_proven", counts.source_statements_proven},
          {"unsigned_sessions", counts.unsigned_sessions},
          {"leaves", counts.leaves},
          {"leaves_in_checkpoint", counts.leaves_in_checkpoint},
          {"bodies_read", counts.bodies_read},
          {"body_bytes_read", counts.body_bytes_read},
          {"seals_opened", counts.seals_opened},
          {"seals_without_key", counts.seals_without_key},
          {"remarks", counts.remarks},
          {"unread", counts.unread},
          {"errors", counts.errors}};
}

std::string CountsText(const check::CheckCounts& counts) {
  return absl::StrCat(
      Counted(counts.open_sessions + counts.closed_sessions, "session"), " (",
      counts.open_sessions, " open, ", counts.unsigned_sessions,
      " not signed by their source), ", Counted(counts.segments, "segment"),
      ", ", Counted(counts.chunks, "chunk"), " in ", FormatBytes(counts.bytes),
      "; checkpoint of ", counts.leaves_in_checkpoint, " of ", counts.leaves,
      " leaves; ", counts.bodies_read, " bodies read, ", counts.seals_opened,
      " seals opened; ",
      counts.seals_without_key == 0
          ? ""
          : absl::StrCat(counts.seals_without_key,
                         " bodies that no given key opens; "),
      Counted(counts.remarks, "remark"), ", ", Counted(counts.errors, "error"));
}

}  // namespace

absl::StatusOr<ExitCode> RunCheck(const CommandContext& context,
                                  const CheckCommandOptions& options) {
  Output& output = *context.output;
  check::CheckOptions check;
  check.data_dir = options.data_dir;
  check.data_share = options.read_data ? 1 : 0;
  check.threads = static_cast<int>(
      std::clamp(std::thread::hardware_concurrency(), 1u,
                 static_cast<unsigned>(limits::kMaxCheckThreads)));
  if (!options.read_data_subset.empty()) {
    ASSIGN_OR_RETURN(check.data_share, ParseShare(options.read_data_subset));
    check.seed =
        options.seed.has_value() ? *options.seed : std::random_device()();
    output.Note(
        absl::StrCat("reading ", options.read_data_subset,
                     " of the media: the same again with --seed=", check.seed));
  }
  ASSIGN_OR_RETURN(check.against, ReadOutside(options.against));
  if (!options.keys_dir.empty()) {
    ASSIGN_OR_RETURN(const stored::v1::ArchiveConfig archive,
                     seal::ReadArchiveConfig(options.data_dir));
    ASSIGN_OR_RETURN(check.keys, ReadKeys(archive, options.keys_dir,
                                          options.passphrase_file));
  }
  std::optional<check::Finding> first;
  uint64_t shown = 0;
  check.on_finding = [&](const check::Finding& finding) {
    if (finding.severity == check::Severity::kError && !first.has_value()) {
      first = finding;
    }
    if (++shown > limits::kMaxShownFindings) return;
    output.Line("finding", FindingJson(finding));
    output.Text(absl::StrFormat("%-7s %s", SeverityName(finding.severity),
                                FindingText(finding)));
  };
  const Estimate estimate;
  check.on_progress = [&](uint64_t done, uint64_t total) {
    output.Progress(estimate.Text(done, total), done, total);
    return context.interrupt->Check();
  };
  ASSIGN_OR_RETURN(const check::CheckCounts counts,
                   check::CheckArchive(base::FileSystem::Real(), check));
  if (shown > limits::kMaxShownFindings) {
    output.Note(absl::StrCat(shown - limits::kMaxShownFindings,
                             " more findings are not shown"));
  }
  Json summary = CountsJson(counts);
  if (!options.read_data_subset.empty()) summary["seed"] = check.seed;
  if (first.has_value()) {
    output.Line("counts", summary);
    output.Text(CountsText(counts));
    return base::IntegrityError(absl::StrCat(
        "the archive is not what was stored: ", FindingText(*first)));
  }
  output.Text(CountsText(counts));
  if (counts.unread > 0) {
    output.Warning("not everything could be looked at: see above");
  }
  Json agrees = Json::array();
  for (const auto& [file, text] : check.against) {
    if (counts.unread == 0) {
      agrees.push_back(file);
      output.Text(absl::StrCat("agrees with ", file));
    }
  }
  if (!check.against.empty()) summary["agrees_with"] = agrees;
  const bool opened_nothing =
      counts.seals_without_key > 0 && counts.seals_opened == 0;
  if (opened_nothing) {
    output.Warning(absl::StrCat(
        "the keys in ", options.keys_dir,
        " opened nothing: are they this archive's, and for these records?"));
  }
  output.Summary(summary, "");
  return counts.unread > 0 || opened_nothing ? ExitCode::kIncomplete
                                             : ExitCode::kDone;
}

}  // namespace diptych::cli
