#include "tools/diptych/witness_command.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/signing.h"
#include "proto/api/v1/transparency.pb.h"
#include "tools/diptych/command_context.h"
#include "tools/diptych/exit_codes.h"
#include "tools/diptych/interrupt.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/output.h"
#include "tools/diptych/transparency_client.h"
#include "tools/diptych/witness/witness.h"

namespace diptych::cli {
namespace {

using evidence::NoteKey;

std::string PublicKeyFile(const std::string& key_file) {
  return absl::StrCat(key_file, ".vkey");
}

absl::StatusOr<NoteKey> ReadPublicKey(const std::string& path,
                                      const seal::SigningKey& key) {
  ASSIGN_OR_RETURN(const std::string text,
                   base::ReadWholeFile(path, limits::kMaxPemFile_bytes));
  const absl::StatusOr<NoteKey> parsed =
      NoteKey::Parse(absl::StripSuffix(text, "\n"));
  if (!parsed.ok() || parsed->type != evidence::NoteKeyType::kCosignature ||
      parsed->public_key != key.public_key()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " is not the public key that diptych witness init wrote there"));
  }
  return *parsed;
}

// Errors that go by themselves.
bool IsPassing(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status);
}

class Follower {
 public:
  Follower(const CommandContext& context, TransparencyClient* client,
           Witness* witness)
      : context_(context), client_(client), witness_(witness) {}

  // Signs what is there, also what was signed before: its line may not have
  // arrived.
  absl::Status SignLatest() {
    ASSIGN_OR_RETURN(const std::string note,
                     client_->GetCheckpoint(api::v1::GetCheckpointRequest()));
    return Sign(note);
  }

  // Waits for a checkpoint that is larger than the last, and signs it.
  absl::Status SignNext() {
    api::v1::GetCheckpointRequest request;
    request.set_wait_size(witness_->last_size() + 1);
    const absl::StatusOr<std::string> note = client_->GetCheckpoint(request);
    if (note.ok()) return Sign(*note);
    if (!absl::IsDeadlineExceeded(note.status())) return note.status();
    // None came. One that is smaller than before would never come that way.
    return SignLatest();
  }

  uint64_t signed_count() const { return signed_count_; }

 private:
  absl::Status Sign(const std::string& note) {
    const uint64_t before = witness_->last_size();
    ASSIGN_OR_RETURN(
        const std::string cosigned,
        witness_->Sign(
            note,
            [this](uint64_t from, uint64_t to) { return Prove(from, to); },
            static_cast<uint64_t>(absl::ToUnixSeconds(absl::Now()))));
    RETURN_IF_ERROR(client_->AddCosignature(cosigned));
    if (witness_->last_size() == before && signed_count_ > 0) {
      return absl::OkStatus();
    }
    ++signed_count_;
    context_.output->Text(
        absl::StrCat("cosigned ", witness_->last_size(), " leaves"));
    context_.output->Line("cosigned", {{"tree_size", witness_->last_size()},
                                       {"checkpoint", cosigned}});
    context_.output->Flush();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> Prove(uint64_t from, uint64_t to) {
    api::v1::GetConsistencyProofRequest request;
    request.set_from_size(from);
    request.set_to_size(to);
    absl::StatusOr<api::v1::GetConsistencyProofResponse> answer =
        client_->GetConsistencyProof(request);
    if (answer.ok()) {
      return std::vector<std::string>(answer->hashes().begin(),
                                      answer->hashes().end());
    }
    if (IsPassing(answer.status()) || absl::IsCancelled(answer.status())) {
      return answer.status();
    }
    return absl::DataLossError(
        absl::StrCat("the log does not show how its tree of ", to,
                     " leaves goes on from that of ", from, ": ",
                     answer.status().message()));
  }

  const CommandContext& context_;
  TransparencyClient* const client_;
  Witness* const witness_;
  uint64_t signed_count_ = 0;
};

// Until something is wrong for good, or somebody interrupts.
absl::Status Follow(const CommandContext& context, Follower* follower) {
  bool first = true;
  bool failing = false;
  absl::Duration pause = limits::kReconnectMin;
  for (;;) {
    const absl::Status status =
        first ? follower->SignLatest() : follower->SignNext();
    RETURN_IF_ERROR(context.interrupt->Check());
    // A log that has no checkpoint yet will have one.
    if (status.ok() || (first && absl::IsNotFound(status))) {
      first = first && !status.ok();
      if (failing) context.output->Note("the archive answers again");
      failing = false;
      pause = limits::kReconnectMin;
      if (status.ok()) continue;
    } else if (!IsPassing(status)) {
      return status;
    } else if (!failing) {
      failing = true;
      context.output->Note(
          absl::StrCat(status.message(), "; tries again until it does"));
    }
    // Looks for an interrupt meanwhile.
    const absl::Time end = absl::Now() + pause;
    while (absl::Now() < end) {
      RETURN_IF_ERROR(context.interrupt->Check());
      absl::SleepFor(limits::kCheckpointPoll);
    }
    pause = std::min(2 * pause, limits::kReconnectMax);
  }
}

}  // namespace

