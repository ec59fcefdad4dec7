#include "indexer/retrieval/session_export.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/packet_table.h"
#include "indexer/retrieval/export_messages.h"
#include "indexer/retrieval/packet_reader.h"
#include "indexer/retrieval/read_plan.h"
#include "indexer/retrieval/remuxer.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/retrieval/stream_description.h"
#include "proto/api/v1/media.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kMillisecond_us = 1000;

// Whether the stored clusters, one after the other, are the file: one header,
// and no chunk that has to be merged with others.
bool IsStoredFile(const ReadPlan& plan, api::v1::Container container) {
  if (container != api::v1::CONTAINER_MATROSKA || !plan.whole_session) {
    return false;
  }
  for (size_t i = 1; i < plan.chunks.size(); ++i) {
    if (plan.chunks[i].span != plan.chunks[0].span ||
        plan.chunks[i].chunk < plan.chunks[i - 1].chunk ||
        plan.chunks[i].window_start_us < plan.chunks[i - 1].window_end_us) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<api::v1::ReadFinished> SendStoredFile(const ReadPlan& plan,
                                                     SessionReader* session,
                                                     ExportReceiver* receiver) {
  ExportTotals totals(plan);
  ASSIGN_OR_RETURN(const stored::v1::SpanDescription* span,
                   session->Span(plan.chunks[0].span));
  RETURN_IF_ERROR(receiver->Start(ToReadStarted(plan, /*origin_us=*/0)));
  RETURN_IF_ERROR(receiver->Write(0, span->container_header()));
  uint64_t file_bytes = span->container_header().size();
  for (const ChunkRef& chunk : plan.chunks) {
    RETURN_IF_ERROR(receiver->Flush());
    ASSIGN_OR_RETURN(const std::string body, session->OpenChunk(chunk));
    const absl::StatusOr<media::ChunkBody> decoded =
        media::DecodeChunkBody(body);
    if (!decoded.ok()) return session->AtChunk(chunk, decoded.status());
    for (const media::ChunkPacket& packet : decoded->packets) {
      const auto output = plan.output.find({chunk.span, packet.info.track_id});
      if (output == plan.output.end()) {
        return session->AtChunk(
            chunk, base::IntegrityError("it has a track of no span"));
      }
      totals.Add(output->second, packet.payload.size());
    }
    RETURN_IF_ERROR(receiver->Write(file_bytes, decoded->clusters));
    file_bytes += decoded->clusters.size();
  }
  RETURN_IF_ERROR(receiver->Flush());
  return totals.Finish(file_bytes);
}

absl::StatusOr<api::v1::ReadFinished> SendRemuxed(const ReadRange& range,
                                                  const ReadPlan& plan,
                                                  api::v1::Container container,
                                                  SessionReader* session,
                                                  ExportReceiver* receiver) {
  ExportTotals totals(plan);
  PacketReader packets(&plan, session);
  std::unique_ptr<Remuxer> remuxer;
  while (true) {
    ASSIGN_OR_RETURN(const auto batch, packets.NextBatch());
    if (!batch.has_value()) break;
    if (!batch->empty() && remuxer == nullptr) {
      RemuxOptions options;
      options.container = container;
      options.tracks = plan.tracks;
      options.session_start_us = session->media().start_time_us;
      // A clip begins at its file's beginning; whole milliseconds, so that
      // every container rounds as it does for the whole session.
      options.origin_us =
          range.from_us ? plan.from_us - plan.from_us % kMillisecond_us : 0;
      RETURN_IF_ERROR(receiver->Start(ToReadStarted(plan, options.origin_us)));
      ASSIGN_OR_RETURN(
          remuxer, Remuxer::Create(
                       options, [&](uint64_t offset, absl::string_view bytes) {
                         return receiver->Write(offset, bytes);
                       }));
    }
    for (const ReadPacket& packet : *batch) {
      RETURN_IF_ERROR(
          remuxer->Write(packet.output_track, packet.info, packet.payload));
      totals.Add(packet.output_track, packet.payload.size());
    }
    if (!batch->empty()) RETURN_IF_ERROR(remuxer->Flush());
    RETURN_IF_ERROR(receiver->Flush());
  }
  if (remuxer == nullptr) {
    return absl::OutOfRangeError("the session has no packet in the range");
  }
  RETURN_IF_ERROR(remuxer->Finish());
  RETURN_IF_ERROR(receiver->Flush());
  return totals.Finish(remuxer->file_bytes());
}

}  // namespace

absl::StatusOr<api::v1::ReadFinished> ExportSession(
    const ReadRange& range, api::v1::Container container,
    SessionReader* session, ExportReceiver* receiver) {
  ASSIGN_OR_RETURN(const ReadPlan plan, PlanRead(range, session));
  RETURN_IF_ERROR(CheckContainer(container, plan.tracks));
  if (IsStoredFile(plan, container)) {
    return SendStoredFile(plan, session, receiver);
  }
  return SendRemuxed(range, plan, container, session, receiver);
}

}  // namespace diptych::indexer
