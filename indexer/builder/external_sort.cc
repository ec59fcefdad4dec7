#include "indexer/builder/external_sort.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "indexer/builder/disk_room.h"
#include "indexer/store/keys.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {
namespace {

// A run is blocks of whole rows: the block's size (u32) and the beginning of
// its SHA-256, then rows, each as the sizes of key and value (varints) and
// both.
constexpr size_t kBlock_bytes = 256 << 10;
constexpr size_t kDigest_bytes = 8;
constexpr size_t kFrame_bytes = 4 + kDigest_bytes;
// One row may be as large as a session's.
constexpr size_t kMaxBlock_bytes = size_t{256} << 20;

uint64_t PrefixOf(absl::string_view key) {
  if (key.size() >= 8) return ReadBigEndian64(key);
  std::string padded(key);
  padded.resize(8);
  return ReadBigEndian64(padded);
}

absl::Status NotARun() {
  return base::IntegrityError("a sorted file is not what was written");
}

// Writes a run block by block.
class BlockWriter {
 public:
  static absl::StatusOr<BlockWriter> Create(const std::string& path) {
    base::FileSystem* const files = base::FileSystem::Real();
    // A leftover of an attempt that was cut short.
    const absl::Status removed = files->Remove(path);
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    BlockWriter writer;
    writer.run_.path = path;
    ASSIGN_OR_RETURN(writer.file_, files->OpenForAppend(path));
    return writer;
  }

  absl::Status Add(absl::string_view key, absl::string_view value) {
    AppendVarint(key.size(), &block_);
    AppendVarint(value.size(), &block_);
    block_.append(key.data(), key.size());
    block_.append(value.data(), value.size());
    ++run_.rows;
    return block_.size() < kBlock_bytes ? absl::OkStatus() : EndBlock();
  }

  absl::StatusOr<SortedRun> Finish() {
    RETURN_IF_ERROR(EndBlock());
    RETURN_IF_ERROR(file_->Sync());
    run_.bytes = file_->size();
    return run_;
  }

 private:
  absl::Status EndBlock() {
    if (block_.empty()) return absl::OkStatus();
    std::string frame;
    AppendBigEndian32(static_cast<uint32_t>(block_.size()), &frame);
    frame += base::Sha256(block_).substr(0, kDigest_bytes);
    RETURN_IF_ERROR(file_->Append({frame, block_}));
    block_.clear();
    return absl::OkStatus();
  }

  SortedRun run_;
  std::unique_ptr<base::AppendFile> file_;
  std::string block_;
};

}  // namespace

void RunWriter::Add(absl::string_view key, absl::string_view value) {
  entries_.push_back({PrefixOf(key), static_cast<uint32_t>(data_.size()),
                      static_cast<uint32_t>(key.size()),
                      static_cast<uint32_t>(value.size())});
  data_.append(key.data(), key.size());
  data_.append(value.data(), value.size());
}

absl::StatusOr<SortedRun> RunWriter::WriteTo(const std::string& path) {
  const absl::string_view data = data_;
  std::sort(
      entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
        if (a.prefix != b.prefix) return a.prefix < b.prefix;
        const int order = data.substr(a.offset, a.key_bytes)
                              .compare(data.substr(b.offset, b.key_bytes));
        return order != 0 ? order < 0 : a.offset < b.offset;
      });
  ASSIGN_OR_RETURN(BlockWriter writer, BlockWriter::Create(path));
  for (const Entry& entry : entries_) {
    RETURN_IF_ERROR(
        writer.Add(data.substr(entry.offset, entry.key_bytes),
                   data.substr(size_t{entry.offset} + entry.key_bytes,
                               entry.value_bytes)));
  }
  ASSIGN_OR_RETURN(const SortedRun run, writer.Finish());
  data_.clear();
  entries_.clear();
  return run;
}

