#include "archiver/media/packet_table.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/media/cluster_walker.h"

namespace diptych::media {
namespace {

// FORMAT.md, "Chunk body".
constexpr char kVersion = 1;
constexpr char kPlain = 0;
constexpr char kRuns = 1;
constexpr uint64_t kKeyFrameBit = 1;
constexpr uint64_t kDiscardBit = 2;

using Column = std::vector<uint64_t>;

// ---- Variable-length integers: 7 bits a byte, the lowest first ----

void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

bool GetVarint(absl::string_view* in, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !in->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in->front());
    in->remove_prefix(1);
    // The tenth byte has room for one bit.
    if (shift == 63 && byte > 1) return false;
    *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Signed numbers with the small ones first: 0, -1, 1, -2, ... Differences are
// taken in unsigned arithmetic, where they may wrap and come back exact.
uint64_t ZigZag(uint64_t difference) {
  return (difference << 1) ^ (0 - (difference >> 63));
}

uint64_t UnZigZag(uint64_t coded) { return (coded >> 1) ^ (0 - (coded & 1)); }

// ---- Columns: each plain or as runs, whichever is shorter ----

void PutColumn(const Column& column, std::string* out) {
  std::string plain;
  std::string runs;
  for (size_t i = 0; i < column.size();) {
    size_t end = i;
    while (end < column.size() && column[end] == column[i]) {
      PutVarint(column[end], &plain);
      ++end;
    }
    PutVarint(end - i, &runs);
    PutVarint(column[i], &runs);
    i = end;
  }
  const bool use_runs = runs.size() < plain.size();
  out->push_back(use_runs ? kRuns : kPlain);
  out->append(use_runs ? runs : plain);
}

bool GetColumn(absl::string_view* in, size_t size, Column* column) {
  column->clear();
  if (in->empty()) return false;
  const char kind = in->front();
  in->remove_prefix(1);
  if (kind != kPlain && kind != kRuns) return false;
  while (column->size() < size) {
    uint64_t run = 1;
    uint64_t value = 0;
    if (kind == kRuns && !GetVarint(in, &run)) return false;
    if (run == 0 || run > size - column->size()) return false;
    if (!GetVarint(in, &value)) return false;
    column->insert(column->end(), static_cast<size_t>(run), value);
  }
  return true;
}

// What the next packet of a track is guessed from.
struct TrackState {
  uint64_t sequence = 0;
  uint64_t dts_us = 0;
  uint64_t dts_step_us = 0;
  uint64_t duration_us = 0;
  uint64_t raw_offset_us = 0;
};

struct Columns {
  Column track_id, sequence, dts, pts, duration, raw_offset, flags, skip_start,
      skip_end, payload_bytes;

