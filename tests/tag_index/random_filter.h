#ifndef TESTS_TAG_INDEX_RANDOM_FILTER_H_
#define TESTS_TAG_INDEX_RANDOM_FILTER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/tag_index/city.h"
#include "tests/tag_index/city_model.h"

namespace diptych::bench {

// One filter in three languages.
struct RandomFilter {
  // Of the index.
  std::string text;
  // A condition over a row `s` of CityModel's table `run`.
  std::string sql;
  // Of C++: whether a session's segment matches.
  std::function<bool(const ModelSession&, size_t)> matches;
};

// A tree of all the operators there are, with values that sessions have.
// REQUIRES: the model has a session.
RandomFilter MakeRandomFilter(Chance* chance, const CityModel& model);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_RANDOM_FILTER_H_
