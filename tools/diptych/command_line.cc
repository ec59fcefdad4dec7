#include "tools/diptych/command_line.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "tools/diptych/check_command.h"
#include "tools/diptych/count_command.h"
#include "tools/diptych/export_command.h"
#include "tools/diptych/index_command.h"
#include "tools/diptych/init_command.h"
#include "tools/diptych/push_command.h"
#include "tools/diptych/query_command.h"
#include "tools/diptych/show_command.h"

namespace diptych::cli {
namespace {

constexpr char kFilterHelp[] =
    "which sessions (AIP-160): clerk = \"C0231\" AND item = \"0417\"; an empty "
    "text is all of them";
constexpr char kKeysHelp[] = "key folder (DIR.keys if not given)";
constexpr char kPassphraseHelp[] = "file whose first line is the passphrase";

// All of the commands' options, where the parser puts what it finds.
struct Options {
  InitOptions init;
  PushOptions push;
  QueryOptions query;
  CountOptions count;
  ShowOptions show;
  ExportOptions export_;
  CheckCommandOptions check;
  IndexRebuildOptions rebuild;
};

void AddInit(CLI::App* app, InitOptions* options) {
  app->add_option("DIR", options->data_dir, "data folder to make")->required();
  app->add_option("--keys", options->keys_dir, kKeysHelp);
  app->add_option("--passphrase_file", options->passphrase_file,
                  kPassphraseHelp);
}

void AddPush(CLI::App* app, PushOptions* options) {
  app->add_option("--resident", options->resident,
                  "the resident's side: a media file, - (a container on "
                  "stdin), an .sdp file, or an rtsp, rtmp, srt or udp URL");
  app->add_option("--clerk", options->clerk, "the clerk's side, likewise");
  app->add_option("--session", options->session,
                  "session id (a new UUID if not given)");
  app->add_option("--start_time", options->start_time,
                  "when the session began, RFC 3339 (now if not given)");
  // One value each: what follows is the next option, not a further tag.
  const auto add_list = [app](const char* name,
                              std::vector<std::string>* values,
                              const char* what) {
    app->add_option(name, *values, what)
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false);
  };
  add_list("--tag", &options->tags, "KEY=VALUE; may be given many times");
  add_list("--set_tag", &options->set_tags,
           "OFFSET:KEY=VALUE: the key has this value alone from then on");
  add_list("--event", &options->events, "TYPE@OFFSET[:KEY=VALUE,...]");
  add_list("--attach", &options->attachments,
           "TYPE@OFFSET=FILE: an event with the file attached");
  app->add_flag("--fast", options->fast,
                "as fast as it goes, not in real time");
  app->add_option("--spool", options->spool,
                  "folder that keeps, encrypted, what is not durable yet");
  app->add_option("--spool-key", options->spool_key,
                  "the spool's key file (DIR/spool.key if not given)");
  app->add_flag("--drain", options->drain,
                "send what earlier runs left in --spool, and nothing else");
}

void AddQuery(CLI::App* app, QueryOptions* options) {
  app->add_option("FILTER", options->filter, kFilterHelp)->required();
  app->add_flag("--segments", options->segments,
                "find segments instead of sessions");
  app->add_option("--limit", options->limit, "at most this many")
      ->check(CLI::Range(uint64_t{1}, limits::kMaxResultRows))
      ->capture_default_str();
  app->add_option("--page", options->page,
                  "go on where another query ended (its next_page)");
  app->add_flag("--oldest-first", options->oldest_first,
                "oldest first instead of newest first");
}

void AddCount(CLI::App* app, CountOptions* options) {
  app->add_option("FILTER", options->filter, kFilterHelp)->required();
  app->add_option("--by", options->by, "count by the values of this tag key");
}

void AddExport(CLI::App* app, ExportOptions* options) {
  auto* session = app->add_option("SESSION", options->session, "session id");
  app->add_option("--filter", options->filter,
                  "export all sessions of a filter into the folder PATH")
      ->excludes(session);
  app->add_option("--from", options->from,
                  "begin here: 90s, 00:01:30 or 2026-11-01T08:30:00Z");
  app->add_option("--to", options->to, "end here");
  app->add_option("--side", options->side, "both, resident or clerk")
      ->check(CLI::IsMember({"both", "resident", "clerk"}))
      ->capture_default_str();
  app->add_option("--format", options->format, "mkv, mp4, fmp4, webm or bundle")
      ->check(CLI::IsMember({"mkv", "mp4", "fmp4", "webm", "bundle"}))
      ->capture_default_str();
  app->add_option("--layout", options->layout, "tracks or side-by-side")
      ->check(CLI::IsMember({"tracks", "side-by-side"}))
      ->capture_default_str();
  app->add_option("-o,--output", options->path,
                  "file to write (with --filter: folder)")
      ->required();
  app->add_option("--purpose", options->purpose,
                  "why it is read; kept in the access record")
      ->required();
  app->add_flag("--attachments", options->attachments,
                "save the session's attachments beside the file");
  app->add_flag("--force", options->force, "replace files that exist");
}

void AddCheck(CLI::App* app, CheckCommandOptions* options) {
  app->add_option("DIR", options->data_dir, "data folder")->required();
  auto* all = app->add_flag("--read-data", options->read_data,
                            "read and verify all media too");
  app->add_option("--read-data-subset", options->read_data_subset,
                  "read and verify this share of the media, such as 5%")
      ->excludes(all);
  app->add_option("--keys", options->keys_dir,
                  "key folder: also open the seals of all that is read");
  app->add_option("--passphrase_file", options->passphrase_file,
                  kPassphraseHelp);
}

void AddIndexRebuild(CLI::App* app, IndexRebuildOptions* options) {
  app->add_option("DIR", options->data_dir, "data folder")->required();
  app->add_option("--keys", options->keys_dir, kKeysHelp);
  app->add_option("--passphrase_file", options->passphrase_file,
                  kPassphraseHelp);
}

// One sentence, without what the user typed where that may be personal.
std::string ExplainWrongUse(const CLI::App& app, const CLI::ParseError& error) {
  std::string command = "diptych";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    absl::StrAppend(&command, " ", at->get_name());
  }
  std::string what = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    what = "there are more arguments than the command takes";
    for (const std::string& extra : app.remaining(/*recurse=*/true)) {
      if (!absl::StartsWith(extra, "-")) continue;
      what =
          absl::StrCat("there is no option ", extra.substr(0, extra.find('=')));
      break;
    }
  }
  what = std::string(absl::StripAsciiWhitespace(
      absl::StrReplaceAll(what, {{"\r", ""}, {"\n", "; "}})));
  return absl::StrCat(what, ": see ", command, " --help");
}

