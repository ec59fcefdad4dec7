#include "indexer/store/media_index.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/record_list.h"
#include "indexer/store/session_media.h"
#include "indexer/store/session_number.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

absl::Status NotFound(const base::Uuid& session, const char* reason,
                      const char* message) {
  api::v1::ErrorDetail detail;
  detail.set_reason(reason);
  detail.set_session_id(session.ToString());
  return base::MakeError(absl::StatusCode::kNotFound, message, detail);
}

class StoreMediaIndex final : public MediaIndex {
 public:
  StoreMediaIndex(const IndexStore* store, const seal::IndexKeys* keys)
      : store_(store), keys_(keys) {}

  absl::StatusOr<SessionMedia> GetSessionMedia(
      const base::Uuid& session_id) const override {
    const IndexView view(store_, keys_);
    ASSIGN_OR_RETURN(const auto row, view.Session(session_id));
    if (!row.has_value()) {
      return NotFound(session_id, "UNKNOWN_SESSION",
                      "the archive has no such session");
    }
    SessionMedia media;
    media.session_id = session_id;
    media.start_time_us = row->start_time_us();
    for (const auto& epoch : row->epochs()) {
      media.epochs.push_back({epoch.epoch(), epoch.key_position()});
    }
    ASSIGN_OR_RETURN(const auto spans,
                     view.Details<stored::v1::SpanRow>(
                         DetailPrefix(session_id, DetailKind::kSpan)));
    for (const auto& span : spans) {
      media.spans.push_back(
          {span.span(), span.epoch(), span.segment(), span.position()});
    }
    ASSIGN_OR_RETURN(const auto chunks, view.Chunks(session_id));
    media.chunks.reserve(chunks.size());
    for (const auto& chunk : chunks) {
      ChunkRef ref;
      ref.chunk = chunk.chunk();
      ref.span = chunk.span();
      ref.segment = chunk.segment();
      ref.epoch = chunk.epoch();
      ref.position = chunk.position();
      ref.record_bytes = chunk.record_bytes();
      ref.start_us = chunk.start_us();
      ref.end_us = chunk.end_us();
      ref.window_start_us = chunk.window_start_us();
      ref.window_end_us = chunk.window_end_us();
      ref.key_frames.assign(chunk.key_frames().begin(),
                            chunk.key_frames().end());
      for (const auto& side : chunk.sides()) {
        ref.sides.push_back(
            {side.side(), side.first_sequence(), side.last_sequence()});
      }
      ref.has_gaps = chunk.has_gaps();
      media.chunks.push_back(std::move(ref));
    }
    return media;
  }

  absl::StatusOr<SessionRecords> GetSessionRecords(
      const base::Uuid& session_id) const override {
    const IndexView view(store_, keys_);
    ASSIGN_OR_RETURN(const stored::v1::IndexState state, view.State());
    ASSIGN_OR_RETURN(const auto row, view.Session(session_id));
    if (!row.has_value()) {
      return NotFound(session_id, "UNKNOWN_SESSION",
                      "the archive has no such session");
    }
    SessionRecords records;
    records.indexed = state.position();
    if (!row->opening_lost()) records.opened = row->opened_position();
    if (row->closed() != stored::v1::CLOSE_REASON_UNSPECIFIED) {
      records.closed = row->closed_position();
    }
    ASSIGN_OR_RETURN(records.unnamed, ReadRecordList(row->unnamed_records()));
    ASSIGN_OR_RETURN(const auto segments,
                     view.Segments(SessionNumber::FromValue(row->number())));
    records.manifests.reserve(segments.size());
    for (const auto& segment : segments) {
      ManifestRef manifest;
      manifest.segment = segment.segment();
      manifest.position = segment.position();
      ASSIGN_OR_RETURN(manifest.records, ReadRecordList(segment.records()));
      records.manifests.push_back(std::move(manifest));
    }
    std::sort(records.manifests.begin(), records.manifests.end(),
              [](const ManifestRef& a, const ManifestRef& b) {
                return a.position < b.position;
              });
    return records;
  }

  absl::StatusOr<AttachmentRef> GetAttachment(
      const base::Uuid& session_id, uint32_t attachment_id) const override {
    const IndexView view(store_, keys_);
    ASSIGN_OR_RETURN(const auto rows,
                     view.Details<stored::v1::AttachmentRow>(DetailKey(
                         session_id, DetailKind::kAttachment, attachment_id)));
    ASSIGN_OR_RETURN(const auto parts,
                     view.Details<stored::v1::AttachmentPartRow>(
                         AttachmentPartPrefix(session_id, attachment_id)));
    if (rows.empty() && parts.empty()) {
      return NotFound(session_id, "UNKNOWN_ATTACHMENT",
                      "the session has no such attachment");
    }
    AttachmentRef ref;
    ref.attachment_id = attachment_id;
    if (!rows.empty()) {
      ref.size_bytes = rows.front().size_bytes();
      ref.media_type = rows.front().media_type();
    }
    for (const auto& part : parts) {
      ref.parts.push_back(
          {part.offset(), part.segment(), part.epoch(), part.position()});
    }
    return ref;
  }

 private:
  const IndexStore* const store_;
  const seal::IndexKeys* const keys_;
};

}  // namespace

std::unique_ptr<MediaIndex> NewMediaIndex(const IndexStore* store,
                                          const seal::IndexKeys* keys) {
  return std::make_unique<StoreMediaIndex>(store, keys);
}

}  // namespace diptych::indexer
