#include "tools/diptych/verify/disclosures.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/safe_name.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

using log::RecordType;

constexpr char kAttachmentFolder[] = "attachments/";

absl::Status False(absl::string_view place, absl::string_view what) {
  return base::IntegrityError(absl::StrCat(place, ": ", what));
}

std::string SideName(stored::v1::Side side) {
  return side == stored::v1::SIDE_CLERK ? "clerk" : "resident";
}

// The header of the record that something disclosed names.
template <typename Message>
absl::StatusOr<Message> RecordOf(const Evidence& evidence, size_t record,
                                 RecordType type, absl::string_view place) {
  const DisclosedRecord& found = evidence.records[record];
  Message message;
  if (static_cast<RecordType>(found.type) != type ||
      !message.ParseFromString(found.header)) {
    return False(place, absl::StrCat("its record is no ",
                                     log::RecordTypeName(type), " record"));
  }
  return message;
}

std::string OperationWord(uint32_t operation) {
  switch (operation) {
    case 1:
      return "add";
    case 2:
      return "set";
    case 3:
      return "remove";
    default:
      return absl::StrCat("operation ", operation);
  }
}

void ShowNote(const stored::v1::Note& note, stored::v1::Side side,
              VerifyResult* result) {
  if (note.has_tag()) {
    result->tags.push_back(
        {note.at_us(),
         SideName(side),
         note.tag().key(),
         OperationWord(note.tag().operation()),
         {note.tag().values().begin(), note.tag().values().end()}});
  } else if (note.has_event()) {
    const stored::v1::Event& event = note.event();
    EventRow row;
    row.at_us = note.at_us();
    row.side = SideName(side);
    row.type = event.type();
    for (const stored::v1::Attribute& attribute : event.attributes()) {
      row.attributes.emplace_back(attribute.key(), attribute.value());
    }
    row.attachment_id = event.attachment_id();
    row.attachment_name = event.attachment_name();
    row.attachment_bytes = event.attachment_bytes();
    result->events.push_back(std::move(row));
  }
}

// Numbers of a side's notes that are accounted for.
using SideNotes = std::map<int, std::set<uint64_t>>;

absl::Status CheckNote(const Evidence& evidence, size_t index,
                       SideNotes* numbers, VerifyResult* result) {
  const DisclosedNote& shown = evidence.notes[index];
  const std::string place =
      absl::StrCat("data/evidence.json.notes[", index, "]");
  ASSIGN_OR_RETURN(const stored::v1::Notes header,
                   RecordOf<stored::v1::Notes>(evidence, shown.record,
                                               RecordType::kNotes, place));
  const uint64_t number = header.first_note() + shown.at;
  if (number > header.last_note() ||
      shown.at >= static_cast<size_t>(header.commitments_size())) {
    return False(place, "its record has no such note");
  }
  if (header.commitments(static_cast<int>(shown.at)) !=
      evidence::NoteCommitment(shown.salt, evidence.session_bytes,
                               static_cast<uint8_t>(header.side()), number,
                               shown.note)) {
    return False(
        place, absl::StrCat("the ", SideName(header.side()), "'s note ", number,
                            " is not what the record commits to"));
  }
  stored::v1::Note note;
  if (!note.ParseFromString(shown.note)) return False(place, "is no note");
  if (!(*numbers)[header.side()].insert(number).second) {
    return False(place, "is shown twice");
  }
  ShowNote(note, header.side(), result);
  return absl::OkStatus();
}

// "3, 5 to 9"; at most a few of them.
std::string Holes(const std::set<uint64_t>& numbers, uint64_t last) {
  constexpr int kShown = 10;
  std::string text;
  int shown = 0;
  uint64_t next = 1;
  const auto hole = [&](uint64_t from, uint64_t to) {
    if (++shown > kShown) return;
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    shown == kShown ? "and others"
                    : from == to    ? absl::StrCat(from)
                                    : absl::StrCat(from, " to ", to));
  };
  for (const uint64_t number : numbers) {
    if (number > last) break;
    if (number > next) hole(next, number - 1);
    next = number + 1;
  }
  if (next <= last) hole(next, last);
  return text;
}

