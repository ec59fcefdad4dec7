#include "tools/diptych/keys_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/note.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_source.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/init_command.h"
#include "tools/diptych/keys/key_changes.h"
#include "tools/diptych/keys/key_rotation.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"

namespace diptych::cli {
namespace {

constexpr size_t kPublicKey_bytes = 32;
// An X25519 public key as X.509 writes it: these bytes, and the key.
constexpr absl::string_view kX25519Info(
    "\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00", 12);

absl::string_view ClassName(int key_class) {
  return key_class == stored::v1::KEY_CLASS_MEDIA      ? "media"
         : key_class == stored::v1::KEY_CLASS_METADATA ? "metadata"
                                                       : "unknown";
}

std::string ClassNames(const stored::v1::Recipient& recipient) {
  return absl::StrJoin(recipient.classes(), ",",
                       [](std::string* out, int key_class) {
                         absl::StrAppend(out, ClassName(key_class));
                       });
}

std::string IdOf(absl::string_view public_key) {
  return absl::BytesToHexString(seal::RecipientId(public_key));
}

std::string NoteKeyText(const stored::v1::SigningIdentity& identity,
                        evidence::NoteKeyType type) {
  return evidence::NoteKey{.name = identity.name(),
                           .type = type,
                           .public_key = identity.public_key()}
      .ToText();
}

struct Signer {
  absl::string_view kind;
  const stored::v1::SigningIdentity* identity;
  evidence::NoteKeyType type;
};

std::vector<Signer> SignersOf(const stored::v1::ArchiveConfig& config) {
  std::vector<Signer> signers;
  if (config.has_log_key()) {
    signers.push_back(
        {"log", &config.log_key(), evidence::NoteKeyType::kEd25519});
  }
  for (const auto& source : config.sources()) {
    signers.push_back({"source", &source, evidence::NoteKeyType::kEd25519});
  }
  for (const auto& witness : config.witnesses()) {
    signers.push_back(
        {"witness", &witness, evidence::NoteKeyType::kCosignature});
  }
  return signers;
}

absl::StatusOr<std::optional<seal::SecretText>> ReadPassphrase(
    const std::string& file, const std::string& source) {
  std::optional<seal::SecretText> passphrase;
  if (!file.empty()) {
    ASSIGN_OR_RETURN(passphrase, seal::ReadPassphraseFile(file));
  } else if (!source.empty()) {
    ASSIGN_OR_RETURN(const seal::KeySource parsed,
                     seal::KeySource::Parse(source));
    ASSIGN_OR_RETURN(passphrase, seal::ReadPassphrase(parsed));
  }
  return passphrase;
}

std::optional<absl::string_view> View(
    const std::optional<seal::SecretText>& passphrase) {
  if (!passphrase.has_value()) return std::nullopt;
  return passphrase->view();
}

// A name that makes a file's name, and can't be taken for a key's that is kept
// beside another (NAME-XXXXXXXX.key).
absl::Status CheckRecipientName(absl::string_view name) {
  const bool fits =
      !name.empty() && name.size() <= limits::kMaxTagKey_bytes &&
      absl::ascii_islower(static_cast<unsigned char>(name[0])) &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return c == '_' || absl::ascii_islower(static_cast<unsigned char>(c)) ||
               absl::ascii_isdigit(static_cast<unsigned char>(c));
      });
  if (!fits || name == "ca") {
    return absl::InvalidArgumentError(
        "a recipient's name begins with a lower-case letter and has up to 63 "
        "of these, digits and _; ca is taken");
  }
  return absl::OkStatus();
}

// From base64 of the key itself, or of its X.509 form.
std::optional<std::string> DecodePublicKey(absl::string_view base64) {
  std::string bytes;
  if (!absl::Base64Unescape(absl::StripAsciiWhitespace(base64), &bytes)) {
    return std::nullopt;
  }
  if (absl::StartsWith(bytes, kX25519Info)) bytes.erase(0, kX25519Info.size());
  if (bytes.size() != kPublicKey_bytes) return std::nullopt;
  return bytes;
}

absl::StatusOr<std::string> ParsePublicKey(const std::string& given) {
  if (auto key = DecodePublicKey(given); key.has_value()) return *key;
  const auto text = base::ReadWholeFile(given, limits::kMaxKeyFile_bytes);
  if (absl::IsNotFound(text.status())) {
    return absl::InvalidArgumentError(
        "--public-key is neither 32 bytes in base64 nor a file that is there");
  }
  RETURN_IF_ERROR(text.status());
  // Without the lines that frame a PEM.
  std::string base64;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::StartsWith(line, "-----")) {
      absl::StrAppend(&base64, absl::StripAsciiWhitespace(line));
    }
  }
  if (auto key = DecodePublicKey(base64); key.has_value()) return *key;
  return absl::InvalidArgumentError(
      absl::StrCat(given, " holds no X25519 public key in base64 or PEM"));
}

