#ifndef TESTS_TAG_INDEX_CITY_H_
#define TESTS_TAG_INDEX_CITY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"

namespace diptych::bench {

// A year of a city's sessions, made of numbers alone: no person is in it. Every
// session follows from the seed and its place in the year, so that any part of
// the year can be made by itself, in any thread, and again.

enum class Key : uint8_t {
  kResident,
  kCommittee,
  kStreet,
  kTerminal,
  kTicket,
  kOutcome,
  kRating,
  // These hold from their time on; the others for the whole session.
  kClerk,
  kItem,
  kChannel,
};
inline constexpr size_t kKeys = 10;
inline constexpr size_t kWholeSessionKeys = 7;
// `resident`.
absl::string_view KeyName(Key key);

// One value of a key, as a number below 2^28 for systems that count.
class Tag {
 public:
  constexpr Tag() = default;
  constexpr Tag(Key key, uint32_t value)
      : code_(static_cast<uint32_t>(key) << 24 | value) {}
  constexpr Key key() const { return static_cast<Key>(code_ >> 24); }
  constexpr uint32_t value() const { return code_ & 0xffffff; }
  constexpr uint32_t code() const { return code_; }
  // The value as it is written on a session.
  std::string Text() const;
  friend constexpr auto operator<=>(const Tag&, const Tag&) = default;

 private:
  uint32_t code_ = 0;
};

inline constexpr uint32_t kResidents = 200'000;
inline constexpr uint32_t kCommittees = 246;
inline constexpr uint32_t kStreets = 14;
inline constexpr uint32_t kTerminalsOfACommittee = 2;
inline constexpr uint32_t kClerks = 900;
inline constexpr uint32_t kItems = 132;
inline constexpr uint32_t kTickets = 1000;
inline constexpr uint32_t kOutcomes = 4;
// 0 is rating 1.
inline constexpr uint32_t kRatings = 5;
// The first is on nearly every segment.
inline constexpr uint32_t kChannels = 3;

// The first second of the year, and the first behind it.
inline constexpr int64_t kYearBegin_s = 1'735'689'600;
inline constexpr int64_t kYear_s = int64_t{365} * 86'400;
// Whole weeks, so that later years too begin on a Wednesday.
inline constexpr int64_t kYearStep_s = int64_t{53} * 7 * 86'400;

struct CitySegment {
  int64_t from_us = 0;
  int64_t to_us = 0;
};

// A session's segments between two changes of its tags.
struct CityRun {
  uint32_t first_segment = 0;
  uint32_t last_segment = 0;
  // On the session timeline: when its tags begin to hold.
  int64_t from_us = 0;
  // In the order of the keys.
  std::array<Tag, kKeys> tags;

  Tag tag(Key key) const { return tags[static_cast<size_t>(key)]; }
};

struct CitySession {
  uint64_t place = 0;
  base::Uuid id;
  int64_t start_time_us = 0;
  // What indexer::SessionNumber comes to.
  uint64_t number = 0;
  std::vector<CitySegment> segments;
  std::vector<CityRun> runs;

  int64_t end_us() const { return segments.back().to_us; }
};

// Thread-safe.
class City {
 public:
  struct Options {
    uint64_t seed = 1;
    // About as many; 30 a session.
    uint64_t segments = 100'000;
    // So many years later; its sessions are others.
    uint32_t year = 0;
  };

  explicit City(const Options& options);

  const Options& options() const { return options_; }
  uint64_t sessions() const { return sessions_; }
  // Their starts ascend with their place. REQUIRES: place < sessions().
  CitySession Session(uint64_t place) const;

  // As values are spread over sessions: `chance` from 0 to 1.
  uint32_t DrawItem(double chance) const;
  uint32_t DrawClerk(double chance) const;
  uint32_t DrawCommittee(double chance) const;
  uint32_t DrawResident(double chance) const;

 private:
  int64_t StartTime_us(uint64_t place) const;
  uint64_t Number(uint64_t place) const;

  const Options options_;
  const uint64_t sessions_;
  // Sums of weights: of the minutes of a working day, of values.
  std::vector<double> minutes_;
  std::vector<double> items_;
  std::vector<double> clerks_;
  std::vector<double> committees_;
};

// Numbers that look random and follow from their seed (SplitMix64).
class Chance {
 public:
  explicit Chance(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // In [0, 1).
  double Part() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // In [0, n).
  uint32_t Below(uint32_t n) {
    return static_cast<uint32_t>((Next() >> 32) * n >> 32);
  }

 private:
  uint64_t state_;
};

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_CITY_H_
