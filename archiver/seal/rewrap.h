#ifndef ARCHIVER_SEAL_REWRAP_H_
#define ARCHIVER_SEAL_REWRAP_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/seal/key_file.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

// True if one of the epoch's root keys is wrapped to this public key.
bool IsWrappedTo(const stored::v1::KeyWraps& wraps,
                 absl::string_view public_key);

// An epoch's wraps, made anew: the root keys that `old_key` opens, for the
// archive's recipients that are not retired; those of the other classes as they
// are. So nothing that could be opened by a key that stays becomes unreadable.
// PERMISSION_DENIED if none is wrapped to `old_key`; DATA_LOSS if a wrap does
// not open or is for something else; FAILED_PRECONDITION if a class would be
// left without a recipient.
absl::StatusOr<stored::v1::KeyWraps> Rewrap(
    const stored::v1::ArchiveConfig& archive, const stored::v1::KeyWraps& wraps,
    const KeyPair& old_key);

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_REWRAP_H_
