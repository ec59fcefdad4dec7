#include "archiver/log/log_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/frame.h"
#include "archiver/log/record.h"

namespace diptych::log {
namespace {

constexpr absl::string_view kVolumeSuffix = ".vol";

// A window of a file that moves on as a scan does, so that small records do not
// cost a system call each.
class Window {
 public:
  Window(base::ReadFile* file, uint64_t limit,
         size_t block_bytes = limits::kScanBlock_bytes)
      : file_(file), limit_(limit), block_bytes_(block_bytes) {}

  // Up to `size` bytes from `offset`; fewer only at the limit. Valid until the
  // next call.
  absl::StatusOr<absl::string_view> Get(uint64_t offset, size_t size) {
    if (offset >= limit_) return absl::string_view();
    size = std::min<uint64_t>(size, limit_ - offset);
    if (offset < start_ || offset + size > start_ + buffer_.size()) {
      const size_t wanted =
          std::min<uint64_t>(std::max(size, block_bytes_), limit_ - offset);
      RETURN_IF_ERROR(file_->Read(offset, wanted, &buffer_));
      start_ = offset;
    }
    return absl::string_view(buffer_).substr(offset - start_, size);
  }

 private:
  base::ReadFile* const file_;
  const uint64_t limit_;
  const size_t block_bytes_;
  uint64_t start_ = 0;
  std::string buffer_;
};

// Where the next frame that belongs to its place begins, at or after `from`.
absl::StatusOr<std::optional<uint64_t>> FindFrame(Window* window, Position base,
                                                  uint64_t from) {
  for (uint64_t offset = from;;) {
    ASSIGN_OR_RETURN(const absl::string_view block,
                     window->Get(offset, limits::kScanBlock_bytes));
    if (block.size() < kFrame_bytes) return std::nullopt;
    const std::optional<size_t> found = FindMagic(block, 0);
    if (!found.has_value()) {
      // The magic may lie across the block's end.
      offset += block.size() - (sizeof(kFrameMagic) - 1);
      continue;
    }
    offset += *found;
    ASSIGN_OR_RETURN(const absl::string_view bytes,
                     window->Get(offset, kFrame_bytes));
    if (DecodeFrame(bytes, base + offset).ok()) return offset;
    ++offset;
  }
}

// What the next frame at or after `from` says was durable before it.
absl::StatusOr<std::optional<Position>> NextDurableBefore(Window* window,
                                                          Position base,
                                                          uint64_t from) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> next,
                   FindFrame(window, base, from));
  if (!next.has_value()) return std::nullopt;
  ASSIGN_OR_RETURN(const absl::string_view bytes,
                   window->Get(*next, kFrame_bytes));
  ASSIGN_OR_RETURN(const Frame frame, DecodeFrame(bytes, base + *next));
  return frame.durable_before;
}

}  // namespace

LogReader::LogReader(base::FileSystem* file_system, std::string directory)
    : file_system_(file_system), directory_(std::move(directory)) {}

absl::Status LogReader::Refresh() const {
  absl::StatusOr<std::vector<std::string>> names =
      file_system_->List(directory_);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    absl::string_view stem = name;
    Position base = 0;
    if (!absl::EndsWith(stem, kVolumeSuffix)) continue;
    stem.remove_suffix(kVolumeSuffix.size());
    if (stem.size() != 16 || !absl::SimpleHexAtoi(stem, &base)) continue;
    if (volumes_.contains(base)) continue;
    auto volume = std::make_shared<OpenVolume>();
    volume->base = base;
    volume->path = absl::StrCat(directory_, "/", name);
    ASSIGN_OR_RETURN(volume->file, file_system_->OpenForRead(volume->path));
    volumes_.emplace(base, std::move(volume));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<LogReader::OpenVolume>> LogReader::FindVolume(
    Position position) const {
  base::MutexLock lock(&mutex_);
  // A position at or past the newest volume's end may lie in one that has come
  // since.
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto after = volumes_.upper_bound(position);
    if (after != volumes_.begin()) {
      const auto& volume = std::prev(after)->second;
      if (after != volumes_.end()) return volume;
      ASSIGN_OR_RETURN(const uint64_t size, volume->file->Size());
      if (position < volume->base + size || attempt == 1) return volume;
    }
    RETURN_IF_ERROR(Refresh());
  }
  return absl::NotFoundError(
      absl::StrCat("no volume in ", directory_, " holds position ", position));
}

absl::StatusOr<StoredRecord> LogReader::Read(Position position,
                                             size_t size_hint_bytes) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenVolume> volume,
                   FindVolume(position));
  const uint64_t offset = position - volume->base;
  std::string bytes;
  RETURN_IF_ERROR(volume->file->Read(
      offset,
      std::max(size_hint_bytes, kFrame_bytes + limits::kReadAhead_bytes),
      &bytes));
  const std::string place =
      absl::StrCat(volume->path, " at byte ", offset, ": ");
  if (bytes.empty()) {
    return absl::NotFoundError(absl::StrCat(place, "nothing is stored here"));
  }
  const absl::StatusOr<Frame> frame = DecodeFrame(bytes, position);
  if (!frame.ok()) {
    return base::IntegrityError(
        absl::StrCat(place, absl::string_view(frame.status().message())));
  }
  if (bytes.size() < frame->record_bytes()) {
    std::string rest;
    RETURN_IF_ERROR(volume->file->Read(
        offset + bytes.size(), frame->record_bytes() - bytes.size(), &rest));
    bytes += rest;
  }
  if (bytes.size() < frame->record_bytes()) {
    return base::IntegrityError(absl::StrCat(place, "the record is cut short"));
  }
  StoredRecord record;
  record.type = frame->type;
  record.position = position;
  record.end = position + frame->record_bytes();
  record.durable_before = frame->durable_before;
  record.header = bytes.substr(kFrame_bytes, frame->header_bytes);
  record.body =
      bytes.substr(kFrame_bytes + frame->header_bytes, frame->body_bytes);
  if (Crc32c(record.header) != frame->header_crc32c) {
    return base::IntegrityError(absl::StrCat(place, "header checksum differs"));
  }
  if (Crc32c(record.body) != frame->body_crc32c) {
    return base::IntegrityError(absl::StrCat(place, "body checksum differs"));
  }
  return record;
}

