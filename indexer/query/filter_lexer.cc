#include "indexer/query/filter_lexer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "indexer/query/filter.h"

namespace diptych::indexer {
namespace {

using Kind = FilterToken::Kind;

// What ends a word where a key stands, and where a value stands.
constexpr absl::string_view kKeyStop = " \t\r\n()=!<>:,\"'";
constexpr absl::string_view kValueStop = " \t\r\n()=!<>,\"'";

}  // namespace

void FilterLexer::SkipSpace() {
  while (at_ < text_.size() && absl::string_view(" \t\r\n").find(text_[at_]) !=
                                   absl::string_view::npos) {
    ++at_;
  }
}

FilterToken FilterLexer::Word(absl::string_view stop) {
  FilterToken token;
  token.kind = Kind::kWord;
  token.offset = static_cast<uint32_t>(at_);
  const size_t end = std::min(text_.find_first_of(stop, at_), text_.size());
  token.text = std::string(text_.substr(at_, end - at_));
  at_ = end;
  return token;
}

absl::StatusOr<FilterToken> FilterLexer::Quoted() {
  FilterToken token;
  token.kind = Kind::kQuoted;
  token.offset = static_cast<uint32_t>(at_);
  const char quote = text_[at_++];
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == quote) {
      ++at_;
      return token;
    }
    if (c != '\\') {
      token.text.push_back(c);
      ++at_;
      continue;
    }
    if (at_ + 1 >= text_.size()) break;
    switch (text_[at_ + 1]) {
      case '\\':
      case '"':
      case '\'':
        token.text.push_back(text_[at_ + 1]);
        break;
      case 'n':
        token.text.push_back('\n');
        break;
      case 't':
        token.text.push_back('\t');
        break;
      case 'r':
        token.text.push_back('\r');
        break;
      default:
        return FilterError(absl::StatusCode::kInvalidArgument,
                           static_cast<uint32_t>(at_),
                           "an unknown escape in a quoted value: use \\\\, "
                           "\\\", \\', \\n, \\r or \\t");
    }
    at_ += 2;
  }
  return FilterError(absl::StatusCode::kInvalidArgument, token.offset,
                     "a quoted value has no closing quote");
}

absl::StatusOr<FilterToken> FilterLexer::Next() {
  SkipSpace();
  FilterToken token;
  token.offset = static_cast<uint32_t>(at_);
  if (at_ >= text_.size()) return token;
  const char c = text_[at_];
  if (c == '(' || c == ')' || c == '-') {
    ++at_;
    token.kind = c == '('   ? Kind::kOpen
                 : c == ')' ? Kind::kClose
                            : Kind::kMinus;
    return token;
  }
  if (c == '"' || c == '\'') return Quoted();
  if (kKeyStop.find(c) != absl::string_view::npos) {
    return FilterError(absl::StatusCode::kInvalidArgument, token.offset,
                       "expected a key, NOT or a parenthesis here");
  }
  token = Word(kKeyStop);
  if (token.text == "AND") token.kind = Kind::kAnd;
  if (token.text == "OR") token.kind = Kind::kOr;
  if (token.text == "NOT") token.kind = Kind::kNot;
  return token;
}

FilterToken FilterLexer::NextOperator() {
  SkipSpace();
  FilterToken token;
  token.offset = static_cast<uint32_t>(at_);
  for (const absl::string_view op : {"!=", "<=", ">=", "=", "<", ">", ":"}) {
    if (text_.substr(at_, op.size()) != op) continue;
    at_ += op.size();
    token.kind = Kind::kOperator;
    token.text = std::string(op);
    return token;
  }
  // A word like any other unless it ends here.
  constexpr absl::string_view kIn = "IN";
  if (text_.substr(at_, kIn.size()) == kIn &&
      kKeyStop.find(text_.substr(at_ + kIn.size(), 1)) !=
          absl::string_view::npos) {
    at_ += kIn.size();
    token.kind = Kind::kOperator;
    token.text = std::string(kIn);
  }
  return token;
}

FilterToken FilterLexer::NextOpen() {
  SkipSpace();
  FilterToken token;
  token.offset = static_cast<uint32_t>(at_);
  if (text_.substr(at_, 1) != "(") return token;
  ++at_;
  token.kind = Kind::kOpen;
  return token;
}

absl::StatusOr<FilterToken> FilterLexer::NextInList() {
  SkipSpace();
  FilterToken token;
  token.offset = static_cast<uint32_t>(at_);
  if (at_ >= text_.size()) return token;
  if (text_[at_] == ',' || text_[at_] == ')') {
    token.kind = text_[at_] == ',' ? Kind::kComma : Kind::kClose;
    ++at_;
    return token;
  }
  token = Word(kValueStop);
  if (token.text == "OR") {
    token.kind = Kind::kOr;
    return token;
  }
  return FilterError(absl::StatusCode::kInvalidArgument, token.offset,
                     "expected another value or ) here");
}

absl::StatusOr<FilterToken> FilterLexer::NextValue() {
  SkipSpace();
  if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
    return Quoted();
  }
  FilterToken token = Word(kValueStop);
  if (token.text.empty()) {
    return FilterError(absl::StatusCode::kInvalidArgument, token.offset,
                       "expected a value here");
  }
  return token;
}

}  // namespace diptych::indexer
