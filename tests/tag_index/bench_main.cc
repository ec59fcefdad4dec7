// The parts of tests/bench/tag_index; it runs one after the other.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/status_macros.h"
#include "tests/tag_index/catalog_asker.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/city_feed.h"
#include "tests/tag_index/city_log.h"
#include "tests/tag_index/index_sizes.h"
#include "tests/tag_index/local_index.h"
#include "tests/tag_index/measure.h"
#include "tests/tag_index/postgres_system.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/search_asker.h"
#include "tests/tag_index/sqlite_system.h"
#include "tests/tag_index/sustained.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  City::Options city;
  size_t questions = 200;
  double budget_s = 20;
  // Each empty if it is not to be asked.
  std::string sqlite;
  std::string postgres;
  std::string archive;
  std::string remote;
  // Where the reference's answers lie from one part to the next.
  std::string answers;
  // For files in between.
  std::string scratch;
  // Of cold caches, and how many of the shapes, from the first.
  bool cold = false;
  size_t shapes = SIZE_MAX;
  // Of a log: how many of the city's sessions.
  uint64_t sessions = UINT64_MAX;
};

absl::Status Say(const Json& json) {
  std::cout << json.dump() << std::endl;
  return absl::OkStatus();
}

Json ToJson(const Timing& timing) {
  return {{"questions", timing.questions},
          {"p50_us", timing.p50_us},
          {"p99_us", timing.p99_us}};
}

double Since(absl::Time begun) {
  return absl::ToDoubleSeconds(absl::Now() - begun);
}

absl::Status LoadSqlite(const Options& options) {
  const absl::Time begun = absl::Now();
  RETURN_IF_ERROR(MakeSqlite(City(options.city), options.sqlite));
  ASSIGN_OR_RETURN(const SqliteSizes sizes, SizesOfSqlite(options.sqlite));
  return Say({{"seconds", Since(begun)},
              {"bytes",
               {{"rows per segment", sizes.segments_bytes},
                {"rows per run", sizes.runs_bytes}}}});
}

absl::Status LoadPostgres(const Options& options) {
  const absl::Time begun = absl::Now();
  RETURN_IF_ERROR(MakePostgres(City(options.city), options.postgres));
  ASSIGN_OR_RETURN(const auto sizes, SizesOfPostgres(options.postgres));
  return Say({{"seconds", Since(begun)}, {"bytes", sizes}});
}

absl::Status Fill(const Options& options) {
  const absl::Time begun = absl::Now();
  ASSIGN_OR_RETURN(
      const CityLogReport report,
      WriteCityLog(City(options.city), options.sessions, options.archive));
  return Say({{"seconds", Since(begun)},
              {"sessions", report.sessions},
              {"segments", report.segments},
              {"records", report.records},
              {"log_bytes", report.log_bytes}});
}

absl::Status Feed(const Options& options) {
  const absl::Time begun = absl::Now();
  ASSIGN_OR_RETURN(const auto index, LocalIndex::Open(options.archive));
  RETURN_IF_ERROR(FeedIndex(City(options.city), index->keys(), options.scratch,
                            index->store()));
  return Say({{"seconds", Since(begun)}});
}

absl::Status Sizes(const Options& options) {
  ASSIGN_OR_RETURN(const auto index, LocalIndex::Open(options.archive));
  ASSIGN_OR_RETURN(const IndexSizes sizes, MeasureSizes(index->store()));
  uint64_t all = 0;
  for (const auto& [family, bytes] : sizes.family_bytes) all += bytes;
  const auto share = [](uint64_t bytes, uint64_t count) {
    return static_cast<double>(bytes) /
           static_cast<double>(std::max<uint64_t>(1, count));
  };
  return Say({{"family_bytes", sizes.family_bytes},
              {"all_bytes", all},
              {"postings", sizes.postings},
              {"posting_blocks", sizes.posting_blocks},
              {"posting_block_bytes", sizes.posting_block_bytes},
              {"segments", index->state().segments()},
              {"bytes_per_posting",
               share(sizes.family_bytes.at("postings"), sizes.postings)},
              {"bytes_per_segment", share(all, index->state().segments())}});
}

