#include "tools/diptych/export_command.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/safe_name.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/catalog.pb.h"
#include "proto/api/v1/media.pb.h"
#include "tools/diptych/audit_client.h"
#include "tools/diptych/bundle/bundle_folder.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/offset.h"
#include "tools/diptych/output.h"
#include "tools/diptych/text.h"
#include "tools/diptych/verify/report.h"
#include "tools/diptych/verify/verifier.h"
#include "tools/diptych/verify/verify_result.h"
#include "tools/diptych/wire_text.h"

namespace diptych::cli {
namespace {

// What differs from the wish by less is rounding.
constexpr int64_t kSameTime_us = 1000;

struct Format {
  absl::string_view word;
  absl::string_view extension;
  api::v1::Container container;
};

// What this client writes itself once it has checked the rest.
constexpr char kReport[] = "report.html";
constexpr absl::string_view kAttachmentFolder = "attachments/";

constexpr Format kFormats[] = {
    {"mkv", "mkv", api::v1::CONTAINER_MATROSKA},
    {"mp4", "mp4", api::v1::CONTAINER_MP4},
    {"fmp4", "mp4", api::v1::CONTAINER_FRAGMENTED_MP4},
    {"webm", "webm", api::v1::CONTAINER_WEBM},
    {"bundle", "", api::v1::CONTAINER_MATROSKA},
};

// The options once they have been understood.
struct Plan {
  Format format;
  bool bundle = false;
  std::vector<api::v1::Side> sides;
  std::optional<TimePoint> from;
  std::optional<TimePoint> to;
};

absl::StatusOr<Plan> MakePlan(const ExportOptions& options) {
  Plan plan;
  if (options.layout == "side-by-side") {
    return absl::InvalidArgumentError(
        "--layout=side-by-side is not in this version: use tracks");
  }
  if (options.layout != "tracks") {
    return absl::InvalidArgumentError("--layout is tracks or side-by-side");
  }
  const auto* const format =
      std::find_if(std::begin(kFormats), std::end(kFormats),
                   [&](const Format& f) { return f.word == options.format; });
  if (format == std::end(kFormats)) {
    return absl::InvalidArgumentError(
        "--format is mkv, mp4, fmp4, webm or bundle");
  }
  plan.format = *format;
  plan.bundle = format->word == "bundle";
  if (options.media == "mp4") {
    if (!plan.bundle) {
      return absl::InvalidArgumentError(
          "--media is for --format=bundle: use --format=mp4");
    }
    plan.format.container = api::v1::CONTAINER_MP4;
  } else if (options.media != "mkv") {
    return absl::InvalidArgumentError("--media is mkv or mp4");
  }
  if (options.side == "resident") {
    plan.sides = {api::v1::SIDE_RESIDENT};
  } else if (options.side == "clerk") {
    plan.sides = {api::v1::SIDE_CLERK};
  } else if (options.side != "both") {
    return absl::InvalidArgumentError("--side is both, resident or clerk");
  }
  if (!options.from.empty()) {
    ASSIGN_OR_RETURN(plan.from, ParseTimePoint(options.from));
  }
  if (!options.to.empty()) {
    ASSIGN_OR_RETURN(plan.to, ParseTimePoint(options.to));
  }
  if (absl::StripAsciiWhitespace(options.purpose).empty()) {
    return absl::InvalidArgumentError(
        "--purpose must say why this is read: it goes into the access record");
  }
  if (options.purpose.size() > limits::kMaxPurpose_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--purpose is longer than ", limits::kMaxPurpose_bytes, " bytes"));
  }
  if (options.session.empty() != options.has_filter) {
    return absl::InvalidArgumentError("name either SESSION or --filter");
  }
  if (options.path.empty()) {
    return absl::InvalidArgumentError("name the file to write with -o PATH");
  }
  return plan;
}

bool NeedsSession(const ExportOptions& options, const Plan& plan) {
  return (options.attachments && !plan.bundle) ||
         (plan.from.has_value() &&
          std::holds_alternative<absl::Time>(*plan.from)) ||
         (plan.to.has_value() && std::holds_alternative<absl::Time>(*plan.to));
}

// On the session timeline; a time before the start becomes 0.
int64_t Resolve(const TimePoint& point, absl::Time session_start) {
  if (const auto* offset_us = std::get_if<int64_t>(&point)) return *offset_us;
  return std::max<int64_t>(0, absl::ToInt64Microseconds(
                                  std::get<absl::Time>(point) - session_start));
}

class Exporter {
 public:
  Exporter(const CommandContext& context, const ExportOptions& options,
           Plan plan, std::unique_ptr<AuditClient> client)
      : context_(context),
        output_(*context.output),
        options_(options),
        plan_(std::move(plan)),
        client_(std::move(client)) {}

