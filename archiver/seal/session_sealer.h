#ifndef ARCHIVER_SEAL_SESSION_SEALER_H_
#define ARCHIVER_SEAL_SESSION_SEALER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

inline constexpr uint32_t kSuite1 = 1;
// Nonce and tag: how much longer a sealed body is than what it holds.
inline constexpr size_t kSealOverhead_bytes = 24 + 16;

// Seals one epoch of one session: fresh root keys, wrapped to the archive's
// recipients, and a ratchet that forgets each segment's keys as it moves on.
// Can seal, can't open. Not thread-safe.
class SessionSealer {
 public:
  static absl::StatusOr<SessionSealer> Create(
      const stored::v1::ArchiveConfig& archive, const base::Uuid& session_id,
      uint64_t epoch, uint32_t first_segment);

  // Must be durable before anything that Seal returned is.
  const stored::v1::KeyWraps& wraps() const { return wraps_; }

  // A body for a record of `type` whose clear header is exactly `header`: a
  // random nonce and one XChaCha20-Poly1305 message with archive, type and
  // header as associated data. The header names session, epoch and segment.
  std::string Seal(stored::v1::KeyClass key_class, log::RecordType type,
                   absl::string_view header, absl::string_view plaintext);

  // A salt of the segment whose keys Seal uses now.
  std::string SaltOf(stored::v1::KeyClass key_class, SaltKind kind,
                     uint64_t id) const;

  // The segment whose keys Seal uses now. Headers must name it.
  uint32_t segment() const { return segment_; }

  // Moves on to the next segment's keys and wipes the last one's.
  void NextSegment();

 private:
  SessionSealer() = default;

  // From the chains as they stand.
  void MakeSegmentKeys();

  std::string archive_id_;
  stored::v1::KeyWraps wraps_;
  SecretKey media_chain_;
  SecretKey media_key_;
  SecretKey metadata_chain_;
  SecretKey metadata_key_;
  SecretKey media_salt_key_;
  SecretKey metadata_salt_key_;
  uint32_t segment_ = 0;
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_SESSION_SEALER_H_
