#include "tools/pki/pki.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <climits>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/principal.h"
#include "archiver/base/status_macros.h"

namespace diptych::pki {
namespace {

constexpr long kAuthorityDays = 3653;
constexpr long kLeafDays = 825;
// Clocks of gateways may be a little behind this machine's.
constexpr long kBackdate_s = 300;
// 64 bits of randomness are what the CA/Browser rules ask for; 127 fit into a
// positive 16-byte integer.
constexpr int kSerialBits = 127;
// scrypt at 16 MiB: what OpenSSL reads without a raised memory limit.
constexpr uint64_t kScryptN = 1 << 14;
constexpr uint64_t kScryptR = 8;
constexpr uint64_t kScryptP = 4;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

using BioPtr = std::unique_ptr<BIO, Freer<&BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<&EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<&X509_free>>;
using ExtensionPtr =
    std::unique_ptr<X509_EXTENSION, Freer<&X509_EXTENSION_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freer<&BN_free>>;
using KeyInfoPtr =
    std::unique_ptr<PKCS8_PRIV_KEY_INFO, Freer<&PKCS8_PRIV_KEY_INFO_free>>;
using AlgorithmPtr = std::unique_ptr<X509_ALGOR, Freer<&X509_ALGOR_free>>;
using SealedKeyPtr = std::unique_ptr<X509_SIG, Freer<&X509_SIG_free>>;

absl::Status OpensslError(absl::string_view what) {
  return absl::InternalError(absl::StrCat("OpenSSL could not ", what));
}

BioPtr ReadOnlyBio(absl::string_view text) {
  if (text.size() > INT_MAX) return nullptr;
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

BioPtr NewBio() { return BioPtr(BIO_new(BIO_s_mem())); }

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size))
                  : std::string();
}

// Hands the passphrase to OpenSSL, which asks for it only for encrypted keys.
struct PassphraseRequest {
  const std::optional<std::string>* passphrase = nullptr;
  bool asked = false;
};

int GivePassphrase(char* buffer, int size, int /*writing*/, void* user) {
  auto* request = static_cast<PassphraseRequest*>(user);
  request->asked = true;
  if (!request->passphrase->has_value()) return -1;
  const std::string& text = **request->passphrase;
  if (size < 0 || text.size() > static_cast<size_t>(size)) return -1;
  std::memcpy(buffer, text.data(), text.size());
  return static_cast<int>(text.size());
}

KeyPtr ParseKey(absl::string_view pem, PassphraseRequest* request) {
  const BioPtr bio = ReadOnlyBio(pem);
  if (bio == nullptr) return nullptr;
  return KeyPtr(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &GivePassphrase, request));
}

absl::StatusOr<KeyPtr> ParseClearKey(absl::string_view pem) {
  const std::optional<std::string> none;
  PassphraseRequest request{.passphrase = &none};
  KeyPtr key = ParseKey(pem, &request);
  if (key == nullptr) {
    return absl::InvalidArgumentError("not an unencrypted PEM private key");
  }
  return key;
}

absl::StatusOr<std::string> ClearPem(EVP_PKEY* key) {
  const BioPtr bio = NewBio();
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0,
                                    nullptr, nullptr) != 1) {
    return OpensslError("write a private key");
  }
  return TakeText(bio.get());
}

absl::StatusOr<std::string> CertificatePem(X509* certificate) {
  const BioPtr bio = NewBio();
  if (bio == nullptr || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return OpensslError("write a certificate");
  }
  return TakeText(bio.get());
}

absl::Status AddExtension(X509* certificate, X509* issuer, int nid,
                          const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension == nullptr ||
      X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError("make a certificate's extension");
  }
  return absl::OkStatus();
}

absl::Status SetRandomSerial(X509* certificate) {
  const NumberPtr number(BN_new());
  if (number == nullptr ||
      BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) !=
          1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) ==
          nullptr) {
    return OpensslError("draw a serial number");
  }
  return absl::OkStatus();
}