  absl::StatusOr<ExitCode> Run() {
    bool complete = true;
    if (options_.has_filter) {
      ASSIGN_OR_RETURN(complete, ExportFilter());
    } else {
      const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(options_.session);
      if (!id.ok()) {
        return absl::InvalidArgumentError(
            "SESSION must be a UUID, as push and query print it");
      }
      RETURN_IF_ERROR(ExportSession(id->ToString(), options_.path));
    }
    output_.Summary(
        {{"files", files_},
         {"bytes", bytes_},
         {"attachments", attachments_},
         {"without_media", without_media_},
         {"complete", complete}},
        options_.has_filter
            ? absl::StrCat(Counted(files_, "file"), ", ", FormatBytes(bytes_))
            : "");
    return complete ? ExitCode::kDone : ExitCode::kIncomplete;
  }

 private:
  // All sessions are known before the first is read, so that a page that fails
  // leaves no half set of files behind unnoticed.
  absl::StatusOr<bool> ExportFilter() {
    api::v1::ListSessionsRequest request;
    request.set_filter(options_.filter);
    request.set_page_size(limits::kMaxPageSize);
    std::vector<std::string> sessions;
    bool complete = true;
    do {
      ASSIGN_OR_RETURN(const api::v1::ListSessionsResponse response,
                       client_->ListSessions(request));
      for (const api::v1::Session& session : response.sessions()) {
        if (session.payload_bytes() > 0) {
          sessions.push_back(session.session_id());
          continue;
        }
        // Announced, and nothing of it has come.
        ++without_media_;
        output_.Warning(absl::StrCat("session ", session.session_id(),
                                     " has no media and is passed over"));
      }
      if (!response.complete()) {
        complete = false;
        output_.Warning(absl::StrCat("the list of sessions may be incomplete: ",
                                     response.incomplete_reason()));
      }
      request.set_page_token(response.next_page_token());
      if (response.sessions_size() == 0) break;
    } while (!request.page_token().empty() &&
             sessions.size() < limits::kMaxResultRows);
    if (sessions.empty() && without_media_ == 0) {
      return absl::NotFoundError("no session matches the filter");
    }
    struct stat info = {};
    if (stat(options_.path.c_str(), &info) != 0) {
      RETURN_IF_ERROR(MakeDirectory(options_.path, 0700));
    } else if (!S_ISDIR(info.st_mode)) {
      return absl::AlreadyExistsError(absl::StrCat(
          options_.path, " is not a folder: with --filter -o names a folder"));
    }
    for (const std::string& session : sessions) {
      RETURN_IF_ERROR(ExportSession(
          session,
          absl::StrCat(options_.path, "/", session, plan_.bundle ? "" : ".",
                       plan_.format.extension)));
    }
    return complete;
  }

  absl::Status ExportSession(const std::string& session,
                             const std::string& path) {
    RETURN_IF_ERROR(context_.interrupt->Check());
    api::v1::GetSessionResponse about;
    if (NeedsSession(options_, plan_)) {
      api::v1::GetSessionRequest request;
      request.set_session_id(session);
      ASSIGN_OR_RETURN(about, client_->GetSession(request));
    }
    const absl::Time start = ToTime(about.session().start_time());
    api::v1::ReadRequest request;
    request.set_session_id(session);
    request.set_container(plan_.format.container);
    request.set_purpose(options_.purpose);
    for (const api::v1::Side side : plan_.sides) request.add_sides(side);
    if (plan_.from.has_value()) {
      request.set_from_us(Resolve(*plan_.from, start));
    }
    if (plan_.to.has_value()) request.set_to_us(Resolve(*plan_.to, start));
    if (request.has_from_us() && request.has_to_us() &&
        request.from_us() >= request.to_us()) {
      return absl::InvalidArgumentError("--to must come after --from");
    }
    if (plan_.bundle) return ReadBundle(request, path);
    // The reading of attachments has its own access records; a file that is in
    // the way is refused before any of them is written.
    RETURN_IF_ERROR(ReadMedia(request, path));
    if (!options_.attachments) return absl::OkStatus();
    return ExportAttachments(session, about, path);
  }

