#ifndef TOOLS_DIPTYCH_VERIFY_RECEIPT_CHECK_H_
#define TOOLS_DIPTYCH_VERIFY_RECEIPT_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

struct ReceiptResult {
  // As in VerifyResult.
  std::optional<std::string> falsehood;
  bool log_key_verified = false;
  base::Uuid archive;
  base::Uuid session;
  bool abandoned = false;
  int64_t closed_time_us = 0;
  // As the receipt writes it; its record does not say it.
  std::string start_time;
  uint64_t segments = 0;
  uint64_t log_position = 0;
  // The record that it proves.
  std::string closed_header;
  // "resident: 1800 packets, 2.3 MB", one a side.
  std::vector<std::string> sides;
  std::vector<std::string> vouching;
};

// True if the text is a receipt by what it says first of itself.
bool LooksLikeReceipt(absl::string_view text);

// Proves a gateway's receipt (archiver/evidence/FORMAT.md, "Receipts"): the
// checkpoint, the closing record's place in its tree, and that the fields for
// people say what the record says. What is false is in the result.
ReceiptResult VerifyReceipt(absl::string_view text, const Trust& trust);

// The receipt against a bundle of the session: the same closing record and
// beginning. What is
// false is in the result; then it is about `receipt`.
absl::Status CheckReceiptAgainst(const ReceiptResult& receipt,
                                 const base::Uuid& archive,
                                 const base::Uuid& session,
                                 int64_t start_time_us,
                                 const std::string* closed_header);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_RECEIPT_CHECK_H_
