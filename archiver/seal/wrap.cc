#include "archiver/seal/wrap.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
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

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

void AppendBytes(uint8_t field, absl::string_view bytes, std::string* out) {
  if (bytes.empty()) return;
  // All that is wrapped is shorter than 128 bytes: its length is one byte.
  out->push_back(static_cast<char>(field << 3 | 2));
  out->push_back(static_cast<char>(bytes.size()));
  out->append(bytes.data(), bytes.size());
}

void AppendNumber(uint8_t field, uint64_t number, std::string* out) {
  if (number == 0) return;
  out->push_back(static_cast<char>(field << 3));
  for (; number >= 0x80; number >>= 7) {
    out->push_back(static_cast<char>(number | 0x80));
  }
  out->push_back(static_cast<char>(number));
}

// A serialized WrappedKey up to its key, which ends it. By hand, since a
// message would leave copies of the key in the heap.
std::string BeforeKey(const WrapContext& context) {
  std::string out;
  AppendBytes(1, context.archive_id, &out);
  AppendBytes(2, context.session_id, &out);
  AppendNumber(3, context.key_class, &out);
  AppendNumber(4, context.epoch, &out);
  out.push_back(5 << 3 | 2);
  out.push_back(SecretKey::kSize);
  return out;
}

bool HasClass(const stored::v1::Recipient& recipient,
              stored::v1::KeyClass key_class) {
  const auto& classes = recipient.classes();
  return std::find(classes.begin(), classes.end(), key_class) != classes.end();
}

}  // namespace

absl::StatusOr<std::vector<stored::v1::Wrap>> WrapKey(
    const stored::v1::ArchiveConfig& archive, const WrapContext& context,
    const SecretKey& key) {
  const std::string before_key = BeforeKey(context);
  SecretText plain(before_key.size() + SecretKey::kSize);
  std::memcpy(plain.mutable_data(), before_key.data(), before_key.size());
  std::memcpy(plain.mutable_data() + before_key.size(), key.data(),
              SecretKey::kSize);

  std::vector<stored::v1::Wrap> wraps;
  for (const stored::v1::Recipient& recipient : archive.recipients()) {
    if (recipient.retired() || !HasClass(recipient, context.key_class)) {
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
    sealed->resize(plain.size() + crypto_box_SEALBYTES);
    const int failed = crypto_box_seal(
        reinterpret_cast<unsigned char*>(sealed->data()), Bytes(plain.view()),
        plain.size(), Bytes(recipient.public_key()));
    WipeStack();
    if (failed != 0) {
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
  SecretText plain(wrap.sealed().size() - crypto_box_SEALBYTES);
  const int failed = crypto_box_seal_open(
      reinterpret_cast<unsigned char*>(plain.mutable_data()),
      Bytes(wrap.sealed()), wrap.sealed().size(), Bytes(key_pair.public_key),
      key_pair.private_key.data());
  WipeStack();
  if (failed != 0) {
    return base::IntegrityError("a wrapped key does not open: it was changed");
  }
  const std::string before_key = BeforeKey(context);
  if (wrap.key_class() != context.key_class ||
      plain.size() != before_key.size() + SecretKey::kSize ||
      plain.view().substr(0, before_key.size()) != before_key) {
    return base::IntegrityError(
        "a wrapped key belongs to another archive, session, class or epoch");
  }
  return SecretKey::FromBytes(plain.view().substr(before_key.size()));
}

}  // namespace diptych::seal
