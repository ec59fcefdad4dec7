#include "indexer/retrieval/bundle_disclosure.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/safe_name.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "archiver/seal/ratchet.h"
#include "indexer/retrieval/session_reader.h"
#include "indexer/retrieval/source_runs.h"
#include "indexer/store/session_media.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using log::RecordType;
using seal::SaltKind;

std::string AttachmentName(const stored::v1::Event& event) {
  return event.attachment_name().empty()
             ? "attachment"
             : base::SafeName(event.attachment_name());
}

// In the order of the log.
std::vector<RecordRef> NamedRecords(const SessionRecords& records) {
  std::vector<RecordRef> named;
  for (const ManifestRef& manifest : records.manifests) {
    named.insert(named.end(), manifest.records.begin(), manifest.records.end());
  }
  if (records.closed) {
    named.insert(named.end(), records.unnamed.begin(), records.unnamed.end());
  }
  return named;
}

absl::Status OtherThan(const log::StoredRecord& record, const char* what) {
  return base::IntegrityError(
      absl::StrCat("the ", log::RecordTypeName(record.type),
                   " record at log position ", record.position, " ", what));
}

template <typename Header>
absl::StatusOr<Header> HeaderOf(const log::StoredRecord& record,
                                const SessionReader& session) {
  Header header;
  if (!header.ParseFromString(record.header) ||
      header.session_id() != session.media().session_id.bytes()) {
    return OtherThan(record, "is not one of this session");
  }
  return header;
}

class Discloser {
 public:
  Discloser(const DisclosureScope& scope, const WriteAttachment& write_file,
            SessionReader* session)
      : scope_(scope),
        write_file_(write_file),
        session_(session),
        session_id_(session->media().session_id.bytes()) {}

  absl::Status AddAll(const std::vector<RecordRef>& named);
  absl::Status AddGaps(const std::vector<ChunkRef>& chunks);

  Disclosure Take() { return std::move(disclosed_); }

 private:
  struct Attachment {
    std::string file;
    // Whose event it is of.
    stored::v1::Side side = stored::v1::SIDE_UNSPECIFIED;
    // By offset.
    std::map<uint64_t, RecordRef> parts;
  };

  bool InRange(int64_t at_us) const {
    return scope_.whole_session ||
           ((scope_.from_start || scope_.from_us <= at_us) &&
            (scope_.to_end || at_us <= scope_.to_us));
  }
  bool IsShown(const stored::v1::Note& note, stored::v1::Side side) const {
    // Tags say what session it is.
    if (scope_.whole_session || note.has_tag()) return true;
    if (!scope_.sides.contains(side) || !InRange(note.at_us())) return false;
    return !note.has_clock_anchor() ||
           scope_.tracks.contains(note.clock_anchor().track_id());
  }
  void Add(const log::StoredRecord& record);
  absl::Status AddSpan(const RecordRef& ref);
  absl::Status AddNotes(const RecordRef& ref);
  absl::Status SortPart(const RecordRef& ref);
  absl::Status AddAttachment(const Attachment& attachment);
  absl::Status AddStateChange(const RecordRef& ref);
  absl::Status SortClock(const RecordRef& ref);

  const DisclosureScope& scope_;
  const WriteAttachment& write_file_;
  SessionReader* const session_;
  const std::string session_id_;
  std::map<uint32_t, Attachment> attachments_;
  // Per track, the latest before the range.
  std::map<uint32_t, log::StoredRecord> clocks_;
  Disclosure disclosed_;
};

void Discloser::Add(const log::StoredRecord& record) {
  disclosed_.records[record.position] = {
      record.type, record.header,
      record.body.empty() ? std::string() : base::Sha256(record.body)};
}

absl::Status Discloser::AddSpan(const RecordRef& ref) {
  ASSIGN_OR_RETURN(const log::StoredRecord record, session_->Record(ref));
  ASSIGN_OR_RETURN(const auto header,
                   HeaderOf<stored::v1::SpanStarted>(record, *session_));
  if (!scope_.whole_session && !scope_.spans.contains(header.span())) {
    return absl::OkStatus();
  }
  DisclosedSpan span;
  span.record = ref.position;
  ASSIGN_OR_RETURN(
      span.description,
      session_->OpenBody(stored::v1::KEY_CLASS_METADATA, header.epoch(),
                         header.segment(), record));
  ASSIGN_OR_RETURN(span.salt, session_->Salt(stored::v1::KEY_CLASS_METADATA,
                                             header.epoch(), header.segment(),
                                             SaltKind::kSpan, header.span()));
  if (evidence::SpanCommitment(span.salt, session_id_, header.span(),
                               span.description) != header.commitment()) {
    return OtherThan(record, "describes another span than it commits to");
  }
  Add(record);
  disclosed_.spans.push_back(std::move(span));
  return absl::OkStatus();
}

