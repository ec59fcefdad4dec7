// Rows that share a key: they come back as they were, and damage is noticed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/change_row.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/run_pack.h"
#include "indexer/store/segment_pack.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::ChunkRow;
using stored::v1::RunRow;
using stored::v1::SegmentRow;

class PackTest : public ::testing::Test {
 protected:
  uint64_t Below(uint64_t limit) {
    return std::uniform_int_distribution<uint64_t>(0, limit - 1)(random_);
  }
  bool Maybe() { return Below(2) == 0; }
  // Of any size.
  uint64_t Any() { return random_() >> Below(64); }
  uint32_t Any32() { return static_cast<uint32_t>(Any()); }
  int64_t AnySigned() { return static_cast<int64_t>(Maybe() ? Any() : ~Any()); }

  SegmentRow AnySegment(uint32_t number) {
    SegmentRow row;
    row.set_segment(number);
    row.set_span(Maybe() ? 1 : Any32());
    row.set_epoch(Maybe() ? 1 : Any());
    row.set_position(Any());
    row.set_window_start_us(AnySigned());
    row.set_window_end_us(AnySigned());
    row.set_tags_from_us(Maybe()   ? kAlways_us
                         : Maybe() ? row.window_start_us()
                                   : AnySigned());
    row.set_tags_to_us(Maybe()   ? kForever_us
                       : Maybe() ? row.window_end_us()
                                 : AnySigned());
    row.set_start_us(AnySigned());
    row.set_end_us(AnySigned());
    row.set_payload_bytes(Any());
    row.set_chunks(Maybe() ? 10 : Any32());
    for (uint64_t i = Below(3); i > 0; --i) {
      row.add_tracks_without_key_frame(Any32());
    }
    for (uint64_t i = Maybe() ? 0 : Below(5); i > 0; --i) {
      row.mutable_records()->add_steps(Any());
      row.mutable_records()->mutable_types()->push_back(
          static_cast<char>(Below(256)));
    }
    return row;
  }

  ChunkRow AnyChunk(uint32_t number) {
    ChunkRow row;
    row.set_chunk(number);
    row.set_span(Maybe() ? 1 : Any32());
    row.set_segment(Maybe() ? number : Any32());
    row.set_epoch(Maybe() ? 1 : Any());
    row.set_position(Any());
    row.set_record_bytes(Any32());
    row.set_start_us(AnySigned());
    row.set_end_us(AnySigned());
    row.set_window_start_us(AnySigned());
    row.set_window_end_us(AnySigned());
    for (uint64_t i = Below(3); i > 0; --i) {
      auto* key = row.add_key_frames();
      key->set_track_id(Any32());
      key->set_pts_us(Maybe() ? row.start_us() : AnySigned());
    }
    for (uint64_t i = Below(3); i > 0; --i) {
      auto* side = row.add_sides();
      side->set_side(static_cast<stored::v1::Side>(Below(3)));
      side->set_first_sequence(Any());
      side->set_last_sequence(Any());
    }
    row.set_has_gaps(Maybe());
    return row;
  }

  RunRow AnyRun() {
    RunRow row;
    for (uint64_t i = Below(4); i > 0; --i) {
      auto* range = row.add_segments();
      range->set_first(Any32());
      range->set_last(Any32());
    }
    row.set_from_us(AnySigned());
    row.set_to_us(AnySigned());
    return row;
  }

  // Ascending.
  std::vector<uint32_t> AnyNumbers(size_t most) {
    std::vector<uint32_t> numbers;
    uint32_t next = Maybe() ? 0 : static_cast<uint32_t>(Below(1000));
    for (uint64_t i = Below(most + 1); i > 0; --i) {
      next += Maybe() ? 1 : 1 + static_cast<uint32_t>(Below(1000));
      numbers.push_back(next);
    }
    return numbers;
  }

