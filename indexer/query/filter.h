#ifndef INDEXER_QUERY_FILTER_H_
#define INDEXER_QUERY_FILTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

enum class Comparison {
  kEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual
};

// A filter as a tree. Depth and size are within limits.h.
struct FilterNode {
  enum class Kind {
    // Matches everything; an empty filter.
    kAll,
    // Matches nothing; no text says so, but a filter may come to it.
    kNone,
    // Two children or more.
    kAnd,
    kOr,
    // One child. != and unary minus are this too.
    kNot,
    // key has value, key has any value, key has a value that compares.
    kTagEquals,
    kTagPresent,
    kTagCompares,
    // Of the session.
    kStartTime,
    kEndTime,
    kDuration,
    kState,
    kSession,
  };

  Kind kind = Kind::kAll;
  std::vector<std::unique_ptr<FilterNode>> children;
  // kTagEquals, kTagPresent, kTagCompares.
  std::string key;
  std::string value;
  // kTagCompares, kStartTime, kEndTime, kDuration.
  Comparison comparison = Comparison::kEqual;
  // kTagCompares: with values that are times, or with those that are numbers.
  bool as_time = false;
  double number = 0;
  // kStartTime, kEndTime and kTagCompares as a time: since 1970; kDuration: the
  // length.
  int64_t time_us = 0;
  // kState: CLOSE_REASON_UNSPECIFIED stands for open.
  stored::v1::CloseReason state = stored::v1::CLOSE_REASON_UNSPECIFIED;
  // Of an open session; SESSION_STATE_UNSPECIFIED stands for any.
  stored::v1::SessionState open_state = stored::v1::SESSION_STATE_UNSPECIFIED;
  // kSession.
  base::Uuid session;
  // Where in the filter's text it stands, in bytes.
  uint32_t offset = 0;
};

// Parses AIP-160: AND, OR (which binds tighter than AND), NOT and unary minus,
// parentheses, terms side by side as AND, and = != < <= > >= and : (has) on tag
// keys and on start_time, end_time, duration, state and session. After = != and
// : several values may stand, as in key:("a" OR "b"); key IN ("a", "b"), which
// AIP-160 does not have, is the same. Errors are
// INVALID_ARGUMENT with ErrorDetail{reason BAD_FILTER, field "filter",
// field_offset}; they never repeat the filter's text, which may hold personal
// data. Any bytes may come.
absl::StatusOr<std::unique_ptr<FilterNode>> ParseFilter(absl::string_view text);

// True for what may be a tag's key: [a-z][a-z0-9_.-]{0,62}.
bool IsTagKey(absl::string_view key);

// Reads a plain decimal number: [+-]digits[.digits]. Returns false for others.
bool ParseNumber(absl::string_view text, double* number);

// Reads RFC 3339, which ends in a zone, or a date alone, its midnight in UTC.
// Returns false for others.
bool ParseFilterTime(absl::string_view text, int64_t* time_us);

// The error of a filter that parses and still can't be answered.
absl::Status FilterError(absl::StatusCode code, uint32_t offset,
                         absl::string_view message);

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_FILTER_H_
