#include "tools/diptych/check/store_report.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/file.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::check {
namespace {

constexpr char kTornTail[] = ": a tail that a crash has torn";

}  // namespace

StoreReport::StoreReport(base::FileSystem* file_system, std::string name,
                         const std::string& directory,
                         std::function<void(const Finding&)> on_finding)
    : name_(std::move(name)),
      reader_(file_system, directory),
      on_finding_(std::move(on_finding)) {}

absl::Status StoreReport::Start() {
  ASSIGN_OR_RETURN(volumes_, reader_.ListVolumes());
  for (const log::VolumeInfo& volume : volumes_) bases_.insert(volume.base);
  return absl::OkStatus();
}

std::string StoreReport::Place(log::Position position) const {
  const auto after = std::upper_bound(
      volumes_.begin(), volumes_.end(), position,
      [](log::Position p, const log::VolumeInfo& v) { return p < v.base; });
  if (after == volumes_.begin()) {
    return absl::StrCat(name_, " at byte ", position);
  }
  const log::VolumeInfo& volume = *std::prev(after);
  return absl::StrCat(volume.path, " at byte ", position - volume.base);
}

void StoreReport::At(log::Position position, Where where) {
  at_ = position;
  where_ = std::move(where);
}

Finding StoreReport::Make(Severity severity, log::Position position,
                          const std::string& what) const {
  Finding finding = {.severity = severity,
                     .store = name_,
                     .position = position,
                     .place = Place(position),
                     .what = what};
  // An earlier record of the same session may show what is false now.
  if (position == at_) {
    finding.where = where_;
  } else {
    finding.where.session = where_.session;
  }
  return finding;
}

void StoreReport::False(log::Position position, const std::string& what) const {
  on_finding_(Make(Severity::kError, position, what));
}

void StoreReport::Remark(log::Position position,
                         const std::string& what) const {
  on_finding_(Make(Severity::kRemark, position, what));
}

void StoreReport::Unread(log::Position position,
                         const std::string& what) const {
  on_finding_(Make(Severity::kUnread, position, what));
}

void StoreReport::Damaged(const log::Damage& damage) {
  const std::string what =
      absl::StrCat(damage.what, " (", damage.to - damage.from, " bytes)");
  if (damage.was_durable) {
    False(damage.from, what);
  } else {
    // The reader asks the next record alone, which may be of the same batch.
    Suspect(damage.from, what);
  }
}

void StoreReport::Suspect(log::Position position, const std::string& what) {
  suspects_.push_back({position, position == at_ ? where_ : Where(), what});
}

void StoreReport::Settle(log::Position durable_before) {
  auto suspect = suspects_.begin();
  while (suspect != suspects_.end() && suspect->position < durable_before) {
    Finding finding = Make(Severity::kError, suspect->position, suspect->what);
    finding.where = suspect->where;
    on_finding_(finding);
    suspect = suspects_.erase(suspect);
  }
}

void StoreReport::End() {
  for (const Suspected& suspect : suspects_) {
    Finding finding = Make(Severity::kRemark, suspect.position,
                           absl::StrCat(suspect.what, kTornTail));
    finding.where = suspect.where;
    on_finding_(finding);
  }
  suspects_.clear();
}

}  // namespace diptych::check
