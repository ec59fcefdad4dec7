#ifndef INDEXER_STORE_POSTING_GROUP_H_
#define INDEXER_STORE_POSTING_GROUP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/limits.h"
#include "indexer/store/bit_stream.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Up to 64 entries of a posting block (FORMAT.md), which are unpacked together.
// The first one's session is not in it; the block says it.

// REQUIRES: ascending, each session once, 1 to limits::kPostingSkip_entries.
void AppendPostingGroup(absl::Span<const PostingEntry> entries,
                        std::string* out);
// A group of one, shorter.
void AppendLonePosting(const RunSet& runs, std::string* out);

// Damage is found where it lies: sessions when a group is read, runs when they
// are asked for.
class PostingGroup {
 public:
  // Replaces what it held. False if the bytes are not such a group and nothing
  // else; it holds nothing then. An entry without runs is taken only if
  // `with_removals`. `bytes` must stay for as long as runs are asked for.
  // REQUIRES: entries <= limits::kPostingSkip_entries.
  bool Read(absl::string_view bytes, SessionNumber first, uint32_t entries,
            bool with_removals);
  bool ReadLone(absl::string_view bytes, SessionNumber first,
                bool with_removals);

  uint32_t size() const { return size_; }
  // REQUIRES: i < size().
  SessionNumber session(uint32_t i) const {
    return SessionNumber::FromValue(sessions_[i]);
  }
  // False if they are unreadable. REQUIRES: i < size().
  bool ReadRuns(uint32_t i, RunSet* runs);
  // Of all entries.
  bool CountRuns(uint64_t* count);
  // How many come before `session`.
  uint32_t CountBefore(SessionNumber session) const;

 private:
  bool ReadSessions(absl::string_view bytes, SessionNumber first);
  bool ReadHighs(BitReader* bits);
  bool ReadTurns(size_t flags_at);
  bool InOrder() const;
  // Fills long_at_.
  bool FindLongSets();
  uint32_t RunCode(uint32_t i) const;

  uint32_t size_ = 0;
  bool with_removals_ = false;
  std::array<uint64_t, limits::kPostingSkip_entries> sessions_;
  // Begins with the codes of run sets, so many bits each.
  absl::string_view bytes_;
  int code_bits_ = 0;
  // What follows the bits: long run sets.
  absl::string_view tail_;
  // Where an entry's set lies in it, if its code says that it does; once known.
  bool long_known_ = false;
  std::array<uint32_t, limits::kPostingSkip_entries> long_at_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_POSTING_GROUP_H_
