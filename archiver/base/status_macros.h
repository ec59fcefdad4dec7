#ifndef ARCHIVER_BASE_STATUS_MACROS_H_
#define ARCHIVER_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Debian's Abseil has no status macros.

// Returns from the enclosing function if `expr`, an absl::Status, is an error.
#define RETURN_IF_ERROR(expr)                          \
  do {                                                 \
    absl::Status diptych_status_ = (expr);             \
    if (!diptych_status_.ok()) return diptych_status_; \
  } while (false)

#define DIPTYCH_CONCAT_INNER_(a, b) a##b
#define DIPTYCH_CONCAT_(a, b) DIPTYCH_CONCAT_INNER_(a, b)

// Assigns the value of `expr`, an absl::StatusOr, to `lhs` (which may declare a
// variable), or returns its error from the enclosing function.
#define ASSIGN_OR_RETURN(lhs, expr)                                         \
  ASSIGN_OR_RETURN_IMPL_(DIPTYCH_CONCAT_(diptych_statusor_, __LINE__), lhs, \
                         expr)

#define ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr)   \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = *std::move(tmp)

#endif  // ARCHIVER_BASE_STATUS_MACROS_H_
