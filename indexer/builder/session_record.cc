#include "indexer/builder/session_record.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/varint.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;
using log::StoredRecord;

template <typename Header>
std::optional<SessionRecord> Parse(const std::string& bytes) {
  SessionRecord parsed;
  Header& header = parsed.header.emplace<Header>();
  if (!header.ParseFromString(bytes)) return std::nullopt;
  const absl::StatusOr<base::Uuid> id =
      base::Uuid::FromBytes(header.session_id());
  if (!id.ok()) return std::nullopt;
  parsed.session = *id;
  if constexpr (std::is_same_v<Header, stored::v1::SessionOpened>) {
    parsed.start_time_us = header.start_time_us();
    parsed.opens = true;
  } else {
    parsed.start_time_us = header.record_time_us();
  }
  return parsed;
}

// Where headers say whose they are; a chunk's says its suite before.
constexpr uint64_t kIdField = 1;
constexpr uint64_t kIdFieldOfChunk = 2;
static_assert(stored::v1::Chunk::kSessionIdFieldNumber == kIdFieldOfChunk);

template <typename... Headers>
constexpr bool kSameIdField =
    ((Headers::kSessionIdFieldNumber == kIdField) && ...);
static_assert(kSameIdField<stored::v1::SessionOpened, stored::v1::SpanStarted,
                           stored::v1::Notes, stored::v1::AttachmentPart,
                           stored::v1::Segment, stored::v1::SessionClosed,
                           stored::v1::StateChanged, stored::v1::ClockChanged,
                           stored::v1::SourceDigest>);

// A field of protobuf's wire format: its tag, and its bytes if it has a length.
struct WireField {
  uint64_t tag = 0;
  absl::string_view all;
  absl::string_view bytes;

  uint64_t number() const { return tag >> 3; }
  bool has_length() const { return (tag & 7) == 2; }
};

// The next field of a header; nullopt at the end and, with the reader failed,
// where there is none.
std::optional<WireField> NextField(absl::string_view header, VarintReader* in) {
  if (!in->ok() || in->left() == 0) return std::nullopt;
  const size_t start = header.size() - in->left();
  WireField field;
  field.tag = in->ReadVarint();
  switch (field.tag & 7) {
    case 0:
      in->ReadVarint();
      break;
    case 1:
      in->ReadBytes(sizeof(uint64_t));
      break;
    case 2:
      field.bytes = in->ReadBytes(in->ReadVarint());
      break;
    case 5:
      in->ReadBytes(sizeof(uint32_t));
      break;
    default:
      in->Fail();
  }
  if (!in->ok()) return std::nullopt;
  field.all = header.substr(start, header.size() - in->left() - start);
  return field;
}

// A manifest is mostly digests, which the index has no use for and which cost
// more to take apart than all else: chunks are left empty, to be counted, and
// digests and tracks left out.
std::string WithoutDigests(const std::string& header) {
  using stored::v1::Segment;
  std::string trimmed;
  VarintReader in(header);
  while (const std::optional<WireField> field = NextField(header, &in)) {
    switch (field->has_length() ? field->number() : 0) {
      case Segment::kChunksFieldNumber:
        AppendVarint(field->tag, &trimmed);
        AppendVarint(0, &trimmed);
        break;
      case Segment::kPreviousManifestSha256FieldNumber:
      case Segment::kTracksFieldNumber:
      case Segment::kRecordsFieldNumber:
        break;
      default:
        trimmed.append(field->all.data(), field->all.size());
    }
  }
  // What is none is for the parser to refuse.
  return in.ok() ? trimmed : header;
}

// One record on its way into its session.
class Applier {
 public:
  Applier(const StoredRecord& record, OpenerCache* openers,
          SessionState* session, RowSink* sink, RecordCounts* counts)
      : record_(record),
        openers_(openers),
        session_(session),
        sink_(sink),
        counts_(counts) {}

  void operator()(const stored::v1::SessionOpened& opened) {
    session_->ApplyOpened(opened, record_.position);
    NoteRecord();
  }

  void operator()(const stored::v1::SpanStarted& span) {
    NoteRecord();
    stored::v1::SpanDescription description;
    const bool opened = OpenBody(span.epoch(), span.segment(), &description);
    session_->ApplySpan(span, opened ? &description : nullptr, record_.position,
                        sink_);
  }

  void operator()(const stored::v1::Chunk& chunk) {
    session_->ApplyChunk(chunk, record_, sink_);
  }

  void operator()(const stored::v1::Notes& notes) {
    NoteRecord();
    stored::v1::NoteList list;
    const uint32_t refused = session_->row().refused_tag_notes();
    const bool opened = OpenBody(notes.epoch(), notes.segment(), &list);
    session_->ApplyNotes(notes, opened ? &list : nullptr, record_.position,
                         sink_);
    counts_->refused_tag_notes += session_->row().refused_tag_notes() - refused;
  }

  void operator()(const stored::v1::AttachmentPart& part) {
    NoteRecord();
    session_->ApplyAttachmentPart(part, record_.position, sink_);
  }

