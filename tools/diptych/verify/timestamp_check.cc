#include "tools/diptych/verify/timestamp_check.h"

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/ts.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

template <auto free_function>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    free_function(object);
  }
};

using ResponsePtr = std::unique_ptr<TS_RESP, Freer<TS_RESP_free>>;
using ContextPtr = std::unique_ptr<TS_VERIFY_CTX, Freer<TS_VERIFY_CTX_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using ParameterPtr =
    std::unique_ptr<X509_VERIFY_PARAM, Freer<X509_VERIFY_PARAM_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;

absl::StatusOr<StorePtr> ReadCertificates(const std::string& pem,
                                          std::time_t at) {
  StorePtr store(X509_STORE_new());
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (store == nullptr || bio == nullptr) {
    return absl::ResourceExhaustedError("out of memory");
  }
  size_t found = 0;
  while (true) {
    const CertificatePtr certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    X509_STORE_add_cert(store.get(), certificate.get());
    ++found;
  }
  ERR_clear_error();
  if (found == 0) {
    return absl::InvalidArgumentError(
        "the time stamping authority's file has no certificate (PEM)");
  }
  // A certificate that has expired since was good when it was used.
  const ParameterPtr parameters(X509_VERIFY_PARAM_new());
  X509_VERIFY_PARAM_set_time(parameters.get(), at);
  X509_STORE_set1_param(store.get(), parameters.get());
  return store;
}

absl::StatusOr<std::time_t> StampedTime(TS_RESP* response) {
  TS_TST_INFO* info = TS_RESP_get_tst_info(response);
  if (info == nullptr) return base::IntegrityError("has no time stamp in it");
  std::tm parts = {};
  if (ASN1_TIME_to_tm(TS_TST_INFO_get_time(info), &parts) != 1) {
    return base::IntegrityError("says no time");
  }
  return timegm(&parts);
}

}  // namespace

absl::StatusOr<SeenTimestamp> CheckTimestamp(absl::string_view response_bytes,
                                             absl::string_view data,
                                             const std::string& certificates) {
  const auto* at =
      reinterpret_cast<const unsigned char*>(response_bytes.data());
  const unsigned char* const end = at + response_bytes.size();
  const ResponsePtr response(
      d2i_TS_RESP(nullptr, &at, static_cast<long>(response_bytes.size())));
  ERR_clear_error();
  if (response == nullptr || at != end) {
    return base::IntegrityError("is no time stamp response");
  }
  ASSIGN_OR_RETURN(const std::time_t stamped, StampedTime(response.get()));

  const ContextPtr context(TS_VERIFY_CTX_new());
  if (context == nullptr) return absl::ResourceExhaustedError("out of memory");
  int flags = TS_VFY_VERSION | TS_VFY_IMPRINT;
  const std::string hash = base::Sha256(data);
  // The context owns it.
  auto* imprint =
      static_cast<unsigned char*>(OPENSSL_memdup(hash.data(), hash.size()));
  TS_VERIFY_CTX_set_imprint(context.get(), imprint,
                            static_cast<long>(hash.size()));
  SeenTimestamp seen;
  seen.stamped_time_us = static_cast<int64_t>(stamped) * 1'000'000;
  if (!certificates.empty()) {
    ASSIGN_OR_RETURN(StorePtr store, ReadCertificates(certificates, stamped));
    TS_VERIFY_CTX_set_store(context.get(), store.release());
    flags |= TS_VFY_SIGNATURE;
    seen.verified = true;
  }
  TS_VERIFY_CTX_set_flags(context.get(), flags);
  const bool good = TS_RESP_verify_response(context.get(), response.get()) == 1;
  ERR_clear_error();
  if (!good) {
    return base::IntegrityError(
        certificates.empty()
            ? "is not a time stamp of its checkpoint"
            : "is not a time stamp of its checkpoint by an authority that was "
              "given");
  }
  if (certificates.empty()) {
    PKCS7* token = TS_RESP_get_token(response.get());
    STACK_OF(X509)* signers = PKCS7_get0_signers(token, nullptr, 0);
    const bool has_signer = signers != nullptr && sk_X509_num(signers) > 0;
    sk_X509_free(signers);
    const bool own_signature =
        !has_signer || PKCS7_verify(token, nullptr, nullptr, nullptr, nullptr,
                                    PKCS7_NOVERIFY) == 1;
    ERR_clear_error();
    if (!own_signature) {
      return base::IntegrityError("is not signed by its own signer");
    }
  }
  return seen;
}

}  // namespace diptych::verify
