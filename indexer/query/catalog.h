#ifndef INDEXER_QUERY_CATALOG_H_
#define INDEXER_QUERY_CATALOG_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/clock.h"
#include "archiver/base/limits.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/access/access_recorder.h"
#include "indexer/builder/log_follower.h"
#include "indexer/query/match_walker.h"
#include "indexer/query/page_token.h"
#include "indexer/query/past_sessions.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// Who asks.
struct Caller {
  // The certificate's URI.
  std::string principal;
  // True once nobody waits for the answer any more. May be empty.
  std::function<bool()> cancelled;
};

// Answers questions about sessions. What is asked is checked first, then
// written down; without its access record durable nothing is answered. An
// answer that may lack something that was durable when it was asked for says
// so. Thread-safe.
class Catalog {
 public:
  // All must outlive it.
  struct Options {
    const IndexStore* store = nullptr;
    const seal::IndexKeys* keys = nullptr;
    LogFollower* follower = nullptr;
    AccessRecorder* access = nullptr;
    base::Clock* clock = nullptr;
    // What one question may cost.
    uint64_t max_query_cost = limits::kMaxQueryCost;
    // How far a new index is that is being made; nullopt if none is. May be
    // empty.
    std::function<std::optional<api::v1::RebuildProgress>()> rebuild;
    // Why the index can't answer in full whatever it has seen; empty if it can.
    // May be empty.
    std::function<std::string()> trouble;
  };

  explicit Catalog(Options options) : options_(std::move(options)) {}

  absl::StatusOr<api::v1::ListSessionsResponse> ListSessions(
      const api::v1::ListSessionsRequest& request, const Caller& caller);
  absl::StatusOr<api::v1::ListSegmentsResponse> ListSegments(
      const api::v1::ListSegmentsRequest& request, const Caller& caller);
  absl::StatusOr<api::v1::CountSessionsResponse> CountSessions(
      const api::v1::CountSessionsRequest& request, const Caller& caller);
  absl::StatusOr<api::v1::SummarizeResponse> Summarize(
      const api::v1::SummarizeRequest& request, const Caller& caller);
  absl::StatusOr<api::v1::GetSessionResponse> GetSession(
      const api::v1::GetSessionRequest& request, const Caller& caller);
  // Counts nothing that is not in the index's state, and so leaves no access
  // record.
  api::v1::GetIndexStatusResponse GetIndexStatus() const;

 private:
  // How much of the log an answer has seen.
  struct Sight {
    std::unique_ptr<IndexView> view;
    stored::v1::IndexState state;
    std::string incomplete_reason;
  };
  // A page that was asked for and may be answered.
  struct Page {
    Order order = Order::kNewestFirst;
    size_t size = 0;
    std::string context;
    PagePlace place;
    // True if it goes on at the place.
    bool continued = false;
    Sight sight;
    // What has changed since the answer's moment; nullptr on the first page.
    std::unique_ptr<PastSessions> past;
    std::unique_ptr<MatchWalker> walker;
    // What its rows come to on the wire.
    size_t bytes = 0;
  };

  template <typename Request>
  absl::StatusOr<Page> BeginPage(absl::string_view method,
                                 const Request& request, const Caller& caller);
  absl::Status FillPage(Page* page, api::v1::ListSessionsResponse* response);
  absl::Status FillPage(Page* page, api::v1::ListSegmentsResponse* response);
  // Counts the row in, unless the page has too many bytes then. A page has at
  // least one row, however large.
  template <typename Row>
  static bool HasRoomFor(const Row& row, Page* page);
  // Where the next page begins, and what this one lacks.
  template <typename Response>
  void EndPage(const Page& page, bool more, Response* response) const;
  absl::StatusOr<log::Position> RecordAccess(stored::v1::AccessRecord record,
                                             const Caller& caller);
  // Waits a little for the index to reach what is durable: `recorded`, where
  // the archive has just written the access down, and all that is known to be.
  absl::StatusOr<Sight> Look(log::Position recorded);

  const Options options_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_QUERY_CATALOG_H_
