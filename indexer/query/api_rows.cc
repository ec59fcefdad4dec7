#include "indexer/query/api_rows.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include <google/protobuf/timestamp.pb.h>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/session_tags.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kSecond_us = 1'000'000;

int64_t AddSaturating(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<int64_t>::max()
               : std::numeric_limits<int64_t>::min();
}

void SetTime(int64_t time_us, google::protobuf::Timestamp* out) {
  int64_t seconds = time_us / kSecond_us;
  int64_t rest_us = time_us % kSecond_us;
  if (rest_us < 0) {
    rest_us += kSecond_us;
    --seconds;
  }
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(rest_us * 1000));
}

std::string SessionName(const stored::v1::SessionRow& row) {
  const auto id = base::Uuid::FromBytes(row.session_id());
  return id.ok() ? id->ToString() : "";
}

api::v1::Side ToApiSide(stored::v1::Side side) {
  switch (side) {
    case stored::v1::SIDE_RESIDENT:
      return api::v1::SIDE_RESIDENT;
    case stored::v1::SIDE_CLERK:
      return api::v1::SIDE_CLERK;
    default:
      return api::v1::SIDE_UNSPECIFIED;
  }
}

bool IsClosed(const stored::v1::SessionRow& row) {
  return row.closed() != stored::v1::CLOSE_REASON_UNSPECIFIED;
}

api::v1::SessionState ToApiState(stored::v1::SessionState state) {
  switch (state) {
    case stored::v1::SESSION_STATE_DEGRADED:
      return api::v1::SESSION_STATE_DEGRADED;
    case stored::v1::SESSION_STATE_RECOVERED:
      return api::v1::SESSION_STATE_RECOVERED;
    default:
      return api::v1::SESSION_STATE_OPEN;
  }
}

api::v1::SessionState StateOf(const stored::v1::SessionRow& row) {
  switch (row.closed()) {
    case stored::v1::CLOSE_REASON_CLOSED:
      return api::v1::SESSION_STATE_CLOSED;
    case stored::v1::CLOSE_REASON_ABANDONED:
      return api::v1::SESSION_STATE_ABANDONED;
    default:
      return ToApiState(row.state());
  }
}

// Groups tags, which are sorted by key and value.
template <typename Message>
void AddTag(const TagSpan& tag, Message* message) {
  const int count = message->tags_size();
  api::v1::Tag* group = count > 0 && message->tags(count - 1).key() == tag.key
                            ? message->mutable_tags(count - 1)
                            : message->add_tags();
  group->set_key(tag.key);
  const int values = group->values_size();
  if (values == 0 || group->values(values - 1) != tag.value) {
    group->add_values(tag.value);
  }
}

}  // namespace

int64_t EndTime_us(const stored::v1::SessionRow& row) {
  return AddSaturating(row.start_time_us(), row.end_us());
}

api::v1::Session ToApiSession(const stored::v1::SessionRow& row) {
  api::v1::Session session;
  session.set_session_id(SessionName(row));
  SetTime(row.start_time_us(), session.mutable_start_time());
  SetTime(EndTime_us(row), session.mutable_end_time());
  session.set_duration_us(row.end_us());
  session.set_state(StateOf(row));
  for (const TagSpan& tag : FoldTags(row)) AddTag(tag, &session);
  session.set_payload_bytes(row.payload_bytes());
  session.set_segments(row.segments());
  std::vector<api::v1::Side> sides;
  for (const auto& side : row.sides()) {
    if (side.packets() > 0) sides.push_back(ToApiSide(side.side()));
  }
  std::sort(sides.begin(), sides.end());
  for (const api::v1::Side side : sides) session.add_sides(side);
  return session;
}

