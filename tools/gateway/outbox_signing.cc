// The part of the outbox that states what was sent.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/source_runs.h"
#include "tools/gateway/spool_item.h"

namespace diptych::gateway {
namespace {

// Statements leave the caller's own notes room in a session: beyond it nothing
// is stated any more.
constexpr uint64_t kLastNoteOfStatements = limits::kMaxNotesPerSide / 2;

}  // namespace

void TakeIntoTail(const std::vector<SpoolItem>& items,
                  const std::vector<Renumbering>& renumberings,
                  SpoolTail* tail) {
  for (SpoolItem item : items) {
    Renumber(renumberings, &item);
    SourceRuns& runs = (*tail)[item.side];
    if (item.tracks != nullptr) {
      runs.SetTracks(
          {item.tracks->tracks().begin(), item.tracks->tracks().end()});
    } else if (item.note != nullptr && item.note->has_source_digest()) {
      runs.Covered(item.note->source_digest());
    } else if (item.packet != nullptr) {
      runs.ContinueAt(item.number);
      // One statement is all that is made of a tail.
      if (runs.IsFull(item.packet->track_id())) runs.BeginAnew();
      runs.Add(*item.packet, base::Sha256(item.packet->payload()),
               absl::ZeroDuration());
    }
  }
}

bool Outbox::AddStatementsOf(api::v1::Side id, SideState* side,
                             SourceRuns* runs, absl::Duration now) {
  const std::vector<api::v1::SourceDigest> statements =
      runs->TakeStatements(signing_.clock->Now());
  if (statements.empty() || side->last_note >= kLastNoteOfStatements) {
    return false;
  }
  for (const api::v1::SourceDigest& statement : statements) {
    api::v1::Note note;
    note.set_at_us(runs->latest_us());
    *note.mutable_source_digest() = statement;
    // Only tags can be refused.
    AddNote(id, std::move(note), now).IgnoreError();
  }
  return true;
}

bool Outbox::AddStatements(absl::Duration now, bool all) {
  if (signing_.signer == nullptr) return false;
  bool added = false;
  for (auto& [id, side] : sides_) {
    const auto due_at = side.runs.DueAt();
    if (!due_at.has_value()) continue;
    if (!all && (signing_.repeatable || now < *due_at)) continue;
    added = AddStatementsOf(id, &side, &side.runs, now) || added;
  }
  return added;
}

std::optional<absl::Duration> Outbox::StatementsDueAt() const {
  if (signing_.signer == nullptr || signing_.repeatable) return std::nullopt;
  std::optional<absl::Duration> first;
  for (const auto& [id, side] : sides_) {
    const auto due_at = side.runs.DueAt();
    if (!due_at.has_value()) continue;
    first = std::min(first.value_or(*due_at), *due_at);
  }
  return first;
}

void Outbox::SignStatement(api::v1::Side id, SideState* side, SpoolItem* item) {
  // What was signed once is sent again as it is.
  if (item->note->source_digest().signature().empty()) {
    auto note = std::make_shared<api::v1::Note>(*item->note);
    const size_t bytes = item->bytes();
    signing_.signer->Sign(signing_.session_id, id,
                          note->mutable_source_digest());
    item->note = std::move(note);
    const size_t grown = item->bytes() - bytes;
    kept_bytes_ += grown;
    unsent_bytes_ += grown;
  }
  if (item->number <= side->highest_statement) return;
  side->highest_statement = item->number;
  ++side->counters.statements;
  side->counters.signed_packets += item->note->source_digest().packets();
}

}  // namespace diptych::gateway
