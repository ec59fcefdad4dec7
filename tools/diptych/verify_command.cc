#include "tools/diptych/verify_command.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <google/protobuf/stubs/logging.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/note.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/output.h"
#include "tools/diptych/verify/receipt_check.h"
#include "tools/diptych/verify/result_text.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verifier.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

absl::Status AddKeysOf(const std::string& given, verify::Trust* trust) {
  if (evidence::NoteKey::Parse(given).ok()) {
    return verify::AddKeys(given, trust);
  }
  absl::StatusOr<std::string> text =
      base::ReadWholeFile(given, limits::kMaxPublicKeys_bytes);
  if (absl::IsNotFound(text.status())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--log-key: \"", given,
        "\" is neither a public key (NAME+ID+BASE64) nor a file of them"));
  }
  RETURN_IF_ERROR(text.status());
  const absl::Status added = verify::AddKeys(*text, trust);
  if (!added.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(given, ": ", added.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<verify::Trust> ReadTrust(const VerifyCommandOptions& options) {
  verify::Trust trust;
  for (const std::string& key : options.log_keys) {
    RETURN_IF_ERROR(AddKeysOf(key, &trust));
  }
  if (!options.tsa_ca.empty()) {
    ASSIGN_OR_RETURN(
        trust.tsa_certificates,
        base::ReadWholeFile(options.tsa_ca, limits::kMaxPublicKeys_bytes));
  }
  return trust;
}

// The bundle that `path` is, or lies in; empty: it is none.
std::string BundleOf(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return path;
  const fs::path folder = fs::absolute(path, error).parent_path();
  if (folder.filename() == "data" &&
      fs::exists(folder.parent_path() / "bagit.txt", error)) {
    return folder.parent_path().string();
  }
  return "";
}

void ShowTracks(const verify::VerifyResult& result, Output* output) {
  for (const verify::TrackResult& track : result.tracks) {
    const uint64_t unchecked = track.signed_packets - track.verified_packets;
    output->Line("track", {{"track_id", track.track_id},
                           {"side", track.side},
                           {"source", track.source},
                           {"codec", track.codec},
                           {"packets", track.packets},
                           {"bytes", track.payload_bytes},
                           {"signed_packets", track.verified_packets},
                           {"unchecked_packets", unchecked}});
    output->Text(absl::StrCat(
        verify::TrackText(track), ": ", track.packets, " packets, ",
        track.verified_packets, " signed at the source",
        unchecked == 0 ? ""
                       : absl::StrCat(", ", unchecked,
                                      " with signatures that were not checked "
                                      "(the key was not given)")));
    for (const verify::StateRange& range : track.ranges) {
      Json line = {{"track_id", track.track_id},
                   {"from_s", Seconds(range.from_us)},
                   {"to_s", Seconds(range.to_us)},
                   {"state", std::string(verify::StateWord(range.state))}};
      std::string text = absl::StrCat("  ", verify::OffsetText(range.from_us),
                                      " to ", verify::OffsetText(range.to_us),
                                      "  ", verify::StateText(range.state));
      if (range.state == verify::SecondState::kSigned) {
        const verify::SeenKey& key = result.source_keys[range.key];
        line["key"] = key.id;
        line["key_verified"] = key.verified;
        if (!key.verified) {
          text =
              absl::StrCat("  ", verify::OffsetText(range.from_us), " to ",
                           verify::OffsetText(range.to_us),
                           "  as the archive stored it; a signature by key ",
                           key.id, " was not checked: that key was not given");
        }
      }
      output->Line("range", line);
      output->Text(text);
    }
  }
}

void ShowSentences(absl::string_view message_type, absl::string_view heading,
                   const std::vector<std::string>& sentences, Output* output) {
  if (sentences.empty()) return;
  output->Text(heading);
  for (const std::string& sentence : sentences) {
    output->Line(message_type, {{"text", sentence}});
    output->Text(absl::StrCat("  ", sentence));
  }
}

// For people the verdict is what they asked for, and no mere message.
void ShowVerdict(const std::string& text, const Json& fields, Output* output) {
  output->Text(text);
  output->Summary(fields, "");
}

struct Vouchers {
  size_t cover = 0;
  size_t unchecked = 0;
};

// Those that were verified and whose checkpoint has all of the session that is
// shown; and those that were not verified.
template <typename Seen>
Vouchers Count(const verify::VerifyResult& result,
               const std::vector<Seen>& all) {
  Vouchers count;
  for (const Seen& seen : all) {
    if (!seen.verified) {
      ++count.unchecked;
    } else if (verify::HasAll(result, seen.tree_size)) {
      ++count.cover;
    }
  }
  return count;
}

bool LooksLikeBundle(const std::string& folder) {
  std::error_code error;
  for (const char* file :
       {"bagit.txt", "bag-info.txt", "manifest-sha256.txt",
        "tagmanifest-sha256.txt", "data/checkpoint", "data/evidence.json.gz",
        "data/report.html", "data/media.mkv", "data/media.mp4"}) {
    if (fs::exists(fs::path(folder) / file, error)) return true;
  }
  return false;
}

std::string Verdict(bool log_key_verified) {
  return log_key_verified ? "proven" : "consistent";
}

absl::StatusOr<ExitCode> VerifyOneBundle(const CommandContext& context,
                                         const std::string& folder,
                                         verify::VerifyOptions options) {
  Output& output = *context.output;
  options.on_progress = [&](uint64_t done, uint64_t total) {
    output.Progress("verifying", done, total);
    return context.interrupt->Check();
  };
  ASSIGN_OR_RETURN(const verify::VerifyResult result,
                   verify::VerifyBundle(folder, options));
  output.EndProgress();
  if (result.falsehood.has_value()) {
    return base::IntegrityError(*result.falsehood);
  }
  output.Text(absl::StrCat("session ", result.session.ToString(), ", from ",
                           verify::OffsetText(result.from_us), " to ",
                           verify::OffsetText(result.to_us), ", began ",
                           verify::TimeText(result.start_time_us)));
  ShowTracks(result, &output);
  ShowSentences("missing", "missing:", result.missing, &output);
  ShowSentences("vouching", "who vouches:", result.vouching, &output);
  const bool proven = result.log_key_verified;
  uint64_t packets = 0;
  for (const verify::TrackResult& track : result.tracks) {
    packets += track.packets;
  }
  const Vouchers witnesses = Count(result, result.witnesses);
  const Vouchers stamps = Count(result, result.timestamps);
  ShowVerdict(proven ? "proven: everything in the bundle is what was stored"
                     : verify::NotProvenText(result),
              {{"verdict", Verdict(proven)},
               {"session", result.session.ToString()},
               {"archive", result.archive.ToString()},
               {"start", FormatUtc(absl::FromUnixMicros(result.start_time_us))},
               {"from_s", Seconds(result.from_us)},
               {"to_s", Seconds(result.to_us)},
               {"whole_session", result.whole_session},
               {"closed", result.closed},
               {"tracks", result.tracks.size()},
               {"packets", packets},
               {"media_sha256", result.media_sha256_hex},
               {"tree_size", result.tree_size},
               {"log_key_verified", proven},
               {"cosignatures", witnesses.cover},
               {"unchecked_cosignatures", witnesses.unchecked},
               {"timestamps", stamps.cover},
               {"unchecked_timestamps", stamps.unchecked},
               {"missing", result.missing.size()}},
              &output);
  return proven ? ExitCode::kDone : ExitCode::kIncomplete;
}

absl::StatusOr<ExitCode> VerifyOneReceipt(const CommandContext& context,
                                          absl::string_view text,
                                          const verify::Trust& trust) {
  Output& output = *context.output;
  const verify::ReceiptResult result = verify::VerifyReceipt(text, trust);
  if (result.falsehood.has_value()) {
    return base::IntegrityError(*result.falsehood);
  }
  output.Text(absl::StrCat("receipt for session ", result.session.ToString(),
                           ", ", result.abandoned ? "abandoned " : "closed ",
                           verify::TimeText(result.closed_time_us)));
  for (const std::string& side : result.sides) {
    output.Text(absl::StrCat("  ", side));
  }
  ShowSentences("vouching", "who vouches:", result.vouching, &output);
  ShowVerdict(
      result.log_key_verified
          ? "proven: the archive closed the session as the receipt says"
          : "consistent, but not proven",
      {{"verdict", Verdict(result.log_key_verified)},
       {"session", result.session.ToString()},
       {"archive", result.archive.ToString()},
       {"state", result.abandoned ? "abandoned" : "closed"},
       {"closed", FormatUtc(absl::FromUnixMicros(result.closed_time_us))},
       {"segments", result.segments},
       {"log_position", result.log_position},
       {"log_key_verified", result.log_key_verified}},
      &output);
  return result.log_key_verified ? ExitCode::kDone : ExitCode::kIncomplete;
}

}  // namespace

absl::StatusOr<ExitCode> RunVerify(const CommandContext& context,
                                   const VerifyCommandOptions& options) {
  // What is no message is said in our own words.
  google::protobuf::SetLogHandler(nullptr);
  verify::VerifyOptions verify_options;
  ASSIGN_OR_RETURN(verify_options.trust, ReadTrust(options));
  if (!options.receipt.empty()) {
    ASSIGN_OR_RETURN(
        verify_options.receipt,
        base::ReadWholeFile(options.receipt, limits::kMaxReceipt_bytes));
  }
  const std::string folder = BundleOf(options.path);
  if (!folder.empty()) {
    if (!LooksLikeBundle(folder)) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder, " has none of a bundle's files"));
    }
    return VerifyOneBundle(context, folder, std::move(verify_options));
  }
  absl::StatusOr<std::string> text =
      base::ReadWholeFile(options.path, limits::kMaxReceipt_bytes);
  if (absl::IsNotFound(text.status())) return text.status();
  if (!text.ok() || !verify::LooksLikeReceipt(*text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.path,
        " is neither a bundle's folder, nor a file in a bundle's data folder, "
        "nor a receipt"));
  }
  if (!options.receipt.empty()) {
    return absl::InvalidArgumentError(
        "--receipt goes with a bundle, not with another receipt");
  }
  return VerifyOneReceipt(context, *text, verify_options.trust);
}

}  // namespace diptych::cli
