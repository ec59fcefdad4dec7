#ifndef INDEXER_QUERY_FILTER_LEXER_H_
#define INDEXER_QUERY_FILTER_LEXER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::indexer {

struct FilterToken {
  enum class Kind {
    kEnd,
    kOpen,
    kClose,
    // A unary minus, right before what it negates.
    kMinus,
    // AND, OR, NOT, in capitals and without quotes.
    kAnd,
    kOr,
    kNot,
    // A word without quotes, or in quotes with its escapes undone.
    kWord,
    kQuoted,
    kOperator,
    // Between the values of a list.
    kComma,
  };

  Kind kind = Kind::kEnd;
  // The word, or the operator: "=", "!=", "<", "<=", ">", ">=", ":", "IN".
  std::string text;
  uint32_t offset = 0;
};

// Cuts a filter into tokens. What a character means depends on the place: after
// an operator comes a value, in which ':' and '-' are plain.
class FilterLexer {
 public:
  // `text` must outlive it.
  explicit FilterLexer(absl::string_view text) : text_(text) {}

  // The next token where a term or a connective may stand.
  absl::StatusOr<FilterToken> Next();
  // The next token where an operator may stand; anything else is not taken and
  // comes as kEnd.
  FilterToken NextOperator();
  // An opening parenthesis where a value may stand; anything else is not taken
  // and comes as kEnd.
  FilterToken NextOpen();
  // What follows a value of a list: kComma, kOr, kClose or kEnd.
  absl::StatusOr<FilterToken> NextInList();
  // The next token where a value must stand.
  absl::StatusOr<FilterToken> NextValue();

 private:
  void SkipSpace();
  absl::StatusOr<FilterToken> Quoted();
  FilterToken Word(absl::string_view stop);

  const absl::string_view text_;
  size_t at_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_FILTER_LEXER_H_
