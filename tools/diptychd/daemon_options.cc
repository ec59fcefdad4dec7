#include "tools/diptychd/daemon_options.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/key_source.h"

namespace diptych::daemon {
namespace {

constexpr int kWrongUse = 2;
constexpr std::array<absl::string_view, 12> kNames = {
    "data_dir",      "keys",         "passphrase_file", "roles",
    "ingest_listen", "audit_listen", "reserve_bytes",   "index_key",
    "audit_key",     "passphrase",   "index_dir",       "run_dir"};

// The environment as flags in front of the real ones, so that these win.
std::vector<std::string> WithEnvironment(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  for (const absl::string_view name : kNames) {
    const std::string variable =
        absl::StrCat("DIPTYCH_", absl::AsciiStrToUpper(name));
    if (const char* value = std::getenv(variable.c_str())) {
      arguments.push_back(absl::StrCat("--", name, "=", value));
    }
  }
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  return arguments;
}

bool ParseRoles(const std::string& roles, DaemonOptions* options) {
  options->archiver = false;
  options->indexer = false;
  for (const absl::string_view role : absl::StrSplit(roles, ',')) {
    if (role == "archiver") {
      options->archiver = true;
    } else if (role == "indexer") {
      options->indexer = true;
    } else {
      return false;
    }
  }
  return true;
}

// Says what is wrong with a source.
bool CheckSources(const DaemonOptions& options) {
  std::set<int> fds;
  for (const auto& [name, text] :
       {std::pair<absl::string_view, absl::string_view>{"index_key",
                                                        options.index_key},
        {"audit_key", options.audit_key},
        {"passphrase", options.passphrase}}) {
    if (text.empty()) continue;
    const absl::StatusOr<seal::KeySource> source = seal::KeySource::Parse(text);
    std::string wrong;
    if (!source.ok()) {
      wrong = std::string(source.status().message());
    } else if (source->fd() >= 0 && !fds.insert(source->fd()).second) {
      wrong = absl::StrCat(source->Name(), " gives its secret only once");
    }
    if (wrong.empty()) continue;
    std::fprintf(stderr, "diptychd: --%s: %s\n", std::string(name).c_str(),
                 wrong.c_str());
    return false;
  }
  return true;
}

}  // namespace

std::vector<seal::KeySource> DaemonOptions::KeySources() const {
  std::vector<seal::KeySource> sources;
  for (const std::string& text : {index_key, audit_key, passphrase}) {
    if (text.empty()) continue;
    // The options were checked when they were parsed.
    if (auto source = seal::KeySource::Parse(text); source.ok()) {
      sources.push_back(*std::move(source));
    }
  }
  return sources;
}

std::variant<DaemonOptions, int> ParseDaemonOptions(int argc,
                                                    const char* const* argv) {
  DaemonOptions options;
  std::string roles = "archiver,indexer";
  CLI::App app(
      "Diptych's daemon: takes in sessions and answers auditors. Every option "
      "can also be given as DIPTYCH_NAME in the environment.",
      "diptychd");
  const auto add = [&](const char* name, std::string* value, const char* help) {
    return app.add_option(name, *value, help)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  };
  add("--data_dir", &options.data_dir, "the archive's folder")->required();
  add("--keys", &options.keys,
      "the folder with the private keys (default: DATA_DIR.keys)");
  add("--passphrase_file", &options.passphrase_file,
      "a file whose first line opens the private keys");
  add("--index_key", &options.index_key,
      "where the reader gets the index's private key: file:PATH, fd:N, "
      "credential:NAME or command:CMD (default: index.key in --keys)");
  add("--audit_key", &options.audit_key,
      "the same for the auditors' private key (default: audit.key in --keys)");
  add("--passphrase", &options.passphrase,
      "the same for the passphrase that opens the private keys")
      ->excludes("--passphrase_file");
  add("--index_dir", &options.index_dir,
      "the reader's index (default: DATA_DIR/index); several readers may "
      "follow "
      "one log, each with an index of its own");
  add("--run_dir", &options.run_dir,
      "where the reader writes audit.address, the address that it serves at "
      "(default: DATA_DIR/run); of several readers each needs its own");
  app.add_option("--rebuild_checkpoint_bytes", options.rebuild_checkpoint_bytes,
                 "for tests")
      ->group("");
  add("--roles", &roles, "archiver, indexer, or both")->capture_default_str();
  add("--ingest_listen", &options.ingest_listen,
      "where gateways connect; port 0 takes a free one")
      ->capture_default_str();
  add("--audit_listen", &options.audit_listen,
      "where auditors connect; port 0 takes a free one")
      ->capture_default_str();
  app.add_option("--reserve_bytes", options.reserve_bytes,
                 "with less free space than this, no new session begins "
                 "(default: 1 GiB, or a tenth of the disk if that is less)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_config("--config", "", "a file with these options, as name = value");
  try {
    std::vector<std::string> arguments = WithEnvironment(argc, argv);
    // CLI11 takes them from the back.
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return kWrongUse;
  }
  if (!ParseRoles(roles, &options)) {
    std::fprintf(stderr,
                 "diptychd: --roles takes archiver, indexer, or both with a "
                 "comma between\n");
    return kWrongUse;
  }
  if (!CheckSources(options)) return kWrongUse;
  while (options.data_dir.size() > 1 && options.data_dir.back() == '/') {
    options.data_dir.pop_back();
  }
  while (options.index_dir.size() > 1 && options.index_dir.back() == '/') {
    options.index_dir.pop_back();
  }
  const std::string own_index = absl::StrCat(options.data_dir, "/index");
  if (options.index_dir.empty()) options.index_dir = own_index;
  if (options.run_dir.empty()) {
    if (options.indexer && options.index_dir != own_index) {
      std::fprintf(stderr,
                   "diptychd: a reader with its own --index_dir needs its own "
                   "--run_dir, or it takes another's address file\n");
      return kWrongUse;
    }
    options.run_dir = absl::StrCat(options.data_dir, "/run");
  }
  if (options.keys.empty()) {
    options.keys = absl::StrCat(options.data_dir, ".keys");
  }
  return options;
}

}  // namespace diptych::daemon
