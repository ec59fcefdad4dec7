#include "archiver/evidence/test_authority.h"

#include <memory>
#include <string>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/ts.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"

namespace diptych::evidence {
namespace {

constexpr long kValid_s = 3600;

void AddExtension(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* const extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

ASN1_INTEGER* NextSerial(TS_RESP_CTX*, void*) {
  ASN1_INTEGER* const serial = ASN1_INTEGER_new();
  ASN1_INTEGER_set(serial, 7);
  return serial;
}

}  // namespace

struct TestAuthority::State {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;

  ~State() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
};

TestAuthority::TestAuthority() : state_(std::make_unique<State>()) {
  state_->key = EVP_EC_gen("P-256");
  X509* const certificate = state_->certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -kValid_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kValid_s);
  X509_set_pubkey(certificate, state_->key);
  // A name of its own, as authorities have.
  const std::string common_name =
      absl::StrCat("test authority ", base::Uuid::Random().ToString());
  X509_NAME* const name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(
      name, "CN", MBSTRING_ASC,
      reinterpret_cast<const unsigned char*>(common_name.data()),
      static_cast<int>(common_name.size()), -1, 0);
  X509_set_issuer_name(certificate, name);
  AddExtension(certificate, NID_key_usage, "critical,digitalSignature");
  AddExtension(certificate, NID_ext_key_usage, "critical,timeStamping");
  X509_sign(certificate, state_->key, EVP_sha256());
}

TestAuthority::~TestAuthority() = default;

std::string TestAuthority::ca_pem() const {
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, state_->certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(bio);
  return pem;
}

std::string TestAuthority::Answer(absl::string_view request) const {
  TS_RESP_CTX* const context = TS_RESP_CTX_new();
  TS_RESP_CTX_set_signer_cert(context, state_->certificate);
  TS_RESP_CTX_set_signer_key(context, state_->key);
  TS_RESP_CTX_set_signer_digest(context, EVP_sha256());
  TS_RESP_CTX_add_md(context, EVP_sha256());
  TS_RESP_CTX_add_md(context, EVP_sha1());
  ASN1_OBJECT* const policy = OBJ_txt2obj("1.2.3.4", 1);
  TS_RESP_CTX_set_def_policy(context, policy);
  TS_RESP_CTX_set_serial_cb(context, NextSerial, nullptr);
  BIO* const bio =
      BIO_new_mem_buf(request.data(), static_cast<int>(request.size()));
  TS_RESP* const response = TS_RESP_create_response(context, bio);
  unsigned char* der = nullptr;
  const int size = i2d_TS_RESP(response, &der);
  std::string bytes(reinterpret_cast<const char*>(der),
                    static_cast<size_t>(size));
  OPENSSL_free(der);
  TS_RESP_free(response);
  BIO_free(bio);
  ASN1_OBJECT_free(policy);
  TS_RESP_CTX_free(context);
  return bytes;
}

}  // namespace diptych::evidence
