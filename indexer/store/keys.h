#ifndef INDEXER_STORE_KEYS_H_
#define INDEXER_STORE_KEYS_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {

// Where a run stands among all runs of the archive. Its bytes compare so that
// the newest session comes first, a session's runs lie side by side, and the
// latest run of a session comes first: the order of answers.
class DocId {
 public:
  static constexpr size_t kSize = 8 + base::Uuid::kSize + 4;
  static constexpr size_t kSession_bytes = 8 + base::Uuid::kSize;

  // All zero: before every other.
  DocId() = default;
  DocId(int64_t start_time_us, const base::Uuid& session, uint32_t run);

  // REQUIRES: bytes.size() == kSize.
  static DocId FromBytes(absl::string_view bytes);

  int64_t start_time_us() const;
  base::Uuid session() const;
  uint32_t run() const;

  // The smallest and the largest that this session can have.
  DocId SmallestOfSession() const;
  DocId LargestOfSession() const;
  // Bounds over all sessions that start at this time.
  static DocId SmallestAt(int64_t start_time_us);
  static DocId LargestAt(int64_t start_time_us);
  static DocId Largest();

  bool SameSession(const DocId& other) const {
    return session_bytes() == other.session_bytes();
  }
  absl::string_view bytes() const {
    return absl::string_view(bytes_.data(), kSize);
  }
  absl::string_view session_bytes() const {
    return bytes().substr(0, kSession_bytes);
  }

  friend bool operator==(const DocId& a, const DocId& b) {
    return a.bytes() == b.bytes();
  }
  // char's sign must not matter, so compare as memory.
  friend std::strong_ordering operator<=>(const DocId& a, const DocId& b) {
    return a.bytes().compare(b.bytes()) <=> 0;
  }

 private:
  std::array<char, kSize> bytes_ = {};
};

// What a detail row is about; part of its key.
enum class DetailKind : char {
  kAttachment = 'a',
  kClockAnchor = 'c',
  kEvent = 'e',
  kGap = 'g',
  kClockChange = 'k',
  kAttachmentPart = 'p',
  kSpan = 's',
  kStateChange = 't',
};

// Ids: the session's 16 bytes.
std::string IdKey(const base::Uuid& session);
// Sessions, and a row of ids: SessionNumber::kKey_bytes, big-endian.
std::string SessionKey(SessionNumber session);
// REQUIRES: key has SessionNumber::kKey_bytes at least.
SessionNumber ReadSessionNumber(absl::string_view key);
// Segments and runs: the session's key, then the group, big-endian. A row has a
// group of them: those with the same number / limits::kSegmentsPerPack,
// kRunsPerPack.
std::string GroupKey(SessionNumber session, uint32_t group);
// Chunks: the session's 16 bytes, then number / limits::kChunksPerPack.
std::string ChunkGroupKey(const base::Uuid& session, uint32_t group);
// Changes: where in the log a batch ended, big-endian.
std::string ChangesKey(uint64_t position);
// Details: the session, the kind, the number.
std::string DetailPrefix(const base::Uuid& session, DetailKind kind);
std::string DetailKey(const base::Uuid& session, DetailKind kind,
                      uint32_t number);
std::string AttachmentPartPrefix(const base::Uuid& session, uint32_t id);
std::string AttachmentPartKey(const base::Uuid& session, uint32_t id,
                              uint64_t offset);
// REQUIRES: token is a whole token.
std::string PostingKey(absl::string_view token, const DocId& doc);

// The smallest key after all that begin with `prefix`; empty if there is none.
std::string PrefixEnd(absl::string_view prefix);

void AppendBigEndian32(uint32_t value, std::string* out);
void AppendBigEndian64(uint64_t value, std::string* out);
// REQUIRES: bytes.size() >= 4 or 8.
uint32_t ReadBigEndian32(absl::string_view bytes);
uint64_t ReadBigEndian64(absl::string_view bytes);

// A posting's value: the log position that made it, as a varint.
std::string EncodePosition(uint64_t position);
// Returns false if the bytes are not one varint.
bool DecodePosition(absl::string_view bytes, uint64_t* position);

}  // namespace diptych::indexer

#endif  // INDEXER_STORE_KEYS_H_
