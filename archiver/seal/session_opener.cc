#include "archiver/seal/session_opener.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/mutex.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/aead.h"
#include "archiver/seal/associated_data.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

absl::StatusOr<std::unique_ptr<SessionOpener>> SessionOpener::Create(
    const base::Uuid& archive_id, const stored::v1::KeyWraps& wraps,
    const std::vector<KeyPair>& keys) {
  auto opener = absl::WrapUnique(new SessionOpener);
  opener->archive_id_ = std::string(archive_id.bytes());
  base::MutexLock lock(&opener->mutex_);
  for (const stored::v1::Wrap& wrap : wraps.wraps()) {
    if (opener->chains_.contains(wrap.key_class())) continue;
    for (const KeyPair& key : keys) {
      absl::StatusOr<SecretKey> root =
          UnwrapKey(wrap,
                    {.archive_id = opener->archive_id_,
                     .session_id = wraps.session_id(),
                     .key_class = wrap.key_class(),
                     .epoch = wraps.epoch()},
                    key);
      if (absl::IsPermissionDenied(root.status())) continue;
      RETURN_IF_ERROR(root.status());
      Chain chain;
      chain.state = root->Clone();
      chain.root = *std::move(root);
      opener->chains_.emplace(wrap.key_class(), std::move(chain));
      break;
    }
  }
  if (opener->chains_.empty()) {
    return absl::PermissionDeniedError(
        "none of the keys at hand opens this session");
  }
  return opener;
}

absl::StatusOr<SecretKey> SessionOpener::KeyAt(stored::v1::KeyClass key_class,
                                               uint32_t segment) const {
  base::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const SecretKey* const state, StateAt(key_class, segment));
  return SegmentKey(*state);
}

absl::StatusOr<std::string> SessionOpener::SaltOf(
    stored::v1::KeyClass key_class, uint32_t segment, SaltKind kind,
    uint64_t id) const {
  base::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const SecretKey* const state, StateAt(key_class, segment));
  return Salt(SaltKey(*state), kind, id);
}

absl::StatusOr<const SecretKey*> SessionOpener::StateAt(
    stored::v1::KeyClass key_class, uint32_t segment) const {
  if (segment > limits::kMaxSegmentsPerSession) {
    return base::IntegrityError(
        absl::StrCat("segment ", segment, " is over the limit"));
  }
  const auto found = chains_.find(key_class);
  if (found == chains_.end()) {
    return absl::PermissionDeniedError(
        absl::StrCat("none of the keys at hand opens ",
                     stored::v1::KeyClass_Name(key_class)));
  }
  Chain& chain = found->second;
  if (segment < chain.segment) {
    chain.state = chain.root.Clone();
    chain.segment = 0;
  }
  for (; chain.segment < segment; ++chain.segment) {
    chain.state = NextChainState(chain.state);
  }
  return &chain.state;
}

absl::StatusOr<std::string> SessionOpener::Open(stored::v1::KeyClass key_class,
                                                log::RecordType type,
                                                uint32_t segment,
                                                absl::string_view header,
                                                absl::string_view body) const {
  ASSIGN_OR_RETURN(const SecretKey key, KeyAt(key_class, segment));
  return AeadOpen(key, AssociatedData(archive_id_, type, header), body);
}

}  // namespace diptych::seal
