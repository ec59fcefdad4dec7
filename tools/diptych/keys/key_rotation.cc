#include "tools/diptych/keys/key_rotation.h"

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_positions.h"
#include "archiver/seal/rewrap.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/keys/key_changes.h"

namespace diptych::keys {
namespace {

constexpr absl::string_view kAction = "rotate";

class Rotation {
 public:
  Rotation(const RotationOptions& options, KeyChanges* changes)
      : options_(options), changes_(changes) {}

  absl::StatusOr<RotationResult> Run();

 private:
  absl::Status Step(absl::string_view name) const {
    return options_.before_step ? options_.before_step(name) : absl::OkStatus();
  }

  std::string CurrentPath() const {
    return absl::StrCat(options_.keys_dir, "/", options_.name, ".key");
  }
  std::string OtherPath(const seal::KeyPair& key) const {
    return seal::OtherKeyPath(options_.keys_dir, options_.name, key.public_key);
  }

  // Finds old_ and new_, and how far an earlier run has come.
  absl::Status Look();
  // All that lie in the key folder, the current one first.
  absl::StatusOr<std::vector<seal::KeyPair>> ReadKeys() const;
  absl::Status MakeNewKey(const std::vector<seal::KeyPair>& keys);
  // In the log, unless it says so already.
  absl::Status Tell(const seal::KeyPair& key, bool retired);
  absl::Status AddNewRecipient();
  absl::Status RewrapAll();
  absl::Status WriteBatch(std::vector<stored::v1::KeyWraps>* batch);
  absl::Status RetireOldRecipient();
  absl::Status SwapKeyFiles();

