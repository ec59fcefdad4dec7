#ifndef INDEXER_STORE_CHANGE_ROW_H_
#define INDEXER_STORE_CHANGE_ROW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Which sessions a batch of the log has touched, so that what was there before
// can be told from what came since.
struct ChangeRow {
  // When the batch was taken in, by the wall clock. For forgetting it.
  int64_t time_us = 0;
  // Ascending, each once.
  std::vector<SessionNumber> sessions;

  friend bool operator==(const ChangeRow&, const ChangeRow&) = default;
};

std::string PackChange(const ChangeRow& row);

// DATA_LOSS if the bytes are not what PackChange wrote.
absl::StatusOr<ChangeRow> UnpackChange(absl::string_view bytes);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_CHANGE_ROW_H_
