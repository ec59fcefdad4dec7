#ifndef TOOLS_DIPTYCH_CHECK_SEAL_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_SEAL_CHECK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/session_opener.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::check {

// A packet as its gateway signed it.
struct SentPacket {
  uint32_t track_id = 0;
  uint64_t sequence = 0;
  // In the track's source tree.
  std::string leaf_hash;
};

// What a chunk's body showed.
struct ChunkContents {
  // In the order of the chunk; none if the sides are not known (the keys at
  // hand open no metadata).
  std::vector<SentPacket> packets;
};

// OK if every wrap that one of `keys` is for opens, and those of a class hold
// the same key; `context`'s own class does not count. DATA_LOSS otherwise.
absl::Status CheckWraps(
    seal::WrapContext context,
    const google::protobuf::RepeatedPtrField<stored::v1::Wrap>& wraps,
    const std::vector<seal::KeyPair>& keys);

// Opens one epoch's seals of one session and says whether what is inside agrees
// with the clear headers, and with what they commit to. All functions return
// DATA_LOSS, naming what is false, and PERMISSION_DENIED where the keys at hand
// do not open the class. Not thread-safe.
class SealCheck {
 public:
  // PERMISSION_DENIED if none of the keys opens anything.
  static absl::StatusOr<SealCheck> Create(
      const base::Uuid& archive_id, const stored::v1::KeyWraps& wraps,
      const std::vector<seal::KeyPair>& keys);

  // Remembers the span's tracks.
  absl::Status SpanStarted(const log::StoredRecord& record,
                           const stored::v1::SpanStarted& header);
  absl::Status Notes(const log::StoredRecord& record,
                     const stored::v1::Notes& header) const;
  absl::Status AttachmentPart(const log::StoredRecord& record,
                              const stored::v1::AttachmentPart& header) const;
  // Also that the packet table and the clusters agree, and that the packets are
  // those that the header counts and that its leaves stand for.
  absl::StatusOr<ChunkContents> Chunk(const log::StoredRecord& record,
                                      const stored::v1::Chunk& header) const;

 private:
  struct Track {
    int side = 0;
    bool video = false;
  };
  using Tracks = std::map<uint32_t, Track>;

  explicit SealCheck(std::unique_ptr<seal::SessionOpener> opener);

  absl::Status CheckLeaves(const stored::v1::Chunk& header,
                           const media::ChunkBody& body,
                           const std::vector<std::string>& payload_sha256,
                           const Tracks* tracks) const;
  absl::Status CheckCommitment(absl::string_view what, absl::string_view said,
                               absl::string_view held) const;

  std::unique_ptr<seal::SessionOpener> opener_;
  // Of the epoch's spans; at most limits::kMaxSpansPerSession.
  std::map<uint32_t, Tracks> spans_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_SEAL_CHECK_H_
