#include "indexer/store/posting_merge.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/posting_block.h"
#include "indexer/store/posting_entry.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

absl::Status AppendEntries(PostingBlockReader reader,
                           std::vector<PostingEntry>* entries) {
  for (reader.Seek(SessionNumber()); reader.Valid(); reader.Next()) {
    entries->push_back({reader.session(), reader.runs_here()});
  }
  return reader.status();
}

// What stands for each session after all changes, in order; later ones win.
absl::StatusOr<std::vector<PostingEntry>> Gather(
    absl::Span<const absl::string_view> changes) {
  std::vector<PostingEntry> entries;
  for (const absl::string_view change : changes) {
    ASSIGN_OR_RETURN(PostingBlockReader reader,
                     PostingBlockReader::OpenChange(change));
    RETURN_IF_ERROR(AppendEntries(std::move(reader), &entries));
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

}  // namespace

absl::StatusOr<std::string> MergePostingBlock(
    absl::string_view base, absl::Span<const absl::string_view> changes) {
  std::vector<PostingEntry> old;
  if (!base.empty()) {
    ASSIGN_OR_RETURN(PostingBlockReader reader, PostingBlockReader::Open(base));
    RETURN_IF_ERROR(AppendEntries(std::move(reader), &old));
  }
  ASSIGN_OR_RETURN(std::vector<PostingEntry> changed, Gather(changes));
  std::vector<PostingEntry> merged;
  merged.reserve(old.size() + changed.size());
  size_t next = 0;
  for (PostingEntry& entry : changed) {
    for (; next < old.size() && old[next].session < entry.session; ++next) {
      merged.push_back(std::move(old[next]));
    }
    if (next < old.size() && old[next].session == entry.session) ++next;
    if (!entry.runs.empty()) merged.push_back(std::move(entry));
  }
  for (; next < old.size(); ++next) merged.push_back(std::move(old[next]));
  return EncodePostingBlock(merged);
}

absl::StatusOr<std::string> MergePostingChanges(
    absl::Span<const absl::string_view> changes) {
  ASSIGN_OR_RETURN(const std::vector<PostingEntry> entries, Gather(changes));
  return EncodePostingChange(entries);
}

}  // namespace diptych::indexer
