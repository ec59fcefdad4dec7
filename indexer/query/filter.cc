#include "indexer/query/filter.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/filter_lexer.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {
namespace {

using Kind = FilterNode::Kind;
using Node = std::unique_ptr<FilterNode>;
using TokenKind = FilterToken::Kind;

absl::Status Bad(uint32_t offset, absl::string_view message) {
  return FilterError(absl::StatusCode::kInvalidArgument, offset, message);
}

Node Combine(Kind kind, std::vector<Node> children, uint32_t offset) {
  if (children.size() == 1) return std::move(children.front());
  auto node = std::make_unique<FilterNode>();
  node->kind = kind;
  node->children = std::move(children);
  node->offset = offset;
  return node;
}

Node Negate(Node child) {
  auto node = std::make_unique<FilterNode>();
  node->kind = Kind::kNot;
  node->offset = child->offset;
  node->children.push_back(std::move(child));
  return node;
}

class Parser {
 public:
  explicit Parser(absl::string_view text) : lexer_(text) {}

  absl::StatusOr<Node> Parse() {
    RETURN_IF_ERROR(Advance());
    if (token_.kind == TokenKind::kEnd) return std::make_unique<FilterNode>();
    ASSIGN_OR_RETURN(Node node, Expression(0));
    if (token_.kind == TokenKind::kClose) {
      return Bad(token_.offset, "this parenthesis closes nothing");
    }
    if (token_.kind != TokenKind::kEnd) {
      return Bad(token_.offset, "expected the end of the filter here");
    }
    return node;
  }

 private:
  absl::Status Advance() {
    ASSIGN_OR_RETURN(token_, lexer_.Next());
    return absl::OkStatus();
  }

  bool AtTerm() const {
    return token_.kind == TokenKind::kWord ||
           token_.kind == TokenKind::kQuoted ||
           token_.kind == TokenKind::kOpen ||
           token_.kind == TokenKind::kMinus || token_.kind == TokenKind::kNot;
  }

  // Factors joined by AND or standing side by side, which is the same.
  absl::StatusOr<Node> Expression(int depth) {
    if (depth > limits::kMaxFilterDepth) {
      return Bad(token_.offset,
                 absl::StrCat("parentheses are nested deeper than ",
                              limits::kMaxFilterDepth));
    }
    const uint32_t offset = token_.offset;
    std::vector<Node> factors;
    for (;;) {
      ASSIGN_OR_RETURN(Node factor, Factor(depth));
      factors.push_back(std::move(factor));
      if (token_.kind == TokenKind::kAnd) {
        RETURN_IF_ERROR(Advance());
      } else if (!AtTerm()) {
        break;
      }
    }
    return Combine(Kind::kAnd, std::move(factors), offset);
  }

  // Terms joined by OR.
  absl::StatusOr<Node> Factor(int depth) {
    const uint32_t offset = token_.offset;
    std::vector<Node> terms;
    for (;;) {
      ASSIGN_OR_RETURN(Node term, Term(depth));
      terms.push_back(std::move(term));
      if (token_.kind != TokenKind::kOr) break;
      RETURN_IF_ERROR(Advance());
    }
    return Combine(Kind::kOr, std::move(terms), offset);
  }

  absl::StatusOr<Node> Term(int depth) {
    const bool negated =
        token_.kind == TokenKind::kNot || token_.kind == TokenKind::kMinus;
    if (negated) RETURN_IF_ERROR(Advance());
    Node node;
    if (token_.kind == TokenKind::kOpen) {
      const uint32_t open = token_.offset;
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(node, Expression(depth + 1));
      if (token_.kind != TokenKind::kClose) {
        return Bad(open, "this parenthesis is not closed");
      }
      RETURN_IF_ERROR(Advance());
    } else if (token_.kind == TokenKind::kWord) {
      ASSIGN_OR_RETURN(node, Restriction());
    } else if (token_.kind == TokenKind::kQuoted) {
      return Bad(token_.offset,
                 "a value stands alone here: say which key it belongs to, as "
                 "in key = \"value\"");
    } else if (token_.kind == TokenKind::kEnd) {
      return Bad(token_.offset, "the filter ends where a term should follow");
    } else {
      return Bad(token_.offset, "expected a term here, as in key = \"value\"");
    }
    return negated ? Negate(std::move(node)) : std::move(node);
  }

