#ifndef TESTS_TAG_INDEX_CATALOG_ASKER_H_
#define TESTS_TAG_INDEX_CATALOG_ASKER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "archiver/base/ids.h"
#include "proto/api/v1/catalog.pb.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {

// The index's API, in this process or over the wire.
struct CatalogDoor {
  std::function<absl::StatusOr<api::v1::ListSegmentsResponse>(
      const api::v1::ListSegmentsRequest&)>
      list_segments;
  std::function<absl::StatusOr<api::v1::ListSessionsResponse>(
      const api::v1::ListSessionsRequest&)>
      list_sessions;
  std::function<absl::StatusOr<api::v1::CountSessionsResponse>(
      const api::v1::CountSessionsRequest&)>
      count_sessions;
};

// Which session an id is of.
using SessionNumbers = absl::flat_hash_map<base::Uuid, uint64_t>;
SessionNumbers NumbersOf(const City& city);

// Asks through the API. An answer that says that it is not complete is an
// error. `numbers` must outlive it.
std::unique_ptr<Asker> NewCatalogAsker(std::string name, CatalogDoor door,
                                       const SessionNumbers* numbers);

// Over mutual TLS, as the auditor of DIR/profiles/auditor, with the daemon that
// DIR/run/audit.address names.
absl::StatusOr<CatalogDoor> OpenRemoteCatalog(const std::string& data_folder);

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_CATALOG_ASKER_H_