absl::Status AddNamePart(X509_NAME* name, const char* field,
                         absl::string_view value) {
  if (X509_NAME_add_entry_by_txt(
          name, field, MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(value.data()),
          static_cast<int>(value.size()), -1, 0) != 1) {
    return OpensslError("name a certificate");
  }
  return absl::OkStatus();
}

// Version, serial, validity, subject and public key: all but issuer,
// extensions and signature.
absl::StatusOr<CertificatePtr> StartCertificate(EVP_PKEY* key,
                                                absl::string_view common_name,
                                                absl::string_view organization,
                                                long days) {
  CertificatePtr certificate(X509_new());
  if (certificate == nullptr || X509_set_version(certificate.get(), 2) != 1 ||
      X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kBackdate_s) ==
          nullptr ||
      X509_time_adj_ex(X509_getm_notAfter(certificate.get()),
                       static_cast<int>(days), 0, nullptr) == nullptr ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return OpensslError("start a certificate");
  }
  RETURN_IF_ERROR(SetRandomSerial(certificate.get()));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  RETURN_IF_ERROR(AddNamePart(subject, "O", organization));
  RETURN_IF_ERROR(AddNamePart(subject, "CN", common_name));
  return certificate;
}

absl::StatusOr<KeyPtr> GenerateKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpensslError("generate a key");
  return key;
}

absl::StatusOr<Credential> SignAndWrite(X509* certificate, EVP_PKEY* key,
                                        EVP_PKEY* issuer_key) {
  if (X509_sign(certificate, issuer_key, EVP_sha256()) == 0) {
    return OpensslError("sign a certificate");
  }
  Credential credential;
  ASSIGN_OR_RETURN(credential.certificate_pem, CertificatePem(certificate));
  ASSIGN_OR_RETURN(credential.private_key_pem, ClearPem(key));
  return credential;
}

std::string Organization(const base::Uuid& archive_id) {
  return absl::StrCat("Diptych archive ", archive_id.ToString());
}

}  // namespace