absl::StatusOr<std::vector<stored::v1::KeyClass>> ParseClasses(
    absl::string_view text) {
  std::vector<stored::v1::KeyClass> classes;
  for (const absl::string_view name : absl::StrSplit(text, ',')) {
    const auto key_class = name == "media" ? stored::v1::KEY_CLASS_MEDIA
                           : name == "metadata"
                               ? stored::v1::KEY_CLASS_METADATA
                               : stored::v1::KEY_CLASS_UNSPECIFIED;
    if (key_class == stored::v1::KEY_CLASS_UNSPECIFIED ||
        std::find(classes.begin(), classes.end(), key_class) != classes.end()) {
      return absl::InvalidArgumentError(
          "--classes takes media, metadata, or both with a comma between");
    }
    classes.push_back(key_class);
  }
  return classes;
}

absl::StatusOr<std::unique_ptr<keys::KeyChanges>> OpenChanges(
    const CommandContext& context, const std::string& data_dir) {
  ASSIGN_OR_RETURN(auto changes, keys::KeyChanges::Open(data_dir));
  for (const std::string& remark : changes->remarks()) {
    context.output->Warning(remark);
  }
  return changes;
}

// Files that were made as root beside somebody else's stay unreadable for the
// daemon: they get the owner of their folder.
void WarnIfOwnersDiffer(const CommandContext& context,
                        const std::string& data_dir) {
  struct stat folder;
  if (stat(data_dir.c_str(), &folder) == 0 && folder.st_uid != geteuid()) {
    context.output->Warning(absl::StrCat(
        data_dir,
        " belongs to another user than this command's: see that its daemon can "
        "read what was written"));
  }
}

}  // namespace

