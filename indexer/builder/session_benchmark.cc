// What a session costs while it goes on: with every flush a little came, and a
// long one must not cost more than a short one.

#include <cstdint>
#include <string>

#include <benchmark/benchmark.h>

#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/batch_sink.h"
#include "indexer/store/index_store.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

constexpr int64_t kSecond_us = 1'000'000;

class LongSession {
 public:
  LongSession()
      : keys_(seal::IndexKeys::Derive(seal::KeyPair::Generate("index"))),
        session_(&keys_, base::Uuid::Random(), SessionNumber(1, 0), kSecond_us,
                 0) {
    for (const char* key : {"resident", "committee", "street", "terminal",
                            "ticket", "clerk", "item", "outcome", "channel"}) {
      AddTag(key, "1");
    }
  }

  void AddTag(const std::string& key, const std::string& value) {
    stored::v1::Notes notes;
    notes.set_side(stored::v1::SIDE_CLERK);
    stored::v1::NoteList list;
    auto* note = list.add_notes();
    note->set_note(++note_);
    note->set_at_us(now_us_);
    note->mutable_tag()->set_key(key);
    note->mutable_tag()->add_values(value);
    note->mutable_tag()->set_operation(2);
    IndexBatch batch;
    BatchSink sink(&batch);
    session_.ApplyNotes(notes, &list, ++position_, &sink);
  }

  void AddSegment() {
    stored::v1::Segment segment;
    segment.set_segment(segment_++);
    segment.set_window_start_us(now_us_);
    segment.set_start_us(now_us_);
    now_us_ += 10 * kSecond_us;
    segment.set_window_end_us(now_us_);
    segment.set_end_us(now_us_);
    position_ += 1'000'000;
    session_.ApplySegment(segment, position_);
  }

  void AddChunk() {
    stored::v1::Chunk chunk;
    chunk.set_chunk(chunk_++);
    chunk.set_segment(segment_);
    chunk.set_window_start_us(now_us_);
    chunk.set_window_end_us(now_us_ + kSecond_us);
    chunk.add_sides()->set_side(stored::v1::SIDE_CLERK);
    log::StoredRecord record;
    record.type = log::RecordType::kChunk;
    record.position = ++position_;
    record.end = record.position + 100'000;
    IndexBatch batch;
    BatchSink sink(&batch);
    session_.ApplyChunk(chunk, record, &sink);
  }

  void Flush() {
    IndexBatch batch;
    BatchSink sink(&batch);
    session_.Flush(&sink);
    sink.Finish();
    benchmark::DoNotOptimize(batch);
  }

  // Hours of 360 segments.
  void Live(int64_t hours) {
    for (int64_t i = 0; i < hours * 360; ++i) AddSegment();
    Flush();
  }

 private:
  const seal::IndexKeys keys_;
  SessionState session_;
  int64_t now_us_ = 0;
  log::Position position_ = 0;
  uint64_t note_ = 0;
  uint32_t segment_ = 0;
  uint32_t chunk_ = 0;
};

void BM_FlushAfterAChunk(benchmark::State& state) {
  LongSession session;
  session.Live(state.range(0));
  for (auto _ : state) {
    session.AddChunk();
    session.Flush();
  }
}
BENCHMARK(BM_FlushAfterAChunk)->Arg(0)->Arg(1)->Arg(8);

void BM_FlushAfterASegment(benchmark::State& state) {
  LongSession session;
  session.Live(state.range(0));
  for (auto _ : state) {
    session.AddSegment();
    session.Flush();
  }
}
// As many that the session does not become much longer by them.
BENCHMARK(BM_FlushAfterASegment)->Arg(1)->Arg(8)->Iterations(200);

void BM_FlushAfterATag(benchmark::State& state) {
  LongSession session;
  session.Live(state.range(0));
  int value = 0;
  for (auto _ : state) {
    session.AddTag("item", std::to_string(++value));
    session.Flush();
  }
}
BENCHMARK(BM_FlushAfterATag)->Arg(1)->Arg(8)->Iterations(100);

}  // namespace
}  // namespace diptych::indexer
