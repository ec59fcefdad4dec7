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
#include "tools/diptych/keys_command.h"
#include "tools/diptych/log_command.h"
#include "tools/diptych/push_command.h"
#include "tools/diptych/query_command.h"
#include "tools/diptych/show_command.h"
#include "tools/diptych/timestamp_command.h"
#include "tools/diptych/verify_command.h"
#include "tools/diptych/witness_command.h"

namespace diptych::cli {
namespace {

constexpr char kFilterHelp[] =
    "which sessions: clerk = \"C0231\" AND item = \"0417\"; an empty text is "
    "all of them";
constexpr char kFilterFooter[] =
    "Filters (AIP-160):\n"
    "  key = \"text\", key != \"text\", key IN (\"a\", \"b\"), key:* (has "
    "any);\n"
    "  key < 3, <=, >, >= compare numbers, or times like "
    "\"2026-11-02T10:00:00Z\"\n"
    "  fields: start_time, end_time (a date is its midnight in UTC), duration\n"
    "    (90s, 10m, 1h30m), state (open, degraded, recovered, closed,\n"
    "    abandoned), session (its UUID), event:TYPE\n"
    "  AND (may be left out), OR, NOT or -, parentheses; OR binds tighter than "
    "AND.\n"
    "  A session is found if all of it holds at one moment: NOT item = \"1\" "
    "finds\n"
    "  those that were at some moment about something else. = compares texts, "
    "so\n"
    "  2 and 2.0 differ; there are no wildcards. A filter that begins with - "
    "stands\n"
    "  behind --.";
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
  KeysListOptions keys_list;
  KeysExportOptions keys_export;
  KeysAddRecipientOptions keys_add_recipient;
  KeysAddWitnessOptions keys_add_witness;
  KeysGenerateOptions keys_generate;
  KeysRotateOptions keys_rotate;
  VerifyCommandOptions verify;
  LogCheckpointOptions log_checkpoint;
  LogProveOptions log_prove;
  LogConsistencyOptions log_consistency;
  TimestampOptions timestamp;
  WitnessOptions witness;
  WitnessInitOptions witness_init;
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
  app->add_option("--receipt", options->receipt,
                  "file for the receipt, which proves the delivery");
  app->add_option("--spool", options->spool,
                  "folder that keeps, encrypted, what is not durable yet");
  app->add_option("--spool-key", options->spool_key,
                  "the spool's key file (DIR/spool.key if not given)");
  app->add_flag("--drain", options->drain,
                "send what earlier runs left in --spool, and nothing else");
}

void AddQuery(CLI::App* app, QueryOptions* options) {
  app->footer(kFilterFooter);
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
  app->footer(kFilterFooter);
  app->add_option("FILTER", options->filter, kFilterHelp)->required();
  app->add_option("--by", options->by,
                  "count by the values of this tag key, or of each of several: "
                  "item,clerk")
      ->delimiter(',');
}

void AddExport(CLI::App* app, ExportOptions* options) {
  auto* session = app->add_option("SESSION", options->session, "session id");
  app->add_option("--filter", options->filter,
                  "export all sessions of a filter into the folder PATH")
      ->excludes(session);
  app->add_option("--from", options->from,
                  "begin here: 90s, 00:01:30 or 2026-11-01T08:30:00Z");
  app->add_option("--to", options->to, "end here");
  app->add_option("--side", options->side,
                  "both, resident or clerk; a bundle then has the events and "
                  "attachments of that side alone, and all tags")
      ->check(CLI::IsMember({"both", "resident", "clerk"}))
      ->capture_default_str();
  app->add_option("--format", options->format, "mkv, mp4, fmp4, webm or bundle")
      ->check(CLI::IsMember({"mkv", "mp4", "fmp4", "webm", "bundle"}))
      ->capture_default_str();
  app->add_option("--media", options->media, "of a bundle: mkv or mp4")
      ->check(CLI::IsMember({"mkv", "mp4"}))
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
                "save the session's attachments beside the file; a bundle "
                "always has those of its sides and its time range");
  app->add_flag("--force", options->force, "replace files that exist");
}

void AddVerify(CLI::App* app, VerifyCommandOptions* options) {
  app->add_option("PATH", options->path,
                  "a bundle's folder, the media file in one, or a receipt")
      ->required();
  app->add_option("--log-key", options->log_keys,
                  "whom to believe: a public key (NAME+ID+BASE64), or a file "
                  "of them as `diptych keys export` writes it; may be given "
                  "many times")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  app->add_option("--receipt", options->receipt,
                  "a gateway's receipt that the bundle must agree with");
  app->add_option("--tsa-ca", options->tsa_ca,
                  "certificates of time stamping authorities (PEM)");
}

