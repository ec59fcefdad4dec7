#ifndef ARCHIVER_EVIDENCE_NOTE_H_
#define ARCHIVER_EVIDENCE_NOTE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/signing.h"

namespace diptych::evidence {

// Signed notes (C2SP signed-note) and cosignatures of witnesses (C2SP
// tlog-cosignature, cosignature/v1), both with Ed25519. Everything here is a
// pure function of its arguments; what is parsed may come from anybody.

// How a key signs. Numbers of the signed-note specification.
enum class NoteKeyType : uint8_t {
  // Over the note's text.
  kEd25519 = 1,
  // Over the text and the time at which it was signed.
  kCosignature = 4,
};

// A public key as signed notes name it.
struct NoteKey {
  std::string name;
  NoteKeyType type = NoteKeyType::kEd25519;
  // 32 bytes.
  std::string public_key;

  // The number by which a signature names the key, beside its name.
  uint32_t Id() const;
  // "NAME+HEXID+BASE64".
  std::string ToText() const;
  // INVALID_ARGUMENT, without the text, unless it is a key of a type above
  // whose id is right.
  static absl::StatusOr<NoteKey> Parse(absl::string_view text);
};

// OK if `name` may be a key's: not empty, UTF-8 without spaces, control
// characters and '+'.
absl::Status CheckNoteKeyName(absl::string_view name);

struct NoteSignature {
  std::string name;
  uint32_t key_id = 0;
  // What follows the id: for the types above 64 bytes, or 8 of time and 64.
  std::string bytes;

  // The line of a note, with its newline.
  std::string ToLine() const;
};

struct SignedNote {
  // Ends with a newline.
  std::string text;
  std::vector<NoteSignature> signatures;

  std::string ToText() const;
  // INVALID_ARGUMENT, saying what is wrong, if it is no signed note of at most
  // limits::kMaxCheckpoint_bytes and limits::kMaxNoteSignatures signatures.
  // Signatures of any key and type are kept as they are.
  static absl::StatusOr<SignedNote> Parse(absl::string_view note);
};

// What a signature says once it is verified.
struct VerifiedSignature {
  // Of a cosignature: when it was made, seconds since 1970.
  std::optional<uint64_t> time_s;
};

// Verifies what `key` signed of `note`. NOT_FOUND if it has no signature by it;
// DATA_LOSS if it has one that is false (even beside one that is right).
absl::StatusOr<VerifiedSignature> VerifyNote(const SignedNote& note,
                                             const NoteKey& key);

NoteSignature SignNote(absl::string_view text, absl::string_view name,
                       const seal::SigningKey& key);
NoteSignature CosignNote(absl::string_view text, absl::string_view name,
                         const seal::SigningKey& key, uint64_t time_s);

// Standard base64 with padding, taken only in the one form that encoding gives.
// INVALID_ARGUMENT otherwise.
absl::StatusOr<std::string> StrictBase64(absl::string_view text);

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_NOTE_H_
