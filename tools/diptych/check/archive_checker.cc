#include "tools/diptych/check/archive_checker.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/key_store_check.h"
#include "tools/diptych/check/log_check.h"
#include "tools/diptych/check/outside.h"
#include "tools/diptych/check/record_feed.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/tree_check.h"

namespace diptych::check {
namespace {

constexpr char kLogStore[] = "log";
constexpr char kKeyStore[] = "keys";

bool IsMedia(log::RecordType type) {
  return type == log::RecordType::kChunk ||
         type == log::RecordType::kAttachmentPart;
}

// A number from 0 to 1 that looks like chance and is the same again
// (SplitMix64).
double Draw(uint64_t seed, log::Position position) {
  uint64_t mixed = seed + position * 0x9e3779b97f4a7c15;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  mixed ^= mixed >> 31;
  return static_cast<double>(mixed >> 11) * 0x1p-53;
}

class ArchiveChecker {
 public:
  ArchiveChecker(base::FileSystem* file_system, const CheckOptions& options,
                 stored::v1::ArchiveConfig archive)
      : options_(options),
        archive_(std::move(archive)),
        keys_(file_system, kKeyStore,
              absl::StrCat(options.data_dir, "/keystore"), Collector()),
        log_(file_system, kLogStore, absl::StrCat(options.data_dir, "/volumes"),
             Collector()),
        tree_(file_system, options.data_dir, &archive_, Collector()),
        key_check_(&keys_, !options.keys.empty()),
        log_check_(&options_, &archive_, &log_, &key_check_, &tree_, &counts_) {
  }

  absl::StatusOr<CheckCounts> Run() {
    tree_.Start();
    RETURN_IF_ERROR(TakeOutside());
    for (StoreReport* const store : {&keys_, &log_}) {
      RETURN_IF_ERROR(store->Start());
      counts_.volumes += store->volumes().size();
      for (const log::VolumeInfo& volume : store->volumes()) {
        counts_.bytes += volume.size_bytes;
      }
    }
    RETURN_IF_ERROR(Read(
        &keys_, kKeyStore, /*most_bodies=*/true,
        [this](const ReadRecord& read) {
          ++counts_.key_records;
          if (TakeFrameOfVolume(&keys_, kKeyStore, read)) {
            return;
          }
          key_check_.Take(read);
        },
        [](const log::Damage&) {}));
    RETURN_IF_ERROR(Read(
        &log_, kLogStore, options_.data_share >= 1,
        [this](const ReadRecord& read) {
          ++counts_.records;
          if (TakeFrameOfVolume(&log_, kLogStore, read)) return;
          log_check_.Take(read);
        },
        [this](const log::Damage& damage) { log_check_.Damaged(damage); }));
    log_check_.End();
    return counts_;
  }

 private:
  // Counts findings and passes them on.
  std::function<void(const Finding&)> Collector() {
    return [this](const Finding& finding) {
      switch (finding.severity) {
        case Severity::kError:
          ++counts_.errors;
          break;
        case Severity::kRemark:
          ++counts_.remarks;
          break;
        case Severity::kUnread:
          ++counts_.unread;
          break;
      }
      if (options_.on_finding) options_.on_finding(finding);
    };
  }

  absl::Status TakeOutside() {
    if (options_.against.size() > limits::kMaxOutsideCheckpoints) {
      return absl::InvalidArgumentError(
          absl::StrCat("a check takes at most ", limits::kMaxOutsideCheckpoints,
                       " files from outside"));
    }
    for (const auto& [name, text] : options_.against) {
      const absl::StatusOr<Outside> outside =
          ParseOutside(name, text, archive_);
      if (outside.ok()) {
        tree_.Against(*outside);
      } else if (absl::IsDataLoss(outside.status())) {
        Collector()({.store = "tree",
                     .place = name,
                     .what = std::string(outside.status().message())});
      } else {
        return outside.status();
      }
    }
    return absl::OkStatus();
  }