// One run, read block by block.
class RunMerger::Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(const SortedRun& run) {
    auto reader = std::make_unique<Reader>();
    ASSIGN_OR_RETURN(reader->file_,
                     base::FileSystem::Real()->OpenForRead(run.path));
    ASSIGN_OR_RETURN(const uint64_t size, reader->file_->Size());
    if (size != run.bytes) return NotARun();
    reader->size_ = size;
    RETURN_IF_ERROR(reader->Next());
    return reader;
  }

  bool at_end() const { return at_end_; }
  absl::string_view key() const { return key_; }
  absl::string_view value() const { return value_; }

  absl::Status Next() {
    if (rows_.AtGoodEnd()) {
      if (offset_ == size_) {
        at_end_ = true;
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(ReadBlock());
    }
    const uint64_t key_bytes = rows_.ReadVarint();
    const uint64_t value_bytes = rows_.ReadVarint();
    key_ = rows_.ReadBytes(key_bytes);
    value_ = rows_.ReadBytes(value_bytes);
    return rows_.ok() ? absl::OkStatus() : NotARun();
  }

 private:
  absl::Status ReadBlock() {
    RETURN_IF_ERROR(file_->Read(offset_, kFrame_bytes, &frame_));
    if (frame_.size() < kFrame_bytes) return NotARun();
    const size_t bytes = ReadBigEndian32(frame_);
    if (bytes == 0 || bytes > kMaxBlock_bytes) return NotARun();
    RETURN_IF_ERROR(file_->Read(offset_ + kFrame_bytes, bytes, &block_));
    if (block_.size() != bytes ||
        base::Sha256(block_).substr(0, kDigest_bytes) !=
            absl::string_view(frame_).substr(4)) {
      return NotARun();
    }
    offset_ += kFrame_bytes + bytes;
    rows_ = VarintReader(block_);
    return absl::OkStatus();
  }

  std::unique_ptr<base::ReadFile> file_;
  uint64_t size_ = 0;
  uint64_t offset_ = 0;
  std::string frame_;
  std::string block_;
  VarintReader rows_{absl::string_view()};
  absl::string_view key_;
  absl::string_view value_;
  bool at_end_ = false;
};

RunMerger::~RunMerger() = default;

absl::StatusOr<std::unique_ptr<RunMerger>> RunMerger::Open(
    const std::vector<SortedRun>& runs) {
  auto merger = absl::WrapUnique(new RunMerger());
  for (const SortedRun& run : runs) {
    ASSIGN_OR_RETURN(merger->readers_.emplace_back(), Reader::Open(run));
  }
  for (size_t i = 0; i < merger->readers_.size(); ++i) {
    if (merger->readers_[i]->at_end()) continue;
    merger->heap_.push_back({PrefixOf(merger->readers_[i]->key()), i});
  }
  std::make_heap(
      merger->heap_.begin(), merger->heap_.end(),
      [&](const Place& a, const Place& b) { return merger->After(a, b); });
  return merger;
}

bool RunMerger::After(const Place& a, const Place& b) const {
  if (a.prefix != b.prefix) return a.prefix > b.prefix;
  const int order =
      readers_[a.reader]->key().compare(readers_[b.reader]->key());
  return order != 0 ? order > 0 : a.reader > b.reader;
}

absl::string_view RunMerger::key() const {
  return readers_[heap_.front().reader]->key();
}

absl::string_view RunMerger::value() const {
  return readers_[heap_.front().reader]->value();
}

void RunMerger::SiftDown() {
  size_t at = 0;
  for (;;) {
    size_t first = 2 * at + 1;
    if (first >= heap_.size()) return;
    if (first + 1 < heap_.size() && After(heap_[first], heap_[first + 1])) {
      ++first;
    }
    if (!After(heap_[at], heap_[first])) return;
    std::swap(heap_[at], heap_[first]);
    at = first;
  }
}

absl::Status RunMerger::Next() {
  Reader& reader = *readers_[heap_.front().reader];
  RETURN_IF_ERROR(reader.Next());
  if (reader.at_end()) {
    heap_.front() = heap_.back();
    heap_.pop_back();
  } else {
    heap_.front().prefix = PrefixOf(reader.key());
  }
  SiftDown();
  return absl::OkStatus();
}

absl::Status ReduceRuns(size_t max, const std::string& path,
                        const DiskRoom* room, std::vector<SortedRun>* runs) {
  size_t number = 0;
  while (runs->size() > max) {
    // The result stands where its parts stood, so that order stays.
    const size_t count = std::min(max, runs->size() - max + 1);
    const std::vector<SortedRun> parts(
        runs->begin(), runs->begin() + static_cast<std::ptrdiff_t>(count));
    uint64_t bytes = 0;
    for (const SortedRun& part : parts) bytes += part.bytes;
    if (room != nullptr) RETURN_IF_ERROR(room->For(bytes));
    ASSIGN_OR_RETURN(const std::unique_ptr<RunMerger> merger,
                     RunMerger::Open(parts));
    ASSIGN_OR_RETURN(BlockWriter writer, BlockWriter::Create(absl::StrCat(
                                             path, ".joined", number++)));
    for (; merger->Valid();) {
      RETURN_IF_ERROR(writer.Add(merger->key(), merger->value()));
      RETURN_IF_ERROR(merger->Next());
    }
    ASSIGN_OR_RETURN(runs->front(), writer.Finish());
    runs->erase(runs->begin() + 1,
                runs->begin() + static_cast<std::ptrdiff_t>(count));
  }
  return absl::OkStatus();
}

}  // namespace diptych::indexer
