#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/frame.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::log {
namespace {

// An error that no second try mends, and that must not look like one that does.
absl::Status Final(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return status;
  return absl::InternalError(status.message());
}

class LocalLogStore final : public LogStore {
 public:
  LocalLogStore(base::FileSystem* file_system, base::Clock* clock,
                LocalLogStoreOptions options)
      : file_system_(file_system),
        clock_(clock),
        options_(std::move(options)) {}

  ~LocalLogStore() override {
    // Blocks that stay behind the end after all harm nobody.
    if (file_ != nullptr && failed_.ok())
      file_->ReleaseReserved().IgnoreError();
  }

  // Looks at what is there; see OpenLocalLogStore.
  absl::Status Recover(RecoveryReport* report);

  absl::StatusOr<std::vector<Position>> Append(
      absl::Span<const Record> records) override {
    RETURN_IF_ERROR(failed_);
    absl::StatusOr<std::vector<Position>> positions = TryAppend(records);
    // What reached the disk is unknown from here on; only a new start can tell.
    if (!positions.ok() && !absl::IsResourceExhausted(positions.status())) {
      failed_ = positions.status();
    }
    return positions;
  }

  bool WantsSnapshot() const override { return NeedsNewVolume(); }
  Position durable_end() const override { return durable_end_; }

 private:
  bool NeedsNewVolume() const {
    return file_ == nullptr || file_->size() >= options_.volume_max_bytes;
  }

  // RESOURCE_EXHAUSTED: everything is as it was before.
  absl::StatusOr<std::vector<Position>> TryAppend(
      absl::Span<const Record> records) {
    for (const Record& record : records) {
      if (record.header.size() > limits::kMaxRecordHeader_bytes ||
          record.body.size() > limits::kMaxRecordBody_bytes) {
        return absl::InternalError(absl::StrCat(
            "a ", RecordTypeName(record.type), " record is over the limit"));
      }
    }
    // What a caller wants that only waits for what came before.
    if (records.empty()) return std::vector<Position>();
    std::vector<Record> volume_header;
    const bool new_volume = NeedsNewVolume();
    if (new_volume) {
      RETURN_IF_ERROR(StartVolume());
      stored::v1::VolumeHeader header;
      header.set_archive_id(std::string(options_.archive_id.bytes()));
      header.set_base_position(volume_base_);
      header.set_record_time_us(absl::ToUnixMicros(clock_->Now()));
      header.set_store(options_.store);
      volume_header.push_back(
          {RecordType::kVolumeHeader, header.SerializeAsString(), ""});
    }
    std::vector<std::string> frames;
    std::vector<absl::string_view> pieces;
    std::vector<Position> positions;
    frames.reserve(records.size() + 1);
    pieces.reserve(3 * (records.size() + 1));
    Position position = volume_base_ + file_->size();
    const auto add = [&](const Record& record) {
      frames.push_back(EncodeFrame(record, position, durable_end_));
      pieces.push_back(frames.back());
      pieces.push_back(record.header);
      pieces.push_back(record.body);
      const Position at = position;
      position += kFrame_bytes + record.header.size() + record.body.size();
      return at;
    };
    for (const Record& record : volume_header) add(record);
    for (const Record& record : records) positions.push_back(add(record));

    absl::Status written = Reserve(position - volume_base_);
    if (written.ok()) {
      written = file_->Append(pieces);
      if (absl::IsResourceExhausted(written)) {
        // A file system that can't reserve. What did fit is taken back.
        RETURN_IF_ERROR(Final(file_->CutTo(durable_end_ - volume_base_)));
        reserved_bytes_ = 0;
      }
    }
    if (!written.ok()) {
      // The next try finds it empty, and it is still a new volume.
      if (new_volume) file_.reset();
      return written;
    }
    RETURN_IF_ERROR(Final(file_->Sync()));
    if (new_volume) {
      RETURN_IF_ERROR(Final(file_system_->SyncDirectory(options_.directory)));
    }
    durable_end_ = position;
    return positions;
  }

