#include "indexer/builder/session_plan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/run_pack.h"
#include "indexer/store/run_set.h"
#include "indexer/store/segment_pack.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::RunRow;
using stored::v1::SegmentRow;
using stored::v1::SessionRow;

bool IsOpen(const SessionRow& row) {
  return row.closed() == stored::v1::CLOSE_REASON_UNSPECIFIED;
}

// As a filter's `state = ...` has them.
std::vector<ListedState> StatesOf(const SessionRow& row) {
  switch (row.closed()) {
    case stored::v1::CLOSE_REASON_CLOSED:
      return {ListedState::kClosed};
    case stored::v1::CLOSE_REASON_ABANDONED:
      return {ListedState::kAbandoned};
    case stored::v1::CLOSE_REASON_UNSPECIFIED:
      break;
    default:
      return {};
  }
  std::vector<ListedState> states = {ListedState::kOpen};
  if (row.state() == stored::v1::SESSION_STATE_DEGRADED) {
    states.push_back(ListedState::kDegraded);
  } else if (row.state() == stored::v1::SESSION_STATE_RECOVERED) {
    states.push_back(ListedState::kRecovered);
  }
  return states;
}

std::vector<SegmentTimes>::iterator FindPlace(
    uint32_t segment, std::vector<SegmentTimes>* segments) {
  // Nearly always the last one, or behind it.
  if (segments->empty() || segments->back().segment < segment) {
    return segments->end();
  }
  return std::lower_bound(
      segments->begin(), segments->end(), segment,
      [](const SegmentTimes& known, uint32_t n) { return known.segment < n; });
}

RunRow RowOf(const RunPlan& run) {
  RunRow row;
  for (const RunPlan::Range& range : run.segments) {
    stored::v1::SegmentRange* added = row.add_segments();
    added->set_first(range.first);
    added->set_last(range.last);
  }
  row.set_from_us(run.from_us);
  row.set_to_us(run.to_us);
  return row;
}

}  // namespace

absl::Status SessionPlan::Load(const IndexView& view, const SessionRow& row) {
  ASSIGN_OR_RETURN(auto packs, view.SegmentPacks(number_));
  for (auto& [group, pack] : packs) {
    ASSIGN_OR_RETURN(const std::vector<SegmentRow> rows, UnpackSegments(pack));
    for (const SegmentRow& segment : rows) {
      segments_.push_back(TimesOf(segment));
    }
    packs_.emplace(group, std::move(pack));
  }
  planner_ = PlanRuns(row, FoldTags(row), &segments_);
  runs_ = planner_->runs();
  posted_ = MakePosted(row);
  row_changed_ = false;
  return absl::OkStatus();
}

SessionPlan::Added SessionPlan::AddSegment(SegmentRow segment) {
  const auto place = FindPlace(segment.segment(), &segments_);
  if (place != segments_.end() && place->segment == segment.segment()) {
    return EpochOf(segment.segment()) == segment.epoch() ? Added::kKnown
                                                         : Added::kOther;
  }
  segments_.insert(place, TimesOf(segment));
  fresh_[segment.segment() / limits::kSegmentsPerPack].push_back(
      std::move(segment));
  return Added::kNew;
}

uint64_t SessionPlan::EpochOf(uint32_t segment) const {
  const uint32_t group = segment / limits::kSegmentsPerPack;
  const auto is_it = [&](const SegmentRow& row) {
    return row.segment() == segment;
  };
  const auto fresh = fresh_.find(group);
  if (fresh != fresh_.end()) {
    const auto row =
        std::find_if(fresh->second.begin(), fresh->second.end(), is_it);
    if (row != fresh->second.end()) return row->epoch();
  }
  // Its bytes are our own, or Load has read them.
  const auto rows = UnpackSegments(packs_.at(group)).value();
  return std::find_if(rows.begin(), rows.end(), is_it)->epoch();
}

