#include "archiver/evidence/timestamp.h"

#include <cstddef>
#include <ctime>
#include <memory>
#include <string>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ts.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"

namespace diptych::evidence {
namespace {

constexpr size_t kNonce_bytes = 16;
// Grants, and grants with changes.
constexpr long kGrantedStatuses = 1;

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    free_function(object);
  }
};
template <typename T, auto free_function>
using Owned = std::unique_ptr<T, Free<free_function>>;

using Response = Owned<TS_RESP, TS_RESP_free>;
using Request = Owned<TS_REQ, TS_REQ_free>;
using Bio = Owned<BIO, BIO_free>;

struct OpensslFree {
  void operator()(void* memory) const { OPENSSL_free(memory); }
};

absl::Status NoTimestamp(absl::string_view why) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat("the time stamp ", why));
}

// Why OpenSSL's last call failed, for people. Empties its queue of errors.
std::string OpensslReason() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  const std::string text = reason == nullptr ? "unknown" : reason;
  ERR_clear_error();
  return text;
}

// The 32 bytes that it is over; empty if it is over another hash.
std::string ImprintOf(TS_MSG_IMPRINT* imprint) {
  const X509_ALGOR* const algorithm = TS_MSG_IMPRINT_get_algo(imprint);
  const ASN1_OCTET_STRING* const bytes = TS_MSG_IMPRINT_get_msg(imprint);
  if (OBJ_obj2nid(algorithm->algorithm) != NID_sha256 ||
      ASN1_STRING_length(bytes) != static_cast<int>(base::kSha256_bytes)) {
    return "";
  }
  return std::string(
      reinterpret_cast<const char*>(ASN1_STRING_get0_data(bytes)),
      base::kSha256_bytes);
}

absl::StatusOr<Response> Decode(absl::string_view response) {
  if (response.size() > limits::kMaxTimestamp_bytes) {
    return NoTimestamp(
        absl::StrCat("has more than ", limits::kMaxTimestamp_bytes, " bytes"));
  }
  auto* data = reinterpret_cast<const unsigned char*>(response.data());
  const auto* const end = data + response.size();
  Response decoded(
      d2i_TS_RESP(nullptr, &data, static_cast<long>(response.size())));
  if (decoded == nullptr || data != end) {
    return NoTimestamp("is no response of RFC 3161");
  }
  const long status = ASN1_INTEGER_get(
      TS_STATUS_INFO_get0_status(TS_RESP_get_status_info(decoded.get())));
  if (status < 0 || status > kGrantedStatuses ||
      TS_RESP_get_tst_info(decoded.get()) == nullptr) {
    return NoTimestamp("was not granted");
  }
  return decoded;
}

absl::StatusOr<Timestamp> Describe(const TS_RESP* response) {
  TS_TST_INFO* const info =
      TS_RESP_get_tst_info(const_cast<TS_RESP*>(response));
  Timestamp timestamp;
  timestamp.imprint = ImprintOf(TS_TST_INFO_get_msg_imprint(info));
  if (timestamp.imprint.empty()) return NoTimestamp("is not over SHA-256");
  std::tm time = {};
  if (ASN1_TIME_to_tm(TS_TST_INFO_get_time(info), &time) != 1) {
    return NoTimestamp("does not say when it was made");
  }
  timestamp.time = absl::FromTM(time, absl::UTCTimeZone());
  const Owned<BIGNUM, BN_free> serial(
      ASN1_INTEGER_to_BN(TS_TST_INFO_get_serial(info), nullptr));
  if (serial == nullptr) return NoTimestamp("has no number");
  const std::unique_ptr<char, OpensslFree> hex(BN_bn2hex(serial.get()));
  if (hex == nullptr) return NoTimestamp("has no number");
  timestamp.serial = hex.get();
  return timestamp;
}

}  // namespace

