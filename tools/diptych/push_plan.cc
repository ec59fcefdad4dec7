#include "tools/diptych/push_plan.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/tag_keys.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/diptych/offset.h"

namespace diptych::cli {
namespace {

using gateway::PumpNote;

struct KeyValue {
  std::string key;
  std::string value;
};

absl::Status Wrong(absl::string_view option, absl::string_view form) {
  return absl::InvalidArgumentError(absl::StrCat(option, " wants ", form));
}

absl::Status Explain(absl::string_view option, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(option, ": ", status.message()));
}

absl::StatusOr<KeyValue> ParseKeyValue(absl::string_view option,
                                       absl::string_view text) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos) return Wrong(option, "KEY=VALUE");
  KeyValue pair{std::string(text.substr(0, equals)),
                std::string(text.substr(equals + 1))};
  RETURN_IF_ERROR(Explain(option, base::CheckTagKey(pair.key)));
  return pair;
}

absl::StatusOr<KeyValue> ParseTag(absl::string_view option,
                                  absl::string_view text) {
  ASSIGN_OR_RETURN(KeyValue pair, ParseKeyValue(option, text));
  RETURN_IF_ERROR(Explain(option, base::CheckTagValue(pair.key, pair.value)));
  if (pair.key == "event") {
    return absl::InvalidArgumentError(absl::StrCat(
        option, ": the tag event comes from --event, not from itself"));
  }
  return pair;
}

// "OFFSET:REST", where REST has a '=' and the offset may have colons.
absl::StatusOr<std::pair<int64_t, absl::string_view>> SplitOffset(
    absl::string_view option, absl::string_view text) {
  const size_t equals = text.find('=');
  const size_t colon = equals == absl::string_view::npos
                           ? absl::string_view::npos
                           : text.substr(0, equals).rfind(':');
  if (equals != absl::string_view::npos && colon == absl::string_view::npos) {
    return Wrong(option, "an offset in front of KEY=VALUE");
  }
  const auto offset_us = ParseOffset_us(text.substr(0, colon));
  RETURN_IF_ERROR(Explain(option, offset_us.status()));
  const absl::string_view rest = colon == absl::string_view::npos
                                     ? absl::string_view()
                                     : text.substr(colon + 1);
  return std::make_pair(*offset_us, rest);
}

// The tags of the beginning: one note for each key, in the order of the keys'
// first appearance.
absl::Status AddTags(const PushOptions& options, std::vector<PumpNote>* notes) {
  for (const std::string& text : options.tags) {
    ASSIGN_OR_RETURN(KeyValue pair, ParseTag("--tag", text));
    auto same =
        std::find_if(notes->begin(), notes->end(), [&](const PumpNote& note) {
          return note.note.tag().key() == pair.key;
        });
    if (same == notes->end()) {
      notes->emplace_back();
      same = notes->end() - 1;
      same->note.mutable_tag()->set_key(pair.key);
      same->note.mutable_tag()->set_operation(api::v1::TAG_OPERATION_ADD);
    }
    same->note.mutable_tag()->add_values(std::move(pair.value));
    if (static_cast<size_t>(same->note.tag().values_size()) >
        limits::kMaxTagValuesPerUpdate) {
      return absl::InvalidArgumentError(
          absl::StrCat("--tag: ", pair.key, " has more than ",
                       limits::kMaxTagValuesPerUpdate, " values"));
    }
  }
  return absl::OkStatus();
}

absl::Status AddTagChanges(const PushOptions& options,
                           std::vector<PumpNote>* notes) {
  for (const std::string& text : options.set_tags) {
    ASSIGN_OR_RETURN(const auto parts, SplitOffset("--set_tag", text));
    ASSIGN_OR_RETURN(KeyValue pair, ParseTag("--set_tag", parts.second));
    api::v1::Note& note = notes->emplace_back().note;
    note.set_at_us(parts.first);
    note.mutable_tag()->set_key(pair.key);
    note.mutable_tag()->add_values(std::move(pair.value));
    note.mutable_tag()->set_operation(api::v1::TAG_OPERATION_SET);
  }
  return absl::OkStatus();
}

