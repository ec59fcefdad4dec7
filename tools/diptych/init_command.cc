#include "tools/diptych/init_command.h"

#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/output.h"
#include "tools/diptych/profile.h"
#include "tools/pki/pki.h"
#include "tools/pki/signing_key.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kPrivateFile = 0600;
constexpr mode_t kPrivateFolder = 0700;
constexpr mode_t kPublicFile = 0644;
constexpr mode_t kDataFolder = 0750;

constexpr base::Role kProfiles[] = {base::Role::kGateway, base::Role::kAuditor,
                                    base::Role::kOperator,
                                    base::Role::kWitness};

struct Folders {
  std::string data;
  std::string keys;
};

// What init makes, before it lies anywhere.
struct NewArchive {
  stored::v1::ArchiveConfig config;
  base::Uuid id;
  std::optional<std::string> passphrase;
  pki::Credential authority;
};

std::string Absolute(const std::string& path) {
  std::error_code error;
  std::string absolute =
      fs::weakly_canonical(fs::absolute(path, error), error).string();
  if (error || absolute.empty()) absolute = path;
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

bool IsInside(const fs::path& inner, const fs::path& outer) {
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

// Makes the folder, or takes an empty one, which gets `mode`.
absl::Status TakeFolder(const std::string& path, mode_t mode) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " exists and is not a folder: choose another name"));
  }
  if (!fs::is_directory(path, error)) {
    fs::create_directories(fs::path(path).parent_path(), error);
    RETURN_IF_ERROR(MakeDirectory(path, mode));
    return SyncDirectory(fs::path(path).parent_path());
  }
  const bool empty = fs::is_empty(path, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot look into ", path, ": ", error.message()));
  }
  if (!empty) {
    return absl::AlreadyExistsError(absl::StrCat(
        path, " is not empty: init makes archives only in new folders"));
  }
  fs::permissions(path, static_cast<fs::perms>(mode), error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot set the mode of ", path, ": ", error.message()));
  }
  return absl::OkStatus();
}

absl::Status WriteRecipients(const Folders& folders, NewArchive* archive) {
  struct Kind {
    absl::string_view name;
    std::initializer_list<stored::v1::KeyClass> classes;
  };
  for (const Kind& kind :
       {Kind{"index", {stored::v1::KEY_CLASS_METADATA}},
        Kind{"audit",
             {stored::v1::KEY_CLASS_MEDIA, stored::v1::KEY_CLASS_METADATA}},
        Kind{"escrow", {stored::v1::KEY_CLASS_MEDIA}}}) {
    const seal::KeyPair key = seal::KeyPair::Generate(kind.name);
    RETURN_IF_ERROR(seal::WriteKeyFile(folders.keys, key, archive->passphrase));
    stored::v1::Recipient* recipient = archive->config.add_recipients();
    recipient->set_name(key.name);
    recipient->set_public_key(key.public_key);
    for (const stored::v1::KeyClass key_class : kind.classes) {
      recipient->add_classes(key_class);
    }
  }
  return absl::OkStatus();
}

// A private key for the key folder, encrypted if there is a passphrase.
absl::StatusOr<std::string> GuardedKey(const NewArchive& archive,
                                       const pki::Credential& credential) {
  if (!archive.passphrase.has_value()) return credential.private_key_pem;
  return pki::EncryptPrivateKeyPem(credential.private_key_pem,
                                   *archive.passphrase);
}

absl::Status WriteKeyFolderCertificates(const Folders& folders,
                                        const NewArchive& archive) {
  ASSIGN_OR_RETURN(const std::string ca_key,
                   GuardedKey(archive, archive.authority));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(folders.keys, "/ca.key"), ca_key,
                               kPrivateFile));
  for (const auto& [file, principal] :
       {std::pair<absl::string_view, base::Principal>{
            "audit-server", {base::Role::kServer, "audit", archive.id}},
        std::pair<absl::string_view, base::Principal>{
            "indexer-client", {base::Role::kIndexer, "indexer", archive.id}}}) {
    ASSIGN_OR_RETURN(const pki::Credential credential,
                     pki::IssueCertificate(archive.authority, principal));
    ASSIGN_OR_RETURN(const std::string key, GuardedKey(archive, credential));
    const std::string path = absl::StrCat(folders.keys, "/", file);
    RETURN_IF_ERROR(WriteNewFile(absl::StrCat(path, ".crt"),
                                 credential.certificate_pem, kPublicFile));
    RETURN_IF_ERROR(
        WriteNewFile(absl::StrCat(path, ".key"), key, kPrivateFile));
  }
  return SyncDirectory(folders.keys);
}