absl::StatusOr<ExitCode> RunKeysList(const CommandContext& context,
                                     const KeysListOptions& options) {
  ASSIGN_OR_RETURN(const stored::v1::ArchiveConfig config,
                   seal::ReadArchiveConfig(options.data_dir));
  Output& output = *context.output;
  uint64_t retired = 0;
  for (const stored::v1::Recipient& recipient : config.recipients()) {
    if (recipient.retired()) ++retired;
    std::vector<std::string> classes;
    for (const int key_class : recipient.classes()) {
      classes.emplace_back(ClassName(key_class));
    }
    output.Line("recipient",
                {{"name", recipient.name()},
                 {"id", IdOf(recipient.public_key())},
                 {"classes", classes},
                 {"retired", recipient.retired()},
                 {"public_key", absl::Base64Escape(recipient.public_key())}});
    output.Text(absl::StrCat(
        "recipient  ", recipient.name(), "  ", IdOf(recipient.public_key()),
        "  ", ClassNames(recipient), recipient.retired() ? "  (retired)" : ""));
  }
  const std::vector<Signer> signers = SignersOf(config);
  for (const Signer& signer : signers) {
    const std::string text = NoteKeyText(*signer.identity, signer.type);
    output.Line("signer", {{"kind", std::string(signer.kind)},
                           {"name", signer.identity->name()},
                           {"id", IdOf(signer.identity->public_key())},
                           {"verifier_key", text}});
    output.Text(absl::StrCat(signer.kind, "  ", text));
  }
  output.Summary({{"recipients", config.recipients_size()},
                  {"retired", retired},
                  {"signers", signers.size()}},
                 "");
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunKeysExport(const CommandContext& context,
                                       const KeysExportOptions& options) {
  ASSIGN_OR_RETURN(const stored::v1::ArchiveConfig config,
                   seal::ReadArchiveConfig(options.data_dir));
  ASSIGN_OR_RETURN(const base::Uuid id,
                   base::Uuid::FromBytes(config.archive_id()));
  std::vector<std::string> lines = {
      absl::StrCat("# Public keys of the archive ", id.ToString()),
      "# for: diptych verify PATH --log-key THIS-FILE"};
  const std::vector<Signer> signers = SignersOf(config);
  absl::string_view kind;
  for (const Signer& signer : signers) {
    if (signer.kind != kind) {
      kind = signer.kind;
      lines.push_back(kind == "log"      ? "# signs the log's checkpoints"
                      : kind == "source" ? "# gateways, which sign what they "
                                           "send"
                                         : "# witnesses, which cosign "
                                           "checkpoints");
    }
    lines.push_back(NoteKeyText(*signer.identity, signer.type));
  }
  lines.push_back("# who can decrypt (X25519): name, id, classes, public key");
  for (const stored::v1::Recipient& recipient : config.recipients()) {
    lines.push_back(absl::StrCat(
        "# ", recipient.name(), " ", IdOf(recipient.public_key()), " ",
        ClassNames(recipient), " ", absl::Base64Escape(recipient.public_key()),
        recipient.retired() ? " retired" : ""));
  }
  Output& output = *context.output;
  const Json summary = {{"signers", signers.size()},
                        {"recipients", config.recipients_size()},
                        {"path", options.path}};
  if (options.path.empty()) {
    for (const std::string& line : lines) {
      output.Text(line);
      output.Line("line", {{"text", line}});
    }
    output.Summary(summary, "");
    return ExitCode::kDone;
  }
  absl::StatusOr<PendingFile> created =
      PendingFile::Create(options.path, /*replace=*/false);
  if (absl::IsAlreadyExists(created.status())) {
    return absl::AlreadyExistsError(
        absl::StrCat(options.path, " exists already: choose another name"));
  }
  RETURN_IF_ERROR(created.status());
  PendingFile file = *std::move(created);
  RETURN_IF_ERROR(
      file.WriteAt(0, absl::StrCat(absl::StrJoin(lines, "\n"), "\n")));
  RETURN_IF_ERROR(file.Commit());
  output.Summary(summary, absl::StrCat(Counted(signers.size(), "public key"),
                                       " in ", options.path));
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunKeysAddRecipient(
    const CommandContext& context, const KeysAddRecipientOptions& options) {
  RETURN_IF_ERROR(CheckRecipientName(options.name));
  ASSIGN_OR_RETURN(const std::string public_key,
                   ParsePublicKey(options.public_key));
  ASSIGN_OR_RETURN(const std::vector<stored::v1::KeyClass> classes,
                   ParseClasses(options.classes));
  ASSIGN_OR_RETURN(const std::unique_ptr<keys::KeyChanges> changes,
                   OpenChanges(context, options.data_dir));
  stored::v1::ArchiveConfig config = changes->config();
  for (const stored::v1::Recipient& recipient : config.recipients()) {
    if (recipient.name() == options.name) {
      return absl::AlreadyExistsError(
          absl::StrCat("the archive has a recipient ", options.name,
                       " already: diptych keys rotate gives it another key"));
    }
    if (recipient.public_key() == public_key) {
      return absl::AlreadyExistsError(
          absl::StrCat("the key is that of ", recipient.name(), " already"));
    }
  }
  if (config.recipients_size() >= static_cast<int>(limits::kMaxRecipients)) {
    return absl::FailedPreconditionError(
        absl::StrCat("an archive takes ", limits::kMaxRecipients,
                     " recipients, those that are retired among them"));
  }
  stored::v1::Recipient* const recipient = config.add_recipients();
  recipient->set_name(options.name);
  recipient->set_public_key(public_key);
  for (const auto key_class : classes) recipient->add_classes(key_class);
  stored::v1::KeysChanged changed;
  changed.set_action("add-recipient");
  stored::v1::ChangedRecipient* const told = changed.add_recipients();
  told->set_name(options.name);
  told->set_recipient_id(seal::RecipientId(public_key));
  // The log first: nothing is wrapped to a key that it has not told of.
  RETURN_IF_ERROR(changes->AppendKeysChanged(std::move(changed)));
  RETURN_IF_ERROR(changes->Replace(config));
  WarnIfOwnersDiffer(context, options.data_dir);
  context.output->Summary(
      {{"name", options.name}, {"id", IdOf(public_key)}},
      absl::StrCat("From the daemon's next start on, new sessions can be read "
                   "by ",
                   options.name, " (", IdOf(public_key),
                   ") too; those that there are, once a key that opens them is "
                   "rotated."));
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunKeysAddWitness(
    const CommandContext& context, const KeysAddWitnessOptions& options) {
  ASSIGN_OR_RETURN(const evidence::NoteKey key,
                   evidence::NoteKey::Parse(options.verifier_key));
  if (key.type != evidence::NoteKeyType::kCosignature) {
    return absl::InvalidArgumentError(
        "that is no witness's key: a witness's has the type 4 "
        "(cosignature/v1); diptych witness init prints it");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<keys::KeyChanges> changes,
                   OpenChanges(context, options.data_dir));
  stored::v1::ArchiveConfig config = changes->config();
  for (const auto& witness : config.witnesses()) {
    if (witness.name() == key.name || witness.public_key() == key.public_key) {
      return absl::AlreadyExistsError(absl::StrCat(
          "the archive has the witness ", witness.name(), " already"));
    }
  }
  if (config.witnesses_size() >= static_cast<int>(limits::kMaxWitnesses)) {
    return absl::FailedPreconditionError(
        absl::StrCat("an archive takes ", limits::kMaxWitnesses, " witnesses"));
  }
  stored::v1::SigningIdentity* const witness = config.add_witnesses();
  witness->set_name(key.name);
  witness->set_public_key(key.public_key);
  RETURN_IF_ERROR(changes->Replace(config));
  WarnIfOwnersDiffer(context, options.data_dir);
  context.output->Summary(
      {{"name", key.name}, {"id", IdOf(key.public_key)}},
      absl::StrCat("From the daemon's next start on, cosignatures of ",
                   key.name, " are taken."));
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunKeysGenerate(const CommandContext& context,
                                         const KeysGenerateOptions& options) {
  RETURN_IF_ERROR(CheckRecipientName(options.name));
  ASSIGN_OR_RETURN(const std::optional<seal::SecretText> passphrase,
                   ReadPassphrase(options.passphrase_file, options.passphrase));
  const seal::KeyPair key = seal::KeyPair::Generate(options.name);
  // A plain name lies in the folder at hand, which is then synced.
  const std::string path = absl::StrContains(options.path, '/')
                               ? options.path
                               : absl::StrCat("./", options.path);
  RETURN_IF_ERROR(seal::WriteKeyFileTo(path, key, View(passphrase)));
  const std::string public_key = absl::Base64Escape(key.public_key);
  context.output->Text(public_key);
  if (!passphrase.has_value()) {
    context.output->Warning(
        absl::StrCat(options.path,
                     " is not encrypted: whoever reads it reads what is "
                     "wrapped to it (--passphrase_file encrypts it)"));
  }
  context.output->Summary({{"name", options.name},
                           {"id", IdOf(key.public_key)},
                           {"public_key", public_key},
                           {"path", options.path}},
                          "");
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunKeysRotate(const CommandContext& context,
                                       const KeysRotateOptions& options) {
  ASSIGN_OR_RETURN(const std::optional<seal::SecretText> passphrase,
                   ReadPassphrase(options.passphrase_file, options.passphrase));
  Output& output = *context.output;
  keys::RotationOptions rotation;
  rotation.keys_dir = options.keys_dir.empty()
                          ? DefaultKeysDir(options.data_dir)
                          : options.keys_dir;
  rotation.name = options.name;
  rotation.passphrase = View(passphrase);
  rotation.on_progress = [&](uint64_t done, uint64_t total) {
    output.Progress("wrapping keys", done, total);
    return context.interrupt->Check();
  };
  ASSIGN_OR_RETURN(const std::unique_ptr<keys::KeyChanges> changes,
                   OpenChanges(context, options.data_dir));
  ASSIGN_OR_RETURN(const keys::RotationResult result,
                   keys::RotateKey(rotation, changes.get()));
  WarnIfOwnersDiffer(context, options.data_dir);
  const bool of_index = options.name == "index";
  bool of_metadata = false;
  for (const stored::v1::Recipient& recipient :
       changes->config().recipients()) {
    for (const int key_class : recipient.classes()) {
      of_metadata =
          of_metadata || (recipient.name() == options.name &&
                          key_class == stored::v1::KEY_CLASS_METADATA);
    }
  }
  if (!passphrase.has_value()) {
    output.Warning(absl::StrCat("the new private key in ", rotation.keys_dir,
                                " is not encrypted (--passphrase_file encrypts "
                                "it)"));
  }
  if (result.damaged_epochs > 0) {
    output.Warning(absl::StrCat(
        result.damaged_epochs,
        " times a session's wrapped keys could not be read: run diptych check ",
        options.data_dir, " to see which"));
  }
  if (of_index) {
    output.Note(absl::StrCat(
        "The index was made under the old key: the daemon makes it again when "
        "it starts, or run diptych index rebuild ",
        options.data_dir, " before."));
  }
  output.Summary(
      {{"name", options.name},
       {"went_on", result.went_on},
       {"old_id", absl::BytesToHexString(result.old_recipient_id)},
       {"new_id", absl::BytesToHexString(result.new_recipient_id)},
       {"old_key_file", result.old_key_file},
       {"rewrapped", result.rewrapped_epochs},
       {"untouched", result.other_epochs},
       {"damaged", result.damaged_epochs},
       {"needs_index_rebuild", of_index}},
      absl::StrCat(
          options.name, " has a new key (",
          absl::BytesToHexString(result.new_recipient_id), "); ",
          Counted(result.rewrapped_epochs, "epoch"),
          " of sessions wrapped to it. The old one is kept as ",
          result.old_key_file,
          of_metadata ? ": access records so far open only with it." : "."));
  return result.damaged_epochs > 0 ? ExitCode::kIncomplete : ExitCode::kDone;
}

}  // namespace diptych::cli
