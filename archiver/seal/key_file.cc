#include "archiver/seal/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include <google/protobuf/text_format.h>
#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

constexpr size_t kMaxKeyFile_bytes = 64 << 10;
constexpr size_t kMaxArchiveConfig_bytes = 1 << 20;
constexpr absl::string_view kArchiveConfigName = "archive.textproto";
// More memory than any key file of ours asks for; a forged file may not take
// the machine down.
constexpr uint64_t kMaxArgonMemory_bytes = uint64_t{1} << 30;
constexpr uint64_t kMaxArgonOps = 16;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

absl::StatusOr<SecretKey> PassphraseKey(
    absl::string_view passphrase, const stored::v1::PassphraseSealed& how) {
  if (how.salt().size() != crypto_pwhash_SALTBYTES ||
      how.ops_limit() < crypto_pwhash_OPSLIMIT_MIN ||
      how.ops_limit() > kMaxArgonOps ||
      how.mem_limit_bytes() < crypto_pwhash_MEMLIMIT_MIN ||
      how.mem_limit_bytes() > kMaxArgonMemory_bytes) {
    return absl::FailedPreconditionError(
        "its Argon2id parameters are out of range");
  }
  SecretKey key;
  if (crypto_pwhash(key.mutable_data(), SecretKey::kSize, passphrase.data(),
                    passphrase.size(), Bytes(how.salt()), how.ops_limit(),
                    how.mem_limit_bytes(), crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return absl::ResourceExhaustedError("not enough memory for Argon2id");
  }
  return key;
}

absl::Status WriteSecretFile(const std::string& path,
                             absl::string_view content) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  }
  absl::Status status;
  size_t done = 0;
  while (done < content.size() && status.ok()) {
    const ssize_t wrote =
        write(fd, content.data() + done, content.size() - done);
    if (wrote < 0) {
      status = absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
    } else {
      done += static_cast<size_t>(wrote);
    }
  }
  if (status.ok() && fsync(fd) != 0) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("cannot sync ", path));
  }
  close(fd);
  return status;
}

}  // namespace

KeyPair KeyPair::Generate(absl::string_view name) {
  KeyPair pair;
  pair.name = std::string(name);
  pair.public_key.resize(crypto_box_PUBLICKEYBYTES);
  crypto_box_keypair(reinterpret_cast<unsigned char*>(pair.public_key.data()),
                     pair.private_key.mutable_data());
  return pair;
}

KeyPair KeyPair::Clone() const {
  return {.name = name,
          .public_key = public_key,
          .private_key = private_key.Clone()};
}

absl::Status WriteKeyFile(const std::string& key_folder, const KeyPair& key,
                          const std::optional<std::string>& passphrase) {
  stored::v1::PrivateKeyFile file;
  file.set_name(key.name);
  file.set_public_key(key.public_key);
  if (passphrase.has_value()) {
    stored::v1::PassphraseSealed* sealed = file.mutable_encrypted();
    sealed->mutable_salt()->resize(crypto_pwhash_SALTBYTES);
    randombytes_buf(sealed->mutable_salt()->data(), crypto_pwhash_SALTBYTES);
    sealed->set_ops_limit(crypto_pwhash_OPSLIMIT_MODERATE);
    sealed->set_mem_limit_bytes(crypto_pwhash_MEMLIMIT_MODERATE);
    ASSIGN_OR_RETURN(const SecretKey wrapping,
                     PassphraseKey(*passphrase, *sealed));
    std::string* out = sealed->mutable_sealed();
    constexpr size_t kNonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    out->resize(kNonce + SecretKey::kSize +
                crypto_aead_xchacha20poly1305_ietf_ABYTES);
    unsigned char* bytes = reinterpret_cast<unsigned char*>(out->data());
    randombytes_buf(bytes, kNonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        bytes + kNonce, nullptr, key.private_key.data(), SecretKey::kSize,
        Bytes(key.name), key.name.size(), nullptr, bytes, wrapping.data());
  } else {
    file.set_private_key(std::string(key.private_key.bytes()));
  }
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(file, &text)) {
    return absl::InternalError("cannot print a key file");
  }
  const absl::Status written =
      WriteSecretFile(absl::StrCat(key_folder, "/", key.name, ".key"), text);
  sodium_memzero(text.data(), text.size());
  sodium_memzero(file.mutable_private_key()->data(), file.private_key().size());
  RETURN_IF_ERROR(written);
  return base::FileSystem::Real()->SyncDirectory(key_folder);
}

