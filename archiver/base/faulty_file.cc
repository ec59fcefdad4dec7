#include "archiver/base/faulty_file.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "archiver/base/file.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"

namespace diptych::base {
namespace {

constexpr size_t kSector_bytes = 512;
constexpr uint64_t kTotal_bytes = uint64_t{1} << 40;

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status NoSpace(absl::string_view path) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot write ", path, ": No space left on device"));
}

absl::Status IoError(absl::string_view path) {
  return absl::DataLossError(
      absl::StrCat("cannot use ", path, ": Input/output error"));
}

}  // namespace

class FaultyAppendFile final : public AppendFile {
 public:
  FaultyAppendFile(FaultyFileSystem* system, std::string path,
                   std::shared_ptr<FaultyFileSystem::File> file,
                   uint64_t size_bytes)
      : system_(system),
        path_(std::move(path)),
        file_(std::move(file)),
        size_bytes_(size_bytes) {}

  absl::StatusOr<uint64_t> Reserve(uint64_t end_bytes) override {
    MutexLock lock(&system_->mutex_);
    RETURN_IF_ERROR(
        system_->Count(FaultyFileSystem::Operation::kReserve, path_));
    if (!system_->can_reserve_) return size_bytes_;
    const uint64_t taken =
        std::max<uint64_t>(file_->reserved_bytes, file_->cache.size());
    if (end_bytes > taken && !system_->TakeSpace(end_bytes - taken)) {
      return NoSpace(path_);
    }
    file_->reserved_bytes = std::max(file_->reserved_bytes, end_bytes);
    return end_bytes;
  }

  absl::Status ReleaseReserved() override {
    MutexLock lock(&system_->mutex_);
    return system_->SetSize(path_, file_.get(), size_bytes_);
  }

  absl::Status Append(absl::Span<const absl::string_view> pieces) override {
    std::string bytes;
    for (const absl::string_view piece : pieces) absl::StrAppend(&bytes, piece);
    MutexLock lock(&system_->mutex_);
    const absl::Status status = system_->Write(path_, file_.get(), bytes);
    size_bytes_ = file_->cache.size();
    return status;
  }

  absl::Status CutTo(uint64_t size_bytes) override {
    MutexLock lock(&system_->mutex_);
    RETURN_IF_ERROR(system_->SetSize(path_, file_.get(), size_bytes));
    size_bytes_ = size_bytes;
    return system_->Sync(path_, file_.get());
  }

  absl::Status Sync() override {
    MutexLock lock(&system_->mutex_);
    return system_->Sync(path_, file_.get());
  }

  uint64_t size() const override { return size_bytes_; }

 private:
  FaultyFileSystem* const system_;
  const std::string path_;
  const std::shared_ptr<FaultyFileSystem::File> file_;
  uint64_t size_bytes_;
};

class FaultyReadFile final : public ReadFile {
 public:
  FaultyReadFile(FaultyFileSystem* system,
                 std::shared_ptr<FaultyFileSystem::File> file)
      : system_(system), file_(std::move(file)) {}