absl::StatusOr<ExitCode> RunWitnessInit(const CommandContext& context,
                                        const WitnessInitOptions& options) {
  RETURN_IF_ERROR(seal::InitializeCrypto());
  RETURN_IF_ERROR(evidence::CheckNoteKeyName(options.name));
  const seal::SigningKey key = seal::SigningKey::Generate();
  const std::string public_key =
      NoteKey{.name = options.name,
              .type = evidence::NoteKeyType::kCosignature,
              .public_key = key.public_key()}
          .ToText();
  RETURN_IF_ERROR(WriteNewFile(options.key_file, key.ToPem(), 0600));
  RETURN_IF_ERROR(WriteNewFile(PublicKeyFile(options.key_file),
                               absl::StrCat(public_key, "\n"), 0644));
  const size_t slash = options.key_file.rfind('/');
  RETURN_IF_ERROR(SyncDirectory(slash == std::string::npos
                                    ? "."
                                    : options.key_file.substr(0, slash + 1)));
  context.output->Text(public_key);
  context.output->Summary(
      {{"public_key", public_key}, {"key_file", options.key_file}},
      "Give this public key to the archive: diptych keys add-witness DIR KEY");
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> RunWitness(const CommandContext& context,
                                    const WitnessOptions& options) {
  if (options.state_dir.empty() || options.key_file.empty()) {
    return absl::InvalidArgumentError(
        "a witness needs --state DIR and --key FILE (diptych witness init "
        "makes "
        "the key)");
  }
  RETURN_IF_ERROR(seal::InitializeCrypto());
  ASSIGN_OR_RETURN(const std::unique_ptr<TransparencyClient> client,
                   TransparencyClient::Open(context));
  ASSIGN_OR_RETURN(seal::SigningKey key,
                   seal::ReadSigningKey(options.key_file));
  ASSIGN_OR_RETURN(const NoteKey name,
                   ReadPublicKey(PublicKeyFile(options.key_file), key));
  std::optional<NoteKey> log_key;
  if (!options.log_key.empty()) {
    ASSIGN_OR_RETURN(log_key, FindLogKey(options.log_key, client->origin()));
  }
  base::FileSystem* const files = base::FileSystem::Real();
  RETURN_IF_ERROR(files->CreateDirectory(options.state_dir));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<base::FileLock> lock,
      base::FileLock::Acquire(absl::StrCat(options.state_dir, "/lock")));
  ASSIGN_OR_RETURN(const std::unique_ptr<Witness> witness,
                   Witness::Open({.file_system = files,
                                  .state_directory = options.state_dir,
                                  .log_key = log_key,
                                  .name = name},
                                 std::move(key)));
  if (witness->log_key().name != client->origin()) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.state_dir, " is the state of a witness of ",
                     witness->log_key().name, ", and the profile is for ",
                     client->origin()));
  }
  Follower follower(context, client.get(), witness.get());
  RETURN_IF_ERROR(options.once ? follower.SignLatest()
                               : Follow(context, &follower));
  context.output->Summary({{"tree_size", witness->last_size()},
                           {"cosigned", follower.signed_count()}},
                          "");
  return ExitCode::kDone;
}

}  // namespace diptych::cli
