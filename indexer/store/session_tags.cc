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

// Gives every segment the times whose tags count for it: its own window, what
// lies between it and the ones before, and for the first and (once the session
// is closed) the last what lies outside. `segments` are in order of time.
void AssignTagTimes(bool closed, const std::vector<SegmentRow*>& segments) {
  int64_t covered_us = kAlways_us;
  SegmentRow* last = nullptr;
  for (SegmentRow* segment : segments) {
    segment->set_tags_from_us(std::min(segment->window_start_us(), covered_us));
    segment->set_tags_to_us(segment->window_end_us());
    if (last == nullptr || segment->window_end_us() > covered_us) {
      last = segment;
      covered_us = segment->window_end_us();
    }
  }
  if (closed && last != nullptr) last->set_tags_to_us(kForever_us);
}

void AddNumber(uint32_t number, std::vector<RunPlan::Range>* ranges) {
  if (!ranges->empty() && ranges->back().last + 1 == number) {
    ranges->back().last = number;
  } else {
    ranges->push_back({number, number});
  }
}

}  // namespace

bool IsPersonalKey(absl::string_view key) { return key == "resident"; }

bool IsEarlier(const SegmentRow& a, const SegmentRow& b) {
  const auto place = [](const SegmentRow& row) {
    return std::make_tuple(row.window_start_us(), row.segment());
  };
  return place(a) < place(b);
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

std::vector<RunPlan> PlanRuns(const SessionRow& row,
                              const std::vector<TagSpan>& tags,
                              std::vector<SegmentRow>* segments) {
  std::vector<SegmentRow*> in_time;
  for (SegmentRow& segment : *segments) in_time.push_back(&segment);
  std::stable_sort(in_time.begin(), in_time.end(),
                   [](const SegmentRow* a, const SegmentRow* b) {
                     return IsEarlier(*a, *b);
                   });
  AssignTagTimes(row.closed() != stored::v1::CLOSE_REASON_UNSPECIFIED, in_time);

  // One number per distinct (key, value): tags are sorted by them.
  std::vector<size_t> identity(tags.size());
  for (size_t i = 1; i < tags.size(); ++i) {
    const bool same =
        tags[i].key == tags[i - 1].key && tags[i].value == tags[i - 1].value;
    identity[i] = same ? identity[i - 1] : i;
  }
  // Keeps of each identity the tag that came first in the log.
  const auto distinct = [&](const std::vector<size_t>& chosen) {
    std::map<size_t, size_t> first;
    for (const size_t i : chosen) {
      const auto [it, added] = first.try_emplace(identity[i], i);
      if (!added && tags[i].position < tags[it->second].position) {
        it->second = i;
      }
    }
    return first;
  };

  std::vector<size_t> whole;
  std::vector<size_t> timed;
  std::vector<size_t> all(tags.size());
  for (size_t i = 0; i < tags.size(); ++i) {
    all[i] = i;
    (tags[i].whole_session ? whole : timed).push_back(i);
  }

  std::vector<RunPlan> runs;
  if (segments->empty()) {
    RunPlan run;
    run.position = row.opened_position();
    for (const auto& [id, tag] : distinct(all)) run.tags.push_back(tag);
    runs.push_back(std::move(run));
    return runs;
  }

  std::stable_sort(timed.begin(), timed.end(), [&](size_t a, size_t b) {
    return tags[a].from_us < tags[b].from_us;
  });
  size_t next = 0;
  std::vector<size_t> active;
  // Identity to the tag with the earliest position, for the run so far.
  std::map<size_t, size_t> run_tags;
  int64_t run_start_us = 0;
  std::vector<uint32_t> numbers;
  const auto finish = [&] {
    if (runs.empty()) return;
    RunPlan& run = runs.back();
    std::sort(numbers.begin(), numbers.end());
    for (const uint32_t number : numbers) AddNumber(number, &run.segments);
    numbers.clear();
    run.tags = whole;
    for (const auto& [id, tag] : run_tags) run.tags.push_back(tag);
  };
  for (const SegmentRow* segment : in_time) {
    for (; next < timed.size() &&
           tags[timed[next]].from_us < segment->tags_to_us();
         ++next) {
      active.push_back(timed[next]);
    }
    std::erase_if(active, [&](size_t tag) {
      return tags[tag].to_us <= segment->tags_from_us();
    });
    // One that lies within another ends before it.
    std::vector<size_t> holding;
    std::copy_if(
        active.begin(), active.end(), std::back_inserter(holding),
        [&](size_t tag) { return tags[tag].from_us < segment->tags_to_us(); });
    const std::map<size_t, size_t> here = distinct(holding);
    const bool same = !runs.empty() && here.size() == run_tags.size() &&
                      std::equal(here.begin(), here.end(), run_tags.begin(),
                                 [](const auto& a, const auto& b) {
                                   return a.first == b.first;
                                 });
    const bool fits =
        segment->window_end_us() - run_start_us <= limits::kRunMax_us;
    if (!same || !fits) {
      finish();
      RunPlan run;
      // The first run stands for the session from its opening on.
      run.position = runs.empty() ? row.opened_position() : segment->position();
      runs.push_back(std::move(run));
      run_tags = here;
      run_start_us = segment->window_start_us();
    } else {
      RunPlan& run = runs.back();
      run.position = std::min<uint64_t>(run.position, segment->position());
      for (const auto& [id, tag] : here) {
        size_t& known = run_tags[id];
        if (tags[tag].position < tags[known].position) known = tag;
      }
    }
    numbers.push_back(segment->segment());
  }
  finish();
  return runs;
}

}  // namespace diptych::indexer
