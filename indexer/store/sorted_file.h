#ifndef INDEXER_STORE_SORTED_FILE_H_
#define INDEXER_STORE_SORTED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "indexer/store/family.h"

namespace diptych::indexer {

// Writes rows of one family, in ascending order, into files that a generation
// takes in (IndexGeneration::Ingest). Not thread-safe.
class SortedFileWriter {
 public:
  // Files are `path` with a number behind it, of about `file_bytes` each.
  SortedFileWriter(Family family, std::string path, uint64_t file_bytes);
  // Files that were not finished stay where they are.
  ~SortedFileWriter();
  SortedFileWriter(const SortedFileWriter&) = delete;
  SortedFileWriter& operator=(const SortedFileWriter&) = delete;

  // REQUIRES: the key is larger than all before.
  absl::Status Add(absl::string_view key, absl::string_view value);

  // Ends the last file and names all. Nothing may be added after it.
  absl::StatusOr<std::vector<std::string>> Finish();

 private:
  class File;

  absl::Status EndFile();

  const Family family_;
  const std::string path_;
  const uint64_t file_bytes_;
  std::unique_ptr<File> file_;
  std::vector<std::string> paths_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_SORTED_FILE_H_