absl::StatusOr<KeyPair> ReadKeyFile(
    const std::string& key_folder, absl::string_view name,
    const std::optional<std::string>& passphrase) {
  const std::string path = absl::StrCat(key_folder, "/", name, ".key");
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  if ((info.st_mode & (S_IRWXO | S_IRWXG)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " can be read by others; make it private with chmod 600"));
  }
  ASSIGN_OR_RETURN(std::string text,
                   base::ReadWholeFile(path, kMaxKeyFile_bytes));
  stored::v1::PrivateKeyFile file;
  const bool parsed =
      google::protobuf::TextFormat::ParseFromString(text, &file);
  sodium_memzero(text.data(), text.size());
  if (!parsed || file.name() != name ||
      file.public_key().size() != crypto_box_PUBLICKEYBYTES) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not a key file of this name"));
  }
  KeyPair pair;
  pair.name = file.name();
  pair.public_key = file.public_key();
  if (file.has_encrypted()) {
    if (!passphrase.has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " needs a passphrase; give it with --passphrase_file"));
    }
    const absl::StatusOr<SecretKey> wrapping =
        PassphraseKey(*passphrase, file.encrypted());
    if (!wrapping.ok()) {
      return absl::Status(
          wrapping.status().code(),
          absl::StrCat(path, ": ",
                       absl::string_view(wrapping.status().message())));
    }
    const std::string& sealed = file.encrypted().sealed();
    constexpr size_t kNonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    if (sealed.size() != kNonce + SecretKey::kSize +
                             crypto_aead_xchacha20poly1305_ietf_ABYTES ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(
            pair.private_key.mutable_data(), nullptr, nullptr,
            Bytes(sealed) + kNonce, sealed.size() - kNonce, Bytes(file.name()),
            file.name().size(), Bytes(sealed), wrapping->data()) != 0) {
      return absl::PermissionDeniedError(
          absl::StrCat("the passphrase does not open ", path));
    }
  } else {
    absl::StatusOr<SecretKey> key = SecretKey::FromBytes(file.private_key());
    sodium_memzero(file.mutable_private_key()->data(),
                   file.private_key().size());
    if (!key.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " holds no private key"));
    }
    pair.private_key = *std::move(key);
  }
  unsigned char derived[crypto_box_PUBLICKEYBYTES];
  crypto_scalarmult_base(derived, pair.private_key.data());
  if (sodium_memcmp(derived, pair.public_key.data(), sizeof(derived)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": private and public key do not belong together"));
  }
  return pair;
}

std::string RecipientId(absl::string_view public_key) {
  return base::Sha256(public_key).substr(0, 8);
}

absl::Status WriteArchiveConfig(const std::string& data_folder,
                                const stored::v1::ArchiveConfig& config) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(config, &text)) {
    return absl::InternalError("cannot print the archive's configuration");
  }
  return base::FileSystem::Real()->WriteFile(
      absl::StrCat(data_folder, "/", kArchiveConfigName), text);
}

absl::StatusOr<stored::v1::ArchiveConfig> ReadArchiveConfig(
    const std::string& data_folder) {
  const std::string path = absl::StrCat(data_folder, "/", kArchiveConfigName);
  const absl::StatusOr<std::string> text =
      base::ReadWholeFile(path, kMaxArchiveConfig_bytes);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(data_folder, " is not an archive (it has no ",
                     kArchiveConfigName, "); make one with diptych init"));
  }
  RETURN_IF_ERROR(text.status());
  stored::v1::ArchiveConfig config;
  if (!google::protobuf::TextFormat::ParseFromString(*text, &config)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " does not parse"));
  }
  if (config.archive_id().size() != 16 || config.suite() != 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " names an archive id or a suite that this version cannot use"));
  }
  return config;
}

}  // namespace diptych::seal
