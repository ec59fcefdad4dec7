#include "indexer/store/posting_list.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/keys.h"

namespace diptych::indexer {
namespace {

// No tag's key begins with a capital letter.
constexpr absl::string_view kPairKey = "PAIR clerk item";
constexpr absl::string_view kStateTag = "STATE";

absl::string_view WordOf(ListedState state) {
  switch (state) {
    case ListedState::kOpen:
      return "open";
    case ListedState::kDegraded:
      return "degraded";
    case ListedState::kRecovered:
      return "recovered";
    case ListedState::kClosed:
      return "closed";
    case ListedState::kAbandoned:
      break;
  }
  return "abandoned";
}

// Keys whose values belong to a few sessions each.
bool HasRareValues(absl::string_view key) {
  return key == "resident" || key == "ticket" || key == "case";
}

}  // namespace

PostingList UniversalList(const seal::IndexKeys& keys) {
  // No tag has an empty key.
  return {keys.Token("", ""), kBroadBucketBits};
}

PostingList KeyList(const seal::IndexKeys& keys, absl::string_view key) {
  return {keys.Token(key, ""), kBroadBucketBits};
}

PostingList ValueList(const seal::IndexKeys& keys, absl::string_view key,
                      absl::string_view value) {
  return {keys.Token(key, value),
          HasRareValues(key) ? kRareBucketBits : kValueBucketBits};
}

PostingList StateList(const seal::IndexKeys& keys, ListedState state) {
  // Nearly all are closed. Of the others few are left in any old block.
  return {keys.Token(kStateTag, WordOf(state)),
          state == ListedState::kClosed ? kBroadBucketBits : kRareBucketBits};
}

PostingList PairList(const seal::IndexKeys& keys, absl::string_view clerk,
                     absl::string_view item) {
  std::string pair;
  AppendBigEndian32(static_cast<uint32_t>(clerk.size()), &pair);
  absl::StrAppend(&pair, clerk, item);
  return {keys.Token(kPairKey, pair), kRareBucketBits};
}

PostingList PairOverflowList(const seal::IndexKeys& keys) {
  return {keys.Token(kPairKey, ""), kRareBucketBits};
}

std::string PostingBlockKey(const PostingList& list, uint32_t second) {
  std::string key = list.token;
  AppendBigEndian32(~(second >> list.bucket_bits), &key);
  return key;
}

uint32_t FirstSecondOf(const PostingList& list, absl::string_view block_key) {
  return ~ReadBigEndian32(block_key.substr(list.token.size()))
         << list.bucket_bits;
}

}  // namespace diptych::indexer