// Without the closing nobody knows how many there were.
void SayNotesWithoutEnd(const SideNotes& numbers,
                        const std::map<int, uint64_t>& known,
                        VerifyResult* result) {
  for (const auto side : {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK}) {
    const auto found = numbers.find(side);
    const auto last = known.find(side);
    const std::string holes =
        Holes(found == numbers.end() ? std::set<uint64_t>() : found->second,
              last == known.end() ? 0 : last->second);
    result->missing.push_back(absl::StrCat(
        "Notes of the ", SideName(side), "'s side that are not shown: ",
        holes.empty() ? "" : absl::StrCat(holes, ", and "),
        last == known.end() ? "all, if there are any; how many is unknown."
                            : absl::StrCat("any after ", last->second,
                                           "; how many is unknown.")));
  }
}

void SayHiddenNotes(const Chain& chain, const SideNotes& numbers,
                    const std::map<int, uint64_t>& known,
                    VerifyResult* result) {
  if (!chain.closed.has_value()) {
    SayNotesWithoutEnd(numbers, known, result);
    return;
  }
  for (const stored::v1::SideTotals& side : chain.closed->sides()) {
    const auto found = numbers.find(side.side());
    const std::string holes =
        Holes(found == numbers.end() ? std::set<uint64_t>() : found->second,
              side.last_note());
    if (holes.empty()) continue;
    result->missing.push_back(
        absl::StrCat("Notes of the ", SideName(side.side()),
                     "'s side that are not shown (of ", side.last_note(),
                     "): ", holes, "."));
  }
}

}  // namespace

absl::StatusOr<Spans> CheckSpans(const Evidence& evidence) {
  Spans spans;
  for (size_t i = 0; i < evidence.spans.size(); ++i) {
    const DisclosedSpan& shown = evidence.spans[i];
    const std::string place = absl::StrCat("data/evidence.json.spans[", i, "]");
    ASSIGN_OR_RETURN(
        const stored::v1::SpanStarted header,
        RecordOf<stored::v1::SpanStarted>(evidence, shown.record,
                                          RecordType::kSpanStarted, place));
    if (header.commitment() !=
        evidence::SpanCommitment(shown.salt, evidence.session_bytes,
                                 header.span(), shown.description)) {
      return False(place,
                   absl::StrCat("the description of span ", header.span(),
                                " is not what its record commits to"));
    }
    stored::v1::SpanDescription description;
    if (!description.ParseFromString(shown.description)) {
      return False(place, "is no description of a span");
    }
    // Written again after a restart, a span says the same.
    const auto [known, added] = spans.emplace(header.span(), description);
    if (!added &&
        known->second.SerializeAsString() != description.SerializeAsString()) {
      return False(place, "a span has two descriptions");
    }
  }
  return spans;
}

absl::Status CheckNotes(const Evidence& evidence, const Chain& chain,
                        VerifyResult* result) {
  SideNotes numbers;
  for (size_t i = 0; i < evidence.notes.size(); ++i) {
    RETURN_IF_ERROR(CheckNote(evidence, i, &numbers, result));
  }
  // By side: the last number that a record here has.
  std::map<int, uint64_t> known;
  uint64_t commitments = 0;
  // Others that take numbers of the same row.
  for (size_t i = 0; i < evidence.records.size(); ++i) {
    const auto type = static_cast<RecordType>(evidence.records[i].type);
    const std::string place =
        absl::StrCat("data/evidence.json.records[", i, "]");
    if (type == RecordType::kNotes) {
      ASSIGN_OR_RETURN(const stored::v1::Notes notes,
                       RecordOf<stored::v1::Notes>(evidence, i, type, place));
      commitments += static_cast<uint64_t>(notes.commitments_size());
      uint64_t& last = known[notes.side()];
      last = std::max<uint64_t>(last, notes.last_note());
    } else if (type == RecordType::kSourceDigest) {
      ASSIGN_OR_RETURN(
          const stored::v1::SourceDigest digest,
          RecordOf<stored::v1::SourceDigest>(evidence, i, type, place));
      numbers[digest.statement().side()].insert(digest.note());
    } else if (type == RecordType::kAttachmentPart) {
      ASSIGN_OR_RETURN(
          const stored::v1::AttachmentPart part,
          RecordOf<stored::v1::AttachmentPart>(evidence, i, type, place));
      numbers[part.side()].insert(part.note());
    }
  }
  for (const auto& [side, shown] : numbers) {
    if (shown.empty()) continue;
    uint64_t& last = known[side];
    last = std::max(last, *shown.rbegin());
  }
  SayHiddenNotes(chain, numbers, known, result);
  if (commitments > evidence.notes.size()) {
    result->missing.push_back(
        absl::StrCat(commitments - evidence.notes.size(), " of ", commitments,
                     " notes that the records here commit to are not shown."));
  }
  return absl::OkStatus();
}

