#include "archiver/evidence/transparency_service.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/principal.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/tree_additions.h"
#include "archiver/seal/signing.h"
#include "proto/api/v1/transparency.pb.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::evidence {
namespace {

absl::StatusOr<NoteKey> KeyOf(const stored::v1::SigningIdentity& identity,
                              NoteKeyType type) {
  RETURN_IF_ERROR(CheckNoteKeyName(identity.name()));
  if (identity.public_key().size() != seal::kSigningPublicKey_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the public key of ", identity.name(), " has not ",
                     seal::kSigningPublicKey_bytes, " bytes"));
  }
  return NoteKey{.name = identity.name(),
                 .type = type,
                 .public_key = identity.public_key()};
}

// Anybody whom the archive knows by certificate.
absl::Status RequireReader(const grpc::ServerContext& context,
                           const base::Uuid& archive_id) {
  return base::RequireRole(
             context, archive_id,
             {base::Role::kGateway, base::Role::kAuditor, base::Role::kOperator,
              base::Role::kIndexer, base::Role::kWitness})
      .status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TransparencyService>>
TransparencyService::Create(const Options& options,
                            const stored::v1::ArchiveConfig& archive) {
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::FromBytes(archive.archive_id()));
  TreeAdditions::Options additions;
  additions.file_system = options.file_system;
  additions.directory = options.directory;
  ASSIGN_OR_RETURN(additions.log_key,
                   KeyOf(archive.log_key(), NoteKeyType::kEd25519));
  for (const auto& witness : archive.witnesses()) {
    ASSIGN_OR_RETURN(NoteKey key, KeyOf(witness, NoteKeyType::kCosignature));
    additions.witnesses.push_back(std::move(key));
  }
  if (additions.witnesses.size() > limits::kMaxWitnesses) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an archive has at most ", limits::kMaxWitnesses, " witnesses"));
  }
  return std::unique_ptr<TransparencyService>(
      new TransparencyService(options, archive_id, std::move(additions)));
}

TransparencyService::TransparencyService(const Options& options,
                                         const base::Uuid& archive_id,
                                         TreeAdditions::Options additions)
    : options_(options),
      archive_id_(archive_id),
      log_key_(additions.log_key),
      additions_(std::move(additions)) {}

absl::StatusOr<std::string> TransparencyService::ReadFile(
    absl::string_view name) const {
  return ReadTreeFile(options_.file_system,
                      absl::StrCat(options_.directory, "/", name),
                      limits::kMaxCheckpoint_bytes);
}

absl::StatusOr<SignedCheckpoint> TransparencyService::Latest() const {
  const absl::StatusOr<std::string> text = ReadFile(kCheckpointFile);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError("the log has no checkpoint yet");
  }
  RETURN_IF_ERROR(text.status());
  return SignedCheckpoint::Open(*text, log_key_);
}

absl::StatusOr<std::string> TransparencyService::FindCheckpoint(
    grpc::ServerContext* context,
    const api::v1::GetCheckpointRequest& request) const {
  base::Clock* const clock = base::Clock::Real();
  const absl::Duration end = clock->Monotonic() + limits::kCheckpointWait;
  const bool too_many = ++waiting_ > limits::kMaxCheckpointWaiters;
  const auto done = absl::MakeCleanup([this] { --waiting_; });
  for (;;) {
    absl::StatusOr<SignedCheckpoint> latest = Latest();
    const bool none_yet = absl::IsNotFound(latest.status());
    if (!latest.ok() && !none_yet) return latest.status();
    if (request.cosigned()) {
      const absl::StatusOr<std::string> cosigned = ReadFile(kCosignedFile);
      if (cosigned.ok()) {
        latest = SignedCheckpoint::Open(*cosigned, log_key_);
        RETURN_IF_ERROR(latest.status());
      } else if (!absl::IsNotFound(cosigned.status())) {
        return cosigned.status();
      }
    }
    if (latest.ok() && latest->checkpoint.size >= request.wait_size()) {
      return latest->note.ToText();
    }
    if (request.wait_size() == 0) return latest.status();
    if (too_many) {
      return absl::ResourceExhaustedError(
          "too many wait for a checkpoint; ask again in a moment");
    }
    if (stopping_) return absl::UnavailableError("the server is stopping");
    if (context->IsCancelled()) return absl::CancelledError("cancelled");
    if (clock->Monotonic() >= end) {
      return absl::DeadlineExceededError(absl::StrCat(
          "no checkpoint of ", request.wait_size(), " leaves came in time"));
    }
    absl::SleepFor(limits::kCheckpointPoll);
  }
}

std::string TransparencyService::KeptCheckpoint(const SignedCheckpoint& latest,
                                                uint64_t size) const {
  if (latest.checkpoint.size == size) return latest.note.ToText();
  for (const std::string& name :
       {std::string(kCosignedFile), TimestampedCheckpointPath(size)}) {
    const absl::StatusOr<std::string> text = ReadFile(name);
    if (!text.ok()) continue;
    const absl::StatusOr<SignedCheckpoint> kept =
        SignedCheckpoint::Open(*text, log_key_);
    if (kept.ok() && kept->checkpoint.size == size) return *text;
  }
  return "";
}

