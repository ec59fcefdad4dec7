#include "indexer/store/posting_merge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/posting_block.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

// From a session on.
absl::Status AppendEntries(PostingBlockReader* reader, SessionNumber from,
                           std::vector<PostingEntry>* entries) {
  for (reader->Seek(from); reader->Valid(); reader->Next()) {
    const SessionNumber session = reader->session();
    entries->push_back({session, reader->runs_here()});
  }
  return reader->status();
}

// What stands for each session after all changes, in order; later ones win.
absl::StatusOr<std::vector<PostingEntry>> Gather(
    absl::Span<const absl::string_view> changes) {
  std::vector<PostingEntry> entries;
  for (const absl::string_view change : changes) {
    ASSIGN_OR_RETURN(PostingBlockReader reader,
                     PostingBlockReader::OpenChange(change));
    RETURN_IF_ERROR(AppendEntries(&reader, SessionNumber(), &entries));
  }
  if (changes.size() <= 1) return entries;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const PostingEntry& a, const PostingEntry& b) {
                     return a.session < b.session;
                   });
  size_t kept = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const bool is_last =
        i + 1 == entries.size() || entries[i].session != entries[i + 1].session;
    if (!is_last) continue;
    if (kept != i) entries[kept] = std::move(entries[i]);
    ++kept;
  }
  entries.resize(kept);
  return entries;
}

// Entries of a block and what became of some, in order; none that have gone.
std::vector<PostingEntry> Merge(const std::vector<PostingEntry>& old,
                                const std::vector<PostingEntry>& changed) {
  std::vector<PostingEntry> merged;
  merged.reserve(old.size() + changed.size());
  size_t next = 0;
  for (const PostingEntry& entry : changed) {
    for (; next < old.size() && old[next].session < entry.session; ++next) {
      merged.push_back(old[next]);
    }
    if (next < old.size() && old[next].session == entry.session) ++next;
    if (!entry.runs.empty()) merged.push_back(entry);
  }
  merged.insert(merged.end(), old.begin() + static_cast<ptrdiff_t>(next),
                old.end());
  return merged;
}

// The block with its groups from `kept` on unpacked and changed; nothing if
// none is left of them. REQUIRES: kept < base->groups(), or base has none.
absl::StatusOr<std::string> ChangeFromGroup(
    PostingBlockReader* base, uint32_t kept,
    const std::vector<PostingEntry>& changed) {
  std::vector<PostingEntry> old;
  const SessionNumber from = kept == 0 ? SessionNumber() : base->FirstOf(kept);
  RETURN_IF_ERROR(AppendEntries(base, from, &old));
  const std::vector<PostingEntry> merged = Merge(old, changed);
  if (kept == 0) return EncodePostingBlock(merged);
  if (merged.empty()) return "";
  uint64_t runs = base->runs();
  for (const PostingEntry& entry : old) runs -= entry.runs.size();
  return PostingBlockExtender(*base, kept, runs).Finish(merged);
}

}  // namespace

absl::StatusOr<std::string> MergePostingBlock(
    absl::string_view base, absl::Span<const absl::string_view> changes) {
  PostingBlockReader reader;
  if (!base.empty()) {
    ASSIGN_OR_RETURN(reader, PostingBlockReader::Open(base));
  }
  ASSIGN_OR_RETURN(const std::vector<PostingEntry> changed, Gather(changes));
  if (changed.empty() && !base.empty()) return std::string(base);
  const uint32_t kept =
      changed.empty() ? 0 : reader.GroupFor(changed.front().session);
  ASSIGN_OR_RETURN(std::string merged, ChangeFromGroup(&reader, kept, changed));
  if (!merged.empty()) return merged;
  // What is kept has no end that is known.
  return ChangeFromGroup(&reader, 0, changed);
}

absl::StatusOr<std::string> MergePostingChanges(
    absl::Span<const absl::string_view> changes) {
  ASSIGN_OR_RETURN(const std::vector<PostingEntry> entries, Gather(changes));
  return EncodePostingChange(entries);
}

}  // namespace diptych::indexer
