#include "tools/diptych/check/manifest_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/segment_tracks.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::check {

ManifestCheck::ManifestCheck(FalseThing on_false)
    : on_false_(std::move(on_false)) {}

void ManifestCheck::Chunk(log::Position position,
                          const stored::v1::Chunk& header,
                          const std::string& digest) {
  chunks_.push_back({.header = header, .position = position, .digest = digest});
}

void ManifestCheck::Other(log::Position position, log::RecordType type,
                          const std::string& digest) {
  records_.push_back(
      {position, std::string(log::RecordTypeName(type)), digest});
}

void ManifestCheck::CheckChunks(log::Position position,
                                const stored::v1::Segment& header,
                                const std::vector<PendingChunk>& listed) const {
  const std::string manifest =
      absl::StrCat("the manifest of segment ", header.segment());
  if (header.chunks_size() != static_cast<int>(listed.size())) {
    on_false_(position, absl::StrCat(manifest, " lists ", header.chunks_size(),
                                     " chunks; the log holds ", listed.size()));
    return;
  }
  for (size_t i = 0; i < listed.size(); ++i) {
    const stored::v1::SegmentChunk& named = header.chunks(static_cast<int>(i));
    const PendingChunk& found = listed[i];
    const uint32_t chunk = found.header.chunk();
    if (named.chunk() != chunk) {
      on_false_(position, absl::StrCat(manifest, " lists chunk ", named.chunk(),
                                       "; the log holds chunk ", chunk));
      continue;
    }
    if (named.digest().size() != base::kSha256_bytes) {
      on_false_(position,
                absl::StrCat(manifest, " has no digest of chunk ", chunk));
    } else if (!found.digest.empty() && named.digest() != found.digest) {
      on_false_(found.position,
                absl::StrCat(manifest, " has another digest of chunk ", chunk,
                             " than its record"));
    }
    if (!found.adopted && found.header.span() != header.span()) {
      on_false_(position, absl::StrCat(manifest, " is of span ", header.span(),
                                       "; its chunk ", chunk, " is of span ",
                                       found.header.span()));
    }
  }
}

void ManifestCheck::CheckTracks(log::Position position,
                                const stored::v1::Segment& header,
                                const std::vector<PendingChunk>& listed) const {
  stored::v1::Segment expected;
  evidence::SegmentTracks tracks;
  for (const PendingChunk& chunk : listed) {
    if (chunk.adopted) return;
    tracks.Add(chunk.header);
    expected.add_chunks();
  }
  tracks.WriteTo(&expected);
  const std::string manifest =
      absl::StrCat("the manifest of segment ", header.segment());
  const int both = std::min(header.tracks_size(), expected.tracks_size());
  for (int i = 0; i < both; ++i) {
    const stored::v1::SegmentTrack& said = header.tracks(i);
    const stored::v1::SegmentTrack& held = expected.tracks(i);
    if (said.track_id() != held.track_id() || said.side() != held.side()) {
      on_false_(position,
                absl::StrCat(manifest, " names track ", said.track_id(),
                             "; the log holds track ", held.track_id()));
      return;
    }
    if (said.root() != held.root() ||
        !std::equal(said.chunks().begin(), said.chunks().end(),
                    held.chunks().begin(), held.chunks().end())) {
      on_false_(position, absl::StrCat(manifest, " has another root of track ",
                                       said.track_id(), " than its chunks"));
    }
  }
  if (header.tracks_size() != expected.tracks_size()) {
    on_false_(position,
              absl::StrCat(manifest, " names ", header.tracks_size(),
                           " tracks; the log holds ", expected.tracks_size()));
  }
}

void ManifestCheck::CheckRecords(
    log::Position position, const std::string& namer,
    const google::protobuf::RepeatedPtrField<std::string>& named) {
  const std::vector<PendingRecord> held = std::move(records_);
  records_.clear();
  const size_t count = static_cast<size_t>(named.size());
  for (size_t i = 0; i < std::min(count, held.size()); ++i) {
    const PendingRecord& record = held[i];
    // What damage took away is not known, nor what was not read.
    if (record.digest.empty() || record.digest == named[static_cast<int>(i)]) {
      continue;
    }
    on_false_(record.position,
              absl::StrCat(namer, " does not name this ", record.name,
                           " record as its number ", i + 1));
    return;
  }
  if (count == held.size()) return;
  on_false_(
      count < held.size() ? held[count].position : position,
      absl::StrCat(namer, " names ", count,
                   " records besides chunks; the log holds ", held.size()));
}

void ManifestCheck::Segment(log::Position position,
                            const stored::v1::Segment& header,
                            absl::string_view header_bytes) {
  if (header.segment() < next_segment_) {
    on_false_(position,
              absl::StrCat("the manifest of segment ", header.segment(),
                           " follows that of segment ", next_segment_ - 1));
  }
  std::vector<PendingChunk> listed;
  std::vector<PendingChunk> later;
  for (PendingChunk& chunk : chunks_) {
    if (chunk.header.segment() == header.segment()) {
      listed.push_back(std::move(chunk));
    } else if (chunk.header.segment() > header.segment()) {
      later.push_back(std::move(chunk));
    } else {
      on_false_(chunk.position, absl::StrCat("chunk ", chunk.header.chunk(),
                                             " is in no manifest"));
    }
  }
  chunks_ = std::move(later);
  CheckChunks(position, header, listed);
  CheckTracks(position, header, listed);
  CheckRecords(position,
               absl::StrCat("the manifest of segment ", header.segment()),
               header.records());
  if (header.previous_manifest_sha256() != last_hash_) {
    on_false_(position,
              absl::StrCat("the manifest of segment ", header.segment(),
                           " does not name the one before it"));
  }
  last_hash_ = evidence::ManifestHash(header_bytes);
  next_segment_ = header.segment() + 1;
  ++manifests_;
}

void ManifestCheck::Closed(log::Position position,
                           const stored::v1::SessionClosed& header) {
  for (const PendingChunk& chunk : chunks_) {
    on_false_(chunk.position, absl::StrCat("chunk ", chunk.header.chunk(),
                                           " is in no manifest"));
  }
  CheckRecords(position, "its end", header.records());
  if (counts_manifests_ && header.segments() != manifests_) {
    on_false_(position, absl::StrCat("it is said to have ", header.segments(),
                                     " segments; the log holds ", manifests_));
  }
  if (header.manifest_sha256() != last_hash_) {
    on_false_(position, "its end does not name its last manifest");
  }
}

void ManifestCheck::Adopt(const stored::v1::OpenSession& stored) {
  last_hash_ = stored.manifest_sha256();
  counts_manifests_ = false;
  chunks_.clear();
  for (const stored::v1::PendingChunk& chunk : stored.pending_chunks()) {
    PendingChunk pending;
    pending.header.set_chunk(chunk.chunk());
    pending.header.set_segment(chunk.segment());
    pending.header.set_span(chunk.span());
    pending.position = chunk.position();
    pending.adopted = true;
    chunks_.push_back(std::move(pending));
  }
  records_.clear();
  for (const uint64_t position : stored.pending_records()) {
    records_.push_back({position, "", ""});
  }
}

}  // namespace diptych::check
