#include "archiver/seal/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

constexpr size_t kMaxArchiveConfig_bytes = 1 << 20;
constexpr absl::string_view kArchiveConfigName = "archive.textproto";
// The line of a key file that holds the private key itself.
constexpr absl::string_view kPrivateLine = "private_key: \"";
// "\\ooo" for each byte.
constexpr size_t kEscape_bytes = 4;
// More memory than any key file of ours asks for; a forged file may not take
// the machine down.
constexpr uint64_t kMaxArgonMemory_bytes = uint64_t{1} << 30;
constexpr uint64_t kMaxArgonOps = 16;
// Digits of a key's id in the name of its file.
constexpr size_t kIdInName = 8;

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
  WipeStack();
  return key;
}

// A new file, whole or not at all, for its owner alone.
absl::Status WriteSecretFile(const std::string& path,
                             absl::string_view content) {
  const std::string fresh = absl::StrCat(path, ".new");
  // What a crash left behind.
  unlink(fresh.c_str());
  const int fd =
      open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", fresh));
  }
  absl::Status status;
  size_t done = 0;
  while (done < content.size() && status.ok()) {
    const ssize_t wrote =
        write(fd, content.data() + done, content.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
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
  // A second name instead of a rename, which would replace what is there.
  if (status.ok() && link(fresh.c_str(), path.c_str()) != 0) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  }
  unlink(fresh.c_str());
  return status;
}

// The text with the line of the private key behind it, in locked memory.
SecretText WithPrivateLine(absl::string_view open_part, const KeyPair& key) {
  constexpr absl::string_view kEnd = "\"\n";
  SecretText text(open_part.size() + kPrivateLine.size() +
                  SecretKey::kSize * kEscape_bytes + kEnd.size());
  char* out = text.mutable_data();
  const auto append = [&out](absl::string_view bytes) {
    std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  append(open_part);
  append(kPrivateLine);
  for (size_t i = 0; i < SecretKey::kSize; ++i) {
    const uint8_t byte = key.private_key.data()[i];
    *out++ = '\\';
    *out++ = static_cast<char>('0' + (byte >> 6));
    *out++ = static_cast<char>('0' + (byte >> 3 & 7));
    *out++ = static_cast<char>('0' + (byte & 7));
  }
  append(kEnd);
  return text;
}

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// One byte of an escaped text, as protobuf prints it; moves `at` behind it.
// False if there is none.
bool TakeEscaped(absl::string_view text, size_t* at, uint8_t* byte) {
  if (*at >= text.size()) return false;
  const char c = text[(*at)++];
  if (c != '\\') {
    *byte = static_cast<uint8_t>(c);
    return c != '"' && c != '\n';
  }
  if (*at >= text.size()) return false;
  const char escape = text[(*at)++];
  if (!IsOctal(escape)) {
    const absl::string_view names = "ntr\"'\\";
    const absl::string_view bytes = "\n\t\r\"'\\";
    const size_t which = names.find(escape);
    if (which == absl::string_view::npos) return false;
    *byte = static_cast<uint8_t>(bytes[which]);
    return true;
  }
  unsigned value = static_cast<unsigned>(escape - '0');
  for (int digits = 1; digits < 3 && *at < text.size() && IsOctal(text[*at]);
       ++digits) {
    value = value * 8 + static_cast<unsigned>(text[(*at)++] - '0');
  }
  *byte = static_cast<uint8_t>(value);
  return value < 256;
}

// Takes the private key out of a key file's text and blanks its line there.
// False if there is no such line, or it holds no key.
bool TakePrivateLine(SecretText* text, SecretKey* key) {
  const absl::string_view all = text->view();
  size_t line = all.find(kPrivateLine);
  while (line != absl::string_view::npos && line > 0 && all[line - 1] != '\n') {
    line = all.find(kPrivateLine, line + 1);
  }
  if (line == absl::string_view::npos) return false;
  size_t at = line + kPrivateLine.size();
  bool whole = true;
  for (size_t i = 0; i < SecretKey::kSize && whole; ++i) {
    whole = TakeEscaped(all, &at, key->mutable_data() + i);
  }
  whole = whole && at < all.size() && all[at] == '"';
  const size_t end = all.find('\n', line);
  std::memset(text->mutable_data() + line, ' ',
              (end == absl::string_view::npos ? all.size() : end) - line);
  return whole;
}

}  // namespace

KeyPair KeyPair::Generate(absl::string_view name) {
  KeyPair pair;
  pair.name = std::string(name);
  pair.public_key.resize(crypto_box_PUBLICKEYBYTES);
  crypto_box_keypair(reinterpret_cast<unsigned char*>(pair.public_key.data()),
                     pair.private_key.mutable_data());
  WipeStack();
  return pair;
}

KeyPair KeyPair::Clone() const {
  return {.name = name,
          .public_key = public_key,
          .private_key = private_key.Clone()};
}

absl::Status WriteKeyFile(const std::string& key_folder, const KeyPair& key,
                          std::optional<absl::string_view> passphrase) {
  return WriteKeyFileTo(absl::StrCat(key_folder, "/", key.name, ".key"), key,
                        passphrase);
}

absl::Status WriteKeyFileTo(const std::string& path, const KeyPair& key,
                            std::optional<absl::string_view> passphrase) {
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
    WipeStack();
  }
  std::string open_part;
  if (!google::protobuf::TextFormat::PrintToString(file, &open_part)) {
    return absl::InternalError("cannot print a key file");
  }
  if (passphrase.has_value()) {
    RETURN_IF_ERROR(WriteSecretFile(path, open_part));
  } else {
    RETURN_IF_ERROR(
        WriteSecretFile(path, WithPrivateLine(open_part, key).view()));
  }
  return base::FileSystem::Real()->SyncDirectory(
      std::filesystem::path(path).parent_path().string());
}