void AddCheck(CLI::App* app, CheckCommandOptions* options) {
  app->add_option("DIR", options->data_dir, "data folder")->required();
  auto* all = app->add_flag("--read-data", options->read_data,
                            "read and verify all media too");
  app->add_option("--read-data-subset", options->read_data_subset,
                  "read and verify this share of the media, such as 5%")
      ->excludes(all);
  app->add_option("--seed", options->seed,
                  "which share: the seed that an earlier check has told");
  app->add_option("--against", options->against,
                  "checkpoints, receipts or proofs kept elsewhere: the archive "
                  "must hold what they stand for");
  app->add_option("--keys", options->keys_dir,
                  "key folder: also open the seals of all that is read");
  app->add_option("--passphrase_file", options->passphrase_file,
                  kPassphraseHelp);
}

void AddIndexRebuild(CLI::App* app, IndexRebuildOptions* options) {
  auto* dir = app->add_option(
      "DIR", options->data_dir,
      "data folder of an archive that is not served (default: ask the running "
      "daemon, as the profile's operator)");
  app->add_option("--keys", options->keys_dir, kKeysHelp)->needs(dir);
  app->add_option("--passphrase_file", options->passphrase_file,
                  kPassphraseHelp)
      ->needs(dir);
  app->add_option("--index_dir", options->index_dir,
                  "the index's folder (default: DIR/index)")
      ->needs(dir);
  app->add_option("--checkpoint_bytes", options->checkpoint_bytes, "for tests")
      ->group("");
}

void AddPassphrase(CLI::App* app, std::string* file, std::string* source) {
  app->add_option("--passphrase_file", *file, kPassphraseHelp);
  app->add_option("--passphrase", *source,
                  "the passphrase, from file:PATH, fd:N, credential:NAME or "
                  "command:CMD")
      ->excludes("--passphrase_file");
}

// The commands under `keys`, and where each puts its options.
class KeysGroup {
 public:
  KeysGroup(CLI::App* keys, Options* options) : options_(options) {
    keys->require_subcommand(1);
    list_ = Add(keys, "list", "whom the archive knows", &options->keys_list);
    export_ = Add(keys, "export",
                  "the public keys that a verifier needs, for verify --log-key",
                  &options->keys_export);
    export_->add_option("-o,--output", options->keys_export.path,
                        "file to write (standard output if not given)");
    add_recipient_ =
        Add(keys, "add-recipient", "let somebody else read new sessions",
            &options->keys_add_recipient);
    add_recipient_
        ->add_option("NAME", options->keys_add_recipient.name,
                     "what to call the recipient")
        ->required();
    add_recipient_
        ->add_option("--public-key", options->keys_add_recipient.public_key,
                     "X25519 public key: base64, or a file with base64 or PEM")
        ->required();
    add_recipient_
        ->add_option("--classes", options->keys_add_recipient.classes,
                     "media, metadata, or both with a comma between")
        ->required();
    add_witness_ =
        Add(keys, "add-witness", "take a witness's cosignatures of checkpoints",
            &options->keys_add_witness);
    add_witness_
        ->add_option("VKEY", options->keys_add_witness.verifier_key,
                     "its public key: NAME+HASH+BASE64")
        ->required();
    generate_ = keys->add_subcommand(
        "generate",
        "make a key pair for a recipient to be; prints its public "
        "key");
    generate_->fallthrough();
    generate_
        ->add_option("NAME", options->keys_generate.name,
                     "the recipient's name")
        ->required();
    generate_
        ->add_option("-o,--output", options->keys_generate.path,
                     "private key file to write")
        ->required();
    AddPassphrase(generate_, &options->keys_generate.passphrase_file,
                  &options->keys_generate.passphrase);
    rotate_ = Add(keys, "rotate",
                  "give a recipient a new key, and wrap all sessions to it",
                  &options->keys_rotate);
    rotate_
        ->add_option("NAME", options->keys_rotate.name,
                     "whose key: index, audit, escrow, ...")
        ->required();
    rotate_->add_option("--keys", options->keys_rotate.keys_dir, kKeysHelp);
    AddPassphrase(rotate_, &options->keys_rotate.passphrase_file,
                  &options->keys_rotate.passphrase);
  }

  // Takes the one that was given, if one was.
  void Take(CommandOptions* command) {
    if (list_->parsed()) *command = std::move(options_->keys_list);
    if (export_->parsed()) *command = std::move(options_->keys_export);
    if (add_recipient_->parsed()) {
      *command = std::move(options_->keys_add_recipient);
    }
    if (add_witness_->parsed()) {
      *command = std::move(options_->keys_add_witness);
    }
    if (generate_->parsed()) *command = std::move(options_->keys_generate);
    if (rotate_->parsed()) *command = std::move(options_->keys_rotate);
  }

 private:
  template <typename CommandsOptions>
  static CLI::App* Add(CLI::App* keys, const char* name, const char* what,
                       CommandsOptions* options) {
    CLI::App* const command = keys->add_subcommand(name, what);
    command->fallthrough();
    command->add_option("DIR", options->data_dir, "data folder")->required();
    return command;
  }

  Options* const options_;
  CLI::App* list_;
  CLI::App* export_;
  CLI::App* add_recipient_;
  CLI::App* add_witness_;
  CLI::App* generate_;
  CLI::App* rotate_;
};

constexpr char kLogKeyHelp[] =
    "the log's public key (NAME+ID+BASE64), or a file with it as `diptych keys "
    "export` writes it";