  // Every byte wrong in turn, every length too short, and one too many: never a
  // crash; `unpack` gives DATA_LOSS, or rows where the bytes still say some.
  template <typename Unpack>
  void Damage(const std::string& pack, const Unpack& unpack) {
    for (size_t size = 0; size < pack.size(); ++size) {
      const auto rows = unpack(absl::string_view(pack).substr(0, size));
      EXPECT_EQ(rows.status().code(), absl::StatusCode::kDataLoss) << size;
    }
    EXPECT_FALSE(unpack(pack + '\0').ok());
    for (size_t at = 0; at < pack.size(); ++at) {
      std::string wrong = pack;
      wrong[at] = static_cast<char>(random_());
      const auto rows = unpack(wrong);
      if (!rows.ok()) {
        EXPECT_EQ(rows.status().code(), absl::StatusCode::kDataLoss);
      }
    }
  }

  std::mt19937_64 random_{20'231};
};

TEST_F(PackTest, SegmentsComeBack) {
  for (int i = 0; i < 500; ++i) {
    std::vector<SegmentRow> rows;
    for (const uint32_t number : AnyNumbers(limits::kSegmentsPerPack)) {
      rows.push_back(AnySegment(number));
    }
    const std::string pack = PackSegments(rows);
    const auto back = UnpackSegments(pack);
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_EQ(back->size(), rows.size());
    for (size_t j = 0; j < rows.size(); ++j) {
      EXPECT_EQ((*back)[j].SerializeAsString(), rows[j].SerializeAsString());
    }
    const auto first = static_cast<uint32_t>(Below(2000));
    const auto last = first + static_cast<uint32_t>(Below(2000));
    const auto some = UnpackSegments(pack, first, last);
    ASSERT_TRUE(some.ok()) << some.status();
    size_t next = 0;
    for (const SegmentRow& row : rows) {
      if (row.segment() < first || row.segment() > last) continue;
      ASSERT_LT(next, some->size());
      EXPECT_EQ((*some)[next++].SerializeAsString(), row.SerializeAsString());
    }
    EXPECT_EQ(next, some->size());
    if (i < 20) {
      Damage(pack,
             [](absl::string_view bytes) { return UnpackSegments(bytes); });
    }
  }
}

TEST_F(PackTest, RunsComeBack) {
  for (int i = 0; i < 500; ++i) {
    std::vector<RunRow> rows(Below(limits::kRunsPerPack + 1));
    for (RunRow& row : rows) row = AnyRun();
    const base::Uuid session = base::Uuid::Random();
    const std::string pack = PackRuns(session, rows);
    const auto back = UnpackRuns(pack);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->session, session);
    ASSERT_EQ(back->runs.size(), rows.size());
    for (size_t j = 0; j < rows.size(); ++j) {
      EXPECT_EQ(back->runs[j].SerializeAsString(), rows[j].SerializeAsString());
    }
    if (i < 20) Damage(pack, UnpackRuns);
  }
}

TEST_F(PackTest, ChunksComeBack) {
  for (int i = 0; i < 500; ++i) {
    std::vector<ChunkRow> rows;
    for (const uint32_t number : AnyNumbers(limits::kChunksPerPack)) {
      rows.push_back(AnyChunk(number));
    }
    const std::string pack = PackChunks(rows);
    const auto back = UnpackChunks(pack);
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_EQ(back->size(), rows.size());
    for (size_t j = 0; j < rows.size(); ++j) {
      EXPECT_EQ((*back)[j].SerializeAsString(), rows[j].SerializeAsString());
    }
    if (i < 20) Damage(pack, UnpackChunks);
  }
}

TEST_F(PackTest, ChangesComeBack) {
  for (int i = 0; i < 500; ++i) {
    ChangeRow row;
    row.time_us = AnySigned();
    std::set<SessionNumber> sessions;
    for (uint64_t j = Below(50); j > 0; --j) {
      sessions.insert(SessionNumber::FromValue(Any()));
    }
    row.sessions.assign(sessions.begin(), sessions.end());
    const std::string bytes = PackChange(row);
    const auto back = UnpackChange(bytes);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, row);
    if (i < 20) Damage(bytes, UnpackChange);
  }
}

