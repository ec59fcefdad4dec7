#include "archiver/seal/key_positions.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::seal {

absl::StatusOr<KeyPositions> KeyPositions::Scan(
    const log::LogReader& log, Which which,
    const std::function<absl::Status(log::Position)>& on_progress) {
  KeyPositions positions;
  RETURN_IF_ERROR(log.Scan(
                         {.bodies = false},
                         [&](const log::StoredRecord& record) {
                           positions.Take(record, which);
                           return on_progress ? on_progress(record.end)
                                              : absl::OkStatus();
                         },
                         [](const log::Damage&) { return absl::OkStatus(); })
                      .status());
  return positions;
}

void KeyPositions::Take(const log::StoredRecord& record, Which which) {
  if (record.type == log::RecordType::kSessionOpened && which == Which::kAll) {
    stored::v1::SessionOpened opened;
    if (!opened.ParseFromString(record.header)) return;
    const auto id = base::Uuid::FromBytes(opened.session_id());
    if (id.ok()) epochs_[{*id, opened.epoch()}] = opened.key_position();
  }
  if (record.type != log::RecordType::kKeysChanged) return;
  stored::v1::KeysChanged changed;
  if (!changed.ParseFromString(record.header)) return;
  for (const stored::v1::Rewrap& rewrap : changed.rewraps()) {
    const auto id = base::Uuid::FromBytes(rewrap.session_id());
    if (id.ok()) epochs_[{*id, rewrap.epoch()}] = rewrap.key_position();
  }
  for (const stored::v1::ChangedRecipient& recipient : changed.recipients()) {
    recipients_[recipient.recipient_id()] = recipient;
  }
}

std::optional<log::Position> KeyPositions::Find(const base::Uuid& session,
                                                uint64_t epoch) const {
  const auto found = epochs_.find({session, epoch});
  if (found == epochs_.end()) return std::nullopt;
  return found->second;
}

std::optional<stored::v1::ChangedRecipient> KeyPositions::FindRecipient(
    absl::string_view recipient_id) const {
  const auto found = recipients_.find(std::string(recipient_id));
  if (found == recipients_.end()) return std::nullopt;
  return found->second;
}

}  // namespace diptych::seal
