#include "archiver/evidence/digest.h"

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/big_endian.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/log/record.h"

namespace diptych::evidence {

using base::Sha256;
using base::Sha256Hasher;

std::string ManifestHash(absl::string_view segment_header) {
  return Sha256(segment_header);
}

std::string RecordDigest(log::RecordType type, absl::string_view header,
                         absl::string_view body) {
  return RecordDigestOf(type, header, Sha256(body));
}

std::string RecordDigestOf(log::RecordType type, absl::string_view header,
                           absl::string_view body_sha256) {
  return Sha256Hasher()
      .Add("diptych-record-1")
      .AddU8(static_cast<uint8_t>(type))
      .Add(Sha256(header))
      .Add(body_sha256)
      .Finish();
}

bool IsLogLeaf(log::RecordType type) {
  switch (type) {
    case log::RecordType::kSessionOpened:
    case log::RecordType::kSegment:
    case log::RecordType::kSessionClosed:
    case log::RecordType::kAccess:
    case log::RecordType::kKeysChanged:
      return true;
    default:
      return false;
  }
}

std::string LogLeafData(log::Position position, absl::string_view digest) {
  std::string data;
  AppendU64(&data, position);
  data.append(digest.data(), digest.size());
  return data;
}

void TrackLeaf::Add(const PacketLine& line) {
  lines_.append(line.Bytes());
  ++packets_;
}

std::string TrackLeaf::Finish(absl::string_view salt,
                              absl::string_view session_id, uint32_t chunk,
                              uint32_t track_id) const {
  return Sha256Hasher()
      .Add("diptych-track-1")
      .Add(salt)
      .Add(session_id)
      .AddU32(chunk)
      .AddU32(track_id)
      .AddU32(packets_)
      .Add(lines_)
      .Finish();
}

std::string ChunkSalt(absl::string_view track_salt, uint32_t chunk) {
  return Sha256Hasher()
      .Add("diptych-salt-1")
      .Add(track_salt)
      .AddU32(chunk)
      .Finish();
}

std::string SpanCommitment(absl::string_view salt, absl::string_view session_id,
                           uint32_t span, absl::string_view description) {
  return Sha256Hasher()
      .Add("diptych-span-1")
      .Add(salt)
      .Add(session_id)
      .AddU32(span)
      .Add(description)
      .Finish();
}

std::string NoteCommitment(absl::string_view salt, absl::string_view session_id,
                           uint8_t side, uint64_t number,
                           absl::string_view note) {
  return Sha256Hasher()
      .Add("diptych-note-1")
      .Add(salt)
      .Add(session_id)
      .AddU8(side)
      .AddU64(number)
      .Add(note)
      .Finish();
}

std::string PartCommitment(absl::string_view salt, absl::string_view session_id,
                           uint32_t attachment_id, uint64_t offset,
                           absl::string_view data) {
  return Sha256Hasher()
      .Add("diptych-part-1")
      .Add(salt)
      .Add(session_id)
      .AddU32(attachment_id)
      .AddU64(offset)
      .Add(data)
      .Finish();
}

std::string AccessCommitment(absl::string_view record) {
  return Sha256Hasher().Add("diptych-access-1").Add(record).Finish();
}

}  // namespace diptych::evidence