  // Sees to it that the volume can grow to `end_bytes`.
  absl::Status Reserve(uint64_t end_bytes) {
    const uint64_t taken = std::max(reserved_bytes_, file_->size());
    if (end_bytes <= taken) return absl::OkStatus();
    ASSIGN_OR_RETURN(const base::DiskSpace space,
                     file_system_->Space(options_.directory));
    const uint64_t free_bytes =
        space.free_bytes - std::min(space.free_bytes, options_.floor_bytes);
    if (end_bytes - taken > free_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no space is left for ", options_.directory, ": ", space.free_bytes,
          " bytes are free and ", options_.floor_bytes, " stay so"));
    }
    const uint64_t step =
        std::min(limits::kReserveStep_bytes, options_.volume_max_bytes);
    const uint64_t ahead =
        step <= free_bytes ? std::max(end_bytes, taken + step) : end_bytes;
    ASSIGN_OR_RETURN(reserved_bytes_, file_->Reserve(ahead));
    return absl::OkStatus();
  }

  absl::Status StartVolume() {
    if (file_ != nullptr) RETURN_IF_ERROR(file_->ReleaseReserved());
    ASSIGN_OR_RETURN(std::unique_ptr<base::AppendFile> file,
                     file_system_->OpenForAppend(VolumePath(durable_end_)));
    if (file->size() != 0) {
      return absl::InternalError(absl::StrCat(
          VolumePath(durable_end_), " is there already and is not empty"));
    }
    file_ = std::move(file);
    volume_base_ = durable_end_;
    reserved_bytes_ = 0;
    return absl::OkStatus();
  }

  std::string VolumePath(Position base) const {
    return absl::StrFormat("%s/%016x.vol", options_.directory, base);
  }

  absl::Status MakeDirectory(const std::string& directory);
  absl::Status MoveTailAside(const VolumeInfo& volume, Position from,
                             RecoveryReport* report);

  base::FileSystem* const file_system_;
  base::Clock* const clock_;
  const LocalLogStoreOptions options_;
  absl::Status failed_;
  std::unique_ptr<base::AppendFile> file_;
  // How far the file's blocks are taken.
  uint64_t reserved_bytes_ = 0;
  Position volume_base_ = 0;
  Position durable_end_ = 0;
};

absl::Status LocalLogStore::MakeDirectory(const std::string& directory) {
  RETURN_IF_ERROR(file_system_->CreateDirectory(directory));
  // Also if it was there: whoever made it may have died before this.
  const size_t slash = directory.rfind('/');
  if (slash == std::string::npos) return file_system_->SyncDirectory(".");
  return file_system_->SyncDirectory(
      directory.substr(0, std::max<size_t>(slash, 1)));
}

absl::Status LocalLogStore::MoveTailAside(const VolumeInfo& volume,
                                          Position from,
                                          RecoveryReport* report) {
  RETURN_IF_ERROR(MakeDirectory(options_.lost_and_found));
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file,
                   file_system_->OpenForRead(volume.path));
  // At most a volume; kept whole, since it may be all that is left of a moment.
  std::string tail;
  RETURN_IF_ERROR(file->Read(from - volume.base,
                             volume.size_bytes - (from - volume.base), &tail));
  const std::string stem =
      absl::StrFormat("%s/%s-%016x-%d", options_.lost_and_found, options_.store,
                      from, absl::ToUnixMicros(clock_->Now()));
  std::string aside;
  absl::Status written;
  // A start that was cut short may have left one of the same time, by a clock
  // that was set back.
  for (int i = 0; i < limits::kMaxAsideNames; ++i) {
    aside = absl::StrCat(stem, i == 0 ? "" : absl::StrCat("-", i), ".torn");
    written = file_system_->WriteFile(aside, tail);
    if (!absl::IsAlreadyExists(written)) break;
  }
  RETURN_IF_ERROR(written);
  RETURN_IF_ERROR(file_system_->Truncate(volume.path, from - volume.base));
  report->moved_aside.push_back(aside);
  return absl::OkStatus();
}

