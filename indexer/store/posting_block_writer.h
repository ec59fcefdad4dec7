#ifndef INDEXER_STORE_POSTING_BLOCK_WRITER_H_
#define INDEXER_STORE_POSTING_BLOCK_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "indexer/store/posting_block.h"
#include "indexer/store/posting_entry.h"

namespace diptych::indexer {

// A block of a posting list on disk (FORMAT.md): sessions in ascending order,
// delta-coded, each with the runs that are posted. Equal entries are equal
// bytes, whichever way they came together.

// REQUIRES: ascending, each session once, runs not empty.
std::string EncodePostingBlock(absl::Span<const PostingEntry> entries);

// A change to a block: what is to stand for each of these sessions from now on.
// Putting the same change in twice is putting it in once.
// REQUIRES: ascending, each session once.
std::string EncodePostingChange(absl::Span<const PostingEntry> entries);

// A block that begins as another one does, whose groups it takes over as they
// are: most changes are to the newest sessions of long blocks.
class PostingBlockExtender {
 public:
  // The first `groups` of base, not its last, with so many runs in them. What
  // they hold is not looked at.
  // REQUIRES: 0 < groups < base.groups(), and base.OffsetOf(groups) lies in
  // base.bodies().
  PostingBlockExtender(const PostingBlockReader& base, uint32_t groups,
                       uint64_t runs);

  // REQUIRES: as EncodePostingBlock, some, and behind what was taken over.
  std::string Finish(absl::Span<const PostingEntry> rest) const;

 private:
  const PostingBlockReader* const base_;
  const uint32_t groups_;
  const uint64_t runs_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_BLOCK_WRITER_H_