absl::StatusOr<std::vector<VolumeInfo>> LogReader::ListVolumes() const {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Refresh());
  std::vector<VolumeInfo> infos;
  for (const auto& [base, volume] : volumes_) {
    ASSIGN_OR_RETURN(const uint64_t size, volume->file->Size());
    infos.push_back({volume->path, base, size});
  }
  return infos;
}

absl::StatusOr<Position> LogReader::Scan(
    const ScanOptions& options,
    const std::function<absl::Status(StoredRecord&&)>& on_record,
    const std::function<absl::Status(const Damage&)>& on_damage) const {
  Position position = options.from;
  ASSIGN_OR_RETURN(const std::vector<VolumeInfo> volumes, ListVolumes());
  for (size_t i = 0; i < volumes.size(); ++i) {
    const VolumeInfo& volume = volumes[i];
    const Position volume_end = volume.base + volume.size_bytes;
    if (position >= volume_end) continue;
    if (position >= options.until) break;
    if (position < volume.base) {
      // Volumes follow each other without a hole, so one is missing.
      if (position != 0 || volume.base != 0) {
        RETURN_IF_ERROR(on_damage({.from = position,
                                   .to = volume.base,
                                   .volume = volume.path,
                                   .what = "the volume before it is missing",
                                   .was_durable = true}));
      }
      position = volume.base;
    }
    ASSIGN_OR_RETURN(const std::shared_ptr<OpenVolume> open,
                     FindVolume(volume.base));
    const Position end = std::min(volume_end, options.until);
    Window window(open->file.get(), end - volume.base, options.block_bytes);
    while (position < end) {
      const uint64_t offset = position - volume.base;
      std::string problem;
      uint64_t bad_until = 0;
      ASSIGN_OR_RETURN(const absl::string_view frame_bytes,
                       window.Get(offset, kFrame_bytes));
      const absl::StatusOr<Frame> frame = DecodeFrame(frame_bytes, position);
      StoredRecord record;
      if (!frame.ok()) {
        problem = std::string(frame.status().message());
      } else if (position + frame->record_bytes() > end) {
        problem = "the record is cut short";
      } else {
        record.type = frame->type;
        record.position = position;
        record.end = position + frame->record_bytes();
        record.durable_before = frame->durable_before;
        ASSIGN_OR_RETURN(
            const absl::string_view header,
            window.Get(offset + kFrame_bytes, frame->header_bytes));
        record.header = std::string(header);
        if (Crc32c(record.header) != frame->header_crc32c) {
          problem = "header checksum differs";
        }
        // A snapshot is needed to understand what follows, and is small.
        const bool with_body =
            frame->type == RecordType::kSnapshot ||
            (options.bodies && (!options.wants_body ||
                                options.wants_body(frame->type, position)));
        if (problem.empty() && with_body) {
          ASSIGN_OR_RETURN(
              const absl::string_view body,
              window.Get(offset + kFrame_bytes + frame->header_bytes,
                         frame->body_bytes));
          const bool whole = Crc32c(body) == frame->body_crc32c;
          if (!whole && !options.on_body) problem = "body checksum differs";
          if (!options.on_body || options.on_body(body, whole)) {
            record.body = std::string(body);
          }
        }
        // The frame's own checksum holds, so its lengths can be believed.
        // No record reaches across a volume's end.
        bad_until = std::min<uint64_t>(offset + frame->record_bytes(),
                                       end - volume.base);
      }
      if (problem.empty()) {
        position = record.end;
        RETURN_IF_ERROR(on_record(std::move(record)));
        continue;
      }
      if (bad_until == 0) {
        ASSIGN_OR_RETURN(const std::optional<uint64_t> next,
                         FindFrame(&window, volume.base, offset + 1));
        bad_until = next.value_or(end - volume.base);
      }
      Damage damage = {.from = position,
                       .to = volume.base + bad_until,
                       .volume = volume.path,
                       .what = problem};
      // Whatever frame follows says what was durable when it was written, even
      // if its own record is damaged too.
      ASSIGN_OR_RETURN(std::optional<Position> durable_before,
                       NextDurableBefore(&window, volume.base, bad_until));
      if (!durable_before.has_value() && i + 1 < volumes.size()) {
        ASSIGN_OR_RETURN(const std::shared_ptr<OpenVolume> after,
                         FindVolume(volumes[i + 1].base));
        Window after_window(after->file.get(), volumes[i + 1].size_bytes);
        ASSIGN_OR_RETURN(durable_before,
                         NextDurableBefore(&after_window, after->base, 0));
      }
      damage.was_durable =
          durable_before.has_value() && *durable_before > damage.from;
      RETURN_IF_ERROR(on_damage(damage));
      position = damage.to;
    }
  }
  return position;
}

}  // namespace diptych::log