  absl::StatusOr<Node> Restriction() {
    RETURN_IF_ERROR(CountTerm(token_.offset));
    const FilterToken field = token_;
    const FilterToken op = lexer_.NextOperator();
    if (op.kind != TokenKind::kOperator) {
      return Bad(field.offset,
                 "a word stands alone here: write key = \"value\", or key:* "
                 "for any value");
    }
    if (!IsTagKey(field.text)) {
      return Bad(field.offset,
                 "not a key: a key has small letters, digits, '_', '.' and "
                 "'-', begins with a letter and has at most 63 of them");
    }
    if (op.text == "IN" || op.text == "=" || op.text == "!=" ||
        op.text == ":") {
      const FilterToken open = lexer_.NextOpen();
      if (open.kind == TokenKind::kOpen) return ValueList(field, op, open);
      if (op.text == "IN") {
        return Bad(open.offset, "expected ( here, as in key IN (\"a\", \"b\")");
      }
    }
    ASSIGN_OR_RETURN(const FilterToken value, lexer_.NextValue());
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(Node node, MakeTerm(field, op, value));
    if (op.text == "!=") return Negate(std::move(node));
    return node;
  }

  // What follows an opening parenthesis where a value may stand: any of these.
  absl::StatusOr<Node> ValueList(const FilterToken& field,
                                 const FilterToken& op,
                                 const FilterToken& open) {
    std::vector<Node> values;
    for (;;) {
      ASSIGN_OR_RETURN(const FilterToken value, lexer_.NextValue());
      // The first was counted with its field.
      if (!values.empty()) RETURN_IF_ERROR(CountTerm(value.offset));
      ASSIGN_OR_RETURN(Node node, MakeTerm(field, op, value));
      node->offset = value.offset;
      values.push_back(std::move(node));
      ASSIGN_OR_RETURN(const FilterToken next, lexer_.NextInList());
      if (next.kind == TokenKind::kClose) break;
      if (next.kind == TokenKind::kEnd) {
        return Bad(open.offset, "this parenthesis is not closed");
      }
      const TokenKind joint =
          op.text == "IN" ? TokenKind::kComma : TokenKind::kOr;
      if (next.kind != joint) {
        return Bad(next.offset, op.text == "IN"
                                    ? "expected , or ) here, between values"
                                    : "expected OR or ) here, between values");
      }
    }
    RETURN_IF_ERROR(Advance());
    Node node = Combine(Kind::kOr, std::move(values), field.offset);
    if (op.text == "!=") return Negate(std::move(node));
    return node;
  }

  absl::Status CountTerm(uint32_t offset) {
    if (++terms_ <= limits::kMaxFilterTerms) return absl::OkStatus();
    return Bad(offset, absl::StrCat("the filter has more than ",
                                    limits::kMaxFilterTerms, " terms"));
  }

  // One comparison with one value; != is left to the caller.
  static absl::StatusOr<Node> MakeTerm(const FilterToken& field,
                                       const FilterToken& op,
                                       const FilterToken& value) {
    auto node = std::make_unique<FilterNode>();
    node->offset = field.offset;
    SetComparison(op, node.get());
    if (field.text == "start_time" || field.text == "end_time") {
      node->kind =
          field.text == "start_time" ? Kind::kStartTime : Kind::kEndTime;
      RETURN_IF_ERROR(NoHas(op));
      RETURN_IF_ERROR(SetTime(value, node.get()));
    } else if (field.text == "duration") {
      node->kind = Kind::kDuration;
      RETURN_IF_ERROR(NoHas(op));
      RETURN_IF_ERROR(SetDuration(value, node.get()));
    } else if (field.text == "state") {
      node->kind = Kind::kState;
      RETURN_IF_ERROR(NoOrder(op));
      RETURN_IF_ERROR(SetState(value, node.get()));
    } else if (field.text == "session") {
      node->kind = Kind::kSession;
      RETURN_IF_ERROR(NoOrder(op));
      RETURN_IF_ERROR(SetSession(value, node.get()));
    } else {
      RETURN_IF_ERROR(SetTag(field, op, value, node.get()));
    }
    return node;
  }

  static void SetComparison(const FilterToken& op, FilterNode* node) {
    if (op.text == "<") node->comparison = Comparison::kLess;
    if (op.text == "<=") node->comparison = Comparison::kLessOrEqual;
    if (op.text == ">") node->comparison = Comparison::kGreater;
    if (op.text == ">=") node->comparison = Comparison::kGreaterOrEqual;
  }

  static absl::Status NoHas(const FilterToken& op) {
    if (op.text != ":" && op.text != "IN") return absl::OkStatus();
    return Bad(op.offset, "this works on tags; compare times with =, <, >");
  }

  static absl::Status NoOrder(const FilterToken& op) {
    if (op.text == "=" || op.text == "!=" || op.text == ":" ||
        op.text == "IN") {
      return absl::OkStatus();
    }
    return Bad(op.offset, "this field has no order: use = or !=");
  }

