#include "indexer/retrieval/session_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/session_opener.h"
#include "indexer/store/session_media.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kSecond_us = 1'000'000;

// "chunk 7 (session second 6, log position 12345)" in front of an integrity
// error; other errors are not about a place.
absl::Status AtPlace(const base::Uuid& session_id, absl::string_view place,
                     log::Position position, const absl::Status& status) {
  if (status.code() != absl::StatusCode::kDataLoss) return status;
  api::v1::ErrorDetail detail =
      base::GetErrorDetail(status).value_or(api::v1::ErrorDetail());
  if (detail.reason().empty()) detail.set_reason("INTEGRITY");
  detail.set_session_id(session_id.ToString());
  return base::MakeError(
      absl::StatusCode::kDataLoss,
      absl::StrCat("session ", session_id.ToString(), ", ", place,
                   " at log position ", position,
                   " is not what was stored: ", status.message()),
      detail);
}

std::string SpanPlace(uint32_t span) { return absl::StrCat("span ", span); }

}  // namespace

SessionReader::SessionReader(const SealedArchive& archive, SessionMedia media)
    : archive_(archive), media_(std::move(media)) {}

absl::Status SessionReader::AtChunk(const ChunkRef& chunk,
                                    const absl::Status& status) const {
  return AtPlace(media_.session_id,
                 absl::StrCat("chunk ", chunk.chunk, " of session second ",
                              chunk.start_us / kSecond_us),
                 chunk.position, status);
}

absl::StatusOr<log::StoredRecord> SessionReader::ReadRecord(
    log::Position position, log::RecordType type,
    size_t size_hint_bytes) const {
  absl::StatusOr<log::StoredRecord> record =
      archive_.log->Read(position, size_hint_bytes);
  if (record.status().code() == absl::StatusCode::kNotFound) {
    return base::IntegrityError("no record begins there");
  }
  RETURN_IF_ERROR(record.status());
  if (record->type != type) {
    return base::IntegrityError(absl::StrCat(
        "a ", log::RecordTypeName(record->type), " record is there instead"));
  }
  return record;
}

absl::StatusOr<const seal::SessionOpener*> SessionReader::Opener(
    uint64_t epoch) {
  const auto known = openers_.find(epoch);
  if (known != openers_.end()) return known->second.get();
  const auto ref =
      std::find_if(media_.epochs.begin(), media_.epochs.end(),
                   [&](const EpochRef& e) { return e.epoch == epoch; });
  if (ref == media_.epochs.end()) {
    return base::IntegrityError(
        absl::StrCat("nothing is known of its epoch ", epoch));
  }
  absl::StatusOr<log::StoredRecord> record =
      archive_.key_store->Read(ref->key_position);
  const std::string place = absl::StrCat(
      "epoch ", epoch, " at key store position ", ref->key_position);
  if (record.status().code() == absl::StatusCode::kNotFound) {
    return base::IntegrityError(absl::StrCat("no keys of ", place));
  }
  RETURN_IF_ERROR(record.status());
  stored::v1::KeyWraps wraps;
  if (record->type != log::RecordType::kKeyWraps ||
      !wraps.ParseFromString(record->body) ||
      wraps.session_id() != media_.session_id.bytes() ||
      wraps.epoch() != epoch) {
    return base::IntegrityError(
        absl::StrCat("other keys are kept for ", place));
  }
  ASSIGN_OR_RETURN(
      std::unique_ptr<seal::SessionOpener> opener,
      seal::SessionOpener::Create(archive_.archive_id, wraps, *archive_.keys));
  return openers_.emplace(epoch, std::move(opener)).first->second.get();
}

absl::StatusOr<log::StoredRecord> SessionReader::Record(
    const RecordRef& ref) const {
  absl::StatusOr<log::StoredRecord> record =
      ReadRecord(ref.position, ref.type, 0);
  if (record.ok()) return record;
  return AtPlace(media_.session_id,
                 absl::StrCat("the ", log::RecordTypeName(ref.type), " record"),
                 ref.position, record.status());
}

absl::StatusOr<std::string> SessionReader::OpenBody(
    stored::v1::KeyClass key_class, uint64_t epoch, uint32_t segment,
    const log::StoredRecord& record) {
  const auto open = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const seal::SessionOpener* opener, Opener(epoch));
    return opener->Open(key_class, record.type, segment, record.header,
                        record.body);
  };
  absl::StatusOr<std::string> body = open();
  if (body.ok()) return body;
  return AtPlace(
      media_.session_id,
      absl::StrCat("the ", log::RecordTypeName(record.type), " record"),
      record.position, body.status());
}

