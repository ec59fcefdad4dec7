#include "indexer/builder/opener_cache.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_positions.h"
#include "archiver/seal/session_opener.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::indexer {

absl::StatusOr<const seal::SessionOpener*> OpenerCache::Find(
    const base::Uuid& session, uint64_t epoch, log::Position key_position) {
  const EpochId id(session, epoch);
  if (auto* known = openers_.Find(id)) return known->get();
  absl::StatusOr<std::unique_ptr<seal::SessionOpener>> opener =
      Make(session, epoch, key_position);
  if (absl::IsPermissionDenied(opener.status())) {
    if (!rewrapped_.has_value()) {
      ASSIGN_OR_RETURN(rewrapped_,
                       seal::KeyPositions::Scan(
                           *log_, seal::KeyPositions::Which::kRewrapped));
    }
    const std::optional<log::Position> later = rewrapped_->Find(session, epoch);
    if (later.has_value() && *later != key_position) {
      opener = Make(session, epoch, *later);
    }
  }
  RETURN_IF_ERROR(opener.status());
  openers_.ShrinkTo(limits::kIndexOpenerCache - 1);
  return openers_.Insert(id, *std::move(opener))->get();
}

absl::StatusOr<std::unique_ptr<seal::SessionOpener>> OpenerCache::Make(
    const base::Uuid& session, uint64_t epoch,
    log::Position key_position) const {
  ASSIGN_OR_RETURN(const log::StoredRecord record,
                   key_store_->Read(key_position));
  stored::v1::KeyWraps wraps;
  if (record.type != log::RecordType::kKeyWraps ||
      !wraps.ParseFromString(record.body) ||
      wraps.session_id() != session.bytes() || wraps.epoch() != epoch) {
    return base::IntegrityError(
        "the key store has something else where the session's keys should be");
  }
  return seal::SessionOpener::Create(archive_id_, wraps, keys_);
}

absl::StatusOr<std::string> OpenerCache::OpenMetadata(
    const base::Uuid& session, uint64_t epoch, log::Position key_position,
    uint32_t segment, const log::StoredRecord& record) {
  ASSIGN_OR_RETURN(const seal::SessionOpener* const opener,
                   Find(session, epoch, key_position));
  return opener->Open(stored::v1::KEY_CLASS_METADATA, record.type, segment,
                      record.header, record.body);
}

}  // namespace diptych::indexer
