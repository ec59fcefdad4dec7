#ifndef TESTS_TAG_INDEX_LOCAL_INDEX_H_
#define TESTS_TAG_INDEX_LOCAL_INDEX_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/index_builder.h"
#include "indexer/store/index_store.h"
#include "tests/tag_index/catalog_asker.h"

namespace diptych::bench {

// An archive's index in this process, without a daemon: what an answer costs
// before anything of the wire or of access records. Asks are not written down.
// REQUIRES: nobody else has the index open.
class LocalIndex {
 public:
  virtual ~LocalIndex() = default;

  // Of `data_folder`, whose keys lie in `data_folder`.keys, not encrypted.
  static absl::StatusOr<std::unique_ptr<LocalIndex>> Open(
      const std::string& data_folder);

  virtual CatalogDoor door() = 0;
  // Takes in everything before `end`, which must be durable. DEADLINE_EXCEEDED
  // if that takes ten minutes.
  virtual absl::Status CatchUp(log::Position end) = 0;
  virtual indexer::IndexDatabase* store() = 0;
  virtual const seal::IndexKeys& keys() const = 0;
  // Where the index stood when it was opened.
  virtual const stored::v1::IndexState& state() const = 0;
};

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_LOCAL_INDEX_H_
