#include "indexer/store/session_tags.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/tag_keys.h"
#include "indexer/store/steps.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::SegmentRow;
using stored::v1::SessionRow;
using stored::v1::TagNote;

constexpr uint32_t kAdd = 1;
constexpr uint32_t kSet = 2;
constexpr uint32_t kRemove = 3;

// The values that one key has at a moment, each with the note it came by.
class KeyFold {
 public:
  KeyFold(std::string key, std::vector<TagSpan>* out)
      : key_(std::move(key)),
        whole_(base::IsWholeSessionKey(key_)),
        out_(out) {}

  void Apply(const TagNote& note) {
    if (note.operation() == kSet) {
      for (auto it = open_.begin(); it != open_.end();) {
        const auto& values = note.values();
        const bool stays =
            std::find(values.begin(), values.end(), it->first) != values.end();
        it = stays ? std::next(it) : End(it, note.at_us());
      }
    }
    for (const std::string& value : note.values()) {
      if (note.operation() == kRemove) {
        const auto it = open_.find(value);
        if (it != open_.end()) End(it, note.at_us());
      } else if (note.operation() == kAdd || note.operation() == kSet) {
        open_.try_emplace(value, Opening{note.at_us(), note.position()});
      }
    }
  }

  void Finish() {
    for (auto it = open_.begin(); it != open_.end();) {
      const auto next = std::next(it);
      Emit(it->first, it->second, kForever_us);
      it = next;
    }
  }

 private:
  struct Opening {
    int64_t from_us;
    uint64_t position;
  };
  using Open = std::map<std::string, Opening>;

  Open::iterator End(Open::iterator it, int64_t to_us) {
    // A whole-session value that is replaced was never true.
    if (!whole_ && it->second.from_us < to_us) {
      Emit(it->first, it->second, to_us);
    }
    return open_.erase(it);
  }

  void Emit(const std::string& value, const Opening& opening, int64_t to_us) {
    TagSpan span;
    span.key = key_;
    span.value = value;
    span.whole_session = whole_;
    span.from_us = whole_ ? kAlways_us : opening.from_us;
    span.to_us = whole_ ? kForever_us : to_us;
    span.position = opening.position;
    out_->push_back(std::move(span));
  }

  const std::string key_;
  const bool whole_;
  std::vector<TagSpan>* const out_;
  Open open_;
};

void AddNumber(uint32_t number, std::vector<RunPlan::Range>* ranges) {
  // Nearly always behind all others.
  auto next = ranges->end();
  while (next != ranges->begin() && std::prev(next)->first > number) --next;
  const bool touches_previous =
      next != ranges->begin() && std::prev(next)->last + 1 == number;
  const bool touches_next = next != ranges->end() && number + 1 == next->first;
  if (touches_previous && touches_next) {
    std::prev(next)->last = next->last;
    ranges->erase(next);
  } else if (touches_previous) {
    std::prev(next)->last = number;
  } else if (touches_next) {
    next->first = number;
  } else {
    ranges->insert(next, {number, number});
  }
}

// Ascending, each once.
void SortDistinct(std::vector<size_t>* numbers) {
  std::sort(numbers->begin(), numbers->end());
  numbers->erase(std::unique(numbers->begin(), numbers->end()), numbers->end());
}

// Both ascending.
std::vector<size_t> Together(const std::vector<size_t>& a,
                             const std::vector<size_t>& b) {
  std::vector<size_t> both;
  both.reserve(a.size() + b.size());
  std::set_union(a.begin(), a.end(), b.begin(), b.end(),
                 std::back_inserter(both));
  return both;
}

}  // namespace

bool IsPersonalKey(absl::string_view key) { return key == "resident"; }

SegmentTimes TimesOf(const SegmentRow& row) {
  return {.segment = row.segment(),
          .window_start_us = row.window_start_us(),
          .window_end_us = row.window_end_us(),
          .tags_from_us = row.tags_from_us(),
          .tags_to_us = row.tags_to_us()};
}

bool IsEarlier(const SegmentTimes& a, const SegmentTimes& b) {
  return std::tie(a.window_start_us, a.segment) <
         std::tie(b.window_start_us, b.segment);
}

std::vector<TagSpan> FoldTags(const SessionRow& row) {
  std::map<std::string, std::vector<const TagNote*>> by_key;
  for (const TagNote& note : row.tag_notes()) {
    by_key[note.key()].push_back(&note);
  }
  std::vector<TagSpan> spans;
  for (auto& [key, notes] : by_key) {
    std::stable_sort(notes.begin(), notes.end(),
                     [](const TagNote* a, const TagNote* b) {
                       return a->at_us() < b->at_us();
                     });
    KeyFold fold(key, &spans);
    for (const TagNote* note : notes) fold.Apply(*note);
    fold.Finish();
  }
  std::sort(spans.begin(), spans.end(), [](const TagSpan& a, const TagSpan& b) {
    return std::tie(a.key, a.value, a.from_us) <
           std::tie(b.key, b.value, b.from_us);
  });
  return spans;
}

