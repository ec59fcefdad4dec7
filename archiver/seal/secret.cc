#include "archiver/seal/secret.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <sodium.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/locked_memory.h"

namespace diptych::seal {
namespace {

static_assert(SecretKey::kSize == LockedMemory::kSlot_bytes);

// What a key without bytes shows.
constexpr uint8_t kZeros[SecretKey::kSize] = {};

// Deeper than any function of libsodium that is called with a key reaches.
constexpr size_t kStack_bytes = 8 << 10;

}  // namespace

absl::Status InitializeCrypto() {
  if (sodium_init() < 0) {
    return absl::InternalError("libsodium cannot be initialized");
  }
  LockedMemory& memory = LockedMemory::Process();
  memory.GiveBack(memory.Take());
  return absl::OkStatus();
}

void HideMemory() {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

absl::Status LockedMemoryStatus() { return LockedMemory::Process().status(); }

void WipeStack() { sodium_stackzero(kStack_bytes); }

SecretKey::SecretKey(SecretKey&& other) noexcept
    : slot_(std::exchange(other.slot_, nullptr)) {}

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  if (this != &other) {
    if (slot_ != nullptr) LockedMemory::Process().GiveBack(slot_);
    slot_ = std::exchange(other.slot_, nullptr);
  }
  return *this;
}

SecretKey::~SecretKey() {
  if (slot_ != nullptr) LockedMemory::Process().GiveBack(slot_);
}

SecretKey SecretKey::Random() {
  SecretKey key;
  randombytes_buf(key.mutable_data(), kSize);
  return key;
}

absl::StatusOr<SecretKey> SecretKey::FromBytes(absl::string_view bytes) {
  if (bytes.size() != kSize) {
    return absl::InvalidArgumentError("a key has 32 bytes");
  }
  SecretKey key;
  std::memcpy(key.mutable_data(), bytes.data(), kSize);
  return key;
}

SecretKey SecretKey::Clone() const {
  SecretKey key;
  if (slot_ != nullptr) std::memcpy(key.mutable_data(), slot_, kSize);
  return key;
}

const uint8_t* SecretKey::data() const {
  return slot_ == nullptr ? kZeros : slot_;
}

uint8_t* SecretKey::mutable_data() {
  if (slot_ == nullptr) slot_ = LockedMemory::Process().Take();
  return slot_;
}

SecretText::SecretText(std::string&& text) : SecretText(text.size()) {
  if (!text.empty()) std::memcpy(data_, text.data(), text.size());
  // Its capacity too: it may have been longer once.
  text.resize(text.capacity());
  sodium_memzero(text.data(), text.size());
  text.clear();
}

SecretText::SecretText(size_t size) : size_(size) {
  if (size == 0) return;
  // It must know the size of pages before it lays out guarded memory.
  if (sodium_init() >= 0) data_ = static_cast<char*>(sodium_malloc(size));
  if (data_ == nullptr) std::abort();
  std::memset(data_, 0, size);
}

SecretText::SecretText(SecretText&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

SecretText& SecretText::operator=(SecretText&& other) noexcept {
  if (this != &other) {
    sodium_free(data_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

// Wipes, unlocks and unmaps.
SecretText::~SecretText() { sodium_free(data_); }

SecretText SecretText::Clone() const {
  SecretText clone(size_);
  if (size_ > 0) std::memcpy(clone.data_, data_, size_);
  return clone;
}

void SecretText::Shrink(size_t size) {
  sodium_memzero(data_ + size, size_ - size);
  size_ = size;
}

}  // namespace diptych::seal