// Makes a signing key whose private half lies at `path`.
absl::Status WriteSigningKey(const std::string& path, const std::string& name,
                             stored::v1::SigningIdentity* identity) {
  ASSIGN_OR_RETURN(const pki::SigningKey key, pki::MakeSigningKey());
  identity->set_name(name);
  identity->set_public_key(key.public_key);
  return WriteNewFile(path, key.private_key_pem, kPrivateFile);
}

absl::Status WriteWriterKeys(const Folders& folders, NewArchive* made) {
  const NewArchive& archive = *made;
  // Not encrypted: the writer starts without anybody's passphrase, and these
  // keys open no record.
  const std::string tls = absl::StrCat(folders.data, "/tls");
  RETURN_IF_ERROR(MakeDirectory(tls, kPrivateFolder));
  ASSIGN_OR_RETURN(
      const pki::Credential credential,
      pki::IssueCertificate(archive.authority,
                            {base::Role::kServer, "ingest", archive.id}));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(tls, "/ca.crt"),
                               archive.authority.certificate_pem, kPublicFile));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(tls, "/ingest.crt"),
                               credential.certificate_pem, kPublicFile));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(tls, "/ingest.key"),
                               credential.private_key_pem, kPrivateFile));
  RETURN_IF_ERROR(WriteSigningKey(absl::StrCat(tls, "/log.key"),
                                  evidence::LogOrigin(archive.id.ToString()),
                                  made->config.mutable_log_key()));
  return SyncDirectory(tls);
}

absl::Status WriteProfile(const Folders& folders, base::Role role,
                          NewArchive* made) {
  const NewArchive& archive = *made;
  const std::string name(base::RoleName(role));
  const std::string folder = absl::StrCat(folders.data, "/profiles/", name);
  RETURN_IF_ERROR(MakeDirectory(folder, kPrivateFolder));
  ASSIGN_OR_RETURN(
      const pki::Credential credential,
      pki::IssueCertificate(archive.authority, {role, name, archive.id}));
  Profile profile;
  profile.archive_id = archive.id;
  profile.role = name;
  profile.ingest_address = kDefaultIngestAddress;
  profile.audit_address = kDefaultAuditAddress;
  profile.archive_dir = folders.data;
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(folder, "/profile.json"),
                               ProfileJson(profile), kPrivateFile));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(folder, "/ca.crt"),
                               archive.authority.certificate_pem,
                               kPrivateFile));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(folder, "/client.crt"),
                               credential.certificate_pem, kPrivateFile));
  RETURN_IF_ERROR(WriteNewFile(absl::StrCat(folder, "/client.key"),
                               credential.private_key_pem, kPrivateFile));
  if (role == base::Role::kGateway) {
    RETURN_IF_ERROR(
        WriteSigningKey(absl::StrCat(folder, "/", kSourceKeyFile),
                        evidence::SourceName(archive.id.ToString(), name),
                        made->config.add_sources()));
  }
  return SyncDirectory(folder);
}