PostingList SessionPlan::ListOf(const ListName& name) const {
  switch (name.kind) {
    case ListKind::kAll:
      break;
    case ListKind::kState:
      return StateList(*keys_, name.state);
    case ListKind::kKey:
      return KeyList(*keys_, name.first);
    case ListKind::kValue:
      return ValueList(*keys_, name.first, name.second);
    case ListKind::kPair:
      return PairList(*keys_, name.first, name.second);
    case ListKind::kPairOverflow:
      return PairOverflowList(*keys_);
  }
  return UniversalList(*keys_);
}

SessionPlan::Posted SessionPlan::MakePosted(const SessionRow& row) const {
  const std::vector<TagSpan>& tags = planner_->tags();
  const std::vector<RunPlan>& runs = planner_->runs();
  std::vector<RunSet> by_tag(tags.size());
  // A key's tags lie side by side; its runs are kept with the first of them.
  std::vector<size_t> first_of_key(tags.size());
  for (size_t i = 1; i < tags.size(); ++i) {
    first_of_key[i] = tags[i].key == tags[i - 1].key ? first_of_key[i - 1] : i;
  }
  std::vector<RunSet> by_key(tags.size());
  Posted posted;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto run = static_cast<uint32_t>(i);
    std::vector<size_t> clerks;
    std::vector<size_t> items;
    for (const size_t tag : runs[i].tags) {
      by_tag[tag].Append(run, run);
      by_key[first_of_key[tag]].Append(run, run);
      if (tags[tag].key == kPairFirstKey) clerks.push_back(tag);
      if (tags[tag].key == kPairSecondKey) items.push_back(tag);
    }
    if (clerks.size() * items.size() > limits::kMaxPairsPerRun) {
      posted[{.kind = ListKind::kPairOverflow}].Append(run, run);
      continue;
    }
    for (const size_t clerk : clerks) {
      for (const size_t item : items) {
        posted[{.kind = ListKind::kPair,
                .first = tags[clerk].value,
                .second = tags[item].value}]
            .Append(run, run);
      }
    }
  }
  const RunSet all(0, static_cast<uint32_t>(runs.size()) - 1);
  posted.emplace(ListName{.kind = ListKind::kAll}, all);
  for (const ListedState state : StatesOf(row)) {
    posted.emplace(ListName{.kind = ListKind::kState, .state = state}, all);
  }
  for (size_t i = 0; i < tags.size(); ++i) {
    if (!by_key[i].empty()) {
      posted.emplace(ListName{.kind = ListKind::kKey, .first = tags[i].key},
                     by_key[i]);
    }
    if (!by_tag[i].empty()) {
      posted.emplace(ListName{.kind = ListKind::kValue,
                              .first = tags[i].key,
                              .second = tags[i].value},
                     by_tag[i]);
    }
  }
  return posted;
}

bool SessionPlan::Extend() {
  std::vector<SegmentTimes*> added;
  for (const auto& [group, rows] : fresh_) {
    for (const SegmentRow& row : rows) {
      added.push_back(&*FindPlace(row.segment(), &segments_));
    }
  }
  std::sort(added.begin(), added.end(),
            [](const SegmentTimes* a, const SegmentTimes* b) {
              return IsEarlier(*a, *b);
            });
  if (!added.empty() && !planner_->ComesNext(*added.front())) return false;
  for (SegmentTimes* segment : added) planner_->Add(false, segment);
  planner_->AddOpenEnd();
  return true;
}

void SessionPlan::Remake(const SessionRow& row, std::set<uint32_t>* groups) {
  const std::vector<SegmentTimes> before = segments_;
  planner_ = PlanRuns(row, FoldTags(row), &segments_);
  for (size_t i = 0; i < segments_.size(); ++i) {
    if (segments_[i] != before[i]) {
      groups->insert(segments_[i].segment / limits::kSegmentsPerPack);
    }
  }
}

