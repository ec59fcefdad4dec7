#include "indexer/store/sorted_file.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/slice.h>
#include <rocksdb/sst_file_writer.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "indexer/store/family.h"
#include "indexer/store/index_options.h"
#include "indexer/store/rocks_generation.h"

namespace diptych::indexer {
namespace {

constexpr absl::string_view kWhat = "writing a sorted file of the index";

rocksdb::Slice ToSlice(absl::string_view text) {
  return rocksdb::Slice(text.data(), text.size());
}

}  // namespace

// RocksDB's writer, out of the header.
class SortedFileWriter::File {
 public:
  explicit File(Family family)
      : writer(rocksdb::EnvOptions(),
               rocksdb::Options(IndexStoreOptions(),
                                IndexFamilyOptions(family, nullptr))) {}

  rocksdb::SstFileWriter writer;
};

SortedFileWriter::SortedFileWriter(Family family, std::string path,
                                   uint64_t file_bytes)
    : family_(family), path_(std::move(path)), file_bytes_(file_bytes) {}

SortedFileWriter::~SortedFileWriter() = default;

absl::Status SortedFileWriter::Add(absl::string_view key,
                                   absl::string_view value) {
  if (file_ == nullptr) {
    file_ = std::make_unique<File>(family_);
    paths_.push_back(absl::StrCat(path_, ".", paths_.size(), ".sst"));
    RETURN_IF_ERROR(FromRocks(file_->writer.Open(paths_.back()), kWhat));
  }
  RETURN_IF_ERROR(
      FromRocks(file_->writer.Put(ToSlice(key), ToSlice(value)), kWhat));
  if (file_->writer.FileSize() < file_bytes_) return absl::OkStatus();
  return EndFile();
}

absl::Status SortedFileWriter::EndFile() {
  if (file_ == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(FromRocks(file_->writer.Finish(), kWhat));
  file_.reset();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SortedFileWriter::Finish() {
  RETURN_IF_ERROR(EndFile());
  return std::move(paths_);
}

}  // namespace diptych::indexer