  absl::Status ReadMedia(const api::v1::ReadRequest& request,
                         const std::string& path) {
    ASSIGN_OR_RETURN(PendingFile file,
                     PendingFile::Create(path, options_.force));
    std::optional<api::v1::ReadStarted> started;
    std::optional<api::v1::ReadFinished> finished;
    uint64_t received = 0;
    RETURN_IF_ERROR(client_->Read(
        request, [&](const api::v1::ReadResponse& message) -> absl::Status {
          switch (message.message_case()) {
            case api::v1::ReadResponse::kStarted:
              started = message.started();
              return absl::OkStatus();
            case api::v1::ReadResponse::kData:
              received += message.data().data().size();
              output_.Progress(absl::StrCat("reading ", request.session_id()),
                               received, 0);
              return file.WriteAt(message.data().offset(),
                                  message.data().data());
            case api::v1::ReadResponse::kFinished:
              finished = message.finished();
              return absl::OkStatus();
            default:
              return absl::InternalError(
                  "the archive sent a message that this version does not "
                  "know: use a newer diptych");
          }
        }));
    if (!started.has_value() || !finished.has_value() ||
        finished->file_bytes() != file.size()) {
      return base::IntegrityError(absl::StrCat(
          "the archive's answer ended before the file was whole: ", path,
          " was not written; try again"));
    }
    // An interrupt may have come after the last byte.
    RETURN_IF_ERROR(context_.interrupt->Check());
    RETURN_IF_ERROR(file.Commit());
    ++files_;
    bytes_ += finished->file_bytes();
    ReportFile(request, *started, *finished, path, finished->file_bytes());
    return absl::OkStatus();
  }

  absl::Status ReadBundle(const api::v1::ReadRequest& request,
                          const std::string& path) {
    ASSIGN_OR_RETURN(BundleFolder folder,
                     BundleFolder::Create(path, options_.force));
    std::optional<api::v1::ReadStarted> started;
    std::optional<api::v1::ReadFinished> finished;
    uint64_t received = 0;
    std::set<std::string> attachments;
    RETURN_IF_ERROR(client_->ReadBundle(
        request,
        [&](const api::v1::ReadBundleResponse& message) -> absl::Status {
          switch (message.message_case()) {
            case api::v1::ReadBundleResponse::kStarted:
              started = message.started();
              return absl::OkStatus();
            case api::v1::ReadBundleResponse::kFile:
              received += message.file().data().size();
              output_.Progress(absl::StrCat("reading ", request.session_id()),
                               received, 0);
              if (message.file().path() == kReport) {
                return base::IntegrityError(
                    "the archive sent a report: that is made here, from what "
                    "was checked");
              }
              if (absl::StartsWith(message.file().path(), kAttachmentFolder)) {
                attachments.insert(message.file().path());
              }
              return folder.WriteData(message.file().path(),
                                      message.file().offset(),
                                      message.file().data());
            case api::v1::ReadBundleResponse::kFinished:
              finished = message.finished();
              return absl::OkStatus();
            default:
              return absl::InternalError(
                  "the archive sent a message that this version does not "
                  "know: use a newer diptych");
          }
        }));
    if (!started.has_value() || !finished.has_value()) {
      return base::IntegrityError(absl::StrCat(
          "the archive's answer ended before the bundle was whole: ", path,
          " was not written; try again"));
    }
    RETURN_IF_ERROR(folder.CloseData());
    // Nobody should have to find out later that it proves nothing.
    verify::VerifyOptions options;
    options.before_bag = true;
    options.on_progress = [&](uint64_t done, uint64_t total) {
      output_.Progress("verifying", done, total);
      return context_.interrupt->Check();
    };
    ASSIGN_OR_RETURN(const verify::VerifyResult result,
                     verify::VerifyBundle(folder.temporary(), options));
    if (result.falsehood.has_value()) {
      return base::IntegrityError(
          absl::StrCat("what the archive sent does not prove itself, and ",
                       path, " was not written: ", *result.falsehood));
    }
    RETURN_IF_ERROR(folder.WriteData(kReport, 0, verify::RenderReport(result)));
    RETURN_IF_ERROR(folder.MakeBag(result.archive.ToString(),
                                   result.session.ToString(),
                                   result.access_time_us));
    RETURN_IF_ERROR(context_.interrupt->Check());
    RETURN_IF_ERROR(folder.Commit());
    files_ += folder.payload_files();
    bytes_ += folder.payload_bytes();
    attachments_ += attachments.size();
    ReportFile(request, *started, *finished, path, folder.payload_bytes());
    if (!result.closed) {
      output_.Note(absl::StrCat(
          "The session is open: the bundle has what is proven of it so far, "
          "up to ",
          FormatOffset(started->to_us()), "."));
    }
    return absl::OkStatus();
  }