void SessionPlan::FlushSegments(const std::set<uint32_t>& groups,
                                RowSink* sink) {
  for (const uint32_t group : groups) {
    std::vector<SegmentRow> rows;
    std::string& pack = packs_[group];
    // Its bytes are our own, or Load has read them.
    if (!pack.empty()) rows = UnpackSegments(pack).value();
    const auto fresh = fresh_.find(group);
    if (fresh != fresh_.end()) {
      std::move(fresh->second.begin(), fresh->second.end(),
                std::back_inserter(rows));
      std::sort(rows.begin(), rows.end(),
                [](const SegmentRow& a, const SegmentRow& b) {
                  return a.segment() < b.segment();
                });
    }
    auto times = FindPlace(rows.front().segment(), &segments_);
    for (SegmentRow& row : rows) {
      row.set_tags_from_us(times->tags_from_us);
      row.set_tags_to_us(times->tags_to_us);
      ++times;
    }
    pack = PackSegments(rows);
    sink->Put(Family::kSegments, GroupKey(number_, group), pack);
  }
  fresh_.clear();
}

void SessionPlan::FlushRuns(size_t first, RowSink* sink) {
  const std::vector<RunPlan>& runs = planner_->runs();
  constexpr size_t kGroup = limits::kRunsPerPack;
  for (size_t start = first / kGroup * kGroup; start < runs.size();
       start += kGroup) {
    const size_t end = std::min(start + kGroup, runs.size());
    const size_t old_end = std::min(start + kGroup, runs_.size());
    const auto place = [](size_t run) {
      return static_cast<std::ptrdiff_t>(run);
    };
    const bool same =
        end == old_end &&
        std::equal(runs.begin() + place(start), runs.begin() + place(end),
                   runs_.begin() + place(start),
                   [](const RunPlan& a, const RunPlan& b) {
                     return a.segments == b.segments &&
                            a.from_us == b.from_us && a.to_us == b.to_us;
                   });
    if (same) continue;
    std::vector<RunRow> rows;
    for (size_t i = start; i < end; ++i) rows.push_back(RowOf(runs[i]));
    sink->Put(Family::kRuns,
              GroupKey(number_, static_cast<uint32_t>(start / kGroup)),
              PackRuns(session_, rows));
  }
  for (size_t group = (runs.size() + kGroup - 1) / kGroup;
       group * kGroup < runs_.size(); ++group) {
    sink->Delete(Family::kRuns,
                 GroupKey(number_, static_cast<uint32_t>(group)));
  }
}

void SessionPlan::FlushPostings(const SessionRow& row, RowSink* sink) {
  Posted posted = MakePosted(row);
  for (const auto& [name, runs] : posted) {
    const auto known = posted_.find(name);
    if (known != posted_.end() && known->second == runs) continue;
    sink->SetPosting(ListOf(name), number_, runs);
  }
  for (const auto& [name, runs] : posted_) {
    if (!posted.contains(name)) {
      sink->SetPosting(ListOf(name), number_, RunSet());
    }
  }
  posted_ = std::move(posted);
}

void SessionPlan::Flush(const SessionRow& row, RowSink* sink) {
  if (!row_changed_ && fresh_.empty()) return;
  std::set<uint32_t> groups;
  for (const auto& [group, rows] : fresh_) groups.insert(group);
  // What is added to the last run, or makes new ones, leaves the others alone.
  // The last one may be an open end, which goes, and the one before may grow.
  size_t first = runs_.size() < 2 ? 0 : runs_.size() - 2;
  if (row_changed_ || !IsOpen(row) || !Extend()) {
    Remake(row, &groups);
    first = 0;
  }
  FlushSegments(groups, sink);
  FlushRuns(first, sink);
  const std::vector<RunPlan>& runs = planner_->runs();
  bool same_tags = !row_changed_ && runs.size() == runs_.size();
  for (size_t i = first; same_tags && i < runs.size(); ++i) {
    same_tags = runs[i].tags == runs_[i].tags;
  }
  if (!same_tags) FlushPostings(row, sink);
  runs_.resize(runs.size());
  std::copy(runs.begin() + static_cast<std::ptrdiff_t>(first), runs.end(),
            runs_.begin() + static_cast<std::ptrdiff_t>(first));
  row_changed_ = false;
}

}  // namespace diptych::indexer