  absl::Status Read(uint64_t offset, size_t size, std::string* out) override {
    MutexLock lock(&system_->mutex_);
    RETURN_IF_ERROR(system_->CheckPower());
    const std::string& cache = file_->cache;
    *out = offset < cache.size() ? cache.substr(offset, size) : "";
    const std::optional<uint64_t> flip = system_->flip_on_read_;
    if (flip.has_value() && *flip >= offset && *flip < offset + out->size()) {
      (*out)[*flip - offset] ^= 1;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    MutexLock lock(&system_->mutex_);
    RETURN_IF_ERROR(system_->CheckPower());
    return file_->cache.size();
  }

 private:
  FaultyFileSystem* const system_;
  const std::shared_ptr<FaultyFileSystem::File> file_;
};

FaultyFileSystem::FaultyFileSystem(std::string root) : root_(std::move(root)) {
  MutexLock lock(&mutex_);
  nodes_[root_] = {.file = nullptr, .name_is_durable = true};
}

FaultyFileSystem::~FaultyFileSystem() = default;

void FaultyFileSystem::CutPowerAt(uint64_t number) {
  MutexLock lock(&mutex_);
  cut_at_ = number;
}

bool FaultyFileSystem::power_is_off() const {
  MutexLock lock(&mutex_);
  return off_;
}

std::unique_ptr<FaultyFileSystem> FaultyFileSystem::Reboot(
    Loss loss, uint64_t seed) const {
  auto after = std::make_unique<FaultyFileSystem>(root_);
  std::mt19937_64 random(seed);
  MutexLock lock(&mutex_);
  MutexLock after_lock(&after->mutex_);
  std::map<std::string, Node> names = nodes_;
  for (const auto& [path, node] : replaced_) names.try_emplace(path);
  // A folder comes before what is in it, so that nothing outlives its folder.
  for (const auto& [path, latest] : names) {
    if (path == root_) continue;
    const auto parent = after->nodes_.find(Parent(path));
    if (parent == after->nodes_.end()) continue;
    const bool lucky =
        loss == Loss::kNone || (loss != Loss::kAll && random() % 2 == 0);
    const auto before = replaced_.find(path);
    const bool is_there = nodes_.contains(path);
    if (before == replaced_.end() ? !latest.name_is_durable && !lucky
                                  : lucky && !is_there) {
      continue;
    }
    const bool as_before =
        before != replaced_.end() && !latest.name_is_durable && !lucky;
    const Node& node = as_before ? before->second : latest;
    Node& kept = after->nodes_[path];
    kept.name_is_durable = true;
    if (node.file == nullptr) continue;
    const std::string& cache = node.file->cache;
    const std::string& disk = node.file->disk;
    const size_t alike = node.file->alike_bytes;
    std::string content = disk;
    if (loss == Loss::kNone) {
      content = cache;
    } else if (loss == Loss::kTail && cache.size() > alike) {
      content = cache.substr(0, alike + random() % (cache.size() - alike + 1));
    } else if (loss == Loss::kSectors &&
               (cache.size() > alike || disk.size() > alike)) {
      const size_t low = std::min(cache.size(), disk.size());
      const size_t high = std::max(cache.size(), disk.size());
      const size_t size = low + random() % (high - low + 1);
      content = disk;
      content.resize(size, '\0');
      for (size_t sector = alike / kSector_bytes * kSector_bytes; sector < size;
           sector += kSector_bytes) {
        if (random() % 2 == 0) continue;
        const size_t end = std::min(
            {sector + kSector_bytes, size, std::max(cache.size(), sector)});
        for (size_t i = sector; i < end; ++i) content[i] = cache[i];
      }
    }
    kept.file = std::make_shared<File>();
    kept.file->cache = kept.file->disk = content;
    kept.file->alike_bytes = content.size();
    kept.file->reserved_bytes = node.file->reserved_bytes;
  }
  return after;
}

void FaultyFileSystem::FailAt(uint64_t number, Fault fault) {
  MutexLock lock(&mutex_);
  faults_[number] = fault;
}

void FaultyFileSystem::ClearFaults() {
  MutexLock lock(&mutex_);
  faults_.clear();
}

void FaultyFileSystem::SetFreeBytes(uint64_t bytes) {
  MutexLock lock(&mutex_);
  free_bytes_ = bytes;
}

void FaultyFileSystem::SetCanReserve(bool can) {
  MutexLock lock(&mutex_);
  can_reserve_ = can;
}

void FaultyFileSystem::HoldSyncs() {
  MutexLock lock(&mutex_);
  hold_syncs_ = true;
}

void FaultyFileSystem::LetSyncsGo() {
  MutexLock lock(&mutex_);
  hold_syncs_ = false;
  syncs_changed_.NotifyAll();
}

bool FaultyFileSystem::WaitForHeldSync(absl::Duration timeout) {
  MutexLock lock(&mutex_);
  while (held_syncs_ == 0) {
    if (!syncs_changed_.WaitWithTimeout(&mutex_, timeout)) return false;
  }
  return true;
}

void FaultyFileSystem::SetSyncDelay(absl::Duration delay) {
  MutexLock lock(&mutex_);
  sync_delay_ = delay;
}

void FaultyFileSystem::FlipBit(const std::string& path, uint64_t offset,
                               int bit) {
  MutexLock lock(&mutex_);
  File& file = *nodes_.at(path).file;
  file.cache.at(offset) ^= static_cast<char>(1 << bit);
  if (offset < file.disk.size()) {
    file.disk[offset] ^= static_cast<char>(1 << bit);
  }
}

void FaultyFileSystem::FlipBitOnRead(std::optional<uint64_t> offset) {
  MutexLock lock(&mutex_);
  flip_on_read_ = offset;
}

uint64_t FaultyFileSystem::operations() const {
  MutexLock lock(&mutex_);
  return history_.size();
}

std::vector<FaultyFileSystem::Operation> FaultyFileSystem::history() const {
  MutexLock lock(&mutex_);
  return history_;
}

std::optional<std::string> FaultyFileSystem::Content(
    const std::string& path) const {
  MutexLock lock(&mutex_);
  const auto file = FindFile(path);
  if (!file.ok()) return std::nullopt;
  return (*file)->cache;
}

uint64_t FaultyFileSystem::TakenBytes(const std::string& path) const {
  MutexLock lock(&mutex_);
  const auto file = FindFile(path);
  if (!file.ok()) return 0;
  return std::max<uint64_t>((*file)->cache.size(), (*file)->reserved_bytes);
}

absl::StatusOr<std::unique_ptr<AppendFile>> FaultyFileSystem::OpenForAppend(
    const std::string& path) {
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(std::shared_ptr<File> file, FindOrCreate(path));
  const uint64_t size_bytes = file->cache.size();
  return std::make_unique<FaultyAppendFile>(this, path, std::move(file),
                                            size_bytes);
}

absl::StatusOr<std::unique_ptr<ReadFile>> FaultyFileSystem::OpenForRead(
    const std::string& path) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  ASSIGN_OR_RETURN(std::shared_ptr<File> file, FindFile(path));
  return std::make_unique<FaultyReadFile>(this, std::move(file));
}