  const RotationOptions& options_;
  KeyChanges* const changes_;
  std::optional<seal::KeyPair> old_;
  std::optional<seal::KeyPair> new_;
  // The archive's configuration names the new key already, or for good.
  bool is_added_ = false;
  bool is_retired_ = false;
  std::optional<seal::KeyPositions> positions_;
  RotationResult result_;
};

std::optional<seal::KeyPair> Find(const std::vector<seal::KeyPair>& keys,
                                  absl::string_view public_key) {
  for (const seal::KeyPair& key : keys) {
    if (key.public_key == public_key) return key.Clone();
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<seal::KeyPair>> Rotation::ReadKeys() const {
  std::vector<seal::KeyPair> keys;
  absl::StatusOr<seal::KeyPair> current =
      seal::ReadKeyFile(options_.keys_dir, options_.name, options_.passphrase);
  if (absl::IsNotFound(current.status())) {
    return absl::NotFoundError(
        absl::StrCat(CurrentPath(),
                     " is not there: name the folder that has it with --keys "
                     "FOLDER"));
  }
  RETURN_IF_ERROR(current.status());
  keys.push_back(*std::move(current));
  // One that does not open is missed where it is needed.
  std::vector<absl::Status> left_out;
  ASSIGN_OR_RETURN(std::vector<seal::KeyPair> others,
                   seal::ReadOtherKeyFiles(options_.keys_dir, options_.name,
                                           options_.passphrase, &left_out));
  for (seal::KeyPair& key : others) keys.push_back(std::move(key));
  return keys;
}

absl::Status Rotation::Look() {
  std::vector<const stored::v1::Recipient*> active;
  size_t all = 0;
  for (const stored::v1::Recipient& recipient :
       changes_->config().recipients()) {
    ++all;
    if (recipient.name() == options_.name && !recipient.retired()) {
      active.push_back(&recipient);
    }
  }
  if (active.empty()) {
    return absl::NotFoundError(absl::StrCat("the archive has no recipient ",
                                            options_.name,
                                            ": diptych keys list shows them"));
  }
  if (active.size() > 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("archive.textproto names ", active.size(), " keys for ",
                     options_.name, ", and a rotation knows two"));
  }
  ASSIGN_OR_RETURN(std::vector<seal::KeyPair> keys, ReadKeys());
  const auto missing = [&](absl::string_view public_key) {
    return absl::NotFoundError(absl::StrCat(
        "the private key that goes with the archive's ", options_.name,
        " lies neither in ", CurrentPath(), " nor in ",
        seal::OtherKeyPath(options_.keys_dir, options_.name, public_key)));
  };
  if (active.size() == 2) {
    is_added_ = true;
    old_ = Find(keys, active[0]->public_key());
    new_ = Find(keys, active[1]->public_key());
    if (!old_.has_value()) return missing(active[0]->public_key());
    if (!new_.has_value()) return missing(active[1]->public_key());
    result_.went_on = true;
    return absl::OkStatus();
  }
  const std::string& public_key = active[0]->public_key();
  if (keys[0].public_key != public_key) {
    // Broken off before the files were swapped.
    new_ = Find(keys, public_key);
    if (!new_.has_value()) return missing(public_key);
    old_ = keys[0].Clone();
    is_added_ = true;
    is_retired_ = true;
    result_.went_on = true;
    return absl::OkStatus();
  }
  if (all >= limits::kMaxRecipients) {
    return absl::FailedPreconditionError(
        absl::StrCat("the archive has ", all,
                     " recipients with those that are retired, and takes no "
                     "more"));
  }
  old_ = keys[0].Clone();
  return MakeNewKey(keys);
}

absl::Status Rotation::MakeNewKey(const std::vector<seal::KeyPair>& keys) {
  // One that was made and that nothing names yet: the last run came no further.
  for (const seal::KeyPair& key : keys) {
    bool is_named = false;
    for (const stored::v1::Recipient& recipient :
         changes_->config().recipients()) {
      is_named = is_named || recipient.public_key() == key.public_key;
    }
    if (is_named) continue;
    new_ = key.Clone();
    result_.went_on = true;
    return absl::OkStatus();
  }
  new_ = seal::KeyPair::Generate(options_.name);
  RETURN_IF_ERROR(Step("new key"));
  return seal::WriteKeyFileTo(OtherPath(*new_), *new_, options_.passphrase);
}

absl::Status Rotation::Tell(const seal::KeyPair& key, bool retired) {
  const std::string id = seal::RecipientId(key.public_key);
  const auto known = positions_->FindRecipient(id);
  if (known.has_value() && known->retired() == retired) return absl::OkStatus();
  stored::v1::KeysChanged changed;
  changed.set_action(std::string(kAction));
  stored::v1::ChangedRecipient* recipient = changed.add_recipients();
  recipient->set_name(options_.name);
  recipient->set_recipient_id(id);
  recipient->set_retired(retired);
  RETURN_IF_ERROR(Step(retired ? "tell retired" : "tell new"));
  return changes_->AppendKeysChanged(std::move(changed));
}

absl::Status Rotation::AddNewRecipient() {
  RETURN_IF_ERROR(Tell(*new_, /*retired=*/false));
  if (is_added_) return absl::OkStatus();
  stored::v1::ArchiveConfig config = changes_->config();
  for (const stored::v1::Recipient& recipient :
       changes_->config().recipients()) {
    if (recipient.public_key() != old_->public_key) continue;
    stored::v1::Recipient* added = config.add_recipients();
    *added = recipient;
    added->set_public_key(new_->public_key);
  }
  RETURN_IF_ERROR(Step("add recipient"));
  return changes_->Replace(config);
}

absl::Status Rotation::WriteBatch(std::vector<stored::v1::KeyWraps>* batch) {
  if (batch->empty()) return absl::OkStatus();
  RETURN_IF_ERROR(Step("wraps"));
  ASSIGN_OR_RETURN(const std::vector<stored::v1::Rewrap> rewraps,
                   changes_->AppendWraps(*batch));
  stored::v1::KeysChanged changed;
  changed.set_action(std::string(kAction));
  for (const stored::v1::Rewrap& rewrap : rewraps) {
    *changed.add_rewraps() = rewrap;
  }
  RETURN_IF_ERROR(Step("rewraps"));
  RETURN_IF_ERROR(changes_->AppendKeysChanged(std::move(changed)));
  result_.rewrapped_epochs += batch->size();
  batch->clear();
  return absl::OkStatus();
}

absl::Status Rotation::RewrapAll() {
  // Nothing new is wrapped to the key that goes.
  stored::v1::ArchiveConfig target = changes_->config();
  for (stored::v1::Recipient& recipient : *target.mutable_recipients()) {
    if (recipient.public_key() == old_->public_key) recipient.set_retired(true);
  }
  std::vector<stored::v1::KeyWraps> batch;
  uint64_t done = 0;
  for (const auto& [epoch, position] : positions_->epochs()) {
    if (options_.on_progress) {
      RETURN_IF_ERROR(
          options_.on_progress(done++, positions_->epochs().size()));
    }
    const auto record = changes_->key_store().Read(position);
    stored::v1::KeyWraps wraps;
    if (!record.ok() || record->type != log::RecordType::kKeyWraps ||
        !wraps.ParseFromString(record->body) ||
        wraps.session_id() != epoch.first.bytes() ||
        wraps.epoch() != epoch.second) {
      ++result_.damaged_epochs;
      continue;
    }
    if (!seal::IsWrappedTo(wraps, old_->public_key)) {
      // Also those that an earlier run has done.
      ++result_.other_epochs;
      continue;
    }
    auto fresh = seal::Rewrap(target, wraps, *old_);
    if (absl::IsDataLoss(fresh.status())) {
      ++result_.damaged_epochs;
      continue;
    }
    RETURN_IF_ERROR(fresh.status());
    batch.push_back(*std::move(fresh));
    if (batch.size() == limits::kRewrapsPerRecord) {
      RETURN_IF_ERROR(WriteBatch(&batch));
    }
  }
  return WriteBatch(&batch);
}

absl::Status Rotation::RetireOldRecipient() {
  RETURN_IF_ERROR(Tell(*old_, /*retired=*/true));
  stored::v1::ArchiveConfig config = changes_->config();
  for (stored::v1::Recipient& recipient : *config.mutable_recipients()) {
    if (recipient.public_key() == old_->public_key) recipient.set_retired(true);
  }
  RETURN_IF_ERROR(Step("retire"));
  return changes_->Replace(config);
}

absl::Status Rotation::SwapKeyFiles() {
  const std::string kept = OtherPath(*old_);
  const auto there =
      seal::ReadKeyFileAt(kept, options_.name, options_.passphrase);
  if (!there.ok() || there->public_key != old_->public_key) {
    RETURN_IF_ERROR(Step("keep old key"));
    RETURN_IF_ERROR(seal::WriteKeyFileTo(kept, *old_, options_.passphrase));
  }
  RETURN_IF_ERROR(Step("swap"));
  base::FileSystem* const files = base::FileSystem::Real();
  RETURN_IF_ERROR(files->Rename(OtherPath(*new_), CurrentPath()));
  return files->SyncDirectory(options_.keys_dir);
}

absl::StatusOr<RotationResult> Rotation::Run() {
  RETURN_IF_ERROR(Look());
  result_.old_recipient_id = seal::RecipientId(old_->public_key);
  result_.new_recipient_id = seal::RecipientId(new_->public_key);
  result_.old_key_file = OtherPath(*old_);
  ASSIGN_OR_RETURN(
      positions_, seal::KeyPositions::Scan(
                      changes_->log(), seal::KeyPositions::Which::kAll,
                      [this](log::Position) {
                        return options_.on_progress ? options_.on_progress(0, 0)
                                                    : absl::OkStatus();
                      }));
  if (!is_retired_) {
    RETURN_IF_ERROR(AddNewRecipient());
    RETURN_IF_ERROR(RewrapAll());
    RETURN_IF_ERROR(RetireOldRecipient());
  }
  RETURN_IF_ERROR(SwapKeyFiles());
  return result_;
}

}  // namespace

absl::StatusOr<RotationResult> RotateKey(const RotationOptions& options,
                                         KeyChanges* changes) {
  return Rotation(options, changes).Run();
}

}  // namespace diptych::keys
