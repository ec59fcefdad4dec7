#include "archiver/evidence/note.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/base/utf8.h"
#include "archiver/evidence/big_endian.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {
namespace {

constexpr absl::string_view kSignaturePrefix = "\xe2\x80\x94 ";  // "— "
constexpr size_t kKeyId_bytes = 4;
constexpr size_t kTime_bytes = 8;

// Spaces beyond ASCII, in UTF-8: U+0085, U+00A0, U+1680, U+2000 to U+200A,
// U+2028, U+2029, U+202F, U+205F, U+3000.
bool IsUnicodeSpace(absl::string_view character) {
  if (character.size() == 2) {
    return character == "\xc2\x85" || character == "\xc2\xa0";
  }
  if (character.size() != 3) return false;
  if (absl::StartsWith(character, "\xe2\x80")) {
    const auto last = static_cast<uint8_t>(character[2]);
    return last <= 0x8a || last == 0xa8 || last == 0xa9 || last == 0xaf;
  }
  return character == "\xe1\x9a\x80" || character == "\xe2\x81\x9f" ||
         character == "\xe3\x80\x80";
}

uint64_t ReadBigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

absl::Status CheckNoteCharacters(absl::string_view note) {
  for (size_t i = 0; i < note.size();) {
    const size_t length = base::Utf8Length(note.substr(i));
    if (length == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the note is not UTF-8 at byte ", i));
    }
    if (absl::ascii_iscntrl(static_cast<unsigned char>(note[i])) &&
        note[i] != '\n' && note[i] != '\x7f') {
      return absl::InvalidArgumentError(
          absl::StrCat("the note has a control character at byte ", i));
    }
    i += length;
  }
  return absl::OkStatus();
}

absl::StatusOr<NoteSignature> ParseSignatureLine(absl::string_view line) {
  const absl::Status wrong =
      absl::InvalidArgumentError("a signature line of the note is malformed");
  if (!absl::ConsumePrefix(&line, kSignaturePrefix)) return wrong;
  const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
  if (parts.size() != 2 || !CheckNoteKeyName(parts[0]).ok()) return wrong;
  const absl::StatusOr<std::string> bytes = StrictBase64(parts[1]);
  if (!bytes.ok() || bytes->size() <= kKeyId_bytes) return wrong;
  return NoteSignature{.name = std::string(parts[0]),
                       .key_id = static_cast<uint32_t>(
                           ReadBigEndian(bytes->substr(0, kKeyId_bytes))),
                       .bytes = bytes->substr(kKeyId_bytes)};
}

std::string CosignedMessage(absl::string_view text, uint64_t time_s) {
  return absl::StrCat("cosignature/v1\ntime ", time_s, "\n", text);
}

// nullopt if it is false.
std::optional<VerifiedSignature> VerifyOne(absl::string_view text,
                                           absl::string_view bytes,
                                           const NoteKey& key) {
  if (key.type == NoteKeyType::kEd25519) {
    if (!seal::VerifySignature(key.public_key, text, bytes)) {
      return std::nullopt;
    }
    return VerifiedSignature();
  }
  if (bytes.size() != kTime_bytes + seal::kSignature_bytes) {
    return std::nullopt;
  }
  const uint64_t time_s = ReadBigEndian(bytes.substr(0, kTime_bytes));
  if (time_s > INT64_MAX ||
      !seal::VerifySignature(key.public_key, CosignedMessage(text, time_s),
                             bytes.substr(kTime_bytes))) {
    return std::nullopt;
  }
  return VerifiedSignature{.time_s = time_s};
}

}  // namespace

absl::Status CheckNoteKeyName(absl::string_view name) {
  const absl::Status wrong = absl::InvalidArgumentError(
      "a key's name is UTF-8 and has no space, control character or plus sign");
  if (name.empty()) return absl::InvalidArgumentError("a key has no name");
  for (size_t i = 0; i < name.size();) {
    const size_t length = base::Utf8Length(name.substr(i));
    if (length == 0 || name[i] == '+' ||
        (length == 1 &&
         !absl::ascii_isgraph(static_cast<unsigned char>(name[i]))) ||
        IsUnicodeSpace(name.substr(i, length))) {
      return wrong;
    }
    i += length;
  }
  return absl::OkStatus();
}

uint32_t NoteKey::Id() const {
  return static_cast<uint32_t>(
      ReadBigEndian(base::Sha256Hasher()
                        .Add(name)
                        .Add("\n")
                        .AddU8(static_cast<uint8_t>(type))
                        .Add(public_key)
                        .Finish()
                        .substr(0, kKeyId_bytes)));
}

std::string NoteKey::ToText() const {
  std::string encoded(1, static_cast<char>(type));
  encoded += public_key;
  return absl::StrCat(name, "+", absl::StrFormat("%08x", Id()), "+",
                      absl::Base64Escape(encoded));
}