  void operator()(const stored::v1::Segment& segment) {
    const uint32_t unopened = session_->row().unopened_records();
    if (session_->ApplySegment(segment, record_.position)) {
      ++counts_->segments;
    }
    counts_->unopened_records += session_->row().unopened_records() - unopened;
  }

  void operator()(const stored::v1::SessionClosed& closed) {
    session_->ApplyClosed(closed, record_.position, sink_);
  }

  void operator()(const stored::v1::StateChanged& changed) {
    NoteRecord();
    session_->ApplyStateChanged(changed, record_.position, sink_);
  }

  void operator()(const stored::v1::ClockChanged& changed) {
    NoteRecord();
    session_->ApplyClockChanged(changed, record_.position, sink_);
  }

  void operator()(const stored::v1::SourceDigest& digest) {
    session_->ApplySourceDigest(digest);
    NoteRecord();
  }

 private:
  void NoteRecord() { session_->NoteRecord(record_.type, record_.position); }

  // False, and counted, if the body can't be opened or understood.
  template <typename Message>
  bool OpenBody(uint64_t epoch, uint32_t segment, Message* message) {
    for (const auto& known : session_->row().epochs()) {
      if (known.epoch() != epoch) continue;
      const absl::StatusOr<std::string> plain = openers_->OpenMetadata(
          session_->session(), epoch, known.key_position(), segment, record_);
      if (plain.ok() && message->ParseFromString(*plain)) return true;
      break;
    }
    ++counts_->unopened_records;
    return false;
  }

  const StoredRecord& record_;
  OpenerCache* const openers_;
  SessionState* const session_;
  RowSink* const sink_;
  RecordCounts* const counts_;
};

}  // namespace

bool IsOfSession(RecordType type) {
  switch (type) {
    case RecordType::kSessionOpened:
    case RecordType::kSpanStarted:
    case RecordType::kChunk:
    case RecordType::kNotes:
    case RecordType::kAttachmentPart:
    case RecordType::kSegment:
    case RecordType::kSessionClosed:
    case RecordType::kStateChanged:
    case RecordType::kClockChanged:
    case RecordType::kSourceDigest:
      return true;
    case RecordType::kSnapshot:
    case RecordType::kKeysChanged:
    case RecordType::kVolumeHeader:
    case RecordType::kAccess:
    case RecordType::kKeyWraps:
      return false;
  }
  // A type that a later program writes.
  return false;
}

std::optional<base::Uuid> SessionIdOf(const StoredRecord& record) {
  const bool is_chunk = record.type == RecordType::kChunk;
  const uint64_t id_field = is_chunk ? kIdFieldOfChunk : kIdField;
  VarintReader in(record.header);
  std::optional<base::Uuid> session;
  while (const auto field = NextField(record.header, &in)) {
    if (!field->has_length() || field->number() != id_field) continue;
    const absl::StatusOr<base::Uuid> id = base::Uuid::FromBytes(field->bytes);
    if (!id.ok()) return std::nullopt;
    // Of several the last counts, as for whoever parses it all.
    session = *id;
  }
  return in.ok() ? session : std::nullopt;
}

std::optional<SessionRecord> ParseSessionRecord(const StoredRecord& record) {
  switch (record.type) {
    case RecordType::kSessionOpened:
      return Parse<stored::v1::SessionOpened>(record.header);
    case RecordType::kSpanStarted:
      return Parse<stored::v1::SpanStarted>(record.header);
    case RecordType::kChunk:
      return Parse<stored::v1::Chunk>(record.header);
    case RecordType::kNotes:
      return Parse<stored::v1::Notes>(record.header);
    case RecordType::kAttachmentPart:
      return Parse<stored::v1::AttachmentPart>(record.header);
    case RecordType::kSegment:
      return Parse<stored::v1::Segment>(WithoutDigests(record.header));
    case RecordType::kSessionClosed:
      return Parse<stored::v1::SessionClosed>(record.header);
    case RecordType::kStateChanged:
      return Parse<stored::v1::StateChanged>(record.header);
    case RecordType::kClockChanged:
      return Parse<stored::v1::ClockChanged>(record.header);
    case RecordType::kSourceDigest:
      return Parse<stored::v1::SourceDigest>(record.header);
    case RecordType::kSnapshot:
    case RecordType::kKeysChanged:
    case RecordType::kVolumeHeader:
    case RecordType::kAccess:
    case RecordType::kKeyWraps:
      break;
  }
  return std::nullopt;
}

void ApplySessionRecord(const SessionRecord& parsed, const StoredRecord& record,
                        OpenerCache* openers, SessionState* session,
                        RowSink* sink, RecordCounts* counts,
                        const std::function<void(TagNotes)>& on_tags) {
  const auto before = static_cast<size_t>(session->row().tag_notes_size());
  std::visit(Applier(record, openers, session, sink, counts), parsed.header);
  const auto& notes = session->row().tag_notes();
  const TagNotes all(notes.data(), static_cast<size_t>(notes.size()));
  if (all.size() > before) on_tags(all.subspan(before));
}

}  // namespace diptych::indexer
