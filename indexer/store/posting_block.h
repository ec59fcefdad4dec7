#ifndef INDEXER_STORE_POSTING_BLOCK_H_
#define INDEXER_STORE_POSTING_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/posting_group.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// The first bytes of a block on disk (FORMAT.md).
namespace posting_shape {
inline constexpr uint8_t kVersionMask = 0x0f;
inline constexpr uint8_t kVersion = 1;
inline constexpr uint8_t kMinHasTurn = 0x10;
inline constexpr uint8_t kOneSession = 0x20;
inline constexpr uint8_t kChange = 0x40;
inline constexpr uint8_t kUnused = 0x80;
inline constexpr size_t kSecond_bytes = 4;
}  // namespace posting_shape

// Reads one block without unpacking it all: a skip table leads to within 64
// entries of any session. Checks everything that it reads: damaged bytes give
// DATA_LOSS, never a wrong place in memory. Not thread-safe.
class PostingBlockReader {
 public:
  // Nothing.
  PostingBlockReader() = default;
  // `bytes` must outlive it.
  static absl::StatusOr<PostingBlockReader> Open(absl::string_view bytes);
  // A change is read like a block; a session may have no runs in it.
  static absl::StatusOr<PostingBlockReader> OpenChange(absl::string_view bytes);

  uint32_t sessions() const { return sessions_; }
  // Of all sessions.
  uint64_t runs();
  // REQUIRES: sessions() > 0.
  SessionNumber min() const { return min_; }
  SessionNumber max() const { return max_; }

  // A place in the block. False before the first Seek, past an end and after
  // an error: look at status() then.
  bool Valid() const { return valid_; }
  // REQUIRES: Valid().
  SessionNumber session() const { return group_.session(at_); }
  // REQUIRES: Valid(). Good until the reader moves. None, and no longer valid,
  // if they are unreadable.
  const RunSet& runs_here();
  // The first at or after, or the last at or before the session.
  void Seek(SessionNumber session);
  void SeekForPrev(SessionNumber session);
  // REQUIRES: Valid().
  void Next();
  void Prev();
  absl::Status status() const { return status_; }
  // Groups of limits::kPostingSkip_entries, of which the last may be shorter.
  uint32_t groups() const { return groups_; }
  // The last group that begins at or before the session, or the first.
  uint32_t GroupFor(SessionNumber session) const;
  // A group's first session, and where its bytes begin in bodies().
  SessionNumber FirstOf(uint32_t group) const;
  uint64_t OffsetOf(uint32_t group) const;
  absl::string_view bodies() const { return bodies_; }

  // Entries that were decoded, for what a query costs.
  uint64_t decoded() const { return decoded_; }

 private:
  static absl::StatusOr<PostingBlockReader> OpenAs(absl::string_view bytes,
                                                   bool change);
  // False if the header is unreadable.
  bool ReadHeader(absl::string_view bytes, bool change);
  // After damage; for good.
  void Fail();
  // Makes it the one at hand. False, and an error, if it is unreadable.
  bool Load(uint32_t group);
  // An entry of the group at hand, or none if there is no such entry.
  void MoveTo(uint32_t entry);

  uint32_t sessions_ = 0;
  uint64_t runs_ = 0;
  SessionNumber min_;
  SessionNumber max_;
  bool change_ = false;

  uint32_t groups_ = 0;
  // Of each group but the first: its session after min_, its offset.
  absl::string_view skips_;
  size_t session_bytes_ = 0;
  size_t offset_bytes_ = 0;
  absl::string_view bodies_;

  bool loaded_ = false;
  uint32_t group_number_ = 0;
  PostingGroup group_;
  bool valid_ = false;
  uint32_t at_ = 0;
  bool runs_known_ = false;
  RunSet runs_here_;
  absl::Status status_;
  uint64_t decoded_ = 0;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_BLOCK_H_
