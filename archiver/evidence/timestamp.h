#ifndef ARCHIVER_EVIDENCE_TIMESTAMP_H_
#define ARCHIVER_EVIDENCE_TIMESTAMP_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace diptych::evidence {

// Time stamps of RFC 3161 over SHA-256, as `openssl ts` makes and takes them.
// Everything here is a pure function of its arguments.

// A TimeStampReq over `data`, DER, with a random nonce, asking for the
// authority's certificate.
absl::StatusOr<std::string> MakeTimestampRequest(absl::string_view data);

// What a response says. Nothing of it is verified by having it.
struct Timestamp {
  absl::Time time;
  // SHA-256 of what was stamped, 32 bytes.
  std::string imprint;
  // The authority's number for it, hexadecimal.
  std::string serial;
};

// Takes a TimeStampResp apart. INVALID_ARGUMENT, saying what is wrong, if it is
// none, was not granted, is not over SHA-256, or has more than
// limits::kMaxTimestamp_bytes.
absl::StatusOr<Timestamp> ParseTimestamp(absl::string_view response);

// The same for an answer to `request`: INVALID_ARGUMENT also if it is over
// other data or has another nonce. Does not verify its signature.
absl::StatusOr<Timestamp> CheckTimestampAnswer(absl::string_view request,
                                               absl::string_view response);

// Verifies that an authority whose certificate leads to one of `ca_pem`
// (certificates in PEM) stamped `data`. Certificates must have been valid at
// the time that it says. DATA_LOSS if it is over other data or the signature or
// a certificate is wrong; INVALID_ARGUMENT as for ParseTimestamp, and if
// `ca_pem` has no certificate.
absl::StatusOr<Timestamp> VerifyTimestamp(absl::string_view response,
                                          absl::string_view data,
                                          absl::string_view ca_pem);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TIMESTAMP_H_
