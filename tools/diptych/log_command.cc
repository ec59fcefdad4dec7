#include "tools/diptych/log_command.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tlog_proof.h"
#include "archiver/evidence/tree_proof.h"
#include "proto/api/v1/transparency.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/output.h"
#include "tools/diptych/transparency_client.h"

namespace diptych::cli {
namespace {

using evidence::SignedCheckpoint;

// A note in which the archive's log says what its tree is; its signature
// verified if there is a key to do it with.
class CheckpointOpener {
 public:
  static absl::StatusOr<CheckpointOpener> Create(
      const TransparencyClient& client, const std::string& log_key) {
    CheckpointOpener opener;
    opener.origin_ = client.origin();
    if (!log_key.empty()) {
      ASSIGN_OR_RETURN(opener.log_key_, FindLogKey(log_key, opener.origin_));
    }
    return opener;
  }

  const std::string& origin() const { return origin_; }
  bool verifies() const { return log_key_.has_value(); }

  absl::StatusOr<SignedCheckpoint> Open(absl::string_view note) const {
    absl::StatusOr<SignedCheckpoint> opened =
        verifies() ? SignedCheckpoint::Open(note, *log_key_)
                   : SignedCheckpoint::Parse(note);
    if (!opened.ok()) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint is false: ", opened.status().message()));
    }
    if (opened->checkpoint.origin != origin_) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint is not one of ", origin_));
    }
    return opened;
  }

 private:
  CheckpointOpener() = default;

  std::string origin_;
  std::optional<evidence::NoteKey> log_key_;
};

// Byte for byte, as data.
void PrintLines(Output* output, absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  // What ends with a newline has no last line.
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (const absl::string_view line : lines) output->Text(line);
}

Json HashesJson(const std::vector<std::string>& hashes) {
  Json list = Json::array();
  for (const std::string& hash : hashes) {
    list.push_back(absl::Base64Escape(hash));
  }
  return list;
}

Json CheckpointJson(const SignedCheckpoint& checkpoint) {
  Json signers = Json::array();
  for (const auto& signature : checkpoint.note.signatures) {
    signers.push_back(signature.name);
  }
  return {{"origin", checkpoint.checkpoint.origin},
          {"tree_size", checkpoint.checkpoint.size},
          {"root", absl::Base64Escape(checkpoint.checkpoint.root)},
          {"signers", signers},
          {"checkpoint", checkpoint.note.ToText()}};
}

absl::StatusOr<SignedCheckpoint> ReadCheckpointFile(
    const CheckpointOpener& opener, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text,
                   base::ReadWholeFile(path, limits::kMaxReceipt_bytes));
  const absl::StatusOr<SignedCheckpoint> parsed = SignedCheckpoint::Parse(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " is no checkpoint",
        absl::StartsWith(text, "{")
            ? " (of a receipt, give the text in its field checkpoint)"
            : "",
        ": ", parsed.status().message()));
  }
  if (parsed->checkpoint.origin != opener.origin()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is of ", parsed->checkpoint.origin,
                     ", and the profile is for ", opener.origin()));
  }
  absl::StatusOr<SignedCheckpoint> opened = opener.Open(text);
  if (!opened.ok()) {
    return absl::Status(opened.status().code(),
                        absl::StrCat(path, ": ", opened.status().message()));
  }
  return opened;
}

}  // namespace

