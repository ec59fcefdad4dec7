#include "tests/tag_index/city_feed.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/index_store.h"
#include "indexer/store/index_view.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_number.h"
#include "indexer/store/session_tags.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/city_records.h"

namespace diptych::bench {
namespace {

using indexer::Family;
using log::RecordType;

constexpr uint64_t kThreads = 2;
// How far a session's records lie from each other in a city's log, and two
// sessions' beginnings.
constexpr log::Position kRecordStep = 9'000;
constexpr log::Position kSessionStep = 24'000;

// Folds one session.
class FoldingSink final : public CityRecordSink {
 public:
  FoldingSink(const seal::IndexKeys& keys, const CitySession& session,
              indexer::BulkWriter* writer)
      : writer_(writer),
        position_(session.place * kSessionStep + kRecordStep),
        state_(&keys, session.id,
               indexer::SessionNumber::FromValue(session.number),
               session.start_time_us, position_) {}

  void OnOpened(stored::v1::SessionOpened opened) override {
    state_.ApplyOpened(opened, position_);
    state_.NoteRecord(RecordType::kSessionOpened, Next());
  }
  void OnSpan(stored::v1::SpanStarted span,
              const stored::v1::SpanDescription& description) override {
    state_.ApplySpan(span, &description, position_, writer_);
    state_.NoteRecord(RecordType::kSpanStarted, Next());
  }
  void OnNotes(stored::v1::Notes notes,
               const stored::v1::NoteList& list) override {
    state_.ApplyNotes(notes, &list, position_, writer_);
    state_.NoteRecord(RecordType::kNotes, Next());
  }
  void OnChunk(stored::v1::Chunk) override {}
  void OnManifest(stored::v1::Segment manifest) override {
    state_.ApplySegment(manifest, Next());
  }
  void OnClosed(stored::v1::SessionClosed closed) override {
    state_.ApplyClosed(closed, Next(), writer_);
  }

  void Finish() {
    state_.Flush(writer_);
    writer_->EndSession(state_.session());
  }

 private:
  log::Position Next() {
    const log::Position position = position_;
    position_ += kRecordStep;
    return position;
  }

  indexer::BulkWriter* const writer_;
  log::Position position_;
  indexer::SessionState state_;
};

void AddWords(const seal::IndexKeys& keys, const CitySession& session,
              std::set<Tag>* known, indexer::BulkWriter* writer) {
  for (const CityRun& run : session.runs) {
    for (const Tag tag : run.tags) {
      const std::string key(KeyName(tag.key()));
      if (indexer::IsPersonalKey(key) || !known->insert(tag).second) continue;
      const std::string value = tag.Text();
      const std::string row_key = indexer::DictionaryKey(keys, key, value);
      writer->AddWord(
          session.place, static_cast<uint32_t>(tag.key()), row_key,
          keys.SealRow(indexer::RowContext(Family::kDictionary, row_key),
                       value));
    }
  }
}

// Every kThreads-th session.
absl::Status FoldPart(const City& city, const seal::IndexKeys& keys,
                      uint64_t part, indexer::BulkWriter* writer) {
  std::set<Tag> known;
  for (uint64_t place = part; place < city.sessions(); place += kThreads) {
    const CitySession session = city.Session(place);
    AddWords(keys, session, &known, writer);
    FoldingSink sink(keys, session, writer);
    TellRecords(session, CityChunks::kNone, &sink);
    sink.Finish();
    RETURN_IF_ERROR(writer->status());
  }
  return writer->Spill();
}

}  // namespace

absl::Status FeedIndex(const City& city, const seal::IndexKeys& keys,
                       const std::string& scratch,
                       indexer::IndexDatabase* store) {
  std::vector<std::unique_ptr<indexer::BulkWriter>> writers;
  std::vector<std::future<absl::Status>> parts;
  for (uint64_t part = 0; part < kThreads; ++part) {
    writers.push_back(std::make_unique<indexer::BulkWriter>(
        absl::StrCat(scratch, "/part", part, "_")));
    parts.push_back(std::async(std::launch::async, [&, part] {
      return FoldPart(city, keys, part, writers[part].get());
    }));
  }
  absl::Status folded;
  for (std::future<absl::Status>& part : parts) folded.Update(part.get());
  RETURN_IF_ERROR(folded);
  indexer::FamilyRuns runs;
  for (const auto& writer : writers) {
    for (size_t family = 0; family < runs.size(); ++family) {
      const auto& of_writer = writer->runs()[family];
      runs[family].insert(runs[family].end(), of_writer.begin(),
                          of_writer.end());
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<indexer::IndexGeneration> generation,
                   store->BeginGeneration());
  RETURN_IF_ERROR(indexer::IngestRuns(
      runs, absl::StrCat(scratch, "/merge"), generation.get(),
      [](uint64_t, uint64_t) { return absl::OkStatus(); }));
  stored::v1::IndexState state;
  state.set_sessions(city.sessions());
  uint64_t segments = 0;
  for (uint64_t place = 0; place < city.sessions(); ++place) {
    segments += city.Session(place).segments.size();
  }
  state.set_segments(segments);
  indexer::IndexBatch batch;
  batch.Put(Family::kMeta, std::string(indexer::kFingerprintKey),
            keys.Fingerprint());
  batch.Put(Family::kMeta, std::string(indexer::kStateKey),
            state.SerializeAsString());
  RETURN_IF_ERROR(generation->Write(batch));
  RETURN_IF_ERROR(store->SwitchTo(std::move(generation)));
  return store->Flush();
}

}  // namespace diptych::bench
