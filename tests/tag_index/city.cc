#include "tests/tag_index/city.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/store/session_number.h"

namespace diptych::bench {
namespace {

constexpr double kSegmentsPerSession = 30;
constexpr uint32_t kMaxSegments = 720;
constexpr int64_t kSegment_us = 10'000'000;
constexpr int64_t kDayBegins_s = 8 * 3600 + 30 * 60;
constexpr size_t kDay_minutes = 9 * 60;
constexpr uint32_t kMaxChanges = 5;

std::vector<double> Summed(size_t count, double (*weight)(double)) {
  std::vector<double> sums;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sums.push_back(sum += weight(static_cast<double>(i)));
  }
  for (double& s : sums) s /= sum;
  return sums;
}

uint32_t Draw(const std::vector<double>& sums, double chance) {
  const auto place = std::upper_bound(sums.begin(), sums.end() - 1, chance);
  return static_cast<uint32_t>(place - sums.begin());
}

// Mondays to Fridays, counted from 0, as days of the year, which begins on a
// Wednesday.
int64_t WorkingDay(uint64_t n) {
  const uint64_t from_monday = n + 2;
  return static_cast<int64_t>(from_monday / 5 * 7 + from_monday % 5) - 2;
}
constexpr uint64_t kWorkingDays = 261;

base::Uuid MakeId(int64_t start_time_us, uint64_t chance, uint64_t chance2) {
  std::string bytes;
  const uint64_t ms = static_cast<uint64_t>(start_time_us / 1000);
  for (int shift = 40; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(ms >> shift));
  }
  bytes.push_back(static_cast<char>(0x70 | (chance & 0xf)));
  bytes.push_back(static_cast<char>(chance >> 8));
  bytes.push_back(static_cast<char>(0x80 | (chance >> 16 & 0x3f)));
  for (int shift = 0; shift < 56; shift += 8) {
    bytes.push_back(static_cast<char>(chance2 >> shift));
  }
  return base::Uuid::FromBytes(bytes).value();
}

// When the session's tags change, rising; none at 0 or past `end_us`.
std::vector<int64_t> Changes(Chance* chance, int64_t end_us) {
  std::vector<int64_t> at;
  const uint32_t count = 1 + chance->Below(kMaxChanges);
  for (uint32_t i = 1; i < count; ++i) {
    const double part = 0.05 + 0.9 * chance->Part();
    const auto at_us =
        static_cast<int64_t>(part * static_cast<double>(end_us)) / 1000 * 1000;
    if (at_us > 0) at.push_back(at_us);
  }
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  return at;
}

}  // namespace

absl::string_view KeyName(Key key) {
  constexpr absl::string_view kNames[kKeys] = {
      "resident", "committee", "street", "terminal", "ticket",
      "outcome",  "rating",    "clerk",  "item",     "channel"};
  return kNames[static_cast<size_t>(key)];
}

std::string Tag::Text() const {
  constexpr absl::string_view kOutcomeNames[kOutcomes] = {
      "accepted", "supplement", "rejected", "dropped"};
  constexpr absl::string_view kChannelNames[kChannels] = {"video", "audio",
                                                          "document"};
  switch (key()) {
    case Key::kResident:
      return absl::StrFormat("R%06u", value());
    case Key::kCommittee:
      return absl::StrFormat("JA-%04u", value());
    case Key::kStreet:
      return absl::StrFormat("street-%02u", value());
    case Key::kTerminal:
      return absl::StrFormat("T-%04u-%u", value() / kTerminalsOfACommittee,
                             value() % kTerminalsOfACommittee + 1);
    case Key::kTicket:
      return absl::StrFormat("%c%03u", static_cast<char>('A' + value() / 200),
                             value() % 200);
    case Key::kOutcome:
      return std::string(kOutcomeNames[value()]);
    case Key::kRating:
      return absl::StrFormat("%u", value() + 1);
    case Key::kClerk:
      return absl::StrFormat("C%04u", value());
    case Key::kItem:
      return absl::StrFormat("%04u", value());
    case Key::kChannel:
      return std::string(kChannelNames[value()]);
  }
  return "";
}

City::City(const Options& options)
    : options_(options),
      sessions_(std::max<uint64_t>(
          1, static_cast<uint64_t>(static_cast<double>(options.segments) /
                                   kSegmentsPerSession))),
      minutes_(Summed(kDay_minutes,
                      [](double minute) {
                        const bool noon = minute >= 210 && minute < 300;
                        return noon ? 0.35 : 1.0;
                      })),
      items_(Summed(kItems, [](double n) { return 1 / (n + 1); })),
      clerks_(Summed(kClerks, [](double n) { return 1 / (n + 150); })),
      committees_(Summed(kCommittees, [](double n) { return 1 / (n + 80); })) {}