absl::Status LocalLogStore::Recover(RecoveryReport* report) {
  RETURN_IF_ERROR(MakeDirectory(options_.directory));
  const LogReader reader(file_system_, options_.directory);
  ASSIGN_OR_RETURN(const std::vector<VolumeInfo> volumes, reader.ListVolumes());
  if (volumes.empty()) return absl::OkStatus();

  const VolumeInfo& last = volumes.back();
  Position max_durable_before = options_.known_durable;
  bool only_header = true;
  std::vector<Damage> damages;
  ASSIGN_OR_RETURN(
      Position end,
      reader.Scan(
          {.from = last.base},
          [&](const StoredRecord& record) {
            max_durable_before =
                std::max(max_durable_before, record.durable_before);
            if (record.type != RecordType::kVolumeHeader) {
              only_header = false;
              return absl::OkStatus();
            }
            stored::v1::VolumeHeader header;
            if (!header.ParseFromString(record.header) ||
                header.archive_id() != options_.archive_id.bytes() ||
                header.store() != options_.store) {
              return absl::FailedPreconditionError(absl::StrCat(
                  last.path, " belongs to another archive or store"));
            }
            return absl::OkStatus();
          },
          [&](const Damage& damage) {
            damages.push_back(damage);
            return absl::OkStatus();
          }));
  if (last.size_bytes == 0) end = last.base;
  const bool rotten =
      std::any_of(damages.begin(), damages.end(),
                  [](const Damage& damage) { return damage.was_durable; });
  if (only_header && !rotten && last.size_bytes > 0 &&
      max_durable_before <= last.base) {
    // Its first batch is torn. Cut off whole, so that the volume begins anew,
    // with what a start looks for at its beginning.
    const std::string what = damages.empty()
                                 ? "the volume holds nothing but its header"
                                 : damages.front().what;
    damages = {{.from = last.base,
                .to = last.base + last.size_bytes,
                .volume = last.path,
                .what = what}};
  }

  bool durable_damage = false;
  for (Damage& damage : damages) {
    // Nothing that was written after it knew it as durable: a crash tore it,
    // and whatever follows was never acknowledged either.
    damage.was_durable = damage.was_durable || max_durable_before > damage.from;
    report->damages.push_back(damage);
    if (!damage.was_durable) {
      RETURN_IF_ERROR(MoveTailAside(last, damage.from, report));
      end = damage.from;
      break;
    }
    durable_damage = true;
  }
  durable_end_ = end;
  if (durable_damage) {
    // Left as it is for whoever investigates; go on in a volume of its own.
    // What a killed writer wrote last may be in the page cache alone.
    ASSIGN_OR_RETURN(const std::unique_ptr<base::AppendFile> damaged,
                     file_system_->OpenForAppend(last.path));
    RETURN_IF_ERROR(damaged->Sync());
    file_ = nullptr;
  } else {
    ASSIGN_OR_RETURN(file_, file_system_->OpenForAppend(last.path));
    volume_base_ = last.base;
    // A killed writer's last batch may be whole and yet only in the page cache.
    RETURN_IF_ERROR(file_->Sync());
    if (file_->size() == 0) file_ = nullptr;
  }
  return file_system_->SyncDirectory(options_.directory);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogStore>> OpenLocalLogStore(
    base::FileSystem* file_system, base::Clock* clock,
    const LocalLogStoreOptions& options, RecoveryReport* report) {
  auto store = std::make_unique<LocalLogStore>(file_system, clock, options);
  RETURN_IF_ERROR(store->Recover(report));
  return store;
}

}  // namespace diptych::log