absl::Status Sustain(const Options& options) {
  const City city(options.city);
  const std::vector<Shape> shapes =
      DrawShapes(city, options.city.seed + 1, options.questions);
  ASSIGN_OR_RETURN(const SustainedReport report,
                   MeasureSustained(options.archive, shapes.front()));
  return Say({{"shape", shapes.front().name},
              {"idle", ToJson(report.idle)},
              {"busy", ToJson(report.busy)},
              {"segments", report.segments},
              {"seconds", report.seconds},
              {"segments_per_s",
               static_cast<double>(report.segments) / report.seconds}});
}

// Shapes with what SQLite's plain statement answers, which is kept in a file:
// the other parts need not have SQLite's files any more.
struct Asked {
  std::vector<Shape> shapes;
  std::vector<std::vector<Answer>> answers;
};

absl::Status WriteAnswers(const Asked& asked, const std::string& path) {
  Json json = Json::array();
  for (size_t i = 0; i < asked.shapes.size(); ++i) {
    Json before = Json::array();
    for (const Question& question : asked.shapes[i].questions) {
      before.push_back(question.before);
    }
    json.push_back({{"before", before}, {"answers", asked.answers[i]}});
  }
  std::ofstream(path) << json.dump();
  return absl::OkStatus();
}

// The questions follow from the seed; where second pages begin does not.
absl::StatusOr<Asked> ReadAnswers(const Options& options, const City& city) {
  Asked asked;
  asked.shapes = DrawShapes(city, options.city.seed + 1, options.questions);
  std::ifstream file(options.answers);
  const Json json = Json::parse(file, nullptr, false);
  if (json.is_discarded() || json.size() != asked.shapes.size()) {
    return absl::NotFoundError(absl::StrCat("no answers in ", options.answers));
  }
  for (size_t i = 0; i < asked.shapes.size(); ++i) {
    asked.answers.push_back(json[i]["answers"].get<std::vector<Answer>>());
    const auto before = json[i]["before"].get<std::vector<RowId>>();
    std::vector<Question>& questions = asked.shapes[i].questions;
    if (before.size() != questions.size()) {
      return absl::FailedPreconditionError(
          absl::StrCat(options.answers, " answers other questions"));
    }
    for (size_t k = 0; k < before.size(); ++k) questions[k].before = before[k];
  }
  return asked;
}

absl::Status MakeAnswers(const Options& options) {
  const City city(options.city);
  Asked asked;
  asked.shapes = DrawShapes(city, options.city.seed + 1, options.questions);
  ASSIGN_OR_RETURN(const auto askers, SqliteAskers(options.sqlite));
  Json rows;
  for (Shape& shape : asked.shapes) {
    ASSIGN_OR_RETURN(asked.answers.emplace_back(),
                     ReferenceAnswers(askers.front().get(), &shape));
    size_t all = 0;
    for (const Answer& answer : asked.answers.back()) {
      const bool count =
          shape.questions.front().kind == Question::Kind::kCountSessions;
      all += count ? static_cast<size_t>(answer.front()) : answer.size();
    }
    rows[shape.name] = static_cast<double>(all) /
                       static_cast<double>(asked.answers.back().size());
  }
  RETURN_IF_ERROR(WriteAnswers(asked, options.answers));
  return Say({{"mean_rows", rows}});
}

// All ways to ask that the options name, and what must outlive them.
struct Ways {
  SessionNumbers numbers;
  std::unique_ptr<LocalIndex> index;
  std::vector<std::unique_ptr<Asker>> askers;

  void Add(std::vector<std::unique_ptr<Asker>> more) {
    for (auto& asker : more) askers.push_back(std::move(asker));
  }
};

absl::Status OpenWays(const Options& options, const City& city, Ways* ways) {
  if (!options.sqlite.empty()) {
    ASSIGN_OR_RETURN(auto sqlite, SqliteAskers(options.sqlite));
    ways->Add(std::move(sqlite));
  }
  if (!options.postgres.empty()) {
    ASSIGN_OR_RETURN(auto postgres, PostgresAskers(options.postgres));
    ways->Add(std::move(postgres));
  }
  if (options.archive.empty() && options.remote.empty()) {
    return absl::OkStatus();
  }
  ways->numbers = NumbersOf(city);
  if (!options.archive.empty()) {
    ASSIGN_OR_RETURN(ways->index, LocalIndex::Open(options.archive));
    ways->askers.push_back(NewSearchAsker(ways->index.get()));
    ways->askers.push_back(NewCatalogAsker(
        "Catalog in process", ways->index->door(), &ways->numbers));
  }
  if (!options.remote.empty()) {
    ASSIGN_OR_RETURN(CatalogDoor door, OpenRemoteCatalog(options.remote));
    ways->askers.push_back(
        NewCatalogAsker("over gRPC with TLS", std::move(door), &ways->numbers));
  }
  return absl::OkStatus();
}

