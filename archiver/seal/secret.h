#ifndef ARCHIVER_SEAL_SECRET_H_
#define ARCHIVER_SEAL_SECRET_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace diptych::seal {

// Readies libsodium: seeds its generator and picks the machine's fastest code.
// Takes the first step of locked memory (LockedMemory), whose status is then
// known. Every program calls it once before any thread of its own starts.
absl::Status InitializeCrypto();

// No core dumps, and no debugger of the same user, for the rest of the
// process's life. For every program that holds keys, first thing.
void HideMemory();

// OK if all keys lie in locked memory, otherwise why not, in words for an
// operator (LockedMemory::status).
absl::Status LockedMemoryStatus();

// Overwrites what a computation over secrets may have left behind on the
// stack: registers are spilled there, and libraries keep copies.
void WipeStack();

// 32 secret bytes in locked memory that are wiped when they go. Moves, never
// copies by accident; cannot be printed. One that was made without bytes, or
// moved from, is 32 zeros.
class SecretKey {
 public:
  static constexpr size_t kSize = 32;

  SecretKey() = default;
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  SecretKey(const SecretKey&) = delete;
  SecretKey& operator=(const SecretKey&) = delete;
  ~SecretKey();

  static SecretKey Random();
  // INVALID_ARGUMENT unless there are 32 of them.
  static absl::StatusOr<SecretKey> FromBytes(absl::string_view bytes);
  SecretKey Clone() const;

  const uint8_t* data() const;
  uint8_t* mutable_data();
  // For putting it into a message that is sealed at once.
  absl::string_view bytes() const {
    return absl::string_view(reinterpret_cast<const char*>(data()), kSize);
  }

 private:
  // A slot of LockedMemory, taken once there is something to keep.
  uint8_t* slot_ = nullptr;
};

// Bytes of any length that are wiped when they go: a key file's text, a
// passphrase, what is about to be wrapped. Pages of their own, locked if the
// system lets them, between guard pages; for few and short-lived secrets. Never
// grows, so that no copy stays behind. Moves only.
class SecretText {
 public:
  SecretText() = default;
  // Takes over `text` and wipes it.
  explicit SecretText(std::string&& text);
  // Of `size` zero bytes.
  explicit SecretText(size_t size);
  SecretText(SecretText&& other) noexcept;
  SecretText& operator=(SecretText&& other) noexcept;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText();

  SecretText Clone() const;

  absl::string_view view() const { return {data_, size_}; }
  char* mutable_data() { return data_; }
  size_t size() const { return size_; }
  // Forgets what lies behind, wiped. REQUIRES: size <= size().
  void Shrink(size_t size);

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_SECRET_H_
