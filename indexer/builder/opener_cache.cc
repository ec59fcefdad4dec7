#include "indexer/builder/opener_cache.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/session_opener.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::indexer {

absl::StatusOr<const seal::SessionOpener*> OpenerCache::Find(
    const base::Uuid& session, uint64_t epoch, log::Position key_position) {
  const EpochId id(session, epoch);
  if (auto* known = openers_.Find(id)) return known->get();
  ASSIGN_OR_RETURN(const log::StoredRecord record,
                   key_store_->Read(key_position));
  stored::v1::KeyWraps wraps;
  if (record.type != log::RecordType::kKeyWraps ||
      !wraps.ParseFromString(record.body) ||
      wraps.session_id() != session.bytes() || wraps.epoch() != epoch) {
    return base::IntegrityError(
        "the key store has something else where the session's keys should be");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<seal::SessionOpener> opener,
                   seal::SessionOpener::Create(archive_id_, wraps, keys_));
  openers_.ShrinkTo(limits::kIndexOpenerCache - 1);
  return openers_.Insert(id, std::move(opener))->get();
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