  // In the order of the format.
  std::vector<Column*> All() {
    return {&track_id,   &sequence, &dts,        &pts,      &duration,
            &raw_offset, &flags,    &skip_start, &skip_end, &payload_bytes};
  }
};

absl::Status BadTable(absl::string_view what) {
  return base::IntegrityError(absl::StrCat("the packet table ", what));
}

absl::StatusOr<uint32_t> Narrow(uint64_t value, size_t row,
                                absl::string_view what) {
  if (value > UINT32_MAX) {
    return BadTable(
        absl::StrCat("has a ", what, " that is too big, at packet ", row));
  }
  return static_cast<uint32_t>(value);
}

absl::StatusOr<std::vector<PacketInfo>> FromColumns(const Columns& columns) {
  std::vector<PacketInfo> packets(columns.track_id.size());
  std::map<uint32_t, TrackState> tracks;
  for (size_t i = 0; i < packets.size(); ++i) {
    PacketInfo& packet = packets[i];
    ASSIGN_OR_RETURN(packet.track_id,
                     Narrow(columns.track_id[i], i, "track number"));
    if (packet.track_id == 0 || packet.track_id > limits::kMaxTrackId) {
      return BadTable(
          absl::StrCat("has an impossible track number at packet ", i));
    }
    TrackState& track = tracks[packet.track_id];
    track.sequence += UnZigZag(columns.sequence[i]);
    track.dts_step_us += UnZigZag(columns.dts[i]);
    track.dts_us += track.dts_step_us;
    track.duration_us += UnZigZag(columns.duration[i]);
    track.raw_offset_us += UnZigZag(columns.raw_offset[i]);
    packet.sequence = track.sequence;
    packet.dts_us = static_cast<int64_t>(track.dts_us);
    packet.pts_us =
        static_cast<int64_t>(track.dts_us + UnZigZag(columns.pts[i]));
    packet.duration_us = track.duration_us;
    packet.raw_offset_us = static_cast<int64_t>(track.raw_offset_us);
    if (columns.flags[i] > (kKeyFrameBit | kDiscardBit)) {
      return BadTable(absl::StrCat("has an unknown flag at packet ", i));
    }
    packet.key_frame = (columns.flags[i] & kKeyFrameBit) != 0;
    packet.discard = (columns.flags[i] & kDiscardBit) != 0;
    ASSIGN_OR_RETURN(packet.skip_start_samples,
                     Narrow(columns.skip_start[i], i, "number of samples"));
    ASSIGN_OR_RETURN(packet.skip_end_samples,
                     Narrow(columns.skip_end[i], i, "number of samples"));
    ASSIGN_OR_RETURN(packet.payload_bytes,
                     Narrow(columns.payload_bytes[i], i, "size"));
  }
  return packets;
}

// Takes the table from the front of `body`.
absl::StatusOr<std::vector<PacketInfo>> TakePacketTable(
    absl::string_view* body) {
  if (body->empty() || body->front() != kVersion) {
    return BadTable("is of an unknown version");
  }
  body->remove_prefix(1);
  uint64_t table_bytes = 0;
  if (!GetVarint(body, &table_bytes) || table_bytes > body->size()) {
    return BadTable("ends beyond its chunk");
  }
  absl::string_view table = body->substr(0, table_bytes);
  body->remove_prefix(table_bytes);
  uint64_t count = 0;
  // Every packet has a block behind the table, so that what a count may make us
  // allocate is bounded by what is really there.
  if (!GetVarint(&table, &count) || count > body->size() / kMinBlock_bytes) {
    return BadTable("counts more packets than its chunk can hold");
  }
  Columns columns;
  for (Column* column : columns.All()) {
    if (!GetColumn(&table, static_cast<size_t>(count), column)) {
      return BadTable("can't be parsed");
    }
  }
  if (!table.empty()) return BadTable("has bytes left over");
  return FromColumns(columns);
}

}  // namespace

std::string EncodePacketTable(const std::vector<PacketInfo>& packets) {
  Columns columns;
  std::map<uint32_t, TrackState> tracks;
  for (const PacketInfo& packet : packets) {
    TrackState& track = tracks[packet.track_id];
    const auto dts_us = static_cast<uint64_t>(packet.dts_us);
    const auto raw_offset_us = static_cast<uint64_t>(packet.raw_offset_us);
    const uint64_t dts_step_us = dts_us - track.dts_us;
    columns.track_id.push_back(packet.track_id);
    columns.sequence.push_back(ZigZag(packet.sequence - track.sequence));
    columns.dts.push_back(ZigZag(dts_step_us - track.dts_step_us));
    columns.pts.push_back(
        ZigZag(static_cast<uint64_t>(packet.pts_us) - dts_us));
    columns.duration.push_back(ZigZag(packet.duration_us - track.duration_us));
    columns.raw_offset.push_back(ZigZag(raw_offset_us - track.raw_offset_us));
    columns.flags.push_back((packet.key_frame ? kKeyFrameBit : 0) |
                            (packet.discard ? kDiscardBit : 0));
    columns.skip_start.push_back(packet.skip_start_samples);
    columns.skip_end.push_back(packet.skip_end_samples);
    columns.payload_bytes.push_back(packet.payload_bytes);
    track = {packet.sequence, dts_us, dts_step_us, packet.duration_us,
             raw_offset_us};
  }
  std::string table;
  PutVarint(packets.size(), &table);
  for (const Column* column : columns.All()) PutColumn(*column, &table);
  std::string out(1, kVersion);
  PutVarint(table.size(), &out);
  out += table;
  return out;
}

std::string EncodeChunkBody(const std::vector<PacketInfo>& packets,
                            absl::string_view clusters) {
  std::string body = EncodePacketTable(packets);
  body.append(clusters.data(), clusters.size());
  return body;
}

absl::StatusOr<ChunkBody> DecodeChunkBody(absl::string_view body) {
  absl::string_view clusters = body;
  ASSIGN_OR_RETURN(const std::vector<PacketInfo> infos,
                   TakePacketTable(&clusters));
  ChunkBody chunk;
  chunk.clusters = clusters;
  chunk.packets.reserve(infos.size());
  // Container numbers are the span's own count of its tracks; within a chunk
  // each must stand for one track id.
  std::map<uint64_t, uint32_t> track_of_number;
  std::map<uint32_t, uint64_t> number_of_track;
  RETURN_IF_ERROR(WalkClusters(
      clusters,
      [&](uint64_t track_number, absl::string_view payload) -> absl::Status {
        const size_t row = chunk.packets.size();
        if (row == infos.size()) {
          return BadTable(
              absl::StrCat("has ", row, " packets, the clusters have more"));
        }
        const PacketInfo& info = infos[row];
        if (track_of_number.try_emplace(track_number, info.track_id)
                    .first->second != info.track_id ||
            number_of_track.try_emplace(info.track_id, track_number)
                    .first->second != track_number) {
          return BadTable(absl::StrCat("puts packet ", row, " on track ",
                                       info.track_id,
                                       ", its block lies on another"));
        }
        if (info.payload_bytes != payload.size()) {
          return BadTable(absl::StrCat(
              "gives packet ", row, " of track ", info.track_id, " ",
              info.payload_bytes, " bytes, its block has ", payload.size()));
        }
        chunk.packets.push_back({info, payload});
        return absl::OkStatus();
      }));
  if (chunk.packets.size() != infos.size()) {
    return BadTable(absl::StrCat("has ", infos.size(),
                                 " packets, the clusters end at packet ",
                                 chunk.packets.size()));
  }
  return chunk;
}

}  // namespace diptych::media
