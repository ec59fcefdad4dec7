#include "tools/gateway/spool.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "tools/gateway/spool_records.h"

namespace diptych::gateway {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kMagic = "DPTYSPL1";
constexpr size_t kHeader_bytes = 8 + kSpoolSalt_bytes + kSpoolTag_bytes;
constexpr char kSuffix[] = ".spool";
constexpr char kKeyFile[] = "spool.key";
constexpr char kLockFile[] = "lock";

std::string FolderName(const base::Uuid& session_id,
                       const std::vector<api::v1::OpenSide>& sides) {
  std::string name = absl::StrCat(session_id.ToString(), "-");
  for (const auto side : {api::v1::SIDE_RESIDENT, api::v1::SIDE_CLERK}) {
    for (const api::v1::OpenSide& open : sides) {
      if (open.side() != side) continue;
      name += side == api::v1::SIDE_RESIDENT ? "r" : "c";
      break;
    }
  }
  return name;
}

absl::Status Protect(const std::string& path, fs::perms mode) {
  std::error_code error;
  fs::permissions(path, mode, error);
  if (!error) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("can't protect ", path, ": ", error.message()));
}

absl::Status MakeFolder(const SpoolOptions& options, const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return absl::OkStatus();
  RETURN_IF_ERROR(options.files->CreateDirectory(path));
  return Protect(path, fs::perms::owner_all);
}

std::string Length(size_t size) {
  std::string text(4, '\0');
  for (int i = 0; i < 4; ++i) text[i] = static_cast<char>(size >> (8 * i));
  return text;
}

}  // namespace

// Whole blocks of a file, one after the other.
class Spool::BlockReader {
 public:
  // DATA_LOSS if it is no file of a spool, FAILED_PRECONDITION if the key is
  // another one.
  static absl::StatusOr<std::unique_ptr<BlockReader>> Open(
      const SpoolOptions& options, absl::string_view key,
      const std::string& path, const std::string& name) {
    auto reader = std::make_unique<BlockReader>();
    ASSIGN_OR_RETURN(reader->file_, options.files->OpenForRead(path));
    std::string header;
    RETURN_IF_ERROR(reader->file_->Read(0, kHeader_bytes, &header));
    if (header.size() < kHeader_bytes || !absl::StartsWith(header, kMagic)) {
      return base::IntegrityError(
          absl::StrCat(name, " is not a whole file of a spool"));
    }
    const absl::string_view salt =
        absl::string_view(header).substr(kMagic.size(), kSpoolSalt_bytes);
    reader->cipher_ = std::make_unique<SpoolCipher>(key, name, salt);
    if (reader->cipher_->KeyCheck() !=
        header.substr(kMagic.size() + kSpoolSalt_bytes)) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " was written with another key"));
    }
    reader->offset_ = kHeader_bytes;
    return reader;
  }

  // nullopt where no whole block follows before `end`.
  absl::StatusOr<std::optional<std::string>> Next(uint64_t end) {
    if (offset_ >= end) return std::nullopt;
    std::string head;
    RETURN_IF_ERROR(file_->Read(offset_, 4, &head));
    if (head.size() < 4) return std::nullopt;
    size_t size = 0;
    for (int i = 3; i >= 0; --i) {
      size = size << 8 | static_cast<uint8_t>(head[i]);
    }
    if (size > limits::kMaxSpoolBlock_bytes) return std::nullopt;
    std::string sealed;
    RETURN_IF_ERROR(file_->Read(offset_ + 4, size, &sealed));
    if (sealed.size() < size) return std::nullopt;
    auto plain = cipher_->Open(block_, sealed);
    if (!plain.ok()) return std::nullopt;
    offset_ += 4 + size;
    ++block_;
    return *std::move(plain);
  }

  // Behind the last whole block.
  uint64_t offset() const { return offset_; }

 private:
  std::unique_ptr<base::ReadFile> file_;
  std::unique_ptr<SpoolCipher> cipher_;
  uint64_t offset_ = 0;
  uint64_t block_ = 0;
};

Spool::Spool(SpoolOptions options, std::string folder, std::string key)
    : options_(std::move(options)),
      folder_(std::move(folder)),
      key_(std::move(key)) {}

Spool::~Spool() = default;

std::string Spool::PathOf(uint64_t number) const {
  return absl::StrFormat("%s/%s/%08d%s", options_.directory, folder_, number,
                         kSuffix);
}