absl::Status Discloser::AddNotes(const RecordRef& ref) {
  ASSIGN_OR_RETURN(const log::StoredRecord record, session_->Record(ref));
  ASSIGN_OR_RETURN(const auto header,
                   HeaderOf<stored::v1::Notes>(record, *session_));
  ASSIGN_OR_RETURN(
      const std::string body,
      session_->OpenBody(stored::v1::KEY_CLASS_METADATA, header.epoch(),
                         header.segment(), record));
  stored::v1::NoteList list;
  if (!list.ParseFromString(body) ||
      list.notes_size() != header.commitments_size()) {
    return OtherThan(record, "has other notes than it commits to");
  }
  const auto side = static_cast<uint8_t>(header.side());
  bool any = false;
  for (int i = 0; i < list.notes_size(); ++i) {
    const stored::v1::Note& note = list.notes(i);
    if (!IsShown(note, header.side())) continue;
    any = true;
    DisclosedNote disclosed;
    disclosed.record = ref.position;
    disclosed.at = static_cast<uint32_t>(i);
    disclosed.note = note.SerializeAsString();
    ASSIGN_OR_RETURN(
        disclosed.salt,
        session_->Salt(stored::v1::KEY_CLASS_METADATA, header.epoch(),
                       header.segment(), SaltKind::kNote,
                       seal::NoteSaltId(side, note.note())));
    if (evidence::NoteCommitment(disclosed.salt, session_id_, side, note.note(),
                                 disclosed.note) != header.commitments(i)) {
      return OtherThan(record, "has other notes than it commits to");
    }
    disclosed_.notes.push_back(std::move(disclosed));
    const stored::v1::Event& event = note.event();
    if (event.attachment_id() != 0) {
      attachments_.try_emplace(
          event.attachment_id(),
          Attachment{absl::StrCat("attachments/", event.attachment_id(), "-",
                                  AttachmentName(event)),
                     header.side(),
                     {}});
    }
  }
  if (any) Add(record);
  return absl::OkStatus();
}

absl::Status Discloser::SortPart(const RecordRef& ref) {
  ASSIGN_OR_RETURN(const log::StoredRecord record, session_->Record(ref));
  ASSIGN_OR_RETURN(const auto header,
                   HeaderOf<stored::v1::AttachmentPart>(record, *session_));
  if (scope_.whole_session) Add(record);
  const auto attachment = attachments_.find(header.attachment_id());
  if (attachment != attachments_.end() &&
      attachment->second.side == header.side()) {
    // One that was sent twice: the first counts.
    attachment->second.parts.try_emplace(header.offset(), ref);
  }
  return absl::OkStatus();
}

absl::Status Discloser::AddAttachment(const Attachment& attachment) {
  uint64_t next = 0;
  for (const auto& [offset, ref] : attachment.parts) {
    // What did not come whole is shown as far as it came.
    if (offset != next) break;
    ASSIGN_OR_RETURN(const log::StoredRecord record, session_->Record(ref));
    ASSIGN_OR_RETURN(const auto header,
                     HeaderOf<stored::v1::AttachmentPart>(record, *session_));
    ASSIGN_OR_RETURN(
        const std::string bytes,
        session_->OpenBody(stored::v1::KEY_CLASS_MEDIA, header.epoch(),
                           header.segment(), record));
    DisclosedPart part;
    part.record = ref.position;
    part.file = attachment.file;
    part.offset = offset;
    part.bytes = bytes.size();
    ASSIGN_OR_RETURN(
        part.salt,
        session_->Salt(stored::v1::KEY_CLASS_MEDIA, header.epoch(),
                       header.segment(), SaltKind::kAttachmentPart,
                       seal::NoteSaltId(static_cast<uint8_t>(header.side()),
                                        header.note())));
    if (evidence::PartCommitment(part.salt, session_id_, header.attachment_id(),
                                 offset, bytes) != header.commitment()) {
      return OtherThan(record, "has other bytes than it commits to");
    }
    RETURN_IF_ERROR(write_file_(attachment.file, offset, bytes));
    next += bytes.size();
    Add(record);
    disclosed_.parts.push_back(std::move(part));
  }
  return absl::OkStatus();
}

absl::Status Discloser::AddStateChange(const RecordRef& ref) {
  ASSIGN_OR_RETURN(const log::StoredRecord record, session_->Record(ref));
  ASSIGN_OR_RETURN(const auto header,
                   HeaderOf<stored::v1::StateChanged>(record, *session_));
  if (InRange(header.at_us())) Add(record);
  return absl::OkStatus();
}