absl::Status WriteArchive(const CommandContext& context, const Folders& folders,
                          NewArchive* archive) {
  RETURN_IF_ERROR(WriteRecipients(folders, archive));
  RETURN_IF_ERROR(WriteKeyFolderCertificates(folders, *archive));
  RETURN_IF_ERROR(context.interrupt->Check());
  for (const char* name :
       {"volumes", "keystore", "run", "lost+found", "profiles"}) {
    RETURN_IF_ERROR(
        MakeDirectory(absl::StrCat(folders.data, "/", name), kDataFolder));
  }
  RETURN_IF_ERROR(WriteWriterKeys(folders, archive));
  for (const base::Role role : kProfiles) {
    RETURN_IF_ERROR(WriteProfile(folders, role, archive));
  }
  RETURN_IF_ERROR(SyncDirectory(absl::StrCat(folders.data, "/profiles")));
  RETURN_IF_ERROR(context.interrupt->Check());
  // Last, since it is what makes the folder an archive.
  RETURN_IF_ERROR(seal::WriteArchiveConfig(folders.data, archive->config));
  return SyncDirectory(folders.data);
}

void Report(const CommandContext& context, const Folders& folders,
            const NewArchive& archive) {
  Output& output = *context.output;
  output.Text(absl::StrCat("archive   ", archive.id.ToString()));
  output.Text(absl::StrCat("data      ", folders.data));
  output.Text(
      absl::StrCat("keys      ", folders.keys,
                   archive.passphrase.has_value() ? " (encrypted)" : ""));
  for (const base::Role role : kProfiles) {
    const std::string name(base::RoleName(role));
    const std::string folder = absl::StrCat(folders.data, "/profiles/", name);
    output.Text(absl::StrCat("profile   ", folder));
    output.Line("profile", {{"role", name}, {"folder", folder}});
  }
  if (!archive.passphrase.has_value()) {
    output.Warning(absl::StrCat(
        "the private keys in ", folders.keys,
        " are not encrypted: whoever reads that folder reads the archive "
        "(--passphrase_file encrypts them)"));
  }
  output.Note(absl::StrCat(
      "Take escrow.key and ca.key out of ", folders.keys,
      " to a safe place: the daemon needs neither. Start it with: diptychd "
      "--data_dir=",
      folders.data,
      archive.passphrase.has_value() ? " --passphrase_file=FILE" : ""));
  output.Summary(
      {{"archive_id", archive.id.ToString()},
       {"data_dir", folders.data},
       {"keys_dir", folders.keys},
       {"encrypted", archive.passphrase.has_value()},
       {"created",
        FormatUtc(absl::FromUnixMicros(archive.config.created_time_us()))}},
      "");
}

}  // namespace

std::string DefaultKeysDir(const std::string& data_dir) {
  return absl::StrCat(Absolute(data_dir), ".keys");
}

absl::StatusOr<ExitCode> RunInit(const CommandContext& context,
                                 const InitOptions& options) {
  Folders folders;
  folders.data = Absolute(options.data_dir);
  folders.keys = options.keys_dir.empty() ? DefaultKeysDir(options.data_dir)
                                          : Absolute(options.keys_dir);
  if (IsInside(folders.keys, folders.data)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key folder ", folders.keys,
                     " must lie outside the data folder, so that a copy of the "
                     "data opens nothing"));
  }
  NewArchive archive;
  if (!options.passphrase_file.empty()) {
    ASSIGN_OR_RETURN(archive.passphrase,
                     pki::ReadPassphraseFile(options.passphrase_file));
  }
  archive.id = base::Uuid::Random();
  archive.config.set_archive_id(std::string(archive.id.bytes()));
  archive.config.set_suite(seal::kSuite1);
  archive.config.set_created_time_us(absl::ToUnixMicros(absl::Now()));
  ASSIGN_OR_RETURN(archive.authority, pki::MakeAuthority(archive.id));

  RETURN_IF_ERROR(TakeFolder(folders.data, kDataFolder));
  RETURN_IF_ERROR(TakeFolder(folders.keys, kPrivateFolder));
  if (const absl::Status written = WriteArchive(context, folders, &archive);
      !written.ok()) {
    return absl::Status(
        written.code(),
        absl::StrCat(written.message(),
                     "; the archive is not complete: remove ", folders.data,
                     " and ", folders.keys, " before you try again"));
  }
  Report(context, folders, archive);
  return ExitCode::kDone;
}

}  // namespace diptych::cli
