// Fills an archive that `diptych init` has made with a city's year:
//   make_city DIR SEGMENTS [SEED]
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/city_log.h"

int main(int argc, char** argv) {
  diptych::bench::City::Options options;
  if (argc < 3 || argc > 4 || !absl::SimpleAtoi(argv[2], &options.segments) ||
      (argc == 4 && !absl::SimpleAtoi(argv[3], &options.seed))) {
    std::cerr << "usage: make_city DIR SEGMENTS [SEED]\n";
    return 2;
  }
  const absl::Time start = absl::Now();
  const auto report = diptych::bench::WriteCityLog(
      diptych::bench::City(options), argv[1], nullptr);
  if (!report.ok()) {
    std::cerr << report.status().message() << "\n";
    return 1;
  }
  std::cout << "{\"sessions\": " << report->sessions
            << ", \"segments\": " << report->segments
            << ", \"records\": " << report->records
            << ", \"log_bytes\": " << report->log_bytes
            << ", \"seconds\": " << absl::ToDoubleSeconds(absl::Now() - start)
            << "}\n";
  return 0;
}
