#include "tools/diptych/timestamp_command.h"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/http.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/timestamp.h"
#include "proto/api/v1/transparency.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/output.h"
#include "tools/diptych/transparency_client.h"

namespace diptych::cli {
namespace {

struct OpensslFree {
  void operator()(char* memory) const { OPENSSL_free(memory); }
};
using Text = std::unique_ptr<char, OpensslFree>;

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, BioFree>;

struct TsaUrl {
  Text host;
  Text port;
  Text path;
};

absl::StatusOr<TsaUrl> ParseUrl(const std::string& url) {
  int tls = 0;
  char* host = nullptr;
  char* port = nullptr;
  char* path = nullptr;
  char* query = nullptr;
  const int parsed =
      OSSL_HTTP_parse_url(url.c_str(), &tls, nullptr, &host, &port, nullptr,
                          &path, &query, nullptr);
  TsaUrl parts = {Text(host), Text(port), Text(path)};
  const Text owned_query(query);
  ERR_clear_error();
  // OpenSSL takes what has no scheme for http, and no host for one.
  if (parsed != 1 || !absl::StrContains(url, "://") || host[0] == '\0' ||
      (query != nullptr && query[0] != '\0')) {
    return absl::InvalidArgumentError(
        "--tsa has the form http://HOST[:PORT]/PATH");
  }
  if (tls != 0) {
    return absl::InvalidArgumentError(
        "--tsa takes http only: what it answers is signed, and nothing secret "
        "is sent");
  }
  return parts;
}

absl::StatusOr<std::string> Post(const std::string& url,
                                 const std::string& request) {
  ASSIGN_OR_RETURN(const TsaUrl parts, ParseUrl(url));
  const Bio body(
      BIO_new_mem_buf(request.data(), static_cast<int>(request.size())));
  const Bio answer(OSSL_HTTP_transfer(
      nullptr, parts.host.get(), parts.port.get(), parts.path.get(),
      /*use_ssl=*/0, /*proxy=*/nullptr, /*no_proxy=*/nullptr, /*bio=*/nullptr,
      /*rbio=*/nullptr, /*bio_update_fn=*/nullptr, /*arg=*/nullptr,
      /*buf_size=*/0, /*headers=*/nullptr, "application/timestamp-query",
      body.get(), "application/timestamp-reply", /*expect_asn1=*/1,
      limits::kMaxTimestamp_bytes,
      static_cast<int>(absl::ToInt64Seconds(limits::kTimestampTimeout)),
      /*keep_alive=*/0));
  if (answer == nullptr) {
    const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
    const std::string why = reason == nullptr ? "no answer" : reason;
    ERR_clear_error();
    return absl::UnavailableError(absl::StrCat(
        "the time stamping authority at ", url, " gave no time stamp: ", why));
  }
  std::string response(limits::kMaxTimestamp_bytes, '\0');
  size_t size = 0;
  // One that came whole is in memory, so that each read but the last gives
  // some of it.
  while (size < response.size()) {
    const int got = BIO_read(answer.get(), response.data() + size,
                             static_cast<int>(response.size() - size));
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  response.resize(size);
  return response;
}

// The latest, in its cosigned form if that is as late.
absl::StatusOr<evidence::SignedCheckpoint> ToStamp(TransparencyClient* client,
                                                   const std::string& log_key) {
  const auto get =
      [&](bool cosigned) -> absl::StatusOr<evidence::SignedCheckpoint> {
    api::v1::GetCheckpointRequest request;
    request.set_cosigned(cosigned);
    ASSIGN_OR_RETURN(const std::string note, client->GetCheckpoint(request));
    if (log_key.empty()) return evidence::SignedCheckpoint::Parse(note);
    ASSIGN_OR_RETURN(const evidence::NoteKey key,
                     FindLogKey(log_key, client->origin()));
    absl::StatusOr<evidence::SignedCheckpoint> opened =
        evidence::SignedCheckpoint::Open(note, key);
    if (absl::IsNotFound(opened.status())) {
      return absl::DataLossError(
          "the archive's checkpoint is not signed by the "
          "log's key");
    }
    return opened;
  };
  ASSIGN_OR_RETURN(evidence::SignedCheckpoint latest, get(false));
  ASSIGN_OR_RETURN(evidence::SignedCheckpoint cosigned, get(true));
  return cosigned.checkpoint.size >= latest.checkpoint.size
             ? std::move(cosigned)
             : std::move(latest);
}

absl::Status WriteFile(const std::string& path, const std::string& content) {
  absl::StatusOr<PendingFile> created =
      PendingFile::Create(path, /*replace=*/false);
  if (absl::IsAlreadyExists(created.status())) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " exists already: choose another name"));
  }
  RETURN_IF_ERROR(created.status());
  PendingFile file = *std::move(created);
  RETURN_IF_ERROR(file.WriteAt(0, content));
  return file.Commit();
}

}  // namespace

absl::StatusOr<ExitCode> RunTimestamp(const CommandContext& context,
                                      const TimestampOptions& options) {
  RETURN_IF_ERROR(ParseUrl(options.url).status());
  ASSIGN_OR_RETURN(const std::unique_ptr<TransparencyClient> client,
                   TransparencyClient::Open(context));
  // Before the authority is asked, which may cost money.
  if (client->profile().role != "operator") {
    return absl::PermissionDeniedError(
        absl::StrCat("a time stamp is taken from an operator alone, and the "
                     "profile is that of a ",
                     client->profile().role, ": use profiles/operator"));
  }
  ASSIGN_OR_RETURN(const evidence::SignedCheckpoint checkpoint,
                   ToStamp(client.get(), options.log_key));
  const std::string note = checkpoint.note.ToText();
  ASSIGN_OR_RETURN(const std::string request,
                   evidence::MakeTimestampRequest(note));
  ASSIGN_OR_RETURN(const std::string response, Post(options.url, request));
  absl::StatusOr<evidence::Timestamp> stamp =
      evidence::CheckTimestampAnswer(request, response);
  if (!stamp.ok()) return absl::DataLossError(stamp.status().message());
  if (!options.ca_file.empty()) {
    ASSIGN_OR_RETURN(
        const std::string ca,
        base::ReadWholeFile(options.ca_file, limits::kMaxPemFile_bytes));
    stamp = evidence::VerifyTimestamp(response, note, ca);
    RETURN_IF_ERROR(stamp.status());
  }
  if (!options.path.empty()) {
    RETURN_IF_ERROR(WriteFile(options.path + ".checkpoint", note));
    RETURN_IF_ERROR(WriteFile(options.path, response));
  }
  RETURN_IF_ERROR(client->AddTimestamp(note, response));
  const uint64_t size = checkpoint.checkpoint.size;
  context.output->Summary(
      {{"tree_size", size},
       {"time", FormatUtc(stamp->time)},
       {"serial", stamp->serial},
       {"verified", !options.ca_file.empty()},
       {"file", options.path}},
      absl::StrCat("The checkpoint of ", size, " leaves was there at ",
                   FormatUtc(stamp->time), ", says the authority."));
  return ExitCode::kDone;
}

}  // namespace diptych::cli
