#ifndef INDEXER_STORE_POSTING_BLOCK_H_
#define INDEXER_STORE_POSTING_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// A block of a posting list on disk (FORMAT.md): sessions in ascending order,
// delta-coded, each with the runs that are posted.

struct PostingEntry {
  SessionNumber session;
  // In a change, none: the session leaves the block.
  RunSet runs;

  friend bool operator==(const PostingEntry&, const PostingEntry&) = default;
};

// REQUIRES: ascending, each session once, runs not empty.
std::string EncodePostingBlock(absl::Span<const PostingEntry> entries);

// A change to a block: what is to stand for each of these sessions from now on.
// Putting the same change in twice is putting it in once.
// REQUIRES: ascending, each session once.
std::string EncodePostingChange(absl::Span<const PostingEntry> entries);

// What blocks come to under changes, in their order; the merge of the store.
// `base` may be empty: no block yet. DATA_LOSS if one of them is unreadable.
absl::StatusOr<std::string> MergePostingBlock(
    absl::string_view base, absl::Span<const absl::string_view> changes);
// Several changes as one.
absl::StatusOr<std::string> MergePostingChanges(
    absl::Span<const absl::string_view> changes);

// Reads one block without unpacking it all: a skip table leads to within 64
// entries of any session. Checks everything that it reads: damaged bytes give
// DATA_LOSS, never a wrong place in memory. Not thread-safe.
class PostingBlockReader {
 public:
  // Nothing.
  PostingBlockReader() = default;
  // `bytes` must outlive it.
  static absl::StatusOr<PostingBlockReader> Open(absl::string_view bytes);

  // Sessions and runs.
  uint32_t sessions() const { return sessions_; }
  uint64_t runs() const { return runs_; }
  // REQUIRES: sessions() > 0.
  SessionNumber min() const { return min_; }
  SessionNumber max() const { return max_; }

  // A place in the block; entries are numbered from 0. False past an end and
  // after an error: look at status() then.
  bool Valid() const { return valid_; }
  SessionNumber session() const { return session_; }
  // REQUIRES: Valid().
  const RunSet& runs_here();
  // The first at or after, or the last at or before the session.
  void Seek(SessionNumber session);
  void SeekForPrev(SessionNumber session);
  void Next();
  void Prev();
  absl::Status status() const { return status_; }
  // Entries that were decoded, for what a query costs.
  uint64_t decoded() const { return decoded_; }

 private:
  uint32_t sessions_ = 0;
  uint64_t runs_ = 0;
  SessionNumber min_;
  SessionNumber max_;
  bool valid_ = false;
  SessionNumber session_;
  absl::Status status_;
  uint64_t decoded_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_BLOCK_H_
