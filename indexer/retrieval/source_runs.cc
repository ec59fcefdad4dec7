#include "indexer/retrieval/source_runs.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "archiver/evidence/merkle.h"

namespace diptych::indexer {
namespace {

std::vector<SignedRun> Sorted(std::vector<SignedRun> statements) {
  std::stable_sort(statements.begin(), statements.end(),
                   [](const SignedRun& a, const SignedRun& b) {
                     return a.first_sequence < b.first_sequence;
                   });
  return statements;
}

}  // namespace

SourceRuns::SourceRuns(std::vector<SignedRun> statements)
    : statements_(Sorted(std::move(statements))) {}

const SignedRun* SourceRuns::StatementOf(uint64_t sequence) const {
  const auto after = std::upper_bound(
      statements_.begin(), statements_.end(), sequence,
      [](uint64_t s, const SignedRun& run) { return s < run.first_sequence; });
  if (after == statements_.begin()) return nullptr;
  const SignedRun& run = *std::prev(after);
  return sequence <= run.last_sequence ? &run : nullptr;
}

void SourceRuns::Add(uint64_t sequence, std::string leaf_hash) {
  const SignedRun* statement = StatementOf(sequence);
  if (groups_.empty() || groups_.back().statement != statement) {
    // What lies wholly in the bundle needs no hashes any more.
    while (begin_ && !groups_.empty() && groups_.front().first >= *begin_ &&
           groups_.front().first + groups_.front().packets <= end_) {
      Finish(groups_.front());
      groups_.erase(groups_.begin());
    }
    groups_.push_back({statement, added_, 0, {}});
  }
  Group& group = groups_.back();
  ++group.packets;
  ++added_;
  if (statement != nullptr && group.packets <= statement->packets) {
    group.hashes.push_back(std::move(leaf_hash));
  }
}

void SourceRuns::Include(uint64_t begin, uint64_t end) {
  begin_ = begin;
  end_ = end;
}

void SourceRuns::Finish(const Group& group) {
  const uint64_t begin = std::max(group.first, begin_.value_or(end_));
  const uint64_t end = std::min(group.first + group.packets, end_);
  if (begin >= end) return;
  SourceRun run;
  run.packets = end - begin;
  if (group.statement != nullptr && group.statement->packets == group.packets &&
      evidence::RootOf(group.hashes) == group.statement->root) {
    run.record = group.statement->record;
    run.first = begin - group.first;
    run.others =
        evidence::ProveRange(group.hashes, static_cast<size_t>(run.first),
                             static_cast<size_t>(run.packets));
  }
  if (!run.record && !runs_.empty() && !runs_.back().record) {
    runs_.back().packets += run.packets;
    return;
  }
  runs_.push_back(std::move(run));
}

std::vector<SourceRun> SourceRuns::Finish() {
  for (const Group& group : groups_) Finish(group);
  groups_.clear();
  return std::move(runs_);
}

}  // namespace diptych::indexer
