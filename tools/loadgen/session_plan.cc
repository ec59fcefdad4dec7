#include "tools/loadgen/session_plan.h"

#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"

namespace diptych::loadgen {
namespace {

constexpr int kCommittees = 246;
constexpr int kStreets = 14;
constexpr int kClerks = 60;
constexpr int kItems = 132;
constexpr int kResidents = 300'000;
constexpr double kAccepted = 0.85;
constexpr double kRated = 0.7;

api::v1::Note Tag(const std::string& key, const std::string& value) {
  api::v1::Note note;
  note.mutable_tag()->set_key(key);
  note.mutable_tag()->add_values(value);
  note.mutable_tag()->set_operation(api::v1::TAG_OPERATION_SET);
  return note;
}

api::v1::Note Event(const std::string& type) {
  api::v1::Note note;
  note.mutable_event()->set_type(type);
  return note;
}

}  // namespace

SessionPlan PlanSession(std::mt19937_64* random) {
  const auto below = [&](int bound) {
    return std::uniform_int_distribution<int>(0, bound - 1)(*random);
  };
  const auto share = [&] {
    return std::uniform_real_distribution<double>(0, 1)(*random);
  };
  // Few of many: the square of an even share leans to the low end.
  const auto leaning = [&](int bound) {
    const double at = share();
    return static_cast<int>(at * at * bound);
  };
  const int committee = below(kCommittees);
  SessionPlan plan;
  plan.id = base::Uuid::Random().ToString();
  plan.notes_at_start = {
      {Tag("resident", absl::StrFormat("990106190001%06d", below(kResidents))),
       Tag("committee", absl::StrFormat("LG-%04d", committee)),
       Tag("street", absl::StrCat("street-", committee % kStreets)),
       Tag("terminal", absl::StrFormat("T-%04d-1", committee)),
       Tag("ticket", absl::StrFormat("A%03d", below(1000))),
       Event("call_started")},
      {Tag("clerk", absl::StrFormat("C%04d", below(kClerks))),
       Tag("item", absl::StrFormat("%04d", leaning(kItems)))}};
  plan.notes_at_end = {{}, {}};
  const bool accepted = share() < kAccepted;
  plan.notes_at_end[1].push_back(
      Tag("outcome", accepted ? "accepted" : "supplement"));
  if (accepted) plan.notes_at_end[1].push_back(Event("case_accepted"));
  if (share() < kRated) {
    plan.notes_at_end[0].push_back(Tag("rating", absl::StrCat(5 - leaning(5))));
    plan.notes_at_end[0].push_back(Event("rated"));
  }
  return plan;
}

std::vector<api::v1::Note> AnchorNotes(const Recording::Side& side,
                                       absl::Time start_time) {
  std::vector<api::v1::Note> notes;
  std::set<uint32_t> seen;
  for (const Recording::Item& item : side.items) {
    const api::v1::Packet& packet = item.packet;
    if (!seen.insert(packet.track_id()).second) continue;
    const absl::Time wall = start_time + absl::Microseconds(packet.pts_us());
    api::v1::Note& note = notes.emplace_back();
    note.set_at_us(packet.pts_us());
    api::v1::ClockAnchor* const anchor = note.mutable_clock_anchor();
    anchor->set_track_id(packet.track_id());
    anchor->set_media_us(packet.pts_us());
    const int64_t wall_us = absl::ToUnixMicros(wall);
    anchor->mutable_wall_time()->set_seconds(wall_us / 1'000'000);
    anchor->mutable_wall_time()->set_nanos(
        static_cast<int32_t>(wall_us % 1'000'000 * 1000));
    anchor->set_source("file");
  }
  return notes;
}

}  // namespace diptych::loadgen