  static absl::Status SetTag(const FilterToken& field, const FilterToken& op,
                             const FilterToken& value, FilterNode* node) {
    node->key = field.text;
    const bool star = value.kind == TokenKind::kWord && value.text == "*";
    if (star && op.text == ":") {
      node->kind = Kind::kTagPresent;
      return absl::OkStatus();
    }
    if (star) {
      return Bad(value.offset, "'*' goes with ':', as in key:*");
    }
    if (value.text.empty()) {
      return Bad(value.offset, "no tag has an empty value: use NOT key:*");
    }
    if (value.text.size() > limits::kMaxTagValue_bytes) {
      return Bad(value.offset,
                 absl::StrCat("no tag's value is longer than ",
                              limits::kMaxTagValue_bytes, " bytes"));
    }
    if (node->comparison == Comparison::kEqual) {
      node->kind = Kind::kTagEquals;
      node->value = value.text;
      return absl::OkStatus();
    }
    if (IsPersonalKey(field.text)) {
      return Bad(op.offset, "a personal key knows no order: use =, != or :*");
    }
    node->kind = Kind::kTagCompares;
    if (ParseNumber(value.text, &node->number)) return absl::OkStatus();
    node->as_time = true;
    if (!ParseFilterTime(value.text, &node->time_us)) {
      return Bad(value.offset,
                 "a tag compares with a plain number, as in 2.5, or with a "
                 "time, as in \"2026-11-01T08:00:00Z\"");
    }
    return absl::OkStatus();
  }

  static absl::Status SetTime(const FilterToken& value, FilterNode* node) {
    if (ParseFilterTime(value.text, &node->time_us)) return absl::OkStatus();
    return Bad(value.offset,
               "not a time: write \"2026-11-01T08:00:00Z\" or \"2026-11-01\"");
  }

  static absl::Status SetDuration(const FilterToken& value, FilterNode* node) {
    absl::Duration duration;
    if (!absl::ParseDuration(value.text, &duration) ||
        duration == absl::InfiniteDuration() ||
        duration < absl::ZeroDuration()) {
      return Bad(value.offset, "not a duration: write 600s, 10m or 1h30m");
    }
    node->time_us = absl::ToInt64Microseconds(duration);
    return absl::OkStatus();
  }

  static absl::Status SetState(const FilterToken& value, FilterNode* node) {
    const std::string name = absl::AsciiStrToUpper(value.text);
    if (name == "OPEN") {
      node->state = stored::v1::CLOSE_REASON_UNSPECIFIED;
    } else if (name == "DEGRADED") {
      node->open_state = stored::v1::SESSION_STATE_DEGRADED;
    } else if (name == "RECOVERED") {
      node->open_state = stored::v1::SESSION_STATE_RECOVERED;
    } else if (name == "CLOSED") {
      node->state = stored::v1::CLOSE_REASON_CLOSED;
    } else if (name == "ABANDONED") {
      node->state = stored::v1::CLOSE_REASON_ABANDONED;
    } else {
      return Bad(value.offset,
                 "a state is OPEN, DEGRADED, RECOVERED, CLOSED or ABANDONED");
    }
    return absl::OkStatus();
  }

  static absl::Status SetSession(const FilterToken& value, FilterNode* node) {
    const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(value.text);
    if (!id.ok()) {
      return Bad(value.offset, "a session is named by its UUID");
    }
    node->session = *id;
    return absl::OkStatus();
  }

  FilterLexer lexer_;
  FilterToken token_;
  size_t terms_ = 0;
};

}  // namespace

absl::Status FilterError(absl::StatusCode code, uint32_t offset,
                         absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_FILTER");
  detail.set_field("filter");
  detail.set_field_offset(offset);
  return base::MakeError(code, message, detail);
}

bool IsTagKey(absl::string_view key) {
  if (key.empty() || key.size() > limits::kMaxTagKey_bytes ||
      !absl::ascii_islower(static_cast<unsigned char>(key.front()))) {
    return false;
  }
  return std::all_of(key.begin(), key.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || c == '_' ||
           c == '.' || c == '-';
  });
}

bool ParseNumber(absl::string_view text, double* number) {
  absl::string_view digits = text;
  if (!digits.empty() && (digits.front() == '-' || digits.front() == '+')) {
    digits.remove_prefix(1);
  }
  bool point = false;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool inside = i > 0 && i + 1 < digits.size();
    if (digits[i] == '.' && inside && !point) {
      point = true;
    } else if (!absl::ascii_isdigit(static_cast<unsigned char>(digits[i]))) {
      return false;
    }
  }
  return !digits.empty() && absl::SimpleAtod(text, number) &&
         std::isfinite(*number);
}

bool ParseFilterTime(absl::string_view text, int64_t* time_us) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error) &&
      !(text.size() == 10 &&
        absl::ParseTime("%Y-%m-%d", text, &time, &error))) {
    return false;
  }
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) {
    return false;
  }
  *time_us = absl::ToUnixMicros(time);
  return true;
}

absl::StatusOr<std::unique_ptr<FilterNode>> ParseFilter(
    absl::string_view text) {
  if (text.size() > limits::kMaxFilter_bytes) {
    return Bad(limits::kMaxFilter_bytes,
               absl::StrCat("the filter is longer than ",
                            limits::kMaxFilter_bytes, " bytes"));
  }
  return Parser(text).Parse();
}

}  // namespace diptych::indexer