absl::StatusOr<TileTree> TransparencyService::TreeOf(
    const SignedCheckpoint& latest, uint64_t size) const {
  if (size > latest.checkpoint.size) {
    return absl::NotFoundError(absl::StrCat("the log has no tree of ", size,
                                            " leaves: its latest "
                                            "checkpoint has ",
                                            latest.checkpoint.size));
  }
  return TileTree(options_.file_system, options_.directory,
                  size == 0 ? latest.checkpoint.size : size);
}

absl::Status TransparencyService::ProveInclusion(
    const api::v1::GetInclusionProofRequest& request,
    api::v1::GetInclusionProofResponse* response) {
  ASSIGN_OR_RETURN(const SignedCheckpoint latest, Latest());
  ASSIGN_OR_RETURN(TileTree tree, TreeOf(latest, request.tree_size()));
  uint64_t index = request.index();
  if (request.has_log_position()) {
    ASSIGN_OR_RETURN(index, tree.FindLeaf(request.log_position()));
  }
  if (index >= tree.size()) {
    return absl::NotFoundError(absl::StrCat("the log has no leaf ", index,
                                            " in its tree of ", tree.size()));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> hashes,
                   tree.ProveInclusion(index));
  ASSIGN_OR_RETURN(const LogLeaf leaf, tree.Leaf(index));
  response->set_index(index);
  response->set_tree_size(tree.size());
  for (const std::string& hash : hashes) response->add_hashes(hash);
  response->set_leaf_data(leaf.Data());
  response->set_checkpoint(KeptCheckpoint(latest, tree.size()));
  return absl::OkStatus();
}

absl::Status TransparencyService::ProveConsistency(
    const api::v1::GetConsistencyProofRequest& request,
    api::v1::GetConsistencyProofResponse* response) {
  ASSIGN_OR_RETURN(const SignedCheckpoint latest, Latest());
  ASSIGN_OR_RETURN(TileTree tree, TreeOf(latest, request.to_size()));
  ASSIGN_OR_RETURN(const std::vector<std::string> hashes,
                   tree.ProveConsistency(request.from_size()));
  for (const std::string& hash : hashes) response->add_hashes(hash);
  return absl::OkStatus();
}

grpc::Status TransparencyService::GetCheckpoint(
    grpc::ServerContext* context, const api::v1::GetCheckpointRequest* request,
    api::v1::GetCheckpointResponse* response) {
  const absl::Status allowed = RequireReader(*context, archive_id_);
  if (!allowed.ok()) return base::ToGrpcStatus(allowed);
  absl::StatusOr<std::string> checkpoint = FindCheckpoint(context, *request);
  if (!checkpoint.ok()) return base::ToGrpcStatus(checkpoint.status());
  response->set_checkpoint(*std::move(checkpoint));
  return grpc::Status::OK;
}

grpc::Status TransparencyService::GetInclusionProof(
    grpc::ServerContext* context,
    const api::v1::GetInclusionProofRequest* request,
    api::v1::GetInclusionProofResponse* response) {
  absl::Status status = RequireReader(*context, archive_id_);
  if (status.ok()) status = ProveInclusion(*request, response);
  return base::ToGrpcStatus(status);
}

grpc::Status TransparencyService::GetConsistencyProof(
    grpc::ServerContext* context,
    const api::v1::GetConsistencyProofRequest* request,
    api::v1::GetConsistencyProofResponse* response) {
  absl::Status status = RequireReader(*context, archive_id_);
  if (status.ok()) status = ProveConsistency(*request, response);
  return base::ToGrpcStatus(status);
}

grpc::Status TransparencyService::AddCosignature(
    grpc::ServerContext* context, const api::v1::AddCosignatureRequest* request,
    api::v1::AddCosignatureResponse*) {
  absl::Status status =
      base::RequireRole(*context, archive_id_, {base::Role::kWitness}).status();
  if (status.ok()) {
    status = options_.takes_additions
                 ? additions_.AddCosignature(request->checkpoint())
                 : absl::UnimplementedError("only the writer takes these");
  }
  return base::ToGrpcStatus(status);
}

grpc::Status TransparencyService::AddTimestamp(
    grpc::ServerContext* context, const api::v1::AddTimestampRequest* request,
    api::v1::AddTimestampResponse*) {
  absl::Status status =
      base::RequireRole(*context, archive_id_, {base::Role::kOperator})
          .status();
  if (status.ok()) {
    status = options_.takes_additions
                 ? additions_.AddTimestamp(request->checkpoint(),
                                           request->response())
                 : absl::UnimplementedError("only the writer takes these");
  }
  return base::ToGrpcStatus(status);
}

}  // namespace diptych::evidence