absl::Status Discloser::SortClock(const RecordRef& ref) {
  ASSIGN_OR_RETURN(log::StoredRecord record, session_->Record(ref));
  ASSIGN_OR_RETURN(const auto header,
                   HeaderOf<stored::v1::ClockChanged>(record, *session_));
  if (InRange(header.at_us()) &&
      (scope_.whole_session || scope_.tracks.contains(header.track_id()))) {
    Add(record);
  } else if (scope_.tracks.contains(header.track_id()) &&
             header.at_us() < scope_.from_us) {
    // The last one before the range holds in it.
    clocks_[header.track_id()] = std::move(record);
  }
  return absl::OkStatus();
}

absl::Status Discloser::AddAll(const std::vector<RecordRef>& named) {
  for (const RecordRef& ref : named) {
    switch (ref.type) {
      case RecordType::kSpanStarted:
        RETURN_IF_ERROR(AddSpan(ref));
        break;
      case RecordType::kNotes:
        RETURN_IF_ERROR(AddNotes(ref));
        break;
      case RecordType::kStateChanged:
        RETURN_IF_ERROR(AddStateChange(ref));
        break;
      case RecordType::kClockChanged:
        RETURN_IF_ERROR(SortClock(ref));
        break;
      case RecordType::kAttachmentPart:
        // Once all events are known.
        break;
      default: {
        if (!scope_.whole_session && !scope_.statements.contains(ref.position))
          break;
        ASSIGN_OR_RETURN(const log::StoredRecord record, session_->Record(ref));
        Add(record);
      }
    }
  }
  for (const auto& [track, record] : clocks_) Add(record);
  if (scope_.whole_session || !attachments_.empty()) {
    for (const RecordRef& ref : named) {
      if (ref.type == RecordType::kAttachmentPart) {
        RETURN_IF_ERROR(SortPart(ref));
      }
    }
  }
  for (const auto& [id, attachment] : attachments_) {
    RETURN_IF_ERROR(AddAttachment(attachment));
  }
  return absl::OkStatus();
}

absl::Status Discloser::AddGaps(const std::vector<ChunkRef>& chunks) {
  for (const ChunkRef& chunk : chunks) {
    // A gap ends with a packet of the chunk that names it.
    if (!chunk.has_gaps ||
        (!scope_.whole_session && chunk.end_us < scope_.from_us)) {
      continue;
    }
    ASSIGN_OR_RETURN(const log::StoredRecord record,
                     session_->Record({RecordType::kChunk, chunk.position}));
    ASSIGN_OR_RETURN(const auto header,
                     HeaderOf<stored::v1::Chunk>(record, *session_));
    const bool shown = scope_.whole_session ||
                       std::any_of(header.gaps().begin(), header.gaps().end(),
                                   [&](const stored::v1::Gap& gap) {
                                     return gap.start_us() < scope_.to_us &&
                                            gap.end_us() > scope_.from_us &&
                                            scope_.sides.contains(gap.side());
                                   });
    if (shown) Add(record);
  }
  return absl::OkStatus();
}

}  // namespace

NamedBy NameRecords(const SessionRecords& records) {
  NamedBy named_by;
  for (size_t i = 0; i < records.manifests.size(); ++i) {
    for (const RecordRef& record : records.manifests[i].records) {
      named_by[record.position] = i;
    }
  }
  if (records.closed) {
    for (const RecordRef& record : records.unnamed) {
      named_by[record.position] = records.manifests.size();
    }
  }
  return named_by;
}

absl::StatusOr<std::map<uint32_t, std::vector<SignedRun>>> ReadStatements(
    const SessionRecords& records, const SessionReader& session) {
  std::map<uint32_t, std::vector<SignedRun>> statements;
  for (const RecordRef& ref : NamedRecords(records)) {
    if (ref.type != RecordType::kSourceDigest) continue;
    ASSIGN_OR_RETURN(const log::StoredRecord record, session.Record(ref));
    ASSIGN_OR_RETURN(const auto header,
                     HeaderOf<stored::v1::SourceDigest>(record, session));
    const stored::v1::SourceStatement& said = header.statement();
    // What is larger no archive takes and no verifier.
    if (said.packets() == 0 || said.packets() > limits::kMaxSourceRun_packets) {
      continue;
    }
    SignedRun run;
    run.record = ref.position;
    run.first_sequence = said.first_sequence();
    run.last_sequence = said.last_sequence();
    run.packets = said.packets();
    run.root = said.root();
    statements[said.track_id()].push_back(std::move(run));
  }
  return statements;
}

absl::StatusOr<Disclosure> Disclose(const DisclosureScope& scope,
                                    const SessionRecords& records,
                                    const std::vector<ChunkRef>& chunks,
                                    const WriteAttachment& write_file,
                                    SessionReader* session) {
  Discloser discloser(scope, write_file, session);
  RETURN_IF_ERROR(discloser.AddAll(NamedRecords(records)));
  RETURN_IF_ERROR(discloser.AddGaps(chunks));
  return discloser.Take();
}

}  // namespace diptych::indexer
