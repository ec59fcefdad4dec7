#ifndef TESTS_TAG_INDEX_GROWING_ARCHIVE_H_
#define TESTS_TAG_INDEX_GROWING_ARCHIVE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/file.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "tests/tag_index/city_log.h"
#include "tests/tag_index/local_index.h"

namespace diptych::bench {

// A small archive with its index, to which sessions are added, whole or in
// parts, while it is asked. Nothing is synced.
class GrowingArchive {
 public:
  // Makes it in a folder that is not there.
  static absl::StatusOr<std::unique_ptr<GrowingArchive>> Make(
      const std::string& data_folder);

  const stored::v1::ArchiveConfig& config() const { return config_; }
  LocalIndex* index() { return index_.get(); }

  // Appends records [from, to) of a session, as one batch, and the wraps of its
  // keys before the first.
  absl::Status Append(const SessionRecords& session, size_t from, size_t to);
  // Brings the index up to the log's end.
  absl::Status CatchUp();

 private:
  GrowingArchive() = default;

  stored::v1::ArchiveConfig config_;
  std::unique_ptr<base::FileSystem> files_;
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<log::LogStore> key_store_;
  std::unique_ptr<LocalIndex> index_;
};

}  // namespace diptych::bench

#endif  // TESTS_TAG_INDEX_GROWING_ARCHIVE_H_
