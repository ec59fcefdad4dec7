#include "archiver/seal/session_sealer.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "archiver/seal/aead.h"
#include "archiver/seal/associated_data.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/use_ledger.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::seal {

absl::StatusOr<SessionSealer> SessionSealer::Create(
    const stored::v1::ArchiveConfig& archive, const base::Uuid& session_id,
    uint64_t epoch, uint32_t first_segment) {
  SessionSealer sealer;
  sealer.archive_id_ = archive.archive_id();
  const absl::string_view id(session_id.bytes().data(),
                             session_id.bytes().size());
  sealer.wraps_.set_session_id(std::string(id));
  sealer.wraps_.set_epoch(epoch);
  sealer.media_chain_ = SecretKey::Random();
  sealer.metadata_chain_ = SecretKey::Random();
  for (const auto key_class :
       {stored::v1::KEY_CLASS_MEDIA, stored::v1::KEY_CLASS_METADATA}) {
    const SecretKey& root = key_class == stored::v1::KEY_CLASS_MEDIA
                                ? sealer.media_chain_
                                : sealer.metadata_chain_;
    ASSIGN_OR_RETURN(const std::vector<stored::v1::Wrap> wraps,
                     WrapKey(archive,
                             {.archive_id = archive.archive_id(),
                              .session_id = id,
                              .key_class = key_class,
                              .epoch = epoch},
                             root));
    NoteKeyMade(root, KeyLife::kOnce,
                {.kind = "root",
                 .session_id = id,
                 .epoch = epoch,
                 .key_class = key_class});
    for (const stored::v1::Wrap& wrap : wraps) {
      *sealer.wraps_.add_wraps() = wrap;
    }
  }
  // Segments are numbered over the whole session, the chain from its root at 0.
  for (uint32_t segment = 0; segment < first_segment; ++segment) {
    sealer.media_chain_ = NextChainState(sealer.media_chain_);
    sealer.metadata_chain_ = NextChainState(sealer.metadata_chain_);
  }
  sealer.segment_ = first_segment;
  sealer.MakeSegmentKeys();
  return sealer;
}

std::string SessionSealer::Seal(stored::v1::KeyClass key_class,
                                log::RecordType type, absl::string_view header,
                                absl::string_view plaintext) {
  const SecretKey& key =
      key_class == stored::v1::KEY_CLASS_MEDIA ? media_key_ : metadata_key_;
  return AeadSeal(key, AssociatedData(archive_id_, type, header), plaintext);
}

std::string SessionSealer::SaltOf(stored::v1::KeyClass key_class, SaltKind kind,
                                  uint64_t id) const {
  return Salt(key_class == stored::v1::KEY_CLASS_MEDIA ? media_salt_key_
                                                       : metadata_salt_key_,
              kind, id);
}

void SessionSealer::NextSegment() {
  ++segment_;
  media_chain_ = NextChainState(media_chain_);
  metadata_chain_ = NextChainState(metadata_chain_);
  MakeSegmentKeys();
}

void SessionSealer::MakeSegmentKeys() {
  media_key_ = SegmentKey(media_chain_);
  metadata_key_ = SegmentKey(metadata_chain_);
  media_salt_key_ = SaltKey(media_chain_);
  metadata_salt_key_ = SaltKey(metadata_chain_);
  for (const auto key_class :
       {stored::v1::KEY_CLASS_MEDIA, stored::v1::KEY_CLASS_METADATA}) {
    NoteKeyMade(
        key_class == stored::v1::KEY_CLASS_MEDIA ? media_key_ : metadata_key_,
        KeyLife::kOnce,
        {.kind = "segment",
         .session_id = wraps_.session_id(),
         .epoch = wraps_.epoch(),
         .segment = segment_,
         .key_class = key_class});
  }
}

}  // namespace diptych::seal
