#ifndef INDEXER_STORE_STEPS_H_
#define INDEXER_STORE_STEPS_H_

#include <cstdint>
#include <limits>

namespace diptych::indexer {

// From one number of a packed row to the next. A step may wrap around; adding
// it does too, and comes out right, so that there is no number a row can't
// hold.
constexpr int64_t Step(uint64_t from, uint64_t to) {
  return static_cast<int64_t>(to - from);
}
constexpr int64_t Step(int64_t from, int64_t to) {
  return Step(static_cast<uint64_t>(from), static_cast<uint64_t>(to));
}

constexpr uint64_t Add(uint64_t from, int64_t step) {
  return from + static_cast<uint64_t>(step);
}
constexpr int64_t Add(int64_t from, int64_t step) {
  return static_cast<int64_t>(Add(static_cast<uint64_t>(from), step));
}

// What lies between two times, kept within 64 bits: headers hold any number.
constexpr int64_t Between(int64_t from, int64_t to) {
  int64_t step = 0;
  if (!__builtin_sub_overflow(to, from, &step)) return step;
  return from < to ? std::numeric_limits<int64_t>::max()
                   : std::numeric_limits<int64_t>::min();
}

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_STEPS_H_
