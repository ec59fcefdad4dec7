#include "archiver/ingest/receipt_desk.h"

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/evidence/leaf_prover.h"
#include "archiver/ingest/session.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {
namespace {

void Hand(const api::v1::Receipt& receipt,
          const std::set<std::shared_ptr<StreamSink>>& sinks) {
  for (const auto& sink : sinks) {
    api::v1::RecordResponse response;
    *response.mutable_receipt() = receipt;
    sink->Send(std::move(response));
    sink->Finish(absl::OkStatus());
  }
}

}  // namespace

void GiveReceipt(evidence::LeafProver* prover, api::v1::Receipt receipt,
                 std::set<std::shared_ptr<StreamSink>> sinks) {
  if (sinks.empty()) return;
  if (prover == nullptr) return Hand(receipt, sinks);
  const log::Position position = receipt.log_position();
  prover->AwaitProof(
      position, [receipt = std::move(receipt), sinks = std::move(sinks)](
                    const absl::StatusOr<evidence::LeafProof>& proof) mutable {
        if (proof.ok()) {
          receipt.set_log_index(proof->index);
          for (const std::string& hash : proof->hashes) {
            receipt.add_inclusion_proof(hash);
          }
          receipt.set_checkpoint(proof->checkpoint);
        }
        Hand(receipt, sinks);
      });
}

}  // namespace diptych::ingest