absl::StatusOr<std::vector<std::string>> FaultyFileSystem::List(
    const std::string& directory) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  if (!nodes_.contains(directory)) {
    return absl::NotFoundError(absl::StrCat("cannot list ", directory));
  }
  std::vector<std::string> names;
  for (const auto& [path, node] : nodes_) {
    if (path != directory && Parent(path) == directory) {
      names.push_back(path.substr(path.rfind('/') + 1));
    }
  }
  return names;
}

absl::Status FaultyFileSystem::CreateDirectory(const std::string& path) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  std::vector<std::string> missing;
  for (std::string each = path; !nodes_.contains(each); each = Parent(each)) {
    missing.push_back(each);
  }
  for (auto each = missing.rbegin(); each != missing.rend(); ++each) {
    const absl::Status status = Count(Operation::kMakeDirectory, *each);
    if (status.ok() || cut_now_) nodes_[*each] = Node();
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& path) {
  MutexLock lock(&mutex_);
  return SyncDirectoryLocked(path);
}

absl::Status FaultyFileSystem::Truncate(const std::string& path,
                                        uint64_t size) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, FindFile(path));
  RETURN_IF_ERROR(SetSize(path, file.get(), size));
  return Sync(path, file.get());
}

absl::Status FaultyFileSystem::WriteFile(const std::string& path,
                                         absl::string_view content) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  if (nodes_.contains(path)) {
    return absl::AlreadyExistsError(absl::StrCat("cannot create ", path));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, FindOrCreate(path));
  RETURN_IF_ERROR(Write(path, file.get(), content));
  RETURN_IF_ERROR(Sync(path, file.get()));
  return SyncDirectoryLocked(Parent(path));
}

absl::Status FaultyFileSystem::Rename(const std::string& from,
                                      const std::string& to) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, FindFile(from));
  if (!nodes_.contains(Parent(to))) {
    return absl::NotFoundError(absl::StrCat("cannot name ", to));
  }
  const absl::Status status = Count(Operation::kRename, to);
  if (status.ok() || cut_now_) {
    ForgetName(from);
    ForgetName(to);
    // The bytes have only changed hands.
    if (free_bytes_.has_value()) *free_bytes_ -= file->cache.size();
    nodes_[to] = {.file = file, .name_is_durable = false};
  }
  return status;
}

absl::Status FaultyFileSystem::Remove(const std::string& path) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) {
    return absl::NotFoundError(absl::StrCat("cannot remove ", path));
  }
  for (const auto& [each, node] : nodes_) {
    if (each != path && Parent(each) == path) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot remove ", path, ": it is not empty"));
    }
  }
  const absl::Status status = Count(Operation::kRemove, path);
  if (status.ok() || cut_now_) {
    ForgetName(path);
  }
  return status;
}

void FaultyFileSystem::ForgetName(const std::string& path) {
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) return;
  if (const File* file = found->second.file.get()) {
    GiveSpace(std::max<uint64_t>(file->reserved_bytes, file->cache.size()));
  }
  if (found->second.name_is_durable) {
    replaced_.try_emplace(path, found->second);
  }
  nodes_.erase(found);
}

absl::StatusOr<DiskSpace> FaultyFileSystem::Space(const std::string&) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckPower());
  return DiskSpace{.free_bytes = free_bytes_.value_or(kTotal_bytes),
                   .total_bytes = kTotal_bytes};
}

absl::Status FaultyFileSystem::CheckPower() const {
  if (off_) return absl::UnavailableError("the power is off");
  return absl::OkStatus();
}

