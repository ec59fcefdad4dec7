#include "indexer/store/posting_cursor.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "indexer/store/family.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_block.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

// Blocks this near are stepped to, farther ones looked up: a step costs a small
// part of a look-up, and there is no more than one block in a bucket.
constexpr uint32_t kStepBuckets = 8;
// What reading a block counts as, in entries.
constexpr uint64_t kBlockCost = limits::kPostingSkip_entries;

// Blocks lie newest first, their entries oldest first.
class BlockCursor final : public PostingCursor {
 public:
  BlockCursor(const IndexSnapshot* snapshot, const PostingList& list,
              Order order, SessionNumber lower, SessionNumber upper)
      : snapshot_(snapshot),
        list_(list),
        order_(order),
        last_(newest_first() ? lower : upper) {
    if (upper < lower) return;
    // Just after the oldest block's key.
    const std::string end = PostingBlockKey(list_, lower.second()) + '\0';
    blocks_ = snapshot->NewIterator(
        Family::kPostings, PostingBlockKey(list_, upper.second()), end);
    const SessionNumber start = newest_first() ? upper : lower;
    FindBlock(start);
    Enter(start);
  }

  bool Valid() const override { return valid_; }
  SessionNumber session() const override { return block_.session(); }
  const RunSet& runs() override {
    const RunSet& runs = block_.runs_here();
    if (!block_.Valid()) Settled();
    return runs;
  }

  void Next() override {
    if (newest_first()) {
      block_.Prev();
    } else {
      block_.Next();
    }
    if (Settled()) return;
    StepBlock();
    Enter(newest_first() ? block_.min() : block_.max());
  }

  void Seek(SessionNumber target) override {
    if (!valid_ || !Before(order_, session(), target)) return;
    if (Before(order_, last_, target)) {
      valid_ = false;
      return;
    }
    if (!Before(order_, newest_first() ? block_.min() : block_.max(), target)) {
      SeekInBlock(target);
      if (Settled()) return;
      StepBlock();
    } else {
      GoToBlock(target);
    }
    Enter(target);
  }

  absl::Status status() const override { return status_; }

  double density() const override {
    if (!valid_) return 0;
    // The bucket's end may lie in the future.
    return block_.sessions() /
           (double{1} + (block_.max().second() - block_second_));
  }

  uint64_t cost() const override { return cost_ + block_.decoded(); }

 private:
  bool newest_first() const { return order_ == Order::kNewestFirst; }

  uint32_t BucketOf(SessionNumber session) const {
    return session.second() >> list_.bucket_bits;
  }

  // The first block in the order that may have the session or one after it.
  void FindBlock(SessionNumber session) {
    const std::string key = PostingBlockKey(list_, session.second());
    if (newest_first()) {
      blocks_->Seek(key);
    } else {
      blocks_->SeekForPrev(key);
    }
  }
  void StepBlock() {
    if (newest_first()) {
      blocks_->Next();
    } else {
      blocks_->Prev();
    }
  }

  // On from the block at hand to a session's.
  void GoToBlock(SessionNumber session) {
    const uint32_t here = BucketOf(SessionNumber(block_second_, 0));
    const uint32_t there = BucketOf(session);
    if (std::max(here, there) - std::min(here, there) > kStepBuckets) {
      FindBlock(session);
      return;
    }
    const std::string key = PostingBlockKey(list_, session.second());
    do {
      StepBlock();
    } while (blocks_->Valid() &&
             (newest_first() ? blocks_->key() < key : blocks_->key() > key));
  }

  void SeekInBlock(SessionNumber session) {
    if (newest_first()) {
      block_.SeekForPrev(session);
    } else {
      block_.Seek(session);
    }
  }

  // True if there is nothing more to be looked for: it stands within the
  // bounds, or the end has come.
  bool Settled() {
    valid_ = block_.Valid();
    if (valid_) {
      valid_ = !Before(order_, last_, block_.session());
      return true;
    }
    return !Fits(block_.status());
  }

  // Whether a block is what was written; if not, it ends here.
  bool Fits(absl::Status status) {
    status_ = std::move(status);
    if (absl::IsDataLoss(status_)) snapshot_->NoteDamage();
    return status_.ok();
  }

  // The first at or after the session, from the block that `blocks_` is at.
  void Enter(SessionNumber session) {
    valid_ = false;
    for (; blocks_->Valid(); StepBlock()) {
      if (!OpenBlock()) return;
      SeekInBlock(session);
      if (Settled()) return;
    }
    status_ = blocks_->status();
  }

  bool OpenBlock() {
    cost_ += block_.decoded() + kBlockCost;
    const absl::string_view key = blocks_->key();
    if (key.size() == list_.token.size() + sizeof(uint32_t)) {
      block_second_ = FirstSecondOf(list_, key);
      absl::StatusOr<PostingBlockReader> block =
          PostingBlockReader::Open(blocks_->value());
      if (!block.ok()) {
        block_ = PostingBlockReader();
        return Fits(std::move(block).status());
      }
      block_ = *std::move(block);
      const uint32_t bucket = BucketOf(SessionNumber(block_second_, 0));
      if (block_.sessions() == 0 || (BucketOf(block_.min()) == bucket &&
                                     BucketOf(block_.max()) == bucket)) {
        return true;
      }
    }
    block_ = PostingBlockReader();
    return Fits(base::IntegrityError("a posting block is in another's place"));
  }

  const IndexSnapshot* const snapshot_;
  const PostingList list_;
  const Order order_;
  // The last session that may be given.
  const SessionNumber last_;
  std::unique_ptr<IndexIterator> blocks_;
  // Its bytes are the iterator's, which stays where it is meanwhile.
  PostingBlockReader block_;
  // Where the block's bucket begins.
  uint32_t block_second_ = 0;
  bool valid_ = false;
  absl::Status status_;
  // Without the block at hand.
  uint64_t cost_ = 0;
};

}  // namespace

std::unique_ptr<PostingCursor> NewPostingCursor(const IndexSnapshot* snapshot,
                                                const PostingList& list,
                                                Order order,
                                                SessionNumber lower,
                                                SessionNumber upper) {
  return std::make_unique<BlockCursor>(snapshot, list, order, lower, upper);
}

}  // namespace diptych::indexer
