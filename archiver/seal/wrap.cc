#include "archiver/seal/wrap.h"

#include <algorithm>
#include <string>
#include <vector>

#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {
namespace {

// Serialized key material in an ordinary string; wiped when it goes.
struct Wiped {
  std::string bytes;
  ~Wiped() { sodium_memzero(bytes.data(), bytes.size()); }
};

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

absl::StatusOr<std::vector<stored::v1::Wrap>> WrapKey(
    const stored::v1::ArchiveConfig& archive, const WrapContext& context,
    const SecretKey& key) {
  stored::v1::WrappedKey wrapped;
  wrapped.set_archive_id(std::string(context.archive_id));
  wrapped.set_session_id(std::string(context.session_id));
  wrapped.set_key_class(context.key_class);
  wrapped.set_epoch(context.epoch);
  wrapped.set_root_key(std::string(key.bytes()));
  Wiped plain = {wrapped.SerializeAsString()};
  sodium_memzero(wrapped.mutable_root_key()->data(), SecretKey::kSize);

  std::vector<stored::v1::Wrap> wraps;
  for (const stored::v1::Recipient& recipient : archive.recipients()) {
    const auto& classes = recipient.classes();
    if (std::find(classes.begin(), classes.end(), context.key_class) ==
        classes.end()) {
      continue;
    }
    if (recipient.public_key().size() != crypto_box_PUBLICKEYBYTES) {
      return absl::FailedPreconditionError(absl::StrCat(
          "recipient ", recipient.name(), " has no X25519 public key"));
    }
    stored::v1::Wrap wrap;
    wrap.set_key_class(context.key_class);
    wrap.set_recipient_id(RecipientId(recipient.public_key()));
    std::string* sealed = wrap.mutable_sealed();
    sealed->resize(plain.bytes.size() + crypto_box_SEALBYTES);
    if (crypto_box_seal(reinterpret_cast<unsigned char*>(sealed->data()),
                        Bytes(plain.bytes), plain.bytes.size(),
                        Bytes(recipient.public_key())) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "recipient ", recipient.name(), " has an unusable public key"));
    }
    wraps.push_back(std::move(wrap));
  }
  if (wraps.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the archive names no recipient for ",
                     stored::v1::KeyClass_Name(context.key_class)));
  }
  return wraps;
}

absl::StatusOr<SecretKey> UnwrapKey(const stored::v1::Wrap& wrap,
                                    const WrapContext& context,
                                    const KeyPair& key_pair) {
  if (wrap.recipient_id() != RecipientId(key_pair.public_key)) {
    return absl::PermissionDeniedError(
        absl::StrCat("this is not wrapped to the key ", key_pair.name));
  }
  if (wrap.sealed().size() < crypto_box_SEALBYTES) {
    return base::IntegrityError("a wrapped key is cut short");
  }
  Wiped plain = {
      std::string(wrap.sealed().size() - crypto_box_SEALBYTES, '\0')};
  if (crypto_box_seal_open(reinterpret_cast<unsigned char*>(plain.bytes.data()),
                           Bytes(wrap.sealed()), wrap.sealed().size(),
                           Bytes(key_pair.public_key),
                           key_pair.private_key.data()) != 0) {
    return base::IntegrityError("a wrapped key does not open: it was changed");
  }
  stored::v1::WrappedKey wrapped;
  if (!wrapped.ParseFromString(plain.bytes)) {
    return base::IntegrityError("a wrapped key does not parse");
  }
  absl::StatusOr<SecretKey> key = SecretKey::FromBytes(wrapped.root_key());
  sodium_memzero(wrapped.mutable_root_key()->data(), wrapped.root_key().size());
  if (wrapped.archive_id() != context.archive_id ||
      wrapped.session_id() != context.session_id ||
      wrapped.key_class() != context.key_class ||
      wrapped.epoch() != context.epoch ||
      wrap.key_class() != context.key_class) {
    return base::IntegrityError(
        "a wrapped key belongs to another archive, session, class or epoch");
  }
  if (!key.ok()) return base::IntegrityError("a wrapped key has no 32 bytes");
  return key;
}

}  // namespace diptych::seal
