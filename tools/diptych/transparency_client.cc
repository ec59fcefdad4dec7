#include "tools/diptych/transparency_client.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/source_statement.h"
#include "proto/api/v1/transparency.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/profile.h"

namespace diptych::cli {
namespace {

template <typename Response, typename Call>
absl::StatusOr<Response> CallOnce(const Profile& profile,
                                  const std::string& address,
                                  Interrupt* interrupt, const Call& call) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoMilliseconds(limits::kClientCallTimeout));
  const Interrupt::ScopedCallback cancel(interrupt,
                                         [&context] { context.TryCancel(); });
  Response response;
  const grpc::Status status = call(&context, &response);
  if (!status.ok()) {
    return ExplainCallError(base::FromGrpcStatus(status), profile, address);
  }
  return response;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TransparencyClient>> TransparencyClient::Open(
    const CommandContext& context) {
  ASSIGN_OR_RETURN(const std::string folder,
                   ProfileFolder(context.profile_flag));
  ASSIGN_OR_RETURN(Profile profile, LoadProfile(folder));
  return std::make_unique<TransparencyClient>(std::move(profile),
                                              context.interrupt);
}

TransparencyClient::TransparencyClient(Profile profile, Interrupt* interrupt)
    : profile_(std::move(profile)),
      address_(profile_.role == "auditor" ? profile_.audit_address
                                          : profile_.ingest_address),
      interrupt_(interrupt),
      stub_(api::v1::Transparency::NewStub(Connect(profile_, address_))) {}

std::string TransparencyClient::origin() const {
  return evidence::LogOrigin(profile_.archive_id.ToString());
}

absl::StatusOr<std::string> TransparencyClient::GetCheckpoint(
    const api::v1::GetCheckpointRequest& request) {
  ASSIGN_OR_RETURN(
      const api::v1::GetCheckpointResponse response,
      CallOnce<api::v1::GetCheckpointResponse>(
          profile_, address_, interrupt_, [&](auto* context, auto* answer) {
            return stub_->GetCheckpoint(context, request, answer);
          }));
  return response.checkpoint();
}

absl::StatusOr<api::v1::GetInclusionProofResponse>
TransparencyClient::GetInclusionProof(
    const api::v1::GetInclusionProofRequest& request) {
  return CallOnce<api::v1::GetInclusionProofResponse>(
      profile_, address_, interrupt_, [&](auto* context, auto* answer) {
        return stub_->GetInclusionProof(context, request, answer);
      });
}

absl::StatusOr<api::v1::GetConsistencyProofResponse>
TransparencyClient::GetConsistencyProof(
    const api::v1::GetConsistencyProofRequest& request) {
  return CallOnce<api::v1::GetConsistencyProofResponse>(
      profile_, address_, interrupt_, [&](auto* context, auto* answer) {
        return stub_->GetConsistencyProof(context, request, answer);
      });
}

absl::Status TransparencyClient::AddCosignature(const std::string& checkpoint) {
  api::v1::AddCosignatureRequest request;
  request.set_checkpoint(checkpoint);
  return CallOnce<api::v1::AddCosignatureResponse>(
             profile_, address_, interrupt_,
             [&](auto* context, auto* answer) {
               return stub_->AddCosignature(context, request, answer);
             })
      .status();
}

absl::Status TransparencyClient::AddTimestamp(const std::string& checkpoint,
                                              const std::string& response) {
  api::v1::AddTimestampRequest request;
  request.set_checkpoint(checkpoint);
  request.set_response(response);
  return CallOnce<api::v1::AddTimestampResponse>(
             profile_, address_, interrupt_,
             [&](auto* context, auto* answer) {
               return stub_->AddTimestamp(context, request, answer);
             })
      .status();
}

absl::StatusOr<evidence::NoteKey> FindLogKey(const std::string& text,
                                             const std::string& origin) {
  std::string keys = text;
  if (!evidence::NoteKey::Parse(text).ok()) {
    absl::StatusOr<std::string> file =
        base::ReadWholeFile(text, limits::kMaxPublicKeys_bytes);
    if (!file.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the log's key is neither a public key (NAME+ID+BASE64) "
                       "nor a file with one: ",
                       file.status().message()));
    }
    keys = *std::move(file);
  }
  for (absl::string_view line : absl::StrSplit(keys, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    absl::StatusOr<evidence::NoteKey> key = evidence::NoteKey::Parse(line);
    if (key.ok() && key->name == origin &&
        key->type == evidence::NoteKeyType::kEd25519) {
      return key;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no key of ", origin,
      ", the profile's archive: diptych keys export DIR prints it"));
}

}  // namespace diptych::cli
