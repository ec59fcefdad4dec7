#include "tools/pki/pki.h"

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/principal.h"

namespace diptych::pki {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct X509Deleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using X509Ptr = std::unique_ptr<X509, X509Deleter>;

X509Ptr Parse(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509Ptr certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  BIO_free(bio);
  return certificate;
}

// X509_V_OK or OpenSSL's reason, under `purpose` and that time.
int Verify(const std::string& leaf, const std::string& authority, int purpose,
           time_t at) {
  const X509Ptr certificate = Parse(leaf);
  const X509Ptr root = Parse(authority);
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, root.get());
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, certificate.get(), nullptr);
  X509_STORE_CTX_set_purpose(context, purpose);
  X509_STORE_CTX_set_time(context, 0, at);
  X509_STORE_CTX_set_flags(context, X509_V_FLAG_X509_STRICT);
  const int result = X509_verify_cert(context) == 1
                         ? X509_V_OK
                         : X509_STORE_CTX_get_error(context);
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  return result;
}

std::vector<std::string> AlternativeNames(const std::string& pem) {
  const X509Ptr certificate = Parse(pem);
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(
      certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  std::vector<std::string> found;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    const ASN1_STRING* text =
        name->type == GEN_IPADD ? name->d.iPAddress : name->d.ia5;
    const std::string value(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
        static_cast<size_t>(ASN1_STRING_length(text)));
    if (name->type == GEN_URI) found.push_back("URI:" + value);
    if (name->type == GEN_DNS) found.push_back("DNS:" + value);
    if (name->type == GEN_IPADD) {
      found.push_back(absl::StrCat("IP:", value.size()));
    }
  }
  GENERAL_NAMES_free(names);
  return found;
}

std::string Serial(const std::string& pem) {
  const X509Ptr certificate = Parse(pem);
  const ASN1_INTEGER* serial = X509_get0_serialNumber(certificate.get());
  return std::string(
      reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
      static_cast<size_t>(ASN1_STRING_length(serial)));
}

std::string WriteTemp(absl::string_view name, absl::string_view content,
                      mode_t mode) {
  const std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/", name);
  std::ofstream(path) << content;
  chmod(path.c_str(), mode);
  return path;
}

class PkiTest : public testing::Test {
 protected:
  const base::Uuid archive_ = base::Uuid::Random();
  const Credential authority_ = *MakeAuthority(archive_);
  const time_t now_ = time(nullptr);
};

TEST_F(PkiTest, ClientChainHoldsForCallingOnly) {
  for (const base::Role role : {base::Role::kGateway, base::Role::kAuditor,
                                base::Role::kOperator, base::Role::kIndexer}) {
    const auto leaf = IssueCertificate(authority_, {role, "one", archive_});
    ASSERT_TRUE(leaf.ok()) << leaf.status();
    EXPECT_EQ(Verify(leaf->certificate_pem, authority_.certificate_pem,
                     X509_PURPOSE_SSL_CLIENT, now_),
              X509_V_OK);
    EXPECT_EQ(Verify(leaf->certificate_pem, authority_.certificate_pem,
                     X509_PURPOSE_SSL_SERVER, now_),
              X509_V_ERR_INVALID_PURPOSE);
    EXPECT_THAT(
        AlternativeNames(leaf->certificate_pem),
        testing::ElementsAre(absl::StrCat("URI:diptych://", archive_.ToString(),
                                          "/", base::RoleName(role), "/one")));
  }
}

TEST_F(PkiTest, ServerChainHoldsForServingOnly) {
  const auto leaf =
      IssueCertificate(authority_, {base::Role::kServer, "ingest", archive_});
  ASSERT_TRUE(leaf.ok()) << leaf.status();
  EXPECT_EQ(Verify(leaf->certificate_pem, authority_.certificate_pem,
                   X509_PURPOSE_SSL_SERVER, now_),
            X509_V_OK);
  EXPECT_EQ(Verify(leaf->certificate_pem, authority_.certificate_pem,
                   X509_PURPOSE_SSL_CLIENT, now_),
            X509_V_ERR_INVALID_PURPOSE);
  EXPECT_THAT(
      AlternativeNames(leaf->certificate_pem),
      testing::ElementsAre(
          absl::StrCat("URI:diptych://", archive_.ToString(), "/server/ingest"),
          "DNS:localhost", "IP:4", "IP:16"));
  const X509Ptr certificate = Parse(leaf->certificate_pem);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "::1", 0), 1);
}

TEST_F(PkiTest, AnotherAuthorityDoesNotVerify) {
  const Credential other = *MakeAuthority(archive_);
  const auto leaf =
      IssueCertificate(authority_, {base::Role::kAuditor, "one", archive_});
  EXPECT_NE(Verify(leaf->certificate_pem, other.certificate_pem,
                   X509_PURPOSE_SSL_CLIENT, now_),
            X509_V_OK);
}