// `diptych log ...`.
class LogGroup {
 public:
  LogGroup(CLI::App* log, Options* options) : options_(options) {
    log->require_subcommand(1);
    checkpoint_ = Add(log, "checkpoint", "print the latest signed checkpoint",
                      &options->log_checkpoint);
    checkpoint_->add_flag("--cosigned", options->log_checkpoint.cosigned,
                          "the latest that witnesses have cosigned");
    prove_ = Add(log, "prove",
                 "print the proof that a record is in the log (tlog-proof)",
                 &options->log_prove);
    auto* index = prove_
                      ->add_option("--index", options->log_prove.index,
                                   "the leaf's number in the log tree")
                      ->check(CLI::NonNegativeNumber);
    prove_
        ->add_option("--position", options->log_prove.position,
                     "where the record lies in the log")
        ->check(CLI::NonNegativeNumber)
        ->excludes(index);
    consistency_ =
        Add(log, "consistency",
            "prove that the log has only grown since an older checkpoint",
            &options->log_consistency);
    consistency_
        ->add_option("OLDER", options->log_consistency.older,
                     "file with the older checkpoint")
        ->required();
    consistency_->add_option("NEWER", options->log_consistency.newer,
                             "file with the newer one (the log's latest if "
                             "not given)");
    timestamp_ = Add(log, "timestamp",
                     "have an authority stamp the latest checkpoint (RFC 3161)",
                     &options->timestamp);
    timestamp_
        ->add_option("--tsa", options->timestamp.url,
                     "the authority: http://HOST[:PORT]/PATH")
        ->required();
    timestamp_->add_option("-o,--output,--out", options->timestamp.path,
                           "also write the stamp to this file, and what it is "
                           "over to FILE.checkpoint");
    timestamp_->add_option("--tsa-ca", options->timestamp.ca_file,
                           "certificates (PEM) to verify the stamp with");
  }

  // Takes the one that was given, if one was.
  void Take(CommandOptions* command) {
    if (checkpoint_->parsed()) *command = std::move(options_->log_checkpoint);
    if (prove_->parsed()) *command = std::move(options_->log_prove);
    if (consistency_->parsed()) *command = std::move(options_->log_consistency);
    if (timestamp_->parsed()) *command = std::move(options_->timestamp);
  }

 private:
  template <typename CommandsOptions>
  static CLI::App* Add(CLI::App* log, const char* name, const char* what,
                       CommandsOptions* options) {
    CLI::App* const command = log->add_subcommand(name, what);
    command->fallthrough();
    command->add_option("--log-key", options->log_key, kLogKeyHelp);
    return command;
  }

  Options* const options_;
  CLI::App* checkpoint_;
  CLI::App* prove_;
  CLI::App* consistency_;
  CLI::App* timestamp_;
};

// `diptych witness` and `diptych witness init`.
class WitnessGroup {
 public:
  WitnessGroup(CLI::App* witness, Options* options)
      : options_(options), witness_(witness) {
    witness->footer(
        "Three steps: `diptych witness init` makes the key; `diptych keys "
        "add-witness` gives its public half to the archive, with the daemon "
        "stopped; then `diptych witness --profile=DIR/profiles/witness` "
        "cosigns.");
    witness->add_option("--state", options->witness.state_dir,
                        "folder in which it remembers what it signed");
    witness->add_option("--key", options->witness.key_file,
                        "its key file, made by diptych witness init");
    witness->add_option("--log-key", options->witness.log_key, kLogKeyHelp);
    witness->add_flag("--once", options->witness.once,
                      "cosign the latest checkpoint and end");
    init_ = witness->add_subcommand(
        "init", "make a witness's key; prints the public one");
    init_->fallthrough();
    init_->add_option("--key", options->witness_init.key_file, "file to make")
        ->required();
    init_
        ->add_option("--name", options->witness_init.name,
                     "what the witness is called, such as witness.example/w1")
        ->required();
  }

  void Take(CommandOptions* command) {
    if (init_->parsed()) {
      *command = std::move(options_->witness_init);
    } else if (witness_->parsed()) {
      *command = std::move(options_->witness);
    }
  }

 private:
  Options* const options_;
  CLI::App* const witness_;
  CLI::App* init_;
};

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
  CLI::App* const verify = add(
      &app, "verify", "prove a bundle or a receipt, with public keys alone");
  AddVerify(verify, &options.verify);
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
  KeysGroup keys(add(&app, "keys", "the archive's keys"), &options);
  LogGroup log(add(&app, "log", "the transparency log"), &options);
  WitnessGroup witness(
      add(&app, "witness",
          "follow an archive's checkpoints and cosign what is consistent"),
      &options);

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
  if (verify->parsed()) line.command = std::move(options.verify);
  if (check->parsed()) line.command = std::move(options.check);
  if (rebuild->parsed()) line.command = std::move(options.rebuild);
  if (status->parsed()) line.command = IndexStatusOptions{};
  keys.Take(&line.command);
  log.Take(&line.command);
  witness.Take(&line.command);
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