  template <typename Take, typename Damaged>
  absl::Status Read(StoreReport* store, absl::string_view name,
                    bool most_bodies, const Take& take,
                    const Damaged& damaged) {
    RecordFeed feed(
        &store->reader(), store->volumes(),
        {.reads_body =
             [this](log::RecordType type, log::Position position) {
               return !IsMedia(type) || options_.data_share >= 1 ||
                      (options_.data_share > 0 &&
                       Draw(options_.seed, position) < options_.data_share);
             },
         // Without keys a hash says all of sealed media.
         .keeps_body =
             [this](log::RecordType type) {
               return !IsMedia(type) || !options_.keys.empty();
             },
         .most_bodies = most_bodies,
         .threads = options_.threads});
    CheckVolumes(store, damaged);
    log::Position end = 0;
    log::Position durable_before = 0;
    for (;;) {
      const auto items = feed.Next();
      if (!items.ok()) {
        // A disk that does not give its bytes says nothing about them.
        store->Unread(end,
                      absl::StrCat("the ", name, " can't be read further: ",
                                   items.status().message()));
        break;
      }
      if (items->empty()) break;
      for (const RecordFeed::Item& item : *items) {
        if (const auto* damage = std::get_if<log::Damage>(&item)) {
          store->At(damage->from, {});
          store->Damaged(*damage);
          damaged(*damage);
          done_bytes_ += damage->to - damage->from;
          end = damage->to;
          continue;
        }
        const auto& read = std::get<ReadRecord>(item);
        if (read.record.durable_before < durable_before ||
            read.record.durable_before > read.record.position) {
          store->False(
              read.record.position,
              absl::StrCat("the record says that ", read.record.durable_before,
                           " was durable before it, after ", durable_before));
        }
        durable_before = read.record.durable_before;
        store->Settle(durable_before);
        take(read);
        CountBody(store, read);
        done_bytes_ += read.record.end - read.record.position;
        end = read.record.end;
      }
      if (!options_.on_progress) continue;
      RETURN_IF_ERROR(options_.on_progress(done_bytes_, counts_.bytes));
    }
    // A checkpoint stands for durable records alone, also for those that are
    // no leaves and lie before one.
    if (store == &log_) store->Settle(tree_.DurableBefore());
    store->End();
    return absl::OkStatus();
  }

  // Volumes follow each other without a hole.
  template <typename Damaged>
  void CheckVolumes(StoreReport* store, const Damaged& damaged) {
    log::Position end = 0;
    for (const log::VolumeInfo& volume : store->volumes()) {
      if (volume.base > end) {
        const log::Damage missing = {.from = end,
                                     .to = volume.base,
                                     .volume = volume.path,
                                     .what = "the volume before it is missing",
                                     .was_durable = true};
        store->At(missing.from, {});
        store->Damaged(missing);
        damaged(missing);
      } else if (volume.base < end) {
        store->False(volume.base,
                     "the volume begins before the one before it ends");
      }
      end = std::max(end, volume.base + volume.size_bytes);
    }
  }

  void CountBody(StoreReport* store, const ReadRecord& read) {
    if (read.body == ReadRecord::Body::kWhole) {
      if (read.body_bytes == 0) return;
      ++counts_.bodies_read;
      counts_.body_bytes_read += read.body_bytes;
    } else if (read.body == ReadRecord::Body::kDamaged) {
      store->Suspect(
          read.record.position,
          absl::StrCat("the body of a ", log::RecordTypeName(read.record.type),
                       " record differs from its checksum"));
    }
  }

  void TakeVolumeHeader(StoreReport* store, absl::string_view store_name,
                        const log::StoredRecord& record) {
    stored::v1::VolumeHeader header;
    if (!header.ParseFromString(record.header)) {
      store->False(record.position, "the volume's header does not parse");
      return;
    }
    if (header.archive_id() != archive_.archive_id()) {
      store->False(record.position, "the volume is another archive's");
    }
    if (header.base_position() != record.position ||
        !store->BeginsVolume(record.position)) {
      store->False(record.position, "the volume is not where it belongs");
    }
    if (absl::string_view(header.store()) != store_name) {
      store->False(record.position, "the volume is of another store");
    }
  }

  // True if the record was a volume's header. Says so where one is missing.
  bool TakeFrameOfVolume(StoreReport* store, absl::string_view store_name,
                         const ReadRecord& read) {
    store->At(read.record.position, {});
    if (read.record.type == log::RecordType::kVolumeHeader) {
      TakeVolumeHeader(store, store_name, read.record);
      return true;
    }
    if (store->BeginsVolume(read.record.position)) {
      store->False(read.record.position,
                   "the volume does not begin with a header");
    }
    return false;
  }

  const CheckOptions& options_;
  const stored::v1::ArchiveConfig archive_;
  CheckCounts counts_;
  StoreReport keys_;
  StoreReport log_;
  TreeCheck tree_;
  KeyStoreCheck key_check_;
  LogCheck log_check_;
  uint64_t done_bytes_ = 0;
};

}  // namespace

absl::StatusOr<CheckCounts> CheckArchive(base::FileSystem* file_system,
                                         const CheckOptions& options) {
  ASSIGN_OR_RETURN(stored::v1::ArchiveConfig archive,
                   seal::ReadArchiveConfig(options.data_dir));
  return ArchiveChecker(file_system, options, std::move(archive)).Run();
}

}  // namespace diptych::check