api::v1::Segment ToApiSegment(const stored::v1::SessionRow& row,
                              const std::vector<TagSpan>& tags,
                              const stored::v1::SegmentRow& segment) {
  api::v1::Segment out;
  out.set_session_id(SessionName(row));
  out.set_segment(segment.segment());
  SetTime(AddSaturating(row.start_time_us(), segment.start_us()),
          out.mutable_start_time());
  out.set_start_us(segment.start_us());
  out.set_end_us(segment.end_us());
  for (const TagSpan& tag : tags) {
    if (tag.from_us < segment.tags_to_us() &&
        segment.tags_from_us() < tag.to_us) {
      AddTag(tag, &out);
    }
  }
  out.set_payload_bytes(segment.payload_bytes());
  *out.mutable_tracks_without_key_frame() = segment.tracks_without_key_frame();
  out.set_span(segment.span());
  out.set_play_from_us(segment.start_us());
  out.set_chunks(segment.chunks());
  return out;
}

api::v1::TimedTag ToApiTimedTag(const TagSpan& tag) {
  api::v1::TimedTag out;
  out.set_key(tag.key);
  out.set_value(tag.value);
  out.set_whole_session(tag.whole_session);
  if (tag.whole_session) return out;
  out.set_from_us(tag.from_us);
  if (tag.to_us != kForever_us) out.set_to_us(tag.to_us);
  return out;
}

api::v1::Span ToApiSpan(const stored::v1::SpanRow& row) {
  api::v1::Span span;
  span.set_span(row.span());
  span.set_start_us(row.start_us());
  for (const auto& track : row.tracks()) {
    api::v1::Track* out = span.add_tracks();
    out->set_track_id(track.track_id());
    out->set_side(ToApiSide(track.side()));
    // The numbers are the same by definition (records.proto).
    out->set_source(static_cast<api::v1::Source>(track.source()));
    out->set_codec(static_cast<api::v1::Codec>(track.codec()));
    out->set_codec_config(track.codec_config());
    out->set_width(track.width());
    out->set_height(track.height());
    out->set_sample_rate_hz(track.sample_rate_hz());
    out->set_channels(track.channels());
    out->set_language(track.language());
  }
  return span;
}

api::v1::SessionEvent ToApiEvent(const stored::v1::EventRow& row) {
  api::v1::SessionEvent out;
  out.set_at_us(row.at_us());
  out.set_side(ToApiSide(row.side()));
  const stored::v1::Event& from = row.event();
  api::v1::Event* event = out.mutable_event();
  event->set_type(from.type());
  for (const auto& attribute : from.attributes()) {
    api::v1::Attribute* added = event->add_attributes();
    added->set_key(attribute.key());
    added->set_value(attribute.value());
  }
  event->set_attachment_id(from.attachment_id());
  event->set_attachment_bytes(from.attachment_bytes());
  event->set_attachment_media_type(from.attachment_media_type());
  event->set_attachment_name(from.attachment_name());
  return out;
}

api::v1::ClockAnchor ToApiClockAnchor(const stored::v1::ClockAnchor& anchor) {
  api::v1::ClockAnchor out;
  out.set_track_id(anchor.track_id());
  out.set_media_us(anchor.media_us());
  SetTime(anchor.wall_time_us(), out.mutable_wall_time());
  out.set_source(anchor.source());
  out.set_uncertainty_us(anchor.uncertainty_us());
  return out;
}

api::v1::ClockChange ToApiClockChange(const stored::v1::ClockChanged& change) {
  api::v1::ClockChange out;
  out.set_side(ToApiSide(change.side()));
  out.set_track_id(change.track_id());
  out.set_at_us(change.at_us());
  out.set_raw_from_us(change.raw_from_us());
  out.set_offset_us(change.offset_us());
  out.set_rate_ppb(change.rate_ppb());
  out.set_residual_us(change.residual_us());
  switch (change.reason()) {
    case stored::v1::CLOCK_REASON_PLACED:
      out.set_reason(api::v1::ClockChange::REASON_PLACED);
      break;
    case stored::v1::CLOCK_REASON_DRIFT:
      out.set_reason(api::v1::ClockChange::REASON_DRIFT);
      break;
    case stored::v1::CLOCK_REASON_JUMP:
      out.set_reason(api::v1::ClockChange::REASON_JUMP);
      break;
    default:
      break;
  }
  return out;
}