absl::StatusOr<NoteKey> NoteKey::Parse(absl::string_view text) {
  // base64 has plus signs of its own.
  const std::vector<absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('+', 2));
  if (parts.size() != 3 || text.size() > limits::kMaxCheckpoint_bytes) {
    return absl::InvalidArgumentError(
        "a public key has the form NAME+ID+BASE64");
  }
  RETURN_IF_ERROR(CheckNoteKeyName(parts[0]));
  const absl::StatusOr<std::string> encoded = StrictBase64(parts[2]);
  if (!encoded.ok() || encoded->size() != 1 + seal::kSigningPublicKey_bytes) {
    return absl::InvalidArgumentError(
        "a public key's last part is a type and 32 bytes in base64");
  }
  NoteKey key;
  key.name = std::string(parts[0]);
  key.type = static_cast<NoteKeyType>((*encoded)[0]);
  key.public_key = encoded->substr(1);
  if (key.type != NoteKeyType::kEd25519 &&
      key.type != NoteKeyType::kCosignature) {
    return absl::InvalidArgumentError(
        "a public key has a type other than Ed25519 and cosignature/v1");
  }
  if (parts[1] != absl::StrFormat("%08x", key.Id())) {
    return absl::InvalidArgumentError(
        "a public key's id is not that of its name and bytes");
  }
  return key;
}

std::string NoteSignature::ToLine() const {
  std::string encoded;
  AppendU32(&encoded, key_id);
  encoded += bytes;
  return absl::StrCat(kSignaturePrefix, name, " ", absl::Base64Escape(encoded),
                      "\n");
}

std::string SignedNote::ToText() const {
  std::string note = absl::StrCat(text, "\n");
  for (const NoteSignature& signature : signatures) {
    absl::StrAppend(&note, signature.ToLine());
  }
  return note;
}

absl::StatusOr<SignedNote> SignedNote::Parse(absl::string_view note) {
  if (note.size() > limits::kMaxCheckpoint_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a note has at most ", limits::kMaxCheckpoint_bytes, " bytes"));
  }
  RETURN_IF_ERROR(CheckNoteCharacters(note));
  const size_t blank = note.rfind("\n\n");
  if (blank == absl::string_view::npos || !absl::EndsWith(note, "\n") ||
      blank + 2 == note.size()) {
    return absl::InvalidArgumentError(
        "a signed note is a text, an empty line and signatures");
  }
  SignedNote parsed;
  parsed.text = std::string(note.substr(0, blank + 1));
  absl::string_view lines = note.substr(blank + 2);
  lines.remove_suffix(1);
  for (const absl::string_view line : absl::StrSplit(lines, '\n')) {
    if (parsed.signatures.size() == limits::kMaxNoteSignatures) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a note has at most ", limits::kMaxNoteSignatures, " signatures"));
    }
    ASSIGN_OR_RETURN(NoteSignature signature, ParseSignatureLine(line));
    parsed.signatures.push_back(std::move(signature));
  }
  return parsed;
}

absl::StatusOr<VerifiedSignature> VerifyNote(const SignedNote& note,
                                             const NoteKey& key) {
  std::optional<VerifiedSignature> verified;
  const uint32_t id = key.Id();
  for (const NoteSignature& signature : note.signatures) {
    if (signature.name != key.name || signature.key_id != id) continue;
    const std::optional<VerifiedSignature> one =
        VerifyOne(note.text, signature.bytes, key);
    if (!one.has_value()) {
      return absl::DataLossError(
          absl::StrCat("the signature of ", key.name, " is false"));
    }
    if (!verified.has_value()) verified = one;
  }
  if (!verified.has_value()) {
    return absl::NotFoundError(
        absl::StrCat("there is no signature by the key of ", key.name));
  }
  return *verified;
}

NoteSignature SignNote(absl::string_view text, absl::string_view name,
                       const seal::SigningKey& key) {
  const NoteKey public_key = {.name = std::string(name),
                              .type = NoteKeyType::kEd25519,
                              .public_key = key.public_key()};
  return {.name = public_key.name,
          .key_id = public_key.Id(),
          .bytes = key.Sign(text)};
}

NoteSignature CosignNote(absl::string_view text, absl::string_view name,
                         const seal::SigningKey& key, uint64_t time_s) {
  const NoteKey public_key = {.name = std::string(name),
                              .type = NoteKeyType::kCosignature,
                              .public_key = key.public_key()};
  NoteSignature signature = {
      .name = public_key.name, .key_id = public_key.Id(), .bytes = ""};
  AppendU64(&signature.bytes, time_s);
  signature.bytes += key.Sign(CosignedMessage(text, time_s));
  return signature;
}

absl::StatusOr<std::string> StrictBase64(absl::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes) ||
      absl::Base64Escape(bytes) != text) {
    return absl::InvalidArgumentError("this is not base64");
  }
  return bytes;
}

}  // namespace diptych::evidence