RunPlanner::RunPlanner(std::vector<TagSpan> tags)
    : tags_(std::move(tags)), identity_(tags_.size()) {
  RunPlan all;
  for (size_t i = 0; i < tags_.size(); ++i) {
    // They are sorted by key and value.
    const bool same = i > 0 && tags_[i].key == tags_[i - 1].key &&
                      tags_[i].value == tags_[i - 1].value;
    identity_[i] = same ? identity_[i - 1] : i;
    if (!same) all.tags.push_back(i);
    (tags_[i].whole_session ? whole_ : timed_).push_back(i);
  }
  std::stable_sort(timed_.begin(), timed_.end(), [&](size_t a, size_t b) {
    return tags_[a].from_us < tags_[b].from_us;
  });
  for (size_t& tag : whole_) tag = identity_[tag];
  SortDistinct(&whole_);
  runs_.push_back(std::move(all));
}

bool RunPlanner::ComesNext(const SegmentTimes& segment) const {
  return !latest_.has_value() || IsEarlier(*latest_, segment);
}

std::vector<size_t> RunPlanner::TagsIn(const SegmentTimes& segment) {
  for (; next_ < timed_.size() &&
         tags_[timed_[next_]].from_us < segment.tags_to_us;
       ++next_) {
    active_.push_back(timed_[next_]);
  }
  std::erase_if(active_, [&](size_t tag) {
    return tags_[tag].to_us <= segment.tags_from_us;
  });
  std::vector<size_t> here;
  for (const size_t tag : active_) {
    // One that lies within another ends before it.
    if (tags_[tag].from_us < segment.tags_to_us) {
      here.push_back(identity_[tag]);
    }
  }
  SortDistinct(&here);
  return here;
}

void RunPlanner::AddOpenEnd() {
  // Without segments the one run has all tags already.
  if (!latest_.has_value()) return;
  std::vector<size_t> here;
  const auto add = [&](size_t tag) {
    if (tags_[tag].to_us > covered_us_) here.push_back(identity_[tag]);
  };
  for (const size_t tag : active_) add(tag);
  for (size_t i = next_; i < timed_.size(); ++i) add(timed_[i]);
  SortDistinct(&here);
  if (here == run_tags_) return;
  open_end_ = true;
  if (runs_.size() >= limits::kMaxRunsPerSession) {
    runs_.back().tags = Together(runs_.back().tags, here);
    return;
  }
  RunPlan run;
  run.from_us = covered_us_;
  run.to_us = covered_us_;
  run.tags = Together(whole_, here);
  runs_.push_back(std::move(run));
}

void RunPlanner::RemoveOpenEnd() {
  if (!open_end_) return;
  open_end_ = false;
  if (runs_.back().segments.empty()) {
    runs_.pop_back();
  } else {
    runs_.back().tags = Together(whole_, run_tags_);
  }
}

void RunPlanner::Add(bool to_the_end, SegmentTimes* segment) {
  RemoveOpenEnd();
  segment->tags_from_us = std::min(segment->window_start_us, covered_us_);
  segment->tags_to_us = to_the_end ? kForever_us : segment->window_end_us;
  covered_us_ = std::max(covered_us_, segment->window_end_us);
  std::vector<size_t> here = TagsIn(*segment);
  const bool first = !latest_.has_value();
  const bool last_run = !first && runs_.size() >= limits::kMaxRunsPerSession;
  const bool goes_on =
      !first && here == run_tags_ &&
      Between(run_start_us_, segment->window_end_us) <= limits::kRunMax_us;
  if (last_run && !goes_on) {
    run_tags_ = Together(run_tags_, here);
    runs_.back().tags = Together(whole_, run_tags_);
  } else if (!goes_on) {
    if (first) runs_.clear();
    RunPlan run;
    run.from_us = segment->window_start_us;
    run.to_us = segment->window_end_us;
    run.tags = Together(whole_, here);
    runs_.push_back(std::move(run));
    run_tags_ = std::move(here);
    run_start_us_ = segment->window_start_us;
  }
  RunPlan& run = runs_.back();
  run.to_us = std::max(run.to_us, segment->window_end_us);
  AddNumber(segment->segment, &run.segments);
  latest_ = *segment;
}

RunPlanner PlanRuns(const SessionRow& row, std::vector<TagSpan> tags,
                    std::vector<SegmentTimes>* segments) {
  std::vector<SegmentTimes*> in_time;
  in_time.reserve(segments->size());
  for (SegmentTimes& segment : *segments) in_time.push_back(&segment);
  std::sort(in_time.begin(), in_time.end(),
            [](const SegmentTimes* a, const SegmentTimes* b) {
              return IsEarlier(*a, *b);
            });
  // The first of those whose windows end last.
  const auto last =
      std::max_element(in_time.begin(), in_time.end(),
                       [](const SegmentTimes* a, const SegmentTimes* b) {
                         return a->window_end_us < b->window_end_us;
                       });
  const bool closed = row.closed() != stored::v1::CLOSE_REASON_UNSPECIFIED;
  RunPlanner planner(std::move(tags));
  for (auto it = in_time.begin(); it != in_time.end(); ++it) {
    planner.Add(closed && it == last, *it);
  }
  if (!closed) planner.AddOpenEnd();
  return planner;
}

}  // namespace diptych::indexer
