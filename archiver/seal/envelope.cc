#include "archiver/seal/envelope.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/seal/aead.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/session_sealer.h"
#include "archiver/seal/use_ledger.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

std::string EnvelopeAssociatedData(absl::string_view archive_id,
                                   absl::string_view context) {
  return absl::StrCat("diptych-envelope-1", archive_id, context);
}

}  // namespace

absl::StatusOr<stored::v1::SealedEnvelope> SealEnvelope(
    const stored::v1::ArchiveConfig& archive, stored::v1::KeyClass key_class,
    absl::string_view context, absl::string_view plaintext) {
  const SecretKey key = SecretKey::Random();
  NoteKeyMade(key, KeyLife::kOnce, {.kind = "envelope"});
  ASSIGN_OR_RETURN(
      const std::vector<stored::v1::Wrap> wraps,
      WrapKey(archive,
              {.archive_id = archive.archive_id(), .key_class = key_class},
              key));
  stored::v1::SealedEnvelope envelope;
  envelope.set_suite(kSuite1);
  for (const stored::v1::Wrap& wrap : wraps) *envelope.add_wraps() = wrap;
  envelope.set_sealed(AeadSeal(
      key, EnvelopeAssociatedData(archive.archive_id(), context), plaintext));
  return envelope;
}

absl::StatusOr<std::string> OpenEnvelope(
    const stored::v1::ArchiveConfig& archive,
    const stored::v1::SealedEnvelope& envelope, absl::string_view context,
    const std::vector<KeyPair>& keys) {
  if (envelope.suite() != kSuite1) {
    return base::IntegrityError(
        absl::StrCat("sealing suite ", envelope.suite(), " is not known"));
  }
  for (const stored::v1::Wrap& wrap : envelope.wraps()) {
    for (const KeyPair& pair : keys) {
      const absl::StatusOr<SecretKey> key = UnwrapKey(
          wrap,
          {.archive_id = archive.archive_id(), .key_class = wrap.key_class()},
          pair);
      if (absl::IsPermissionDenied(key.status())) continue;
      RETURN_IF_ERROR(key.status());
      return AeadOpen(*key,
                      EnvelopeAssociatedData(archive.archive_id(), context),
                      envelope.sealed());
    }
  }
  return absl::PermissionDeniedError("none of the keys at hand opens this");
}

}  // namespace diptych::seal