// The only place that knows CLI11; its exceptions end here.
absl::StatusOr<CommandLine> Parse(int argc, const char* const* argv) {
  CommandLine line;
  Options options;
  CLI::App app(
      "Records both sides of remote sessions and finds them again. Exit codes: "
      "0 done, 1 failed, 2 wrong use, 3 not found, 4 not allowed, 5 worth "
      "retrying, 6 integrity violated, 7 incomplete answer, 130 interrupted.",
      "diptych");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--profile", line.profile,
                 "profile folder (or the environment's DIPTYCH_PROFILE)");
  app.add_flag("--json", line.json, "JSON lines on stdout");
  app.add_flag("--quiet", line.quiet, "nothing on stderr but errors");

  const auto add = [](CLI::App* parent, const char* name, const char* what) {
    CLI::App* const command = parent->add_subcommand(name, what);
    command->fallthrough();
    return command;
  };
  CLI::App* const init = add(&app, "init", "make an archive");
  AddInit(init, &options.init);
  CLI::App* const push =
      add(&app, "push", "stream both sides of a session, as a gateway does");
  AddPush(push, &options.push);
  CLI::App* const query = add(&app, "query", "find sessions or segments");
  AddQuery(query, &options.query);
  CLI::App* const count = add(&app, "count", "count sessions exactly");
  AddCount(count, &options.count);
  CLI::App* const show = add(&app, "show", "say everything about a session");
  show->add_option("SESSION", options.show.session, "session id")->required();
  CLI::App* const export_ = add(&app, "export", "write playable files");
  AddExport(export_, &options.export_);
  CLI::App* const check =
      add(&app, "check", "check an archive on disk, without a server");
  AddCheck(check, &options.check);
  CLI::App* const index = add(&app, "index", "the index");
  index->require_subcommand(1);
  CLI::App* const rebuild =
      add(index, "rebuild", "make the index anew from the log");
  AddIndexRebuild(rebuild, &options.rebuild);
  CLI::App* const status =
      add(index, "status", "say how far the index is behind the log");

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.command = HelpOptions{app.help()};
    return line;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(ExplainWrongUse(app, error));
  }
  options.export_.has_filter = export_->count("--filter") > 0;
  if (init->parsed()) line.command = std::move(options.init);
  if (push->parsed()) line.command = std::move(options.push);
  if (query->parsed()) line.command = std::move(options.query);
  if (count->parsed()) line.command = std::move(options.count);
  if (show->parsed()) line.command = std::move(options.show);
  if (export_->parsed()) line.command = std::move(options.export_);
  if (check->parsed()) line.command = std::move(options.check);
  if (rebuild->parsed()) line.command = std::move(options.rebuild);
  if (status->parsed()) line.command = IndexStatusOptions{};
  return line;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc,
                                             const char* const* argv) {
  try {
    return Parse(argc, argv);
  } catch (const CLI::Error&) {
    return absl::InternalError("the command line's own grammar is broken");
  }
}

}  // namespace diptych::cli
