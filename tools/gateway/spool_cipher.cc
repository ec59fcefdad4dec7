#include "tools/gateway/spool_cipher.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/status_macros.h"

namespace diptych::gateway {
namespace {

constexpr size_t kNonce_bytes = 12;
constexpr size_t kMaxKeyFile_bytes = 256;
constexpr char kFileKeyLabel[] = "diptych spool file 1";
constexpr char kCheckLabel[] = "diptych spool check 1";

struct ContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const {
    EVP_CIPHER_CTX_free(context);
  }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextDeleter>;

unsigned char* Bytes(std::string* text) {
  return reinterpret_cast<unsigned char*>(text->data());
}
const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Hmac(absl::string_view key, absl::string_view text) {
  std::string out(32, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), Bytes(text),
       text.size(), Bytes(&out), &size);
  return out;
}

std::string Nonce(uint64_t number) {
  std::string nonce(kNonce_bytes, '\0');
  for (int i = 0; i < 8; ++i) nonce[i] = static_cast<char>(number >> (8 * i));
  return nonce;
}

// Makes the file whole or not at all; leaves one that is there alone.
absl::Status PutKeyFile(const std::string& path, absl::string_view text) {
  std::string unique(8, '\0');
  if (RAND_bytes(Bytes(&unique), static_cast<int>(unique.size())) != 1) {
    return absl::InternalError("no random bytes for a spool key");
  }
  const std::string fresh =
      absl::StrCat(path, ".", absl::BytesToHexString(unique));
  const auto failed = [&path] {
    return absl::ErrnoToStatus(errno, absl::StrCat("can't make ", path));
  };
  const int fd =
      open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return failed();
  absl::Status status;
  const ssize_t written = write(fd, text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()) || fsync(fd) != 0) {
    status = failed();
  }
  close(fd);
  if (status.ok() && link(fresh.c_str(), path.c_str()) != 0 &&
      errno != EEXIST) {
    status = failed();
  }
  unlink(fresh.c_str());
  RETURN_IF_ERROR(status);
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return base::FileSystem::Real()->SyncDirectory(parent.empty() ? "." : parent);
}

}  // namespace

absl::StatusOr<std::string> LoadSpoolKey(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(path, error)) {
    std::string key(kSpoolKey_bytes, '\0');
    if (RAND_bytes(Bytes(&key), kSpoolKey_bytes) != 1) {
      return absl::InternalError("no random bytes for a spool key");
    }
    RETURN_IF_ERROR(PutKeyFile(path, absl::BytesToHexString(key) + "\n"));
    OPENSSL_cleanse(key.data(), key.size());
    // Whoever was first has made the one that counts.
  }
  const fs::perms others = fs::status(path, error).permissions() &
                           (fs::perms::group_all | fs::perms::others_all);
  if (error || others != fs::perms::none) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is a spool's key: only its owner may read it (mode 0600)"));
  }
  ASSIGN_OR_RETURN(const std::string text,
                   base::ReadWholeFile(path, kMaxKeyFile_bytes));
  const absl::string_view digits = absl::StripAsciiWhitespace(text);
  std::string key = absl::HexStringToBytes(digits);
  if (digits.size() != 2 * kSpoolKey_bytes ||
      absl::BytesToHexString(key) != absl::AsciiStrToLower(digits)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not a spool's key: 64 hexadecimal digits"));
  }
  return key;
}

absl::StatusOr<std::string> NewSpoolSalt() {
  std::string salt(kSpoolSalt_bytes, '\0');
  if (RAND_bytes(Bytes(&salt), kSpoolSalt_bytes) != 1) {
    return absl::InternalError("no random bytes for a spool file");
  }
  return salt;
}

SpoolCipher::SpoolCipher(absl::string_view key, absl::string_view file_name,
                         absl::string_view salt)
    : key_(Hmac(key,
                absl::StrCat(kFileKeyLabel, absl::string_view("\0", 1),
                             file_name, absl::string_view("\0", 1), salt))) {}

SpoolCipher::~SpoolCipher() { OPENSSL_cleanse(key_.data(), key_.size()); }

std::string SpoolCipher::KeyCheck() const {
  return Hmac(key_, kCheckLabel).substr(0, kSpoolTag_bytes);
}

absl::StatusOr<std::string> SpoolCipher::Seal(uint64_t number,
                                              absl::string_view plain) const {
  const Context context(EVP_CIPHER_CTX_new());
  const std::string nonce = Nonce(number);
  std::string sealed(plain.size() + kSpoolTag_bytes, '\0');
  int size = 0;
  int last = 0;
  const bool good =
      context != nullptr &&
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr,
                         Bytes(absl::string_view(key_)),
                         Bytes(absl::string_view(nonce))) == 1 &&
      EVP_EncryptUpdate(context.get(), Bytes(&sealed), &size, Bytes(plain),
                        static_cast<int>(plain.size())) == 1 &&
      EVP_EncryptFinal_ex(context.get(), Bytes(&sealed) + size, &last) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kSpoolTag_bytes,
                          Bytes(&sealed) + plain.size()) == 1;
  if (!good) return absl::InternalError("can't encrypt for the spool");
  return sealed;
}

absl::StatusOr<std::string> SpoolCipher::Open(uint64_t number,
                                              absl::string_view sealed) const {
  const absl::Status damaged =
      base::IntegrityError("a block of the spool is damaged");
  if (sealed.size() < kSpoolTag_bytes) return damaged;
  const Context context(EVP_CIPHER_CTX_new());
  const std::string nonce = Nonce(number);
  std::string tag(sealed.substr(sealed.size() - kSpoolTag_bytes));
  sealed.remove_suffix(kSpoolTag_bytes);
  std::string plain(sealed.size() + 1, '\0');
  int size = 0;
  int last = 0;
  const bool good =
      context != nullptr &&
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr,
                         Bytes(absl::string_view(key_)),
                         Bytes(absl::string_view(nonce))) == 1 &&
      EVP_DecryptUpdate(context.get(), Bytes(&plain), &size, Bytes(sealed),
                        static_cast<int>(sealed.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kSpoolTag_bytes,
                          Bytes(&tag)) == 1 &&
      EVP_DecryptFinal_ex(context.get(), Bytes(&plain) + size, &last) == 1;
  if (!good) return damaged;
  plain.pop_back();
  return plain;
}

}  // namespace diptych::gateway
