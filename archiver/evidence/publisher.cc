#include "archiver/evidence/publisher.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/log_line.h"
#include "archiver/base/mutex.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/log_leaves.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tile_writer.h"
#include "archiver/evidence/tree_proof.h"
#include "archiver/evidence/tree_recovery.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {
namespace {

using base::LogLine;
using base::MutexLock;
using base::Severity;

class Publisher final : public TreePublisher {
 public:
  Publisher(const Options& options, seal::SigningKey key, RecoveredTree tree)
      : options_(options),
        key_(std::move(key)),
        writer_(std::move(tree.writer)),
        signed_(std::move(tree.signed_last)),
        last_position_(tree.last_position),
        scan_until_(options.durable_end) {
    if (signed_.size > 0) {
      latest_ = {.size = signed_.size, .checkpoint = std::move(tree.note)};
      covered_ = *last_position_;
    }
    publish_thread_ = std::thread([this] { PublishLoop(); });
    answer_thread_ = std::thread([this] { AnswerLoop(); });
  }
  ~Publisher() override { Stop(); }

  void OnRecord(const log::Record& record, log::Position position) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  void AwaitProof(log::Position position, Done done) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<Latest> latest() const override ABSL_LOCKS_EXCLUDED(mutex_);
  void Stop() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Waiter {
    log::Position position = 0;
    absl::Duration deadline;
    Done done;
  };

  void PublishLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until there is something to publish; false if it is to stop.
  bool WaitForNews(absl::Duration not_before) ABSL_LOCKS_EXCLUDED(mutex_);
  // Answers in time even if the disk hangs.
  void AnswerLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<Waiter> TakeAnswerable(absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return scan_until_.has_value() || !queue_.empty();
  }
  void Answer(const std::vector<Waiter>& waiters) ABSL_LOCKS_EXCLUDED(mutex_);

  // Leaves that come next, if none are at hand.
  absl::Status TakeLeaves() ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes a checkpoint with the leaves at hand.
  absl::Status PublishLeaves() ABSL_LOCKS_EXCLUDED(mutex_);
  // That the tree on disk goes on from the one that was signed last with the
  // leaves at hand, and with nothing else. Returns its root.
  absl::StatusOr<std::string> ReadBack(uint64_t size) const;
  absl::Status PublishOnce() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const seal::SigningKey key_;
  base::Clock* const clock_ = base::Clock::Real();

  // Of the publishing thread alone.
  TileWriter writer_;
  Checkpoint signed_;
  // Of the last leaf that was signed or is at hand.
  std::optional<log::Position> last_position_;
  // Taken and not yet signed.
  std::vector<LogLeaf> leaves_;
  bool failing_ = false;

  mutable base::Mutex mutex_;
  base::CondVar news_;
  base::CondVar answerable_;
  // Leaves told of and not taken.
  std::deque<LogLeaf> queue_ ABSL_GUARDED_BY(mutex_);
  // Leaves before this, and after the last that was taken, are to be read from
  // the log; those in the queue lie at or after it.
  std::optional<log::Position> scan_until_ ABSL_GUARDED_BY(mutex_);
  // In the order of their deadlines.
  std::deque<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
  std::optional<Latest> latest_ ABSL_GUARDED_BY(mutex_);
  // The position of the last leaf of the latest checkpoint.
  std::optional<log::Position> covered_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // There will be no further checkpoint.
  bool published_all_ ABSL_GUARDED_BY(mutex_) = false;

  // Last, so that they start when everything above is there.
  std::thread publish_thread_;
  std::thread answer_thread_;
};

void Publisher::OnRecord(const log::Record& record, log::Position position) {
  if (!IsLogLeaf(record.type)) return;
  LogLeaf leaf = LeafOf(record.type, record.header, record.body, position);
  MutexLock lock(&mutex_);
  if (queue_.size() == limits::kTreeQueue_leaves) {
    queue_.clear();
    scan_until_ = position;
  }
  queue_.push_back(std::move(leaf));
  news_.NotifyOne();
}

void Publisher::AwaitProof(log::Position position, Done done) {
  absl::Status refused;
  {
    MutexLock lock(&mutex_);
    if (stopping_) {
      refused =
          absl::UnavailableError("the log tree is not published any more");
    } else if (waiters_.size() == limits::kMaxProofWaiters) {
      refused = absl::ResourceExhaustedError("too many wait for a proof");
    } else {
      waiters_.push_back(
          {.position = position,
           .deadline = clock_->Monotonic() + limits::kReceiptProofWait,
           .done = std::move(done)});
      answerable_.NotifyOne();
      return;
    }
  }
  done(refused);
}

std::optional<TreePublisher::Latest> Publisher::latest() const {
  MutexLock lock(&mutex_);
  return latest_;
}

void Publisher::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    news_.NotifyOne();
  }
  if (publish_thread_.joinable()) publish_thread_.join();
  if (answer_thread_.joinable()) answer_thread_.join();
}