api::v1::StateChange ToApiStateChange(const stored::v1::StateChanged& change) {
  api::v1::StateChange out;
  out.set_state(ToApiState(change.state()));
  SetTime(change.record_time_us(), out.mutable_time());
  out.set_at_us(change.at_us());
  for (const auto& trouble : change.troubles()) {
    api::v1::SideTrouble* added = out.add_troubles();
    added->set_side(ToApiSide(trouble.side()));
    added->set_since_us(trouble.since_us());
    switch (trouble.trouble()) {
      case stored::v1::TROUBLE_MISSING:
        added->set_trouble(api::v1::SideTrouble::TROUBLE_MISSING);
        break;
      case stored::v1::TROUBLE_STALLED:
        added->set_trouble(api::v1::SideTrouble::TROUBLE_STALLED);
        break;
      default:
        break;
    }
  }
  return out;
}

std::vector<api::v1::SideTotals> ToApiSides(const stored::v1::SessionRow& row) {
  std::vector<api::v1::SideTotals> sides;
  if (IsClosed(row)) {
    for (const auto& side : row.closed_sides()) {
      api::v1::SideTotals totals;
      totals.set_side(ToApiSide(side.side()));
      totals.set_final_sequence(side.last_sequence());
      totals.set_packets(side.packets());
      totals.set_payload_bytes(side.payload_bytes());
      totals.set_start_us(side.start_us());
      totals.set_end_us(side.end_us());
      sides.push_back(totals);
    }
  } else {
    for (const auto& side : row.sides()) {
      api::v1::SideTotals totals;
      totals.set_side(ToApiSide(side.side()));
      totals.set_final_sequence(side.last_sequence());
      totals.set_packets(side.packets());
      totals.set_payload_bytes(side.payload_bytes());
      totals.set_start_us(side.start_us());
      totals.set_end_us(side.end_us());
      sides.push_back(totals);
    }
  }
  std::sort(sides.begin(), sides.end(),
            [](const auto& a, const auto& b) { return a.side() < b.side(); });
  return sides;
}

std::vector<api::v1::Gap> ToApiGaps(
    const stored::v1::SessionRow& row,
    const std::vector<stored::v1::Gap>& recorded) {
  std::vector<stored::v1::Gap> known = recorded;
  known.insert(known.end(), row.closed_gaps().begin(), row.closed_gaps().end());
  std::vector<api::v1::Gap> gaps;
  for (const auto& gap : known) {
    api::v1::Gap& out = gaps.emplace_back();
    out.set_side(ToApiSide(gap.side()));
    out.set_track_id(gap.track_id());
    out.set_start_us(gap.start_us());
    out.set_end_us(gap.end_us());
  }
  // What nothing recorded tells of.
  const auto add = [&](stored::v1::Side side, int64_t start_us,
                       int64_t end_us) {
    const bool told =
        std::any_of(known.begin(), known.end(), [&](const auto& gap) {
          return gap.side() == side && gap.track_id() == 0 &&
                 gap.start_us() < end_us && start_us < gap.end_us();
        });
    if (told || end_us - start_us <= limits::kGapThreshold_us) return;
    api::v1::Gap& out = gaps.emplace_back();
    out.set_side(ToApiSide(side));
    out.set_start_us(start_us);
    out.set_end_us(end_us);
  };
  for (const auto side : {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}) {
    const stored::v1::SideRow* found = nullptr;
    for (const auto& row_side : row.sides()) {
      if (row_side.side() == side && row_side.packets() > 0) found = &row_side;
    }
    if (found == nullptr) {
      add(side, 0, row.end_us());
      continue;
    }
    add(side, 0, found->start_us());
    if (IsClosed(row)) add(side, found->end_us(), row.end_us());
  }
  std::sort(gaps.begin(), gaps.end(), [](const auto& a, const auto& b) {
    const auto key = [](const api::v1::Gap& gap) {
      return std::make_tuple(gap.start_us(), gap.side(), gap.track_id(),
                             gap.end_us());
    };
    return key(a) < key(b);
  });
  return gaps;
}

}  // namespace diptych::indexer