absl::StatusOr<KeyPair> ReadKeyFile(
    const std::string& key_folder, absl::string_view name,
    std::optional<absl::string_view> passphrase) {
  return ReadKeyFileAt(absl::StrCat(key_folder, "/", name, ".key"), name,
                       passphrase);
}

absl::StatusOr<KeyPair> ReadKeyFileAt(
    const std::string& path, absl::string_view name,
    std::optional<absl::string_view> passphrase) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  if ((info.st_mode & (S_IRWXO | S_IRWXG)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " can be read by others; make it private with chmod 600"));
  }
  ASSIGN_OR_RETURN(SecretText text,
                   ReadSecretFile(path, limits::kMaxKeyFile_bytes));
  return ParseKeyFile(std::move(text), path, name, passphrase);
}

absl::StatusOr<KeyPair> ParseKeyFile(
    SecretText text, absl::string_view where, absl::string_view name,
    std::optional<absl::string_view> passphrase) {
  KeyPair pair;
  // Out of the text before a parser makes copies of it.
  const bool has_private = TakePrivateLine(&text, &pair.private_key);
  stored::v1::PrivateKeyFile file;
  google::protobuf::io::ArrayInputStream input(text.view().data(),
                                               static_cast<int>(text.size()));
  // Says nothing on stderr: what does not parse may be anything.
  struct Silent final : google::protobuf::io::ErrorCollector {
    void AddError(int, int, const std::string&) override {}
  } silent;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&silent);
  if (!parser.Parse(&input, &file) || file.name() != name ||
      file.public_key().size() != crypto_box_PUBLICKEYBYTES) {
    return absl::FailedPreconditionError(
        absl::StrCat(where, " is not a key file of the name ", name));
  }
  pair.name = file.name();
  pair.public_key = file.public_key();
  if (file.has_encrypted() && !has_private) {
    if (!passphrase.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat(where,
                       " needs a passphrase; give it with "
                       "--passphrase_file"));
    }
    const absl::StatusOr<SecretKey> wrapping =
        PassphraseKey(*passphrase, file.encrypted());
    if (!wrapping.ok()) {
      return absl::Status(
          wrapping.status().code(),
          absl::StrCat(where, ": ",
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
          absl::StrCat("the passphrase does not open ", where));
    }
  } else if (!has_private) {
    return absl::FailedPreconditionError(
        absl::StrCat(where, " holds no private key"));
  }
  unsigned char derived[crypto_box_PUBLICKEYBYTES];
  crypto_scalarmult_base(derived, pair.private_key.data());
  WipeStack();
  if (sodium_memcmp(derived, pair.public_key.data(), sizeof(derived)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(where, ": private and public key do not belong together"));
  }
  return pair;
}

std::string OtherKeyPath(const std::string& key_folder, absl::string_view name,
                         absl::string_view public_key) {
  return absl::StrCat(
      key_folder, "/", name, "-",
      absl::BytesToHexString(RecipientId(public_key)).substr(0, kIdInName),
      ".key");
}

absl::StatusOr<std::vector<KeyPair>> ReadOtherKeyFiles(
    const std::string& key_folder, absl::string_view name,
    std::optional<absl::string_view> passphrase,
    std::vector<absl::Status>* left_out) {
  const std::string prefix = absl::StrCat(name, "-");
  std::vector<KeyPair> keys;
  std::error_code error;
  if (!std::filesystem::is_directory(key_folder, error)) return keys;
  ASSIGN_OR_RETURN(const std::vector<std::string> files,
                   base::FileSystem::Real()->List(key_folder));
  size_t found = 0;
  for (const std::string& file : files) {
    if (!absl::StartsWith(file, prefix) || !absl::EndsWith(file, ".key") ||
        file.size() != prefix.size() + kIdInName + 4) {
      continue;
    }
    if (++found > limits::kMaxRecipients) break;
    absl::StatusOr<KeyPair> key =
        ReadKeyFileAt(absl::StrCat(key_folder, "/", file), name, passphrase);
    if (key.ok()) {
      keys.push_back(*std::move(key));
    } else {
      left_out->push_back(key.status());
    }
  }
  return keys;
}

absl::StatusOr<SecretText> ReadSecretFile(const std::string& path,
                                          size_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  absl::StatusOr<SecretText> text = ReadSecret(fd, path, max_bytes);
  close(fd);
  return text;
}

absl::StatusOr<SecretText> ReadSecret(int fd, absl::string_view where,
                                      size_t max_bytes) {
  // One over, so that what is too long shows.
  SecretText text(max_bytes + 1);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got =
        read(fd, text.mutable_data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", where));
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  if (done > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(where, " is longer than ", max_bytes, " bytes"));
  }
  text.Shrink(done);
  return text;
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

absl::Status ReplaceArchiveConfig(const std::string& data_folder,
                                  const stored::v1::ArchiveConfig& config) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(config, &text)) {
    return absl::InternalError("cannot print the archive's configuration");
  }
  const std::string path = absl::StrCat(data_folder, "/", kArchiveConfigName);
  const std::string fresh = absl::StrCat(path, ".new");
  base::FileSystem* const files = base::FileSystem::Real();
  // What a crash left behind; that it can be made is seen when it is made.
  files->Remove(fresh).IgnoreError();
  RETURN_IF_ERROR(files->WriteFile(fresh, text));
  RETURN_IF_ERROR(files->Rename(fresh, path));
  return files->SyncDirectory(data_folder);
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
