#include "indexer/query/session_as_of.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

using stored::v1::ChunkRow;
using stored::v1::SegmentRow;
using stored::v1::SessionRow;

namespace {

stored::v1::PastState StateAsOf(log::Position position, const SessionRow& row) {
  stored::v1::PastState then;
  for (const auto& state : row.past_states()) {
    if (state.position() >= position) break;
    then = state;
  }
  return then;
}

PastSession Undo(log::Position position, const SessionRow& row,
                 const std::vector<SegmentRow>& segments,
                 const stored::v1::PastState& state) {
  PastSession past;
  past.row = row;
  auto* notes = past.row.mutable_tag_notes();
  notes->erase(std::remove_if(notes->begin(), notes->end(),
                              [&](const stored::v1::TagNote& note) {
                                return note.position() >= position;
                              }),
               notes->end());
  past.row.set_closed(state.closed());
  past.row.set_state(state.state());
  std::copy_if(
      segments.begin(), segments.end(), std::back_inserter(past.segments),
      [&](const SegmentRow& segment) { return segment.position() < position; });
  past.row.set_segments(static_cast<uint32_t>(past.segments.size()));
  past.tags = FoldTags(past.row);
  std::vector<SegmentTimes> times;
  times.reserve(past.segments.size());
  for (const SegmentRow& segment : past.segments) {
    times.push_back(TimesOf(segment));
  }
  past.runs = PlanRuns(past.row, past.tags, &times).runs();
  past.row.set_runs(static_cast<uint32_t>(past.runs.size()));
  // Which tags count for a segment follows from those around it.
  for (size_t i = 0; i < times.size(); ++i) {
    past.segments[i].set_tags_from_us(times[i].tags_from_us);
    past.segments[i].set_tags_to_us(times[i].tags_to_us);
  }
  return past;
}

}  // namespace

std::optional<PastSession> SessionAsOf(
    log::Position position, const SessionRow& row,
    const std::vector<SegmentRow>& segments) {
  if (row.opened_position() >= position) return std::nullopt;
  const auto id = base::Uuid::FromBytes(row.session_id());
  if (!id.ok()) return std::nullopt;
  const bool known = KnowsStateAsOf(position, row);
  PastSession past =
      Undo(position, row, segments,
           known ? StateAsOf(position, row) : stored::v1::PastState());
  past.id = *id;
  if (!known) {
    stored::v1::PastState closed;
    closed.set_closed(stored::v1::CLOSE_REASON_CLOSED);
    auto if_closed = Undo(position, row, segments, closed);
    if_closed.id = *id;
    past.if_closed = std::make_shared<const PastSession>(std::move(if_closed));
  }
  return past;
}

bool KnowsStateAsOf(log::Position position, const SessionRow& row) {
  const auto& states = row.past_states();
  // One with the first one's position stands for those that were dropped.
  if (states.size() < 3 || states[1].position() != states[0].position()) {
    return true;
  }
  return states[2].position() < position;
}

void SetPastEnd(log::Position position, const std::vector<ChunkRow>& chunks,
                PastSession* past) {
  const bool grown = std::any_of(
      chunks.begin(), chunks.end(),
      [&](const ChunkRow& chunk) { return chunk.position() >= position; });
  if (!grown) return;
  int64_t end_us = 0;
  std::set<int> sides;
  for (const ChunkRow& chunk : chunks) {
    if (chunk.position() >= position) continue;
    end_us = std::max<int64_t>(end_us, chunk.end_us());
    for (const auto& side : chunk.sides()) sides.insert(side.side());
  }
  past->row.set_end_us(end_us);
  auto* rows = past->row.mutable_sides();
  rows->erase(std::remove_if(rows->begin(), rows->end(),
                             [&](const stored::v1::SideRow& side) {
                               return !sides.contains(side.side());
                             }),
              rows->end());
}

}  // namespace diptych::indexer
