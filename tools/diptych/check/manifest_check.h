#ifndef TOOLS_DIPTYCH_CHECK_MANIFEST_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_MANIFEST_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/strings/string_view.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::check {

// Takes what is false about a session; `position` is the record's that shows
// it.
using FalseThing =
    std::function<void(log::Position position, const std::string& what)>;

// Holds a session's manifests, and its end, against what the log has of it:
// every chunk and every other record is named once, in order and by its digest;
// tracks have the roots of their leaves; the manifests are a chain. Needs no
// key. Not thread-safe.
class ManifestCheck {
 public:
  explicit ManifestCheck(FalseThing on_false);

  // Each takes the session's next record. A digest is empty if the body was not
  // read.
  void Chunk(log::Position position, const stored::v1::Chunk& header,
             const std::string& digest);
  // Any that is neither chunk nor manifest nor the session's end.
  void Other(log::Position position, log::RecordType type,
             const std::string& digest);
  // `header_bytes` is the header as it lies in the log.
  void Segment(log::Position position, const stored::v1::Segment& header,
               absl::string_view header_bytes);
  void Closed(log::Position position, const stored::v1::SessionClosed& header);

  // A snapshot's word for what came before, where that is lost.
  void Adopt(const stored::v1::OpenSession& stored);

  size_t pending_chunks() const { return chunks_.size(); }
  const std::string& last_hash() const { return last_hash_; }

 private:
  struct PendingChunk {
    stored::v1::Chunk header;
    log::Position position = 0;
    std::string digest;
    // Known by a snapshot alone.
    bool adopted = false;
  };
  struct PendingRecord {
    log::Position position = 0;
    // What it is, for messages.
    std::string name;
    std::string digest;
  };

  void CheckChunks(log::Position position, const stored::v1::Segment& header,
                   const std::vector<PendingChunk>& listed) const;
  void CheckTracks(log::Position position, const stored::v1::Segment& header,
                   const std::vector<PendingChunk>& listed) const;
  // What `namer` names against all records since the last one; forgets them.
  void CheckRecords(
      log::Position position, const std::string& namer,
      const google::protobuf::RepeatedPtrField<std::string>& named);

  const FalseThing on_false_;
  std::vector<PendingChunk> chunks_;
  std::vector<PendingRecord> records_;
  std::string last_hash_;
  uint32_t next_segment_ = 0;
  uint32_t manifests_ = 0;
  // Of all the session's, or since the snapshot that was adopted.
  bool counts_manifests_ = true;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_MANIFEST_CHECK_H_
