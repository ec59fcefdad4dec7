#include "archiver/seal/rewrap.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

bool IsWrappedTo(const stored::v1::KeyWraps& wraps,
                 absl::string_view public_key) {
  const std::string id = RecipientId(public_key);
  return std::any_of(wraps.wraps().begin(), wraps.wraps().end(),
                     [&id](const stored::v1::Wrap& wrap) {
                       return wrap.recipient_id() == id;
                     });
}

absl::StatusOr<stored::v1::KeyWraps> Rewrap(
    const stored::v1::ArchiveConfig& archive, const stored::v1::KeyWraps& wraps,
    const KeyPair& old_key) {
  const std::string old_id = RecipientId(old_key.public_key);
  stored::v1::KeyWraps fresh;
  fresh.set_session_id(wraps.session_id());
  fresh.set_epoch(wraps.epoch());
  std::set<stored::v1::KeyClass> opened;
  for (const stored::v1::Wrap& wrap : wraps.wraps()) {
    if (wrap.recipient_id() != old_id || opened.contains(wrap.key_class())) {
      continue;
    }
    const WrapContext context = {.archive_id = archive.archive_id(),
                                 .session_id = wraps.session_id(),
                                 .key_class = wrap.key_class(),
                                 .epoch = wraps.epoch()};
    ASSIGN_OR_RETURN(const SecretKey root, UnwrapKey(wrap, context, old_key));
    ASSIGN_OR_RETURN(const std::vector<stored::v1::Wrap> made,
                     WrapKey(archive, context, root));
    for (const stored::v1::Wrap& one : made) *fresh.add_wraps() = one;
    opened.insert(wrap.key_class());
  }
  if (opened.empty()) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the root keys are not wrapped to the key ", old_key.name));
  }
  for (const stored::v1::Wrap& wrap : wraps.wraps()) {
    if (!opened.contains(wrap.key_class())) *fresh.add_wraps() = wrap;
  }
  return fresh;
}

}  // namespace diptych::seal