absl::StatusOr<std::vector<std::string>> Spool::List(
    const SpoolOptions& options) {
  std::vector<std::string> folders;
  std::error_code error;
  if (!fs::is_directory(options.directory, error)) {
    return absl::NotFoundError(
        absl::StrCat("there is no folder ", options.directory));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   options.files->List(options.directory));
  for (const std::string& name : names) {
    if (fs::is_directory(options.directory + "/" + name, error)) {
      folders.push_back(name);
    }
  }
  return folders;
}

absl::StatusOr<std::unique_ptr<Spool>> Spool::OpenFolder(
    const SpoolOptions& options, const std::string& folder) {
  RETURN_IF_ERROR(MakeFolder(options, options.directory));
  ASSIGN_OR_RETURN(
      const std::string key,
      LoadSpoolKey(options.key_file.empty() ? options.directory + "/" + kKeyFile
                                            : options.key_file));
  auto spool = absl::WrapUnique(new Spool(options, folder, key));
  const std::string path = options.directory + "/" + folder;
  const std::string lock_path = path + "/" + kLockFile;
  std::error_code error;
  // Another process may remove an empty folder just before its lock is ours.
  do {
    RETURN_IF_ERROR(MakeFolder(options, path));
    auto lock = base::FileLock::Acquire(lock_path);
    if (!lock.ok()) {
      return absl::AbortedError(
          absl::StrCat("another process has the spool ", path));
    }
    spool->lock_ = *std::move(lock);
  } while (!fs::exists(lock_path, error) && !error);
  RETURN_IF_ERROR(spool->Recover());
  return spool;
}

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(
    const SpoolOptions& options, const base::Uuid& session_id,
    const std::vector<api::v1::OpenSide>& sides, absl::Time start_time) {
  ASSIGN_OR_RETURN(auto spool,
                   OpenFolder(options, FolderName(session_id, sides)));
  if (!spool->recovered_) spool->StartState(session_id, sides, start_time);
  return spool;
}

absl::StatusOr<std::unique_ptr<Spool>> Spool::OpenExisting(
    const SpoolOptions& options, const std::string& folder) {
  ASSIGN_OR_RETURN(auto spool, OpenFolder(options, folder));
  if (spool->recovered_) return spool;
  if (!spool->damages_.empty()) {
    return base::IntegrityError(
        absl::StrCat("nothing can be read in ", folder));
  }
  RETURN_IF_ERROR(spool->Remove());
  return absl::NotFoundError(absl::StrCat("nothing was left in ", folder));
}

void Spool::StartState(const base::Uuid& session_id,
                       const std::vector<api::v1::OpenSide>& sides,
                       absl::Time start_time) {
  state_ = SpoolState();
  state_.session_id = session_id;
  state_.start_time = start_time;
  for (const api::v1::OpenSide& side : sides) {
    state_.sides[side.side()].tracks = side;
  }
  oldest_ = state_;
}

absl::Status Spool::Recover() {
  const std::string path = options_.directory + "/" + folder_;
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   options_.files->List(path));
  for (const std::string& name : names) {
    uint64_t number = 0;
    if (!absl::EndsWith(name, kSuffix) ||
        !absl::SimpleAtoi(name.substr(0, name.size() - sizeof(kSuffix) + 1),
                          &number)) {
      continue;
    }
    next_file_ = std::max(next_file_, number + 1);
    auto reader = BlockReader::Open(options_, key_, PathOf(number), name);
    // Only damage is passed over: a disk that gives an error may give the bytes
    // later.
    if (!reader.ok() && !absl::IsDataLoss(reader.status())) {
      return reader.status();
    }
    std::error_code error;
    const uint64_t file_bytes = fs::file_size(PathOf(number), error);
    // Its writer was killed before the first block.
    if (!error && file_bytes <= kHeader_bytes) continue;
    File file = {.number = number, .bytes = file_bytes};
    std::optional<std::string> block;
    if (reader.ok()) {
      ASSIGN_OR_RETURN(block, (*reader)->Next(UINT64_MAX));
    }
    if (!block.has_value() || !TakeBlock(*block, &file.begin, nullptr).ok()) {
      damages_.push_back(absl::StrCat(name, " has no whole beginning"));
      continue;
    }
    files_.push_back(std::move(file));
  }
  if (files_.empty()) return absl::OkStatus();
  recovered_ = true;
  oldest_ = files_.front().begin;
  // Only the last file's end is told by nobody.
  File& last = files_.back();
  const std::string name = fs::path(PathOf(last.number)).filename().string();
  ASSIGN_OR_RETURN(
      const auto reader,
      BlockReader::Open(options_, key_, PathOf(last.number), name));
  while (true) {
    ASSIGN_OR_RETURN(const auto block, reader->Next(UINT64_MAX));
    if (!block.has_value()) break;
    RETURN_IF_ERROR(TakeBlock(*block, &state_, nullptr));
  }
  if (reader->offset() < last.bytes) {
    damages_.push_back(absl::StrCat(name, ": ", last.bytes - reader->offset(),
                                    " torn bytes at its end"));
    last.bytes = reader->offset();
  }
  renumberings_synced_ = state_.renumberings.size();
  return absl::OkStatus();
}

