#ifndef TESTS_TAG_INDEX_QUESTION_H_
#define TESTS_TAG_INDEX_QUESTION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/tag_index/city.h"

namespace diptych::bench {

// A segment, or a run by its first segment, as one number: ascending is oldest
// first, and within a session in the order of its time.
using RowId = int64_t;
constexpr int kSegmentBits = 16;
constexpr RowId MakeRowId(uint64_t session_number, uint32_t segment) {
  return static_cast<RowId>(session_number << kSegmentBits | segment);
}
// The smallest of sessions that begin in or after a second.
constexpr RowId FirstRowIdOf(int64_t second) {
  return static_cast<RowId>(static_cast<uint64_t>(second)
                            << (16 + kSegmentBits));
}

// Any of these tags, or with `negated` none of them.
struct Clause {
  std::vector<Tag> any;
  bool negated = false;
};

// What is asked of every system.
struct Question {
  enum class Kind { kSegments, kCountSessions, kCountByItem };

  Kind kind = Kind::kSegments;
  // All of them; the first is not negated.
  std::vector<Clause> clauses;
  // Sessions that begin in [from_s, to_s); 0 and 0: any.
  int64_t from_s = 0;
  int64_t to_s = 0;
  bool oldest_first = false;
  // Of kSegments.
  size_t limit = 0;
  // Rows strictly before it alone, newest first: the second page. 0: the first.
  RowId before = 0;

  bool in_window() const { return to_s > 0; }
  // In the language of the index.
  std::string Filter() const;
};

// In the order that was asked for: ids of segments; a number of sessions; or,
// of each item that occurs, in the item's order, item << 32 | sessions.
using Answer = std::vector<RowId>;

// One kind of question with many different parameters.
struct Shape {
  std::string name;
  std::vector<Question> questions;
};

// What people ask, with parameters as sessions have them. REQUIRES: count > 0.
std::vector<Shape> DrawShapes(const City& city, uint64_t seed, size_t count);

inline constexpr absl::string_view kSecondPage = "page 2";

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_QUESTION_H_