absl::StatusOr<Credential> MakeAuthority(const base::Uuid& archive_id) {
  ASSIGN_OR_RETURN(const KeyPtr key, GenerateKey());
  ASSIGN_OR_RETURN(const CertificatePtr certificate,
                   StartCertificate(key.get(), "Diptych certificate authority",
                                    Organization(archive_id), kAuthorityDays));
  X509* const self = certificate.get();
  if (X509_set_issuer_name(self, X509_get_subject_name(self)) != 1) {
    return OpensslError("name an issuer");
  }
  RETURN_IF_ERROR(AddExtension(self, self, NID_basic_constraints,
                               "critical,CA:TRUE,pathlen:0"));
  RETURN_IF_ERROR(
      AddExtension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign"));
  RETURN_IF_ERROR(AddExtension(self, self, NID_subject_key_identifier, "hash"));
  return SignAndWrite(self, key.get(), key.get());
}

absl::StatusOr<Credential> IssueCertificate(const Credential& authority,
                                            const base::Principal& principal) {
  // Goes through the parser first, so that no name can smuggle in an extra
  // alternative name.
  RETURN_IF_ERROR(base::Principal::FromUri(principal.ToUri()).status());
  ASSIGN_OR_RETURN(const KeyPtr issuer_key,
                   ParseClearKey(authority.private_key_pem));
  const BioPtr issuer_bio = ReadOnlyBio(authority.certificate_pem);
  const CertificatePtr issuer(
      issuer_bio == nullptr
          ? nullptr
          : PEM_read_bio_X509(issuer_bio.get(), nullptr, nullptr, nullptr));
  if (issuer == nullptr ||
      X509_check_private_key(issuer.get(), issuer_key.get()) != 1) {
    return absl::InvalidArgumentError(
        "the authority's certificate and private key do not belong together");
  }
  ASSIGN_OR_RETURN(const KeyPtr key, GenerateKey());
  ASSIGN_OR_RETURN(
      const CertificatePtr certificate,
      StartCertificate(
          key.get(),
          absl::StrCat(base::RoleName(principal.role), " ", principal.name),
          Organization(principal.archive_id), kLeafDays));
  X509* const leaf = certificate.get();
  if (X509_set_issuer_name(leaf, X509_get_subject_name(issuer.get())) != 1) {
    return OpensslError("name an issuer");
  }
  const bool is_server = principal.role == base::Role::kServer;
  RETURN_IF_ERROR(AddExtension(leaf, issuer.get(), NID_basic_constraints,
                               "critical,CA:FALSE"));
  RETURN_IF_ERROR(AddExtension(leaf, issuer.get(), NID_key_usage,
                               "critical,digitalSignature"));
  RETURN_IF_ERROR(AddExtension(leaf, issuer.get(), NID_ext_key_usage,
                               is_server ? "serverAuth" : "clientAuth"));
  RETURN_IF_ERROR(
      AddExtension(leaf, issuer.get(), NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(AddExtension(leaf, issuer.get(), NID_authority_key_identifier,
                               "keyid:always"));
  RETURN_IF_ERROR(AddExtension(
      leaf, issuer.get(), NID_subject_alt_name,
      absl::StrCat("URI:", principal.ToUri(),
                   is_server ? ",DNS:localhost,IP:127.0.0.1,IP:::1" : "")));
  return SignAndWrite(leaf, key.get(), issuer_key.get());
}

absl::StatusOr<std::string> EncryptPrivateKeyPem(
    absl::string_view private_key_pem, absl::string_view passphrase) {
  if (passphrase.empty()) {
    return absl::InvalidArgumentError("the passphrase is empty");
  }
  if (passphrase.size() > limits::kMaxPassphrase_bytes) {
    return absl::InvalidArgumentError("the passphrase is too long");
  }
  ASSIGN_OR_RETURN(const KeyPtr key, ParseClearKey(private_key_pem));
  const KeyInfoPtr info(EVP_PKEY2PKCS8(key.get()));
  AlgorithmPtr algorithm(PKCS5_pbe2_set_scrypt(
      EVP_aes_256_cbc(), nullptr, 0, nullptr, kScryptN, kScryptR, kScryptP));
  if (info == nullptr || algorithm == nullptr) {
    return OpensslError("prepare the encryption of a private key");
  }
  const SealedKeyPtr sealed(PKCS8_set0_pbe(passphrase.data(),
                                           static_cast<int>(passphrase.size()),
                                           info.get(), algorithm.get()));
  if (sealed == nullptr) return OpensslError("encrypt a private key");
  // It belongs to `sealed` now.
  static_cast<void>(algorithm.release());
  const BioPtr bio = NewBio();
  if (bio == nullptr || PEM_write_bio_PKCS8(bio.get(), sealed.get()) != 1) {
    return OpensslError("write a private key");
  }
  return TakeText(bio.get());
}

absl::StatusOr<std::string> ReadPrivateKeyPem(
    const std::string& path, const std::optional<std::string>& passphrase) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    return absl::Status(
        errno == ENOENT ? absl::StatusCode::kNotFound
                        : absl::StatusCode::kFailedPrecondition,
        absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("others may read ", path, ": chmod 600 it"));
  }
  ASSIGN_OR_RETURN(const std::string pem,
                   base::ReadWholeFile(path, limits::kMaxPemFile_bytes));
  PassphraseRequest request{.passphrase = &passphrase};
  const KeyPtr key = ParseKey(pem, &request);
  if (key == nullptr && request.asked && !passphrase.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is encrypted: give its passphrase with --passphrase_file"));
  }
  if (key == nullptr && request.asked) {
    return absl::PermissionDeniedError(
        absl::StrCat("the passphrase does not open ", path));
  }
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a PEM private key"));
  }
  return ClearPem(key.get());
}

absl::StatusOr<std::string> ReadPassphraseFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text,
                   base::ReadWholeFile(path, limits::kMaxPassphrase_bytes + 2));
  if (const size_t end = text.find_first_of("\r\n"); end != std::string::npos) {
    text.resize(end);
  }
  if (text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the first line of ", path, " holds no passphrase"));
  }
  return text;
}

}  // namespace diptych::pki
