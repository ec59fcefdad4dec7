#ifndef TOOLS_DIPTYCH_CHECK_TREE_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_TREE_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/check/outside.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/tree_files.h"

namespace diptych::check {

// Makes the log tree again from the log's own records and holds everything
// against it that stands for it: entries, tiles at every level, checkpoints and
// their signatures, cosignatures, and checkpoints and receipts from outside.
// Takes the leaves in order and keeps one tile a level. Not thread-safe.
class TreeCheck {
 public:
  // `archive` must outlive this.
  TreeCheck(base::FileSystem* file_system, const std::string& data_dir,
            const stored::v1::ArchiveConfig* archive,
            std::function<void(const Finding&)> on_finding);

  // Looks at what is in the folder. Call before the log is read, so that all of
  // it stands for records that are there.
  void Start();
  // What somebody outside has of this tree.
  void Against(const Outside& outside);

  // The log's next leaf; `digest` is empty if its body is damaged.
  void Leaf(log::Position position, const std::string& digest,
            int64_t record_time_us);
  // Bytes of the log that are no record: their leaves are missed once.
  void Damaged(log::Position from, log::Position to, bool was_durable);
  // Where the last record ends that the checkpoint stands for, as far as that
  // is known; 0 if it stands for none. All before it was durable. Call after
  // the log's last leaf, before End.
  log::Position DurableBefore() const;
  // The log ends here.
  void End(int64_t last_record_time_us);

  // Leaves of the log; after End.
  uint64_t leaves() const { return log_leaves_; }
  // Those that a checkpoint stands for.
  uint64_t proven_leaves() const { return checkpoint_size_; }

 private:
  struct Level {
    uint64_t index = 0;
    // Of the tile at hand, 32 bytes each.
    std::string hashes;
  };
  // What a tree of some size must be.
  struct Expected {
    std::string place;
    std::string root;
  };

  void Say(Severity severity, const std::string& place, uint64_t leaf,
           const std::string& what) const;
  void False(const std::string& place, const std::string& what) const;

  void ReadCheckpoint();
  void ReadCosigned();
  void ReadTimestamps();
  // Whether the time stamp is one of the checkpoint beside it. Its signature is
  // left to those who know an authority.
  void CheckTimestamp(const std::string& file) const;
  // A checkpoint of the folder, if the log has signed it.
  std::optional<evidence::SignedCheckpoint> Open(const std::string& place,
                                                 absl::string_view text) const;
  void CheckCosignatures(const std::string& place,
                         const evidence::SignedCheckpoint& checkpoint) const;
  void Expect(uint64_t size, const std::string& place, const std::string& root);

  // The entry of the leaf that comes `ahead` after the next one.
  std::optional<Entry> Peek(uint64_t ahead);
  void Push(log::Position position, const std::string& digest);
  void PushHash(size_t level, const std::string& hash);
  void Compare();
  // A tile's files against what it must hold; `content` is all of it that there
  // is.
  void CheckTile(const std::string& kind, uint64_t index,
                 const std::string& content, size_t entry_bytes);
  // False if there is no such file.
  bool CheckFile(const TileName& name, absl::string_view content,
                 size_t entry_bytes);
  void EndTiles();
  void EndCheckpoint(int64_t last_record_time_us);

  const stored::v1::ArchiveConfig* const archive_;
  const std::function<void(const Finding&)> on_finding_;
  TreeFiles files_;
  // Empty if the archive names none.
  std::optional<evidence::NoteKey> log_key_;
  std::optional<std::string> checkpoint_text_;
  uint64_t checkpoint_size_ = 0;
  std::multimap<uint64_t, Expected> expected_;
  std::multimap<uint64_t, OutsideLeaf> expected_leaves_;

  evidence::GrowingTree tree_;
  std::vector<Level> levels_;
  // Of the tile at hand.
  std::string entries_;
  // Entries of one tile as they lie in the folder.
  uint64_t peeked_tile_ = UINT64_MAX;
  std::vector<std::optional<Entry>> peeked_;
  std::deque<std::pair<log::Position, log::Position>> damaged_;
  std::optional<log::Position> last_position_;
  // Of the last leaf so far that the checkpoint stands for.
  std::optional<log::Position> proven_position_;
  // Of the last limits::kTreeQueue_leaves leaves.
  std::deque<std::string> latest_digests_;
  std::unordered_set<std::string> digests_;
  uint64_t log_leaves_ = 0;
  // Of the log's first leaf that no checkpoint stands for.
  std::optional<int64_t> first_unproven_us_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_TREE_CHECK_H_
