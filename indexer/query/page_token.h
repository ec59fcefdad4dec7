#ifndef INDEXER_QUERY_PAGE_TOKEN_H_
#define INDEXER_QUERY_PAGE_TOKEN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Where an answer goes on, and which moment of the log all of it is of.
struct PagePlace {
  // The index had seen the log up to here.
  log::Position position = 0;
  // When the first page was asked for, in whole seconds.
  absl::Time asked;
  // What comes next: this session, and of segments this one of it (nullopt: its
  // first).
  SessionNumber session;
  std::optional<uint32_t> segment;
};

// The question that a token goes on with. `principal` holds no zero byte.
std::string PageContext(absl::string_view method, Order order,
                        absl::string_view principal, absl::string_view filter);

// Text that only indexes of this archive under the same key can make and read.
std::string SealPage(const seal::IndexKeys& keys, absl::string_view context,
                     const PagePlace& place);

// INVALID_ARGUMENT with reason BAD_PAGE_TOKEN if it is not one of ours, or of
// another question, caller or layout; with PAGE_EXPIRED if it was given too
// long ago.
absl::StatusOr<PagePlace> OpenPage(const seal::IndexKeys& keys,
                                   absl::string_view context,
                                   absl::string_view token, absl::Time now);

// The error of a page that was given and can't be made any more.
absl::Status PageExpired();

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_PAGE_TOKEN_H_