absl::StatusOr<std::string> MakeTimestampRequest(absl::string_view data) {
  const Request request(TS_REQ_new());
  const Owned<TS_MSG_IMPRINT, TS_MSG_IMPRINT_free> imprint(
      TS_MSG_IMPRINT_new());
  const Owned<X509_ALGOR, X509_ALGOR_free> algorithm(X509_ALGOR_new());
  std::string hash = base::Sha256(data);
  std::string nonce(kNonce_bytes, '\0');
  auto* const nonce_bytes = reinterpret_cast<unsigned char*>(nonce.data());
  const bool drawn = RAND_bytes(nonce_bytes, kNonce_bytes) == 1;
  // Not zero in front, so that every encoding of it has the same bytes.
  nonce[0] = static_cast<char>((nonce[0] & 0x7f) | 0x40);
  const Owned<BIGNUM, BN_free> number(
      BN_bin2bn(nonce_bytes, kNonce_bytes, nullptr));
  const Owned<ASN1_INTEGER, ASN1_INTEGER_free> encoded_nonce(
      BN_to_ASN1_INTEGER(number.get(), nullptr));
  unsigned char* der = nullptr;
  int size = -1;
  if (drawn && request != nullptr && imprint != nullptr &&
      algorithm != nullptr && encoded_nonce != nullptr &&
      X509_ALGOR_set0(algorithm.get(), OBJ_nid2obj(NID_sha256), V_ASN1_NULL,
                      nullptr) == 1 &&
      TS_MSG_IMPRINT_set_algo(imprint.get(), algorithm.get()) == 1 &&
      TS_MSG_IMPRINT_set_msg(imprint.get(),
                             reinterpret_cast<unsigned char*>(hash.data()),
                             static_cast<int>(hash.size())) == 1 &&
      TS_REQ_set_version(request.get(), 1) == 1 &&
      TS_REQ_set_msg_imprint(request.get(), imprint.get()) == 1 &&
      TS_REQ_set_nonce(request.get(), encoded_nonce.get()) == 1 &&
      TS_REQ_set_cert_req(request.get(), 1) == 1) {
    size = i2d_TS_REQ(request.get(), &der);
  }
  if (size <= 0) {
    return absl::InternalError(
        absl::StrCat("cannot ask for a time stamp: ", OpensslReason()));
  }
  const std::unique_ptr<unsigned char, OpensslFree> owned(der);
  return std::string(reinterpret_cast<const char*>(der),
                     static_cast<size_t>(size));
}

absl::StatusOr<Timestamp> ParseTimestamp(absl::string_view response) {
  ASSIGN_OR_RETURN(const Response decoded, Decode(response));
  return Describe(decoded.get());
}

absl::StatusOr<Timestamp> CheckTimestampAnswer(absl::string_view request,
                                               absl::string_view response) {
  auto* data = reinterpret_cast<const unsigned char*>(request.data());
  const Request asked(
      d2i_TS_REQ(nullptr, &data, static_cast<long>(request.size())));
  if (asked == nullptr) return NoTimestamp("was not asked for");
  ASSIGN_OR_RETURN(const Response decoded, Decode(response));
  ASSIGN_OR_RETURN(Timestamp timestamp, Describe(decoded.get()));
  if (timestamp.imprint != ImprintOf(TS_REQ_get_msg_imprint(asked.get()))) {
    return NoTimestamp("is over other data than was asked for");
  }
  const ASN1_INTEGER* const nonce =
      TS_TST_INFO_get_nonce(TS_RESP_get_tst_info(decoded.get()));
  if (nonce == nullptr ||
      ASN1_INTEGER_cmp(nonce, TS_REQ_get_nonce(asked.get())) != 0) {
    return NoTimestamp("answers another request");
  }
  return timestamp;
}

absl::StatusOr<Timestamp> VerifyTimestamp(absl::string_view response,
                                          absl::string_view data,
                                          absl::string_view ca_pem) {
  ASSIGN_OR_RETURN(const Response decoded, Decode(response));
  ASSIGN_OR_RETURN(Timestamp timestamp, Describe(decoded.get()));
  if (timestamp.imprint != base::Sha256(data)) {
    return absl::DataLossError("the time stamp is over other data");
  }
  Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  const Bio bio(
      BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size())));
  size_t certificates = 0;
  // Ends with the text; each one takes some of it.
  for (;; ++certificates) {
    const Owned<X509, X509_free> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    X509_STORE_add_cert(store.get(), certificate.get());
  }
  ERR_clear_error();
  if (certificates == 0) {
    return absl::InvalidArgumentError(
        "there is no certificate to verify the time stamp with");
  }
  X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store.get()),
                             absl::ToTimeT(timestamp.time));

  const Owned<TS_VERIFY_CTX, TS_VERIFY_CTX_free> context(TS_VERIFY_CTX_new());
  TS_VERIFY_CTX_set_flags(context.get(), TS_VFY_VERSION | TS_VFY_SIGNATURE);
  // The context owns it from here on.
  TS_VERIFY_CTX_set_store(context.get(), store.release());
  if (TS_RESP_verify_response(context.get(), decoded.get()) != 1) {
    return absl::DataLossError(
        absl::StrCat("the time stamp's signature is false: ", OpensslReason()));
  }
  return timestamp;
}

}  // namespace diptych::evidence
