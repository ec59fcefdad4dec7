#include "archiver/base/unsynced_file.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/file.h"
#include "archiver/base/status_macros.h"

namespace diptych::base {
namespace {

class UnsyncedFile final : public AppendFile {
 public:
  explicit UnsyncedFile(std::unique_ptr<AppendFile> file)
      : file_(std::move(file)) {}
  absl::StatusOr<uint64_t> Reserve(uint64_t) override { return size(); }
  absl::Status ReleaseReserved() override { return absl::OkStatus(); }
  absl::Status CutTo(uint64_t size_bytes) override {
    return file_->CutTo(size_bytes);
  }
  absl::Status Append(absl::Span<const absl::string_view> pieces) override {
    return file_->Append(pieces);
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  uint64_t size() const override { return file_->size(); }

 private:
  const std::unique_ptr<AppendFile> file_;
};

class UnsyncedFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(
      const std::string& path) override {
    ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file,
                     real_->OpenForAppend(path));
    return std::make_unique<UnsyncedFile>(std::move(file));
  }
  absl::StatusOr<std::unique_ptr<ReadFile>> OpenForRead(
      const std::string& path) override {
    return real_->OpenForRead(path);
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override {
    return real_->List(directory);
  }
  absl::Status CreateDirectory(const std::string& path) override {
    return real_->CreateDirectory(path);
  }
  absl::Status SyncDirectory(const std::string&) override {
    return absl::OkStatus();
  }
  absl::Status Truncate(const std::string& path, uint64_t size) override {
    return real_->Truncate(path, size);
  }
  absl::Status WriteFile(const std::string& path,
                         absl::string_view content) override {
    return real_->WriteFile(path, content);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return real_->Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    return real_->Remove(path);
  }
  absl::StatusOr<DiskSpace> Space(const std::string& path) override {
    return real_->Space(path);
  }

 private:
  FileSystem* const real_ = FileSystem::Real();
};

}  // namespace

std::unique_ptr<FileSystem> NewUnsyncedFileSystem() {
  return std::make_unique<UnsyncedFileSystem>();
}

}  // namespace diptych::base