uint32_t City::DrawItem(double chance) const { return Draw(items_, chance); }
uint32_t City::DrawClerk(double chance) const { return Draw(clerks_, chance); }
uint32_t City::DrawCommittee(double chance) const {
  return Draw(committees_, chance);
}
uint32_t City::DrawResident(double chance) const {
  return static_cast<uint32_t>(std::pow(chance, 1.3) * kResidents);
}

int64_t City::StartTime_us(uint64_t place) const {
  Chance chance(options_.seed * 0x9e3779b9 + place * 2 + 1);
  chance.Next();
  const double days = (static_cast<double>(place) + chance.Part()) /
                      static_cast<double>(sessions_) * kWorkingDays;
  const auto day = std::min(static_cast<uint64_t>(days), kWorkingDays - 1);
  const double part = days - static_cast<double>(day);
  const uint32_t minute = Draw(minutes_, part);
  const double before = minute == 0 ? 0 : minutes_[minute - 1];
  const double second =
      std::min(59.999999, (part - before) / (minutes_[minute] - before) * 60);
  return (kYearBegin_s + kYearStep_s * options_.year +
          WorkingDay(day) * 86'400 + kDayBegins_s) *
             1'000'000 +
         int64_t{minute} * 60'000'000 + static_cast<int64_t>(second * 1e6);
}

uint64_t City::Number(uint64_t place) const {
  const uint32_t second = indexer::SessionNumber::SecondOf(StartTime_us(place));
  uint16_t turn = 0;
  while (place > 0 &&
         indexer::SessionNumber::SecondOf(StartTime_us(place - 1)) == second) {
    --place;
    ++turn;
  }
  return indexer::SessionNumber(second, turn).value();
}

CitySession City::Session(uint64_t place) const {
  Chance chance((options_.seed << 40) ^ (uint64_t{options_.year} << 52) ^
                (place * 2));
  CitySession session;
  session.place = place;
  session.start_time_us = StartTime_us(place);
  session.number = Number(place);
  const uint64_t id = chance.Next();
  session.id = MakeId(session.start_time_us, id, chance.Next());

  // Log-normal: many short ones, a few of hours.
  const double normal = std::sqrt(-2 * std::log(1 - chance.Part())) *
                        std::cos(6.283185307179586 * chance.Part());
  const double segments = 24.3 * std::exp(0.65 * normal);
  const int64_t end_us =
      static_cast<int64_t>(
          std::clamp(segments, 0.3, static_cast<double>(kMaxSegments)) *
          static_cast<double>(kSegment_us)) /
      1000 * 1000;

  std::array<Tag, kKeys> tags;
  const auto set = [&tags](Key key, uint32_t value) {
    tags[static_cast<size_t>(key)] = Tag(key, value);
  };
  const uint32_t committee = DrawCommittee(chance.Part());
  set(Key::kResident, DrawResident(chance.Part()));
  set(Key::kCommittee, committee);
  set(Key::kStreet, committee % kStreets);
  set(Key::kTerminal, committee * kTerminalsOfACommittee +
                          chance.Below(kTerminalsOfACommittee));
  set(Key::kTicket, chance.Below(kTickets));
  const double done = chance.Part();
  set(Key::kOutcome, done < 0.8 ? 0 : done < 0.92 ? 1 : done < 0.97 ? 2 : 3);
  const double rated = chance.Part();
  set(Key::kRating, rated < 0.8    ? 4
                    : rated < 0.93 ? 3
                    : rated < 0.97 ? 2
                                   : rated < 0.99);
  set(Key::kClerk, DrawClerk(chance.Part()));
  set(Key::kItem, DrawItem(chance.Part()));
  set(Key::kChannel, 0);

  std::vector<int64_t> changes = Changes(&chance, end_us);
  changes.push_back(end_us);
  int64_t from_us = 0;
  for (const int64_t to_us : changes) {
    CityRun run;
    run.from_us = from_us;
    run.first_segment = static_cast<uint32_t>(session.segments.size());
    for (int64_t at_us = from_us; at_us < to_us; at_us += kSegment_us) {
      session.segments.push_back({at_us, std::min(at_us + kSegment_us, to_us)});
    }
    run.last_segment = static_cast<uint32_t>(session.segments.size()) - 1;
    run.tags = tags;
    session.runs.push_back(run);
    from_us = to_us;
    // Another value than before, so that the next is another run.
    const double what = chance.Part();
    const auto next = [&](Key key, uint32_t drawn, uint32_t count) {
      const uint32_t now = tags[static_cast<size_t>(key)].value();
      set(key, drawn == now ? (drawn + 1) % count : drawn);
    };
    if (what < 0.75) {
      next(Key::kItem, DrawItem(chance.Part()), kItems);
    } else if (what < 0.92) {
      next(Key::kClerk, DrawClerk(chance.Part()), kClerks);
    } else {
      next(Key::kChannel, chance.Below(kChannels), kChannels);
    }
  }
  return session;
}

}  // namespace diptych::bench