// The last way's own answers, for a city that no other system has.
absl::StatusOr<Asked> AskItself(const Options& options, const City& city,
                                const Ways& ways) {
  Asked asked;
  asked.shapes = DrawShapes(city, options.city.seed + 1, options.questions);
  for (Shape& shape : asked.shapes) {
    ASSIGN_OR_RETURN(asked.answers.emplace_back(),
                     ReferenceAnswers(ways.askers.back().get(), &shape));
  }
  return asked;
}

absl::Status AskAll(const Options& options) {
  const City city(options.city);
  Ways ways;
  RETURN_IF_ERROR(OpenWays(options, city, &ways));
  if (ways.askers.empty()) return absl::InvalidArgumentError("nobody to ask");
  ASSIGN_OR_RETURN(const Asked asked, options.answers.empty()
                                          ? AskItself(options, city, ways)
                                          : ReadAnswers(options, city));
  const absl::Duration budget = absl::Seconds(options.budget_s);
  for (size_t i = 0; i < std::min(options.shapes, asked.shapes.size()); ++i) {
    for (const auto& asker : ways.askers) {
      const absl::StatusOr<Timing> timing =
          options.cold
              ? MeasureFirst(asker.get(), asked.shapes[i], asked.answers[i],
                             budget)
              : Measure(asker.get(), asked.shapes[i], asked.answers[i], budget);
      if (absl::IsUnimplemented(timing.status())) continue;
      RETURN_IF_ERROR(timing.status());
      RETURN_IF_ERROR(Say({{"shape", asked.shapes[i].name},
                           {"way", asker->name()},
                           {"timing", ToJson(*timing)}}));
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("The parts of tests/bench/tag_index");
  app.require_subcommand(1);
  Options options;
  std::vector<std::pair<CLI::App*, std::function<absl::Status(const Options&)>>>
      parts;
  const auto add = [&](const char* name, const char* what,
                       std::function<absl::Status(const Options&)> part) {
    CLI::App* const command = app.add_subcommand(name, what);
    command->add_option("--segments", options.city.segments);
    command->add_option("--seed", options.city.seed);
    command->add_option("--questions", options.questions);
    command->add_option("--budget_s", options.budget_s);
    command->add_option("--sqlite", options.sqlite);
    command->add_option("--postgres", options.postgres);
    command->add_option("--archive", options.archive);
    command->add_option("--remote", options.remote);
    command->add_option("--answers", options.answers);
    command->add_option("--scratch", options.scratch);
    command->add_option("--shapes", options.shapes);
    command->add_option("--sessions", options.sessions);
    command->add_option("--year", options.city.year);
    command->add_flag("--cold", options.cold);
    parts.emplace_back(command, std::move(part));
  };
  add("fill", "writes a city's log into an archive", Fill);
  add("feed", "makes an archive's index without a log", Feed);
  add("sizes", "compacts an archive's index and measures it", Sizes);
  add("sustain", "asks while an index takes in what its log has more", Sustain);
  add("load-sqlite", "fills a folder with SQLite's databases", LoadSqlite);
  add("load-postgres", "fills a PostgreSQL database", LoadPostgres);
  add("answers", "keeps what SQLite answers", MakeAnswers);
  add("ask", "asks, compares and takes the time", AskAll);
  CLI11_PARSE(app, argc, argv);
  for (const auto& [command, part] : parts) {
    if (!command->parsed()) continue;
    const absl::Status status = part(options);
    if (status.ok()) return 0;
    std::cerr << status << std::endl;
  }
  return 1;
}

}  // namespace
}  // namespace diptych::bench

int main(int argc, char** argv) { return diptych::bench::Main(argc, argv); }