  void ReportFile(const api::v1::ReadRequest& request,
                  const api::v1::ReadStarted& started,
                  const api::v1::ReadFinished& finished,
                  const std::string& path, uint64_t bytes) {
    Json tracks = Json::array();
    for (const api::v1::Track& track : started.tracks()) {
      Json json = TrackJson(track);
      for (const auto& totals : finished.tracks()) {
        if (totals.track_id() != track.track_id()) continue;
        json["packets"] = totals.packets();
        json["bytes"] = totals.payload_bytes();
      }
      tracks.push_back(std::move(json));
    }
    output_.Line("file",
                 {{"session", request.session_id()},
                  {"path", path},
                  {"format", std::string(plan_.format.word)},
                  {"bytes", bytes},
                  {"from_s", Seconds(started.from_us())},
                  {"to_s", Seconds(started.to_us())},
                  {"file_origin_s", Seconds(started.file_origin_us())},
                  {"access_log_position", started.access_log_position()},
                  {"tracks", std::move(tracks)}});
    output_.Text(absl::StrCat(path, "  ", FormatOffset(started.from_us()),
                              " to ", FormatOffset(started.to_us()), ", ",
                              Counted(started.tracks_size(), "track"), ", ",
                              FormatBytes(bytes)));
    if (request.has_from_us() &&
        request.from_us() - started.from_us() >= kSameTime_us) {
      output_.Note(absl::StrCat(
          "It begins at ", FormatOffset(started.from_us()), ", not at ",
          FormatOffset(request.from_us()),
          ": the key frame before is needed to show the picture."));
    }
  }

  // PATH with ".ID-NAME" for its extension.
  absl::Status ExportAttachments(const std::string& session,
                                 const api::v1::GetSessionResponse& about,
                                 const std::string& path) {
    const size_t dot = path.rfind('.');
    const size_t slash = path.rfind('/');
    const bool has_extension =
        dot != std::string::npos && (slash == std::string::npos || dot > slash);
    const std::string stem = has_extension ? path.substr(0, dot) : path;
    for (const api::v1::SessionEvent& at : about.events()) {
      const api::v1::Event& event = at.event();
      if (event.attachment_id() == 0) continue;
      const std::string name = event.attachment_name().empty()
                                   ? "attachment"
                                   : base::SafeName(event.attachment_name());
      RETURN_IF_ERROR(ReadOneAttachment(
          session, event,
          absl::StrCat(stem, ".", event.attachment_id(), "-", name)));
    }
    return absl::OkStatus();
  }

  absl::Status ReadOneAttachment(const std::string& session,
                                 const api::v1::Event& event,
                                 const std::string& path) {
    ASSIGN_OR_RETURN(PendingFile file,
                     PendingFile::Create(path, options_.force));
    api::v1::ReadAttachmentRequest request;
    request.set_session_id(session);
    request.set_attachment_id(event.attachment_id());
    request.set_purpose(options_.purpose);
    RETURN_IF_ERROR(client_->ReadAttachment(
        request, [&](const api::v1::ReadAttachmentResponse& message) {
          return file.WriteAt(file.size(), message.data());
        }));
    if (file.size() != event.attachment_bytes()) {
      return base::IntegrityError(absl::StrCat(
          "attachment ", event.attachment_id(), " of session ", session,
          " has ", file.size(), " of its ", event.attachment_bytes(),
          " bytes: ", path, " was not written"));
    }
    RETURN_IF_ERROR(file.Commit());
    ++attachments_;
    output_.Line("attachment", {{"session", session},
                                {"attachment", event.attachment_id()},
                                {"path", path},
                                {"media_type", event.attachment_media_type()},
                                {"bytes", file.size()}});
    output_.Text(
        absl::StrCat(path, "  attachment, ", FormatBytes(file.size())));
    return absl::OkStatus();
  }

  const CommandContext& context_;
  Output& output_;
  const ExportOptions& options_;
  const Plan plan_;
  const std::unique_ptr<AuditClient> client_;
  uint64_t files_ = 0;
  uint64_t bytes_ = 0;
  uint64_t attachments_ = 0;
  uint64_t without_media_ = 0;
};

}  // namespace

absl::StatusOr<ExitCode> RunExport(const CommandContext& context,
                                   const ExportOptions& options) {
  ASSIGN_OR_RETURN(Plan plan, MakePlan(options));
  ASSIGN_OR_RETURN(std::unique_ptr<AuditClient> client,
                   AuditClient::Open(context));
  return Exporter(context, options, std::move(plan), std::move(client)).Run();
}

}  // namespace diptych::cli