bool Publisher::WaitForNews(absl::Duration not_before) {
  MutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Duration wait = not_before - clock_->Monotonic();
    if (leaves_.empty() && !HasNews()) {
      news_.Wait(&mutex_);
    } else if (wait <= absl::ZeroDuration()) {
      return true;
    } else {
      news_.WaitWithTimeout(&mutex_, wait);
    }
  }
  return false;
}

void Publisher::PublishLoop() {
  absl::Duration not_before = -absl::InfiniteDuration();
  while (WaitForNews(not_before)) {
    const absl::Duration begin = clock_->Monotonic();
    const absl::Status status = PublishOnce();
    not_before =
        begin + (status.ok() ? limits::kCheckpointEvery : limits::kTreeRetry);
    if (!status.ok() && !failing_) {
      LogLine(Severity::kError, "checkpoints can't be signed for now",
              {{"why", status.message()}, {"directory", options_.directory}});
    } else if (status.ok() && failing_) {
      LogLine(Severity::kInfo, "checkpoints are signed again");
    }
    failing_ = !status.ok();
  }
  // Nothing more comes, so that this ends.
  for (bool more = true; more;) {
    const absl::Status status = PublishOnce();
    MutexLock lock(&mutex_);
    more = status.ok() && HasNews();
    published_all_ = !more;
  }
  MutexLock lock(&mutex_);
  answerable_.NotifyOne();
}

std::vector<Publisher::Waiter> Publisher::TakeAnswerable(absl::Duration now) {
  std::vector<Waiter> taken;
  std::deque<Waiter> left;
  for (Waiter& waiter : waiters_) {
    if (published_all_ || waiter.deadline <= now ||
        (covered_.has_value() && waiter.position <= *covered_)) {
      taken.push_back(std::move(waiter));
    } else {
      left.push_back(std::move(waiter));
    }
  }
  waiters_ = std::move(left);
  return taken;
}

void Publisher::AnswerLoop() {
  for (bool last = false; !last;) {
    std::vector<Waiter> taken;
    {
      MutexLock lock(&mutex_);
      taken = TakeAnswerable(clock_->Monotonic());
      while (taken.empty() && !published_all_) {
        if (waiters_.empty()) {
          answerable_.Wait(&mutex_);
        } else {
          answerable_.WaitWithTimeout(
              &mutex_, waiters_.front().deadline - clock_->Monotonic());
        }
        taken = TakeAnswerable(clock_->Monotonic());
      }
      last = published_all_;
    }
    Answer(taken);
  }
}

void Publisher::Answer(const std::vector<Waiter>& waiters) {
  if (waiters.empty()) return;
  std::optional<Latest> latest;
  std::optional<log::Position> covered;
  bool stopping = false;
  {
    MutexLock lock(&mutex_);
    latest = latest_;
    covered = covered_;
    stopping = published_all_;
  }
  TileTree tree(options_.file_system, options_.directory,
                latest.has_value() ? latest->size : 0);
  for (const Waiter& waiter : waiters) {
    if (!covered.has_value() || waiter.position > *covered) {
      waiter.done(
          stopping
              ? absl::UnavailableError("the log tree is not published any more")
              : absl::DeadlineExceededError("no checkpoint came in time"));
      continue;
    }
    const auto prove = [&]() -> absl::StatusOr<LeafProof> {
      LeafProof proof;
      ASSIGN_OR_RETURN(proof.index, tree.FindLeaf(waiter.position));
      ASSIGN_OR_RETURN(proof.hashes, tree.ProveInclusion(proof.index));
      proof.checkpoint = latest->checkpoint;
      return proof;
    };
    waiter.done(prove());
  }
}

absl::Status Publisher::TakeLeaves() {
  std::optional<log::Position> until;
  {
    MutexLock lock(&mutex_);
    until = scan_until_;
    if (!until.has_value()) {
      for (LogLeaf& leaf : queue_) {
        // Positions only grow; a leaf that came twice would break the tree for
        // good.
        if (last_position_.has_value() && leaf.position <= *last_position_) {
          continue;
        }
        last_position_ = leaf.position;
        leaves_.push_back(std::move(leaf));
      }
      queue_.clear();
      return absl::OkStatus();
    }
  }
  ASSIGN_OR_RETURN(LeafBatch batch,
                   ReadLeaves(*options_.log, last_position_, *until,
                              limits::kTreeQueue_leaves));
  leaves_ = std::move(batch.leaves);
  if (!leaves_.empty()) last_position_ = leaves_.back().position;
  MutexLock lock(&mutex_);
  // It may have moved meanwhile.
  if (batch.complete && scan_until_ == until) scan_until_.reset();
  return absl::OkStatus();
}