absl::Status Spool::Discard(const std::vector<api::v1::OpenSide>& sides,
                            absl::Time start_time) {
  const base::Uuid session_id = state_.session_id;
  writing_.reset();
  reader_.reset();
  for (const File& file : files_) {
    std::error_code error;
    fs::remove(PathOf(file.number), error);
    if (error) return absl::UnavailableError(error.message());
  }
  files_.clear();
  recovered_ = false;
  StartState(session_id, sides, start_time);
  return absl::OkStatus();
}

void Spool::SetProvisional() {
  for (auto& [id, side] : state_.sides) {
    if (side.provisional) continue;
    side.provisional = true;
    side.provisional_after = side.last_sequence;
    side.provisional_note_after = side.last_note;
  }
}

std::string Spool::EncodeState() const { return EncodeSpoolState(state_); }

absl::Status Spool::TakeBlock(absl::string_view plain, SpoolState* state,
                              std::vector<SpoolItem>* items) {
  return DecodeSpoolBlock(plain, state, items);
}

absl::Status Spool::BeginFile() {
  const uint64_t number = next_file_++;
  const std::string path = PathOf(number);
  ASSIGN_OR_RETURN(writing_, options_.files->OpenForAppend(path));
  ASSIGN_OR_RETURN(const std::string salt, NewSpoolSalt());
  absl::Status status =
      Protect(path, fs::perms::owner_read | fs::perms::owner_write);
  cipher_ = std::make_unique<SpoolCipher>(
      key_, fs::path(path).filename().string(), salt);
  next_block_ = 0;
  files_.push_back({.number = number, .bytes = 0, .begin = state_});
  const std::string check = cipher_->KeyCheck();
  const absl::string_view pieces[] = {kMagic, salt, check};
  if (status.ok()) status = writing_->Append(pieces);
  if (status.ok()) status = WriteBlock(EncodeState());
  if (status.ok()) {
    status = options_.files->SyncDirectory(options_.directory + "/" + folder_);
  }
  if (!status.ok()) {
    writing_.reset();
    files_.pop_back();
    std::error_code error;
    fs::remove(path, error);
  }
  return status;
}

absl::Status Spool::WriteBlock(const std::string& plain) {
  ASSIGN_OR_RETURN(const std::string sealed, cipher_->Seal(next_block_, plain));
  const std::string length = Length(sealed.size());
  const absl::string_view pieces[] = {length, sealed};
  const absl::Status status = writing_->Append(pieces);
  if (!status.ok()) {
    // What follows whole blocks is a torn tail; nothing goes behind it, and
    // what went before it in this file can't be synced any more.
    writing_.reset();
    if (unsynced_) lost_ = status;
    return status;
  }
  ++next_block_;
  unsynced_ = true;
  files_.back().bytes = writing_->size();
  return absl::OkStatus();
}

absl::Status Spool::WriteBlocks(absl::Span<const SpoolItem> items) {
  std::string block;
  size_t first = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    AppendSpoolItem(items[i], &block);
    if (block.size() < limits::kSpoolBlock_bytes && i + 1 < items.size()) {
      continue;
    }
    RETURN_IF_ERROR(WriteBlock(block));
    block.clear();
    for (; first <= i; ++first) FoldSpoolItem(items[first], &state_);
  }
  return absl::OkStatus();
}

absl::Status Spool::Append(absl::Span<const SpoolItem> items) {
  if (bytes() >= options_.max_bytes) {
    return absl::ResourceExhaustedError("the spool is full");
  }
  if (writing_ != nullptr && files_.back().bytes >= options_.file_bytes) {
    RETURN_IF_ERROR(Sync());
    writing_.reset();
  }
  if (writing_ == nullptr) RETURN_IF_ERROR(BeginFile());
  return WriteBlocks(items);
}

absl::Status Spool::AddRenumberings(absl::Span<const Renumbering> all) {
  if (all.size() <= renumberings_synced_) return absl::OkStatus();
  // What an attempt before has folded is in the beginning of the next file.
  if (writing_ == nullptr) RETURN_IF_ERROR(BeginFile());
  for (size_t i = state_.renumberings.size(); i < all.size(); ++i) {
    std::string block;
    AppendRenumbering(all[i], &block);
    RETURN_IF_ERROR(WriteBlock(block));
    FoldRenumbering(all[i], &state_);
  }
  return Sync();
}