namespace {

// What the events say of a document: its name and how long it is.
absl::Status CheckDocument(const std::string& path, uint32_t attachment_id,
                           uint64_t bytes, VerifyResult* result) {
  bool found = false;
  bool named = false;
  for (const EventRow& event : result->events) {
    if (event.attachment_id != attachment_id) continue;
    found = true;
    const std::string name = event.attachment_name.empty()
                                 ? "attachment"
                                 : base::SafeName(event.attachment_name);
    named |= path ==
             absl::StrCat("data/", kAttachmentFolder, attachment_id, "-", name);
    if (bytes > event.attachment_bytes) {
      return False(path, absl::StrCat("has more bytes than its event's ",
                                      event.attachment_bytes));
    }
    if (bytes < event.attachment_bytes) {
      result->missing.push_back(
          absl::StrCat("Of attachment ", attachment_id, ", ", bytes, " of ",
                       event.attachment_bytes, " bytes are here."));
    }
  }
  if (!found) {
    result->missing.push_back(
        absl::StrCat("The event of attachment ", attachment_id,
                     " is not here; its name and length are not proven."));
  } else if (!named) {
    return False(path, "has not the name that its event says");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAttachments(const Evidence& evidence,
                              const BundleFolder& folder,
                              VerifyResult* result) {
  struct File {
    uint32_t attachment_id = 0;
    // Where the parts so far end.
    uint64_t end = 0;
  };
  std::map<std::string, File> files;
  std::set<uint32_t> ids;
  for (size_t i = 0; i < evidence.parts.size(); ++i) {
    const DisclosedPart& shown = evidence.parts[i];
    const std::string place =
        absl::StrCat("data/evidence.json.attachments[", i, "]");
    ASSIGN_OR_RETURN(
        const stored::v1::AttachmentPart header,
        RecordOf<stored::v1::AttachmentPart>(
            evidence, shown.record, RecordType::kAttachmentPart, place));
    const auto [file, added] = files.emplace(shown.file, File());
    if (added) {
      file->second.attachment_id = header.attachment_id();
      const std::string beginning =
          absl::StrCat(kAttachmentFolder, header.attachment_id(), "-");
      if (!absl::StartsWith(shown.file, beginning) ||
          absl::StrContains(shown.file.substr(beginning.size()), "/") ||
          !ids.insert(header.attachment_id()).second) {
        return False(place, "its file has not the name of the attachment");
      }
    }
    if (header.attachment_id() != file->second.attachment_id ||
        header.offset() != shown.offset || shown.offset != file->second.end) {
      return False(place, "is not the part of the file that comes next");
    }
    file->second.end += shown.bytes;
    const std::string path = absl::StrCat("data/", shown.file);
    ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> opened,
                     folder.OpenFile(path));
    std::string data;
    RETURN_IF_ERROR(opened->Read(shown.offset, shown.bytes, &data));
    if (data.size() != shown.bytes ||
        header.commitment() !=
            evidence::PartCommitment(shown.salt, evidence.session_bytes,
                                     header.attachment_id(), header.offset(),
                                     data)) {
      return False(path, absl::StrCat("its bytes from ", shown.offset,
                                      " on are not those that were stored"));
    }
  }
  ASSIGN_OR_RETURN(const auto all, folder.List());
  for (const auto& [path, bytes] : all) {
    const absl::string_view below = absl::string_view(path);
    if (!absl::StartsWith(below, "data/attachments/")) continue;
    const auto file = files.find(path.substr(5));
    if (file == files.end()) {
      return False(path, "no record of the session is of this file");
    }
    if (file->second.end != bytes) {
      return False(path, "has bytes that no record of the session has");
    }
    RETURN_IF_ERROR(
        CheckDocument(path, file->second.attachment_id, bytes, result));
    ASSIGN_OR_RETURN(std::string hash, folder.HashFile(path, nullptr));
    result->attachments.push_back(
        {file->second.attachment_id, path.substr(5), bytes, std::move(hash)});
  }
  for (const EventRow& event : result->events) {
    if (event.attachment_id != 0 && !ids.contains(event.attachment_id)) {
      result->missing.push_back(absl::StrCat("Attachment ", event.attachment_id,
                                             " of an event is not here."));
    }
  }
  return absl::OkStatus();
}

}  // namespace diptych::verify