absl::Status Publisher::PublishOnce() {
  if (leaves_.empty()) RETURN_IF_ERROR(TakeLeaves());
  if (leaves_.empty()) return absl::OkStatus();
  return PublishLeaves();
}

absl::Status Publisher::PublishLeaves() {
  // If anything fails, the next attempt begins with the tree that was signed.
  TileWriter writer = writer_;
  for (const LogLeaf& leaf : leaves_) writer.Add(leaf.Data());
  RETURN_IF_ERROR(writer.Write());
  Checkpoint next = {.origin = options_.origin, .size = writer.size()};
  ASSIGN_OR_RETURN(next.root, ReadBack(next.size));

  SignedNote note = {.text = next.ToText()};
  note.signatures.push_back(SignNote(note.text, options_.origin, key_));
  std::string text = note.ToText();
  RETURN_IF_ERROR(base::ReplaceFile(
      options_.file_system,
      absl::StrCat(options_.directory, "/", kCheckpointFile), text));
  RETURN_IF_ERROR(options_.file_system->SyncDirectory(options_.directory));

  writer.RemovePartials();
  writer_ = std::move(writer);
  signed_ = std::move(next);
  leaves_.clear();
  MutexLock lock(&mutex_);
  latest_ = {.size = signed_.size, .checkpoint = std::move(text)};
  covered_ = last_position_;
  answerable_.NotifyOne();
  return absl::OkStatus();
}

absl::StatusOr<std::string> Publisher::ReadBack(uint64_t size) const {
  TileTree tree(options_.file_system, options_.directory, size);
  for (uint64_t i = signed_.size; i < size;) {
    const uint64_t tile = i / kTileWidth;
    const uint64_t end = std::min((tile + 1) * kTileWidth, size);
    ASSIGN_OR_RETURN(const std::string hashes,
                     tree.Hashes(0, tile, end - tile * kTileWidth));
    for (; i < end; ++i) {
      ASSIGN_OR_RETURN(const LogLeaf leaf, tree.Leaf(i));
      const std::string data = leaf.Data();
      if (data != leaves_[i - signed_.size].Data() ||
          hashes.compare(i % kTileWidth * base::kSha256_bytes,
                         base::kSha256_bytes, LeafHash(data)) != 0) {
        return base::IntegrityError(
            absl::StrCat("leaf ", i, " of the log tree reads back as another"));
      }
    }
  }
  ASSIGN_OR_RETURN(std::string root, tree.Root());
  if (signed_.size > 0) {
    ASSIGN_OR_RETURN(const std::vector<std::string> proof,
                     tree.ProveConsistency(signed_.size));
    RETURN_IF_ERROR(
        VerifyConsistency(signed_.size, size, signed_.root, root, proof));
  }
  return root;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TreePublisher>> TreePublisher::Open(
    const Options& options, seal::SigningKey key) {
  const std::string& directory = options.directory;
  RETURN_IF_ERROR(options.file_system->CreateDirectory(directory));
  RETURN_IF_ERROR(options.file_system->SyncDirectory(
      directory.substr(0, directory.rfind('/'))));
  const NoteKey log_key = {.name = options.origin,
                           .type = NoteKeyType::kEd25519,
                           .public_key = key.public_key()};
  ASSIGN_OR_RETURN(RecoveredTree tree,
                   RecoverTree(options.file_system, directory, log_key,
                               *options.log, options.durable_end));
  return std::make_unique<Publisher>(options, std::move(key), std::move(tree));
}

log::Position SignedUntil(base::FileSystem* file_system,
                          const std::string& directory,
                          const std::string& origin,
                          const std::string& public_key) {
  const absl::StatusOr<std::string> text =
      ReadTreeFile(file_system, absl::StrCat(directory, "/", kCheckpointFile),
                   limits::kMaxCheckpoint_bytes);
  if (!text.ok()) return 0;
  const absl::StatusOr<SignedCheckpoint> opened =
      SignedCheckpoint::Open(*text, {.name = origin,
                                     .type = NoteKeyType::kEd25519,
                                     .public_key = public_key});
  if (!opened.ok() || opened->checkpoint.size == 0) return 0;
  TileTree tree(file_system, directory, opened->checkpoint.size);
  const absl::StatusOr<LogLeaf> leaf = tree.Leaf(opened->checkpoint.size - 1);
  // Past its first byte, so that a bad frame of its own counts.
  return leaf.ok() ? leaf->position + 1 : 0;
}

}  // namespace diptych::evidence
