#ifndef INDEXER_QUERY_PAGE_TOKEN_H_
#define INDEXER_QUERY_PAGE_TOKEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/query/doc_iterator.h"
#include "indexer/store/keys.h"

namespace diptych::indexer {

// Where a page ended, and which moment of the log the whole answer is of.
struct PageEnd {
  DocId last;
  // Of segments: the last one of that session.
  uint32_t segment = 0;
  log::Position before_position = 0;
};

// The question that a token goes on with. `principal` holds no zero byte.
std::string PageContext(absl::string_view method, Order order,
                        absl::string_view principal, absl::string_view filter);

// Text that only this index can make and read.
std::string SealPageEnd(const seal::IndexKeys& keys, absl::string_view context,
                        const PageEnd& end);

// INVALID_ARGUMENT with reason BAD_PAGE_TOKEN if it is not one of ours, or of
// another question, caller or layout.
absl::StatusOr<PageEnd> OpenPageEnd(const seal::IndexKeys& keys,
                                    absl::string_view context,
                                    absl::string_view token);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_PAGE_TOKEN_H_
