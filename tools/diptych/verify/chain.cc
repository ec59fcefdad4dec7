#include "tools/diptych/verify/chain.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/log_tree.h"

namespace diptych::verify {
namespace {

using log::RecordType;

absl::Status False(absl::string_view place, absl::string_view what) {
  return base::IntegrityError(absl::StrCat(place, ": ", what));
}

// What the archive calls it (indexer/retrieval/media_service.cc).
constexpr char kBundleAction[] = "Media.ReadBundle";

std::string EmptyBodyHash() { return base::Sha256(""); }

template <typename Message>
absl::StatusOr<Message> ParseHeader(absl::string_view bytes,
                                    absl::string_view place) {
  Message message;
  if (bytes.size() > limits::kMaxRecordHeader_bytes ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return False(place, "is no header of such a record");
  }
  return message;
}

template <typename Message>
absl::Status CheckSession(const Message& message, const Evidence& evidence,
                          absl::string_view place) {
  if (message.session_id() != evidence.session_bytes) {
    return False(place, "is of another session");
  }
  return absl::OkStatus();
}

std::string ManifestPlace(size_t index) {
  return absl::StrCat("data/evidence.json.manifests[", index, "]");
}

// The manifest's own order, and which chunks each track has.
absl::Status ReadTracks(absl::string_view place, Manifest* manifest) {
  std::vector<uint32_t> all;
  absl::flat_hash_set<uint32_t> known;
  for (const stored::v1::SegmentChunk& chunk : manifest->header.chunks()) {
    if (chunk.digest().size() != base::kSha256_bytes ||
        (!all.empty() && all.back() >= chunk.chunk())) {
      return False(place, "its chunks are not in order");
    }
    all.push_back(chunk.chunk());
    known.insert(chunk.chunk());
  }
  for (const stored::v1::SegmentTrack& track : manifest->header.tracks()) {
    std::vector<uint32_t> chunks(track.chunks().begin(), track.chunks().end());
    if (chunks.empty()) chunks = all;
    for (size_t i = 0; i < chunks.size(); ++i) {
      if (!known.contains(chunks[i]) || (i > 0 && chunks[i - 1] >= chunks[i])) {
        return False(place, "a track's chunks are not those of the segment");
      }
    }
    if (track.root().size() != base::kSha256_bytes ||
        !manifest->tracks.emplace(track.track_id(), &track).second) {
      return False(place, "names a track twice, or without a root");
    }
    manifest->track_chunks[track.track_id()] = std::move(chunks);
  }
  return absl::OkStatus();
}

absl::Status CheckManifests(const Evidence& evidence, const LogTree& tree,
                            Chain* chain) {
  const size_t count = evidence.manifests.size();
  if (count > limits::kMaxSegmentsPerSession) {
    return False("data/evidence.json.manifests", "are more than a session has");
  }
  chain->manifests.resize(count);
  std::string previous_hash;
  for (size_t i = 0; i < count; ++i) {
    const ProvenHeader& entry = evidence.manifests[i];
    Manifest& manifest = chain->manifests[i];
    const std::string place = ManifestPlace(i);
    ASSIGN_OR_RETURN(manifest.header,
                     ParseHeader<stored::v1::Segment>(entry.header, place));
    RETURN_IF_ERROR(CheckSession(manifest.header, evidence, place));
    RETURN_IF_ERROR(ReadTracks(place, &manifest));
    const std::string& named = manifest.header.previous_manifest_sha256();
    manifest.follows_previous = i > 0 && named == previous_hash;
    if (i > 0 && !manifest.follows_previous) {
      if (evidence.manifests[i - 1].proof.empty()) {
        return False(ManifestPlace(i - 1),
                     "neither the tree nor the manifest after it names it");
      }
      if (named.empty()) {
        return False(place, "is a session's first, and not the first here");
      }
    }
    if (i > 0 &&
        manifest.header.segment() <= chain->manifests[i - 1].header.segment()) {
      return False(place, "is not behind the one before it");
    }
    if (!entry.proof.empty()) {
      ASSIGN_OR_RETURN(
          const uint64_t leaf,
          tree.CheckLeaf(RecordType::kSegment, entry, EmptyBodyHash(), place));
      chain->last_leaf = std::max(chain->last_leaf, leaf);
    }
    previous_hash = evidence::ManifestHash(entry.header);
  }
  if (count == 0) return absl::OkStatus();
  chain->ends_with_session = chain->closed.has_value() &&
                             chain->closed->manifest_sha256() == previous_hash;
  if (evidence.manifests.back().proof.empty() && !chain->ends_with_session) {
    return False(ManifestPlace(count - 1),
                 "neither the tree nor the closing record names it");
  }
  const stored::v1::Segment& first = chain->manifests[0].header;
  if (first.previous_manifest_sha256().empty() &&
      (first.records().empty() ||
       first.records(0) != evidence::RecordDigestOf(RecordType::kSessionOpened,
                                                    evidence.opened.header,
                                                    EmptyBodyHash()))) {
    return False(ManifestPlace(0), "does not name the session's opening");
  }
  chain->complete =
      chain->ends_with_session &&
      chain->manifests[0].header.previous_manifest_sha256().empty();
  for (size_t i = 1; i < count; ++i) {
    chain->complete &= chain->manifests[i].follows_previous;
  }
  return absl::OkStatus();
}

absl::Status CheckAccess(const Evidence& evidence, const LogTree& tree,
                         Chain* chain) {
  constexpr char kPlace[] = "data/evidence.json.access";
  const AccessEvidence& access = evidence.access;
  ASSIGN_OR_RETURN(chain->access, ParseHeader<stored::v1::Access>(
                                      access.header.header, kPlace));
  ASSIGN_OR_RETURN(chain->access_leaf,
                   tree.CheckLeaf(RecordType::kAccess, access.header,
                                  access.body_sha256, "the access record"));
  if (chain->access.commitment() != evidence::AccessCommitment(access.record)) {
    return False(kPlace, "the access record is not what the log committed to");
  }
  ASSIGN_OR_RETURN(chain->access_record, ParseHeader<stored::v1::AccessRecord>(
                                             access.record, kPlace));
  const stored::v1::AccessRecord& record = chain->access_record;
  RETURN_IF_ERROR(CheckSession(record, evidence, kPlace));
  if (record.action() != kBundleAction) {
    return False(kPlace, "is not of the export of a bundle");
  }
  if (record.salt().size() != base::kSha256_bytes) {
    return False(kPlace, "its salt has not 32 bytes");
  }
  if (record.sides().empty()) return absl::OkStatus();
  for (const EvidenceTrack& track : evidence.tracks) {
    bool asked = false;
    for (const int side : record.sides()) {
      asked |= (track.side == "clerk" ? stored::v1::SIDE_CLERK
                                      : stored::v1::SIDE_RESIDENT) == side;
    }
    if (!asked) {
      return False(kPlace, absl::StrCat("did not ask for the side of track ",
                                        track.track_id));
    }
  }
  return absl::OkStatus();
}

// The session of a disclosed record, by its type.
absl::StatusOr<std::string> SessionOf(const DisclosedRecord& record,
                                      absl::string_view place) {
  const auto session_of = [&](auto message) -> absl::StatusOr<std::string> {
    using Message = decltype(message);
    ASSIGN_OR_RETURN(const Message parsed,
                     ParseHeader<Message>(record.header, place));
    return parsed.session_id();
  };
  switch (static_cast<RecordType>(record.type)) {
    case RecordType::kSessionOpened:
      return session_of(stored::v1::SessionOpened());
    case RecordType::kSpanStarted:
      return session_of(stored::v1::SpanStarted());
    case RecordType::kChunk:
      return session_of(stored::v1::Chunk());
    case RecordType::kNotes:
      return session_of(stored::v1::Notes());
    case RecordType::kAttachmentPart:
      return session_of(stored::v1::AttachmentPart());
    case RecordType::kStateChanged:
      return session_of(stored::v1::StateChanged());
    case RecordType::kClockChanged:
      return session_of(stored::v1::ClockChanged());
    case RecordType::kSourceDigest:
      return session_of(stored::v1::SourceDigest());
    default:
      return False(place, "is of a type that no manifest names");
  }
}

}  // namespace

absl::StatusOr<Chain> CheckChain(const Evidence& evidence,
                                 const LogTree& tree) {
  Chain chain;
  ASSIGN_OR_RETURN(chain.opened,
                   ParseHeader<stored::v1::SessionOpened>(
                       evidence.opened.header, "data/evidence.json.opened"));
  RETURN_IF_ERROR(
      CheckSession(chain.opened, evidence, "data/evidence.json.opened"));
  ASSIGN_OR_RETURN(chain.first_leaf,
                   tree.CheckLeaf(RecordType::kSessionOpened, evidence.opened,
                                  EmptyBodyHash(), "the session's opening"));
  chain.last_leaf = chain.first_leaf;
  if (chain.opened.resumed()) {
    return False("data/evidence.json.opened",
                 "is of a restart, not the session's opening");
  }
  if (chain.opened.start_time_us() != evidence.start_time_us) {
    return False("data/evidence.json.start_time_us",
                 "is not what the session's opening says");
  }
  if (evidence.closed.has_value()) {
    constexpr char kPlace[] = "data/evidence.json.closed";
    ASSIGN_OR_RETURN(chain.closed, ParseHeader<stored::v1::SessionClosed>(
                                       evidence.closed->header, kPlace));
    RETURN_IF_ERROR(CheckSession(*chain.closed, evidence, kPlace));
    ASSIGN_OR_RETURN(
        const uint64_t leaf,
        tree.CheckLeaf(RecordType::kSessionClosed, *evidence.closed,
                       EmptyBodyHash(), "the session's closing"));
    chain.last_leaf = std::max(chain.last_leaf, leaf);
  }
  RETURN_IF_ERROR(CheckManifests(evidence, tree, &chain));
  RETURN_IF_ERROR(CheckAccess(evidence, tree, &chain));
  return chain;
}

absl::Status CheckRecords(const Evidence& evidence, const Chain& chain) {
  absl::flat_hash_set<absl::string_view> named;
  absl::flat_hash_set<absl::string_view> chunks;
  for (const Manifest& manifest : chain.manifests) {
    named.insert(manifest.header.records().begin(),
                 manifest.header.records().end());
    for (const stored::v1::SegmentChunk& chunk : manifest.header.chunks()) {
      chunks.insert(chunk.digest());
    }
  }
  if (chain.closed.has_value()) {
    named.insert(chain.closed->records().begin(),
                 chain.closed->records().end());
  }
  absl::flat_hash_set<std::string> shown;
  for (size_t i = 0; i < evidence.records.size(); ++i) {
    const DisclosedRecord& record = evidence.records[i];
    const auto type = static_cast<RecordType>(record.type);
    const std::string place =
        absl::StrCat("data/evidence.json.records[", i, "]");
    ASSIGN_OR_RETURN(const std::string session, SessionOf(record, place));
    if (session != evidence.session_bytes) {
      return False(place, "is of another session");
    }
    const std::string digest =
        evidence::RecordDigestOf(type, record.header, record.body_sha256);
    const bool found = type == RecordType::kChunk ? chunks.contains(digest)
                                                  : named.contains(digest);
    if (!found) {
      return False(place, absl::StrCat("no manifest names this ",
                                       log::RecordTypeName(type), " record"));
    }
    if (!shown.insert(digest).second) return False(place, "is there twice");
  }
  return absl::OkStatus();
}

}  // namespace diptych::verify