TEST_F(PkiTest, LeafCannotSignAnother) {
  const auto leaf =
      IssueCertificate(authority_, {base::Role::kAuditor, "one", archive_});
  const auto forged =
      IssueCertificate(*leaf, {base::Role::kOperator, "two", archive_});
  ASSERT_TRUE(forged.ok());
  EXPECT_NE(Verify(forged->certificate_pem, leaf->certificate_pem,
                   X509_PURPOSE_SSL_CLIENT, now_),
            X509_V_OK);
}

TEST_F(PkiTest, ValidityIsBounded) {
  const auto leaf =
      IssueCertificate(authority_, {base::Role::kAuditor, "one", archive_});
  const time_t day = 24 * 3600;
  const auto at = [&](time_t time) {
    return Verify(leaf->certificate_pem, authority_.certificate_pem,
                  X509_PURPOSE_SSL_CLIENT, time);
  };
  EXPECT_EQ(at(now_ + 824 * day), X509_V_OK);
  EXPECT_EQ(at(now_ + 826 * day), X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_EQ(at(now_ - 3600), X509_V_ERR_CERT_NOT_YET_VALID);
  const X509Ptr root = Parse(authority_.certificate_pem);
  time_t nine_years = now_ + 9 * 365 * day;
  EXPECT_GT(X509_cmp_time(X509_get0_notAfter(root.get()), &nine_years), 0);
}

TEST_F(PkiTest, SerialsDiffer) {
  const base::Principal principal = {base::Role::kAuditor, "one", archive_};
  const std::string a =
      Serial(IssueCertificate(authority_, principal)->certificate_pem);
  const std::string b =
      Serial(IssueCertificate(authority_, principal)->certificate_pem);
  EXPECT_NE(a, b);
  EXPECT_GE(a.size(), 12u);
}

TEST_F(PkiTest, RefusesNamesThatWouldAddAlternativeNames) {
  EXPECT_EQ(IssueCertificate(authority_, {base::Role::kAuditor,
                                          "a,DNS:example.org", archive_})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(PkiTest, KeyMustBelongToAuthority) {
  Credential mixed = *MakeAuthority(archive_);
  mixed.certificate_pem = authority_.certificate_pem;
  EXPECT_EQ(IssueCertificate(mixed, {base::Role::kAuditor, "a", archive_})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(PkiTest, EncryptedKeyThereAndBack) {
  const auto encrypted =
      EncryptPrivateKeyPem(authority_.private_key_pem, "correct horse");
  ASSERT_TRUE(encrypted.ok()) << encrypted.status();
  EXPECT_THAT(*encrypted, HasSubstr("BEGIN ENCRYPTED PRIVATE KEY"));
  const std::string path = WriteTemp("sealed.key", *encrypted, 0600);
  const auto back = ReadPrivateKeyPem(path, "correct horse");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, authority_.private_key_pem);
  const auto wrong = ReadPrivateKeyPem(path, "wrong horse");
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(wrong.status().message()),
              Not(HasSubstr("wrong horse")));
  EXPECT_EQ(ReadPrivateKeyPem(path, std::nullopt).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(PkiTest, ClearKeyNeedsNoPassphraseButPrivacy) {
  const std::string path =
      WriteTemp("clear.key", authority_.private_key_pem, 0600);
  EXPECT_EQ(*ReadPrivateKeyPem(path, std::nullopt), authority_.private_key_pem);
  EXPECT_EQ(*ReadPrivateKeyPem(path, "any"), authority_.private_key_pem);
  chmod(path.c_str(), 0640);
  EXPECT_EQ(ReadPrivateKeyPem(path, std::nullopt).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadPrivateKeyPem(path + ".not", std::nullopt).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(
      ReadPrivateKeyPem(WriteTemp("no.key", "not a key", 0600), std::nullopt)
          .status()
          .code(),
      absl::StatusCode::kInvalidArgument);
}

TEST(PassphraseTest, FirstLineOnly) {
  EXPECT_EQ(*ReadPassphraseFile(WriteTemp("p1", "a b \nrest", 0600)), "a b ");
  EXPECT_EQ(*ReadPassphraseFile(WriteTemp("p2", "a b\r\n", 0600)), "a b");
  EXPECT_EQ(*ReadPassphraseFile(WriteTemp("p3", "ab", 0600)), "ab");
  EXPECT_EQ(ReadPassphraseFile(WriteTemp("p4", "\nab", 0600)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ReadPassphraseFile("/nonexistent/passphrase").ok());
}

}  // namespace
}  // namespace diptych::pki