absl::StatusOr<ExitCode> RunLogCheckpoint(const CommandContext& context,
                                          const LogCheckpointOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TransparencyClient> client,
                   TransparencyClient::Open(context));
  ASSIGN_OR_RETURN(const CheckpointOpener opener,
                   CheckpointOpener::Create(*client, options.log_key));
  api::v1::GetCheckpointRequest request;
  request.set_cosigned(options.cosigned);
  ASSIGN_OR_RETURN(const std::string note, client->GetCheckpoint(request));
  ASSIGN_OR_RETURN(const SignedCheckpoint checkpoint, opener.Open(note));
  if (options.cosigned && checkpoint.note.signatures.size() < 2) {
    return absl::NotFoundError("no witness has cosigned a checkpoint yet");
  }
  Output& output = *context.output;
  PrintLines(&output, note);
  output.Line("checkpoint", CheckpointJson(checkpoint));
  output.Summary({{"tree_size", checkpoint.checkpoint.size},
                  {"verified", opener.verifies()}},
                 "");
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunLogProve(const CommandContext& context,
                                     const LogProveOptions& options) {
  if (options.index.has_value() == options.position.has_value()) {
    return absl::InvalidArgumentError(
        "say which leaf: --index N, or --position P of its record in the log "
        "(a receipt has both)");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<TransparencyClient> client,
                   TransparencyClient::Open(context));
  ASSIGN_OR_RETURN(const CheckpointOpener opener,
                   CheckpointOpener::Create(*client, options.log_key));
  api::v1::GetInclusionProofRequest request;
  if (options.index.has_value()) {
    request.set_index(*options.index);
  } else {
    request.set_log_position(*options.position);
  }
  ASSIGN_OR_RETURN(const api::v1::GetInclusionProofResponse answer,
                   client->GetInclusionProof(request));
  ASSIGN_OR_RETURN(const SignedCheckpoint checkpoint,
                   opener.Open(answer.checkpoint()));
  const evidence::TlogProof proof = {
      .extra = std::nullopt,
      .index = answer.index(),
      .hashes = {answer.hashes().begin(), answer.hashes().end()},
      .checkpoint = answer.checkpoint()};
  const absl::Status included = evidence::VerifyInclusion(
      evidence::LeafHash(answer.leaf_data()), proof.index,
      checkpoint.checkpoint.size, proof.hashes, checkpoint.checkpoint.root);
  if (!included.ok() ||
      (options.index.has_value() && proof.index != *options.index)) {
    return absl::DataLossError(
        "the server's proof is false: it does not lead "
        "from the leaf to the checkpoint");
  }
  Output& output = *context.output;
  PrintLines(&output, proof.ToText());
  output.Line("proof", {{"index", proof.index},
                        {"tree_size", checkpoint.checkpoint.size},
                        {"leaf_data", absl::Base64Escape(answer.leaf_data())},
                        {"hashes", HashesJson(proof.hashes)},
                        {"checkpoint", proof.checkpoint},
                        {"tlog_proof", proof.ToText()}});
  output.Summary({{"index", proof.index},
                  {"tree_size", checkpoint.checkpoint.size},
                  {"verified", opener.verifies()}},
                 "");
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunLogConsistency(
    const CommandContext& context, const LogConsistencyOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TransparencyClient> client,
                   TransparencyClient::Open(context));
  ASSIGN_OR_RETURN(const CheckpointOpener opener,
                   CheckpointOpener::Create(*client, options.log_key));
  ASSIGN_OR_RETURN(const SignedCheckpoint older,
                   ReadCheckpointFile(opener, options.older));
  SignedCheckpoint newer;
  if (options.newer.empty()) {
    ASSIGN_OR_RETURN(const std::string note,
                     client->GetCheckpoint(api::v1::GetCheckpointRequest()));
    ASSIGN_OR_RETURN(newer, opener.Open(note));
  } else {
    ASSIGN_OR_RETURN(newer, ReadCheckpointFile(opener, options.newer));
  }
  const uint64_t from = older.checkpoint.size;
  const uint64_t to = newer.checkpoint.size;
  if (to < from && !options.newer.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.older, " has ", from, " leaves and ", options.newer, " ", to,
        ": the older checkpoint comes first"));
  }
  // Whoever made the file may have made it up.
  const absl::string_view unverified =
      opener.verifies() ? ""
                        : "; without --log-key nobody knows whether the log "
                          "signed these checkpoints";
  if (to < from) {
    return absl::DataLossError(absl::StrCat("the log was cut: its tree had ",
                                            from, " leaves once, and has ", to,
                                            " now", unverified));
  }
  std::vector<std::string> hashes;
  if (from < to) {
    api::v1::GetConsistencyProofRequest request;
    request.set_from_size(from);
    request.set_to_size(to);
    ASSIGN_OR_RETURN(const api::v1::GetConsistencyProofResponse answer,
                     client->GetConsistencyProof(request));
    hashes.assign(answer.hashes().begin(), answer.hashes().end());
  }
  const absl::Status consistent = evidence::VerifyConsistency(
      from, to, older.checkpoint.root, newer.checkpoint.root, hashes);
  if (!consistent.ok()) {
    return absl::DataLossError(
        absl::StrCat("the log was changed: its tree of ", to,
                     " leaves does not begin with the one of ", from,
                     opener.verifies() ? " that it signed before"
                                       : " in the older checkpoint",
                     unverified));
  }
  Output& output = *context.output;
  for (const std::string& hash : hashes) output.Text(absl::Base64Escape(hash));
  output.Line(
      "consistency",
      {{"from_size", from}, {"to_size", to}, {"hashes", HashesJson(hashes)}});
  output.Summary(
      {{"from_size", from}, {"to_size", to}, {"verified", opener.verifies()}},
      absl::StrCat("The tree of ", to, " leaves goes on from that of ", from,
                   "."));
  return ExitCode::kDone;
}

}  // namespace diptych::cli
