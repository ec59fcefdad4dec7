#include "archiver/evidence/log_leaves.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::evidence {
namespace {

absl::Status AnotherLog(const LogLeaf& leaf, absl::string_view what) {
  return base::IntegrityError(
      absl::StrCat("the log tree has a leaf for the record at position ",
                   leaf.position, " of the log, and ", what,
                   ": the log was cut, or another was put in its place"));
}

// True if the log has bytes at `position` that are no record: those of one that
// was damaged.
absl::StatusOr<bool> IsDamaged(const log::LogReader& log,
                               log::Position position) {
  ASSIGN_OR_RETURN(const std::vector<log::VolumeInfo> volumes,
                   log.ListVolumes());
  log::LogReader::ScanOptions options;
  options.bodies = false;
  for (const log::VolumeInfo& volume : volumes) {
    if (volume.base > position) break;
    options.from = volume.base;
    options.until = volume.base + volume.size_bytes;
  }
  bool damaged = false;
  // Ends the scan once it is past the place.
  const absl::Status enough = absl::CancelledError();
  const absl::Status scanned =
      log.Scan(
             options,
             [&](const log::StoredRecord& record) {
               // It begins there, so that only its body can be what is wrong.
               damaged |= record.position == position;
               return record.end > position ? enough : absl::OkStatus();
             },
             [&](const log::Damage& damage) {
               damaged |= damage.from <= position && position < damage.to;
               return damage.to > position ? enough : absl::OkStatus();
             })
          .status();
  if (!scanned.ok() && scanned != enough) return scanned;
  return damaged;
}

}  // namespace

LogLeaf LeafOf(log::RecordType type, absl::string_view header,
               absl::string_view body, log::Position position) {
  return {.position = position, .digest = RecordDigest(type, header, body)};
}

absl::StatusOr<LeafBatch> ReadLeaves(const log::LogReader& log,
                                     std::optional<log::Position> after,
                                     log::Position until, size_t max) {
  log::LogReader::ScanOptions options;
  options.from = after.value_or(0);
  options.until = until;
  options.wants_body = [](log::RecordType type, log::Position) {
    return IsLogLeaf(type);
  };
  LeafBatch batch;
  const absl::Status full = absl::CancelledError();
  const absl::Status scanned =
      log.Scan(
             options,
             [&](const log::StoredRecord& record) {
               if (!IsLogLeaf(record.type) || record.position == after) {
                 return absl::OkStatus();
               }
               if (batch.leaves.size() == max) {
                 batch.complete = false;
                 return full;
               }
               batch.leaves.push_back(LeafOf(record.type, record.header,
                                             record.body, record.position));
               return absl::OkStatus();
             },
             [](const log::Damage&) { return absl::OkStatus(); })
          .status();
  if (!scanned.ok() && scanned != full) return scanned;
  return batch;
}

absl::Status CheckHeld(const log::LogReader& log, const LogLeaf& leaf) {
  const absl::StatusOr<log::StoredRecord> record = log.Read(leaf.position);
  if (absl::IsNotFound(record.status())) {
    return AnotherLog(leaf, "the log ends before it");
  }
  if (absl::IsDataLoss(record.status())) {
    ASSIGN_OR_RETURN(const bool damaged, IsDamaged(log, leaf.position));
    return damaged ? absl::OkStatus()
                   : AnotherLog(leaf, "no record begins there");
  }
  RETURN_IF_ERROR(record.status());
  if (!IsLogLeaf(record->type) ||
      LeafOf(record->type, record->header, record->body, leaf.position)
              .digest != leaf.digest) {
    return AnotherLog(leaf, "another record lies there");
  }
  return absl::OkStatus();
}

}  // namespace diptych::evidence