absl::Status FaultyFileSystem::Count(Operation operation,
                                     const std::string& path,
                                     bool* short_write) {
  cut_now_ = false;
  RETURN_IF_ERROR(CheckPower());
  history_.push_back(operation);
  if (history_.size() >= cut_at_) {
    off_ = cut_now_ = true;
    return CheckPower();
  }
  const auto fault = faults_.find(history_.size());
  if (fault == faults_.end()) return absl::OkStatus();
  const Fault kind = fault->second;
  if (short_write != nullptr) {
    *short_write = kind == Fault::kShortNoSpace || kind == Fault::kShortIoError;
  }
  return kind == Fault::kNoSpace || kind == Fault::kShortNoSpace
             ? NoSpace(path)
             : IoError(path);
}

absl::StatusOr<std::shared_ptr<FaultyFileSystem::File>>
FaultyFileSystem::FindFile(const std::string& path) const {
  const auto found = nodes_.find(path);
  if (found == nodes_.end() || found->second.file == nullptr) {
    return absl::NotFoundError(absl::StrCat("cannot open ", path));
  }
  return found->second.file;
}

absl::StatusOr<std::shared_ptr<FaultyFileSystem::File>>
FaultyFileSystem::FindOrCreate(const std::string& path) {
  RETURN_IF_ERROR(CheckPower());
  if (nodes_.contains(path)) return FindFile(path);
  if (!nodes_.contains(Parent(path))) {
    return absl::NotFoundError(absl::StrCat("cannot open ", path));
  }
  const absl::Status status = Count(Operation::kCreate, path);
  if (status.ok() || cut_now_) {
    nodes_[path] = {.file = std::make_shared<File>(), .name_is_durable = false};
  }
  RETURN_IF_ERROR(status);
  return FindFile(path);
}

absl::Status FaultyFileSystem::Write(const std::string& path, File* file,
                                     absl::string_view bytes) {
  bool short_write = false;
  const absl::Status status = Count(Operation::kWrite, path, &short_write);
  if (!status.ok() && !cut_now_) {
    if (short_write)
      absl::StrAppend(&file->cache, bytes.substr(0, bytes.size() / 2));
    return status;
  }
  const uint64_t end = file->cache.size() + bytes.size();
  const uint64_t taken =
      std::max<uint64_t>(file->reserved_bytes, file->cache.size());
  if (end > taken && !TakeSpace(end - taken)) {
    // As much as there is room for.
    const uint64_t fits = taken - file->cache.size() + *free_bytes_;
    free_bytes_ = 0;
    absl::StrAppend(&file->cache, bytes.substr(0, fits));
    return NoSpace(path);
  }
  absl::StrAppend(&file->cache, bytes);
  return status;
}

absl::Status FaultyFileSystem::SetSize(const std::string& path, File* file,
                                       uint64_t size) {
  const absl::Status status = Count(Operation::kTruncate, path);
  if (!status.ok() && !cut_now_) return status;
  GiveSpace(std::max<uint64_t>(file->reserved_bytes, file->cache.size()) -
            size);
  file->reserved_bytes = 0;
  file->alike_bytes = std::min<size_t>(file->alike_bytes, size);
  file->cache.resize(size, '\0');
  return status;
}

absl::Status FaultyFileSystem::Sync(const std::string& path, File* file) {
  RETURN_IF_ERROR(Count(Operation::kSync, path));
  if (sync_delay_ > absl::ZeroDuration()) {
    CondVar nobody;
    nobody.WaitWithTimeout(&mutex_, sync_delay_);
  }
  while (hold_syncs_) {
    ++held_syncs_;
    syncs_changed_.NotifyAll();
    syncs_changed_.Wait(&mutex_);
    --held_syncs_;
  }
  RETURN_IF_ERROR(CheckPower());
  file->disk = file->cache;
  file->alike_bytes = file->cache.size();
  return absl::OkStatus();
}

absl::Status FaultyFileSystem::SyncDirectoryLocked(const std::string& path) {
  RETURN_IF_ERROR(Count(Operation::kSyncDirectory, path));
  if (!nodes_.contains(path)) {
    return absl::NotFoundError(absl::StrCat("cannot open folder ", path));
  }
  for (auto& [each, node] : nodes_) {
    if (each != root_ && Parent(each) == path) node.name_is_durable = true;
  }
  std::erase_if(replaced_, [&path](const auto& each) {
    return Parent(each.first) == path;
  });
  return absl::OkStatus();
}

bool FaultyFileSystem::TakeSpace(uint64_t bytes) {
  if (!free_bytes_.has_value()) return true;
  if (*free_bytes_ < bytes) return false;
  *free_bytes_ -= bytes;
  return true;
}

void FaultyFileSystem::GiveSpace(uint64_t bytes) {
  if (free_bytes_.has_value()) *free_bytes_ += bytes;
}

}  // namespace diptych::base
