#ifndef INDEXER_STORE_POSTING_LIST_H_
#define INDEXER_STORE_POSTING_LIST_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/seal/index_keys.h"

namespace diptych::indexer {

// The name of a list of sessions and runs: a token, which says nothing to
// whoever has no key, and how much time one of its blocks spans. Both follow
// from what the list is of, so writer and query find the same.
struct PostingList {
  // seal::IndexKeys::kToken_bytes.
  std::string token;
  // A block has the sessions of 2^bucket_bits seconds.
  int bucket_bits = 0;

  friend auto operator<=>(const PostingList&, const PostingList&) = default;
};

// 3 days: lists that nearly every session is in.
inline constexpr int kBroadBucketBits = 18;
// 24 days.
inline constexpr int kValueBucketBits = 21;
// 388 days: lists of few sessions, where a block's key would cost the most.
inline constexpr int kRareBucketBits = 25;

// Every run of the archive.
PostingList UniversalList(const seal::IndexKeys& keys);
// Runs that have any value of this tag key.
PostingList KeyList(const seal::IndexKeys& keys, absl::string_view key);
// Runs that have this value.
PostingList ValueList(const seal::IndexKeys& keys, absl::string_view key,
                      absl::string_view value);
// What a session can be asked for by; an open one may be two of them.
enum class ListedState { kOpen, kDegraded, kRecovered, kClosed, kAbandoned };
// Runs of the sessions that are so.
PostingList StateList(const seal::IndexKeys& keys, ListedState state);
// Runs that have both this clerk and this item. A run with more than
// limits::kMaxPairsPerRun of such pairs is in PairOverflowList instead.
PostingList PairList(const seal::IndexKeys& keys, absl::string_view clerk,
                     absl::string_view item);
PostingList PairOverflowList(const seal::IndexKeys& keys);

inline constexpr absl::string_view kPairFirstKey = "clerk";
inline constexpr absl::string_view kPairSecondKey = "item";

// The key of one of its blocks: the token, then the bucket in four bytes,
// big-endian and inverted: newest first, since forwards is the faster way.
std::string PostingBlockKey(const PostingList& list, uint32_t second);
// The first second of the block that a key names. REQUIRES: a PostingBlockKey.
uint32_t FirstSecondOf(const PostingList& list, absl::string_view block_key);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_LIST_H_