absl::Status Spool::Sync() {
  if (!unsynced_) return absl::OkStatus();
  unsynced_ = false;
  absl::Status status = lost_;
  status.Update(writing_ != nullptr
                    ? writing_->Sync()
                    : absl::UnavailableError("a file could not be written"));
  lost_ = absl::OkStatus();
  if (!status.ok()) {
    writing_.reset();
    return status;
  }
  renumberings_synced_ = state_.renumberings.size();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SpoolItem>> Spool::ReadNext() {
  std::vector<SpoolItem> items;
  size_t read_bytes = 0;
  while (read_bytes < limits::kSpoolRead_bytes) {
    const auto file = std::find_if(
        files_.begin(), files_.end(),
        [&](const File& file) { return file.number >= reading_file_; });
    if (file == files_.end()) return items;
    if (reader_ == nullptr || file->number != reading_file_) {
      const std::string path = PathOf(file->number);
      ASSIGN_OR_RETURN(reader_,
                       BlockReader::Open(options_, key_, path,
                                         fs::path(path).filename().string()));
      reading_file_ = file->number;
    }
    ASSIGN_OR_RETURN(const auto block, reader_->Next(file->bytes));
    if (block.has_value()) {
      SpoolState passing;
      read_bytes += block->size();
      RETURN_IF_ERROR(TakeBlock(*block, &passing, &items));
      continue;
    }
    if (file->number == files_.back().number && writing_ != nullptr) {
      return items;
    }
    if (reader_->offset() < file->bytes) {
      damages_.push_back(absl::StrCat("file ", file->number,
                                      " can't be read from byte ",
                                      reader_->offset(), " on"));
    }
    reader_.reset();
    ++reading_file_;
  }
  return items;
}

void Spool::SeekTo(uint64_t order) {
  reader_.reset();
  reading_file_ = 0;
  for (const File& file : files_) {
    if (file.begin.next_order <= order) reading_file_ = file.number;
  }
}

const SpoolState& Spool::SeekToTail(uint64_t tail_bytes) {
  reader_.reset();
  auto file = files_.end();
  uint64_t behind_bytes = 0;
  do {
    --file;
    behind_bytes += file->bytes;
  } while (file != files_.begin() && behind_bytes < tail_bytes);
  reading_file_ = file->number;
  return file->begin;
}

void Spool::MarkDurable(const api::v1::SideProgress& progress) {
  const auto found = state_.sides.find(progress.side());
  if (found == state_.sides.end()) return;
  SpoolState::SideState& side = found->second;
  side.durable_sequence =
      std::max<uint64_t>(side.durable_sequence, progress.sequence());
  side.durable_note =
      std::max<uint64_t>(side.durable_note, progress.note_sequence());
  // What became durable in time was never written here.
  side.last_sequence = std::max(side.last_sequence, side.durable_sequence);
  side.last_note = std::max(side.last_note, side.durable_note);
}

void Spool::Trim() {
  while (files_.size() > 1 && !unsynced_) {
    // What a file holds ends where the next one's begins.
    const SpoolState& end = files_[1].begin;
    for (const auto& [id, side] : end.sides) {
      const auto now = state_.sides.find(id);
      if (now == state_.sides.end() || forgotten_.contains(id)) continue;
      SpoolItem packet = {.kind = SpoolItem::Kind::kPacket, .side = id};
      packet.generation = static_cast<uint32_t>(end.renumberings.size());
      packet.number = side.last_sequence;
      SpoolItem note = packet;
      note.kind = SpoolItem::Kind::kNote;
      note.number = side.last_note;
      Renumber(state_.renumberings, &packet);
      Renumber(state_.renumberings, &note);
      if (packet.number > now->second.durable_sequence ||
          note.number > now->second.durable_note) {
        return;
      }
    }
    std::error_code error;
    fs::remove(PathOf(files_.front().number), error);
    files_.pop_front();
  }
}

absl::Status Spool::Remove() {
  writing_.reset();
  reader_.reset();
  files_.clear();
  std::error_code error;
  fs::remove_all(options_.directory + "/" + folder_, error);
  if (error) return absl::UnavailableError(error.message());
  return absl::OkStatus();
}

uint64_t Spool::bytes() const {
  uint64_t sum = 0;
  for (const File& file : files_) sum += file.bytes;
  return sum;
}

}  // namespace diptych::gateway