// "TYPE@REST"; `rest` is left to the caller.
absl::StatusOr<std::string> TakeType(absl::string_view option,
                                     absl::string_view text,
                                     absl::string_view* rest) {
  const size_t at = text.find('@');
  if (at == absl::string_view::npos) {
    return Wrong(option, "TYPE@OFFSET");
  }
  const std::string type(text.substr(0, at));
  RETURN_IF_ERROR(Explain(option, base::CheckEventType(type)));
  *rest = text.substr(at + 1);
  return type;
}

absl::Status AddEvents(const PushOptions& options,
                       std::vector<PumpNote>* notes) {
  for (const std::string& text : options.events) {
    absl::string_view rest;
    ASSIGN_OR_RETURN(const std::string type, TakeType("--event", text, &rest));
    ASSIGN_OR_RETURN(const auto parts, SplitOffset("--event", rest));
    api::v1::Note& note = notes->emplace_back().note;
    note.set_at_us(parts.first);
    note.mutable_event()->set_type(type);
    if (parts.second.empty()) continue;
    for (const absl::string_view attribute :
         absl::StrSplit(parts.second, ',')) {
      ASSIGN_OR_RETURN(KeyValue pair, ParseKeyValue("--event", attribute));
      if (pair.value.size() > limits::kMaxEventAttributeValue_bytes ||
          static_cast<size_t>(note.event().attributes_size()) >=
              limits::kMaxEventAttributes) {
        return absl::InvalidArgumentError(
            absl::StrCat("--event: at most ", limits::kMaxEventAttributes,
                         " attributes, each of at most ",
                         limits::kMaxEventAttributeValue_bytes, " bytes"));
      }
      api::v1::Attribute* const added = note.mutable_event()->add_attributes();
      added->set_key(std::move(pair.key));
      added->set_value(std::move(pair.value));
    }
  }
  return absl::OkStatus();
}

std::string MediaTypeOf(absl::string_view content, const std::string& path) {
  if (absl::StartsWith(content, "\x89PNG\r\n\x1a\n")) return "image/png";
  if (absl::StartsWith(content, "\xff\xd8\xff")) return "image/jpeg";
  if (absl::StartsWith(content, "%PDF-")) return "application/pdf";
  const std::string extension =
      absl::AsciiStrToLower(std::filesystem::path(path).extension().string());
  if (extension == ".webp") return "image/webp";
  if (extension == ".txt") return "text/plain";
  if (extension == ".json") return "application/json";
  if (extension == ".xml") return "application/xml";
  return "application/octet-stream";
}

absl::Status AddAttachments(const PushOptions& options,
                            std::vector<PumpNote>* notes) {
  uint32_t id = 0;
  for (const std::string& text : options.attachments) {
    absl::string_view rest;
    ASSIGN_OR_RETURN(const std::string type, TakeType("--attach", text, &rest));
    const size_t equals = rest.find('=');
    if (equals == absl::string_view::npos) {
      return Wrong("--attach", "TYPE@OFFSET=FILE");
    }
    const auto offset_us = ParseOffset_us(rest.substr(0, equals));
    RETURN_IF_ERROR(Explain("--attach", offset_us.status()));
    const std::string path(rest.substr(equals + 1));
    auto content = base::ReadWholeFile(path, limits::kMaxAttachment_bytes);
    RETURN_IF_ERROR(Explain("--attach", content.status()));
    if (content->empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--attach: ", path, " is empty"));
    }
    PumpNote& planned = notes->emplace_back();
    planned.note.set_at_us(*offset_us);
    api::v1::Event* const event = planned.note.mutable_event();
    event->set_type(type);
    event->set_attachment_id(++id);
    event->set_attachment_bytes(content->size());
    event->set_attachment_media_type(MediaTypeOf(*content, path));
    event->set_attachment_name(std::filesystem::path(path).filename().string());
    planned.attachment = *std::move(content);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<PumpNote>> PlanNotes(const PushOptions& options) {
  std::vector<PumpNote> notes;
  RETURN_IF_ERROR(AddTags(options, &notes));
  RETURN_IF_ERROR(AddTagChanges(options, &notes));
  RETURN_IF_ERROR(AddEvents(options, &notes));
  RETURN_IF_ERROR(AddAttachments(options, &notes));
  std::stable_sort(notes.begin(), notes.end(),
                   [](const PumpNote& a, const PumpNote& b) {
                     return a.note.at_us() < b.note.at_us();
                   });
  return notes;
}

}  // namespace diptych::cli