TEST_F(PackTest, ChunksMergeInAnyGroupingAndRepeated) {
  for (int i = 0; i < 200; ++i) {
    std::map<uint32_t, ChunkRow> model;
    std::vector<std::string> packs;
    for (uint64_t j = 1 + Below(8); j > 0; --j) {
      std::map<uint32_t, ChunkRow> added;
      for (uint64_t k = Below(5); k > 0; --k) {
        const auto number = static_cast<uint32_t>(Below(12));
        added[number] = AnyChunk(number);
      }
      std::vector<ChunkRow> rows;
      for (const auto& [number, row] : added) {
        rows.push_back(row);
        model[number] = row;
      }
      packs.push_back(PackChunks(rows));
    }
    // Neighbours first, as a store does while it compacts.
    while (packs.size() > 1) {
      const size_t at = Below(packs.size() - 1);
      const absl::string_view two[] = {packs[at], packs[at + 1]};
      packs[at] = MergeChunkPacks(two).value();
      // The second half of it once more changes nothing.
      const absl::string_view again[] = {packs[at], two[1]};
      EXPECT_EQ(MergeChunkPacks(again).value(), packs[at]);
      packs.erase(packs.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    std::vector<ChunkRow> expected;
    for (const auto& [number, row] : model) expected.push_back(row);
    EXPECT_EQ(packs.front(), PackChunks(expected));
  }
  const absl::string_view damaged[] = {"\x01"};
  EXPECT_TRUE(absl::IsDataLoss(MergeChunkPacks(damaged).status()));
}

// As a gateway on the air makes them: 10 s that are never quite 10 s, ten
// chunks each, a key frame in every second chunk, other sessions in between.
TEST_F(PackTest, AUsualRowTakesFewBytes) {
  constexpr int64_t kEpoch = 1'790'000'000'123'456;
  std::vector<SegmentRow> segments;
  std::vector<ChunkRow> chunks;
  int64_t now_us = 1'234'567;
  uint64_t position = 987'654'321'000;
  uint64_t sequence = 0;
  for (uint32_t i = 0; i < 6; ++i) {
    SegmentRow segment;
    segment.set_segment(320 + i);
    segment.set_span(2);
    segment.set_epoch(kEpoch);
    segment.set_window_start_us(now_us);
    uint64_t payload_bytes = 0;
    for (uint32_t j = 0; j < 10; ++j) {
      ChunkRow chunk;
      chunk.set_chunk(3200 + 10 * i + j);
      chunk.set_span(2);
      chunk.set_segment(320 + i);
      chunk.set_epoch(kEpoch);
      position += Below(2'000'000);
      chunk.set_position(position);
      chunk.set_record_bytes(100'000 + static_cast<uint32_t>(Below(50'000)));
      position += chunk.record_bytes();
      payload_bytes += chunk.record_bytes();
      chunk.set_window_start_us(now_us);
      now_us += 1'000'000 + static_cast<int64_t>(Below(66'000));
      chunk.set_window_end_us(now_us);
      chunk.set_start_us(chunk.window_start_us());
      chunk.set_end_us(now_us + static_cast<int64_t>(Below(66'000)));
      if (j % 2 == 0) {
        auto* key = chunk.add_key_frames();
        key->set_track_id(1);
        key->set_pts_us(chunk.start_us());
      }
      auto* side = chunk.add_sides();
      side->set_side(stored::v1::SIDE_RESIDENT);
      side->set_first_sequence(sequence);
      sequence += 60 + Below(10);
      side->set_last_sequence(sequence - 1);
      chunks.push_back(chunk);
    }
    segment.set_position(position + 500);
    segment.set_window_end_us(now_us);
    segment.set_start_us(segment.window_start_us());
    segment.set_end_us(now_us + 66'666);
    segment.set_tags_from_us(segment.window_start_us());
    segment.set_tags_to_us(now_us);
    segment.set_payload_bytes(payload_bytes);
    segment.set_chunks(10);
    segments.push_back(segment);
  }
  const double per_segment =
      static_cast<double>(PackSegments(segments).size()) / 6;
  const double per_chunk = static_cast<double>(PackChunks(chunks).size()) / 60;
  RecordProperty("bytes_per_segment", std::to_string(per_segment));
  RecordProperty("bytes_per_chunk", std::to_string(per_chunk));
  EXPECT_LE(per_segment, 20);
  EXPECT_LE(per_chunk, 17);
}

}  // namespace
}  // namespace diptych::indexer