absl::StatusOr<std::string> SessionReader::Salt(stored::v1::KeyClass key_class,
                                                uint64_t epoch,
                                                uint32_t segment,
                                                seal::SaltKind kind,
                                                uint64_t id) {
  ASSIGN_OR_RETURN(const seal::SessionOpener* opener, Opener(epoch));
  return opener->SaltOf(key_class, segment, kind, id);
}

absl::StatusOr<const stored::v1::SpanDescription*> SessionReader::Span(
    uint32_t span) {
  const auto known = spans_.find(span);
  if (known != spans_.end()) return &known->second;
  const auto ref =
      std::find_if(media_.spans.begin(), media_.spans.end(),
                   [&](const SpanRef& s) { return s.span == span; });
  if (ref == media_.spans.end()) {
    return base::IntegrityError(
        absl::StrCat("session ", media_.session_id.ToString(),
                     " has chunks of span ", span, ", which never started"));
  }
  const auto open = [&]() -> absl::StatusOr<stored::v1::SpanDescription> {
    ASSIGN_OR_RETURN(
        const log::StoredRecord record,
        ReadRecord(ref->position, log::RecordType::kSpanStarted, 0));
    stored::v1::SpanStarted header;
    if (!header.ParseFromString(record.header) ||
        header.session_id() != media_.session_id.bytes() ||
        header.span() != span || header.epoch() != ref->epoch ||
        header.segment() != ref->segment) {
      return base::IntegrityError("its header is another span's");
    }
    ASSIGN_OR_RETURN(const seal::SessionOpener* opener, Opener(ref->epoch));
    ASSIGN_OR_RETURN(
        const std::string body,
        opener->Open(stored::v1::KEY_CLASS_METADATA, record.type,
                     header.segment(), record.header, record.body));
    stored::v1::SpanDescription description;
    if (!description.ParseFromString(body)) {
      return base::IntegrityError("its description can't be parsed");
    }
    return description;
  };
  absl::StatusOr<stored::v1::SpanDescription> description = open();
  if (!description.ok()) {
    return AtPlace(media_.session_id, SpanPlace(span), ref->position,
                   description.status());
  }
  return &spans_.emplace(span, *std::move(description)).first->second;
}

absl::StatusOr<std::string> SessionReader::OpenChunk(const ChunkRef& chunk) {
  const auto open = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const log::StoredRecord record,
                     ReadRecord(chunk.position, log::RecordType::kChunk,
                                chunk.record_bytes));
    stored::v1::Chunk header;
    if (!header.ParseFromString(record.header) ||
        header.session_id() != media_.session_id.bytes() ||
        header.chunk() != chunk.chunk || header.span() != chunk.span ||
        header.epoch() != chunk.epoch || header.segment() != chunk.segment) {
      return base::IntegrityError("its header is another chunk's");
    }
    ASSIGN_OR_RETURN(const seal::SessionOpener* opener, Opener(chunk.epoch));
    return opener->Open(stored::v1::KEY_CLASS_MEDIA, record.type,
                        header.segment(), record.header, record.body);
  };
  absl::StatusOr<std::string> body = open();
  if (!body.ok()) return AtChunk(chunk, body.status());
  return body;
}

absl::StatusOr<std::string> SessionReader::OpenAttachmentPart(
    uint32_t attachment_id, const AttachmentPartRef& part) {
  const auto open = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(
        const log::StoredRecord record,
        ReadRecord(part.position, log::RecordType::kAttachmentPart, 0));
    stored::v1::AttachmentPart header;
    if (!header.ParseFromString(record.header) ||
        header.session_id() != media_.session_id.bytes() ||
        header.attachment_id() != attachment_id ||
        header.offset() != part.offset || header.epoch() != part.epoch ||
        header.segment() != part.segment) {
      return base::IntegrityError("its header is another part's");
    }
    ASSIGN_OR_RETURN(const seal::SessionOpener* opener, Opener(part.epoch));
    return opener->Open(stored::v1::KEY_CLASS_MEDIA, record.type,
                        header.segment(), record.header, record.body);
  };
  absl::StatusOr<std::string> body = open();
  if (body.ok()) return body;
  return AtPlace(media_.session_id,
                 absl::StrCat("attachment ", attachment_id, " from its byte ",
                              part.offset),
                 part.position, body.status());
}

}  // namespace diptych::indexer
