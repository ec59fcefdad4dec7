#include "tools/diptych/verify/evidence.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/json_fields.h"

namespace diptych::verify {
namespace {

constexpr char kPlace[] = "data/evidence.json";

base::Uuid UuidOf(const JsonFields& fields, const char* name) {
  const std::string text = fields.Text(name);
  const absl::StatusOr<base::Uuid> id = base::Uuid::Parse(text);
  // One form, so that the same id reads the same.
  if (!id.ok() || id->ToString() != text) {
    fields.Fail(name, "is no UUID");
    return base::Uuid();
  }
  return *id;
}

std::string PathOf(const JsonFields& fields, const char* name) {
  std::string path = fields.Text(name);
  if (!IsBundlePath(path)) fields.Fail(name, "is no path of a bundle");
  return path;
}

size_t IndexOf(const JsonFields& fields, const char* name, size_t size) {
  const uint64_t index = fields.UInt(name);
  if (index >= size) {
    fields.Fail(name, "is no place of its list");
    return 0;
  }
  return static_cast<size_t>(index);
}

void ReadTrack(const JsonFields& fields, Evidence* evidence) {
  EvidenceTrack track;
  track.track_id =
      static_cast<uint32_t>(fields.UInt("track_id", limits::kMaxTrackId));
  track.side = fields.Text("side");
  if (track.side != "resident" && track.side != "clerk") {
    fields.Fail("side", "is neither resident nor clerk");
  }
  track.source = fields.Text("source");
  track.codec = fields.Text("codec");
  track.video = fields.Bool("video");
  track.raw_ms = fields.Bytes("raw_ms");
  if (!evidence->tracks.empty() &&
      evidence->tracks.back().track_id >= track.track_id) {
    fields.Fail("track_id", "is not above the one before");
  }
  evidence->tracks.push_back(std::move(track));
}

PairRun ReadPairRun(const JsonFields& fields, const Evidence& evidence) {
  PairRun run;
  run.track_id = static_cast<uint32_t>(fields.UInt("track_id"));
  if (evidence.FindTrack(run.track_id) == nullptr) {
    fields.Fail("track_id", "is none of the tracks");
  }
  run.stream =
      static_cast<size_t>(fields.UInt("stream", limits::kMaxOutputTracks - 1));
  run.first =
      static_cast<uint32_t>(fields.UInt("first", limits::kSegmentMaxChunks));
  run.packets = fields.Numbers("packets");
  uint64_t packets = 0;
  for (const uint32_t count : run.packets) {
    if (count == 0 || count > limits::kChunkMaxPackets) {
      fields.Fail("packets", "has a chunk without packets, or with too many");
    }
    packets += count;
  }
  if (run.packets.empty() || run.packets.size() > limits::kSegmentMaxChunks) {
    fields.Fail("packets", "has no chunk, or more than a segment");
  }
  fields.IfObject("boundary", [&run](const JsonFields& boundary) {
    run.before = boundary.UInt("before", limits::kMaxBoundaryPackets);
    run.after = boundary.UInt("after", limits::kMaxBoundaryPackets);
  });
  if (run.before + run.after > packets) {
    fields.Fail("boundary", "is more than all packets of the run");
  }
  if (fields.Has("salt")) {
    run.salt = fields.Hash("salt");
  } else {
    run.salts = fields.Hashes("salts");
    if (run.salts.size() != run.packets.size()) {
      fields.Fail("salts", "are not one for each chunk");
    }
  }
  run.others = fields.Hashes("others");
  return run;
}

ProvenHeader ReadHeader(const JsonFields& fields, bool proof_required) {
  ProvenHeader header;
  header.header = fields.Bytes("header");
  if (proof_required || fields.Has("proof")) {
    header.position = fields.UInt("position");
    header.proof = PathOf(fields, "proof");
  }
  return header;
}

void ReadDisclosures(const JsonFields& top, Evidence* evidence) {
  top.ForEach("records", [evidence](const JsonFields& fields) {
    DisclosedRecord record;
    record.type = static_cast<uint8_t>(fields.UInt("type", 255));
    record.header = fields.Bytes("header");
    record.body_sha256 = fields.Has("body_sha256") ? fields.Hash("body_sha256")
                                                   : base::Sha256("");
    evidence->records.push_back(std::move(record));
  });
  const size_t records = evidence->records.size();
  top.ForEach("spans", [&](const JsonFields& fields) {
    evidence->spans.push_back({IndexOf(fields, "record", records),
                               fields.Hash("salt"),
                               fields.Bytes("description")});
  });
  top.ForEach("notes", [&](const JsonFields& fields) {
    evidence->notes.push_back({IndexOf(fields, "record", records),
                               static_cast<size_t>(fields.UInt(
                                   "at", limits::kMaxNotesPerMessage * 64)),
                               fields.Hash("salt"), fields.Bytes("note")});
  });
  top.ForEach("attachments", [&](const JsonFields& fields) {
    evidence->parts.push_back(
        {IndexOf(fields, "record", records), fields.Hash("salt"),
         PathOf(fields, "file"),
         fields.UInt("offset", limits::kMaxAttachment_bytes),
         fields.UInt("bytes", limits::kMaxAttachmentPart_bytes)});
  });
}

void ReadMedia(const JsonFields& fields, Evidence* evidence) {
  evidence->media_file = PathOf(fields, "file");
  const std::string container = fields.Text("container");
  if (container != "matroska" && container != "mp4") {
    fields.Fail("container", "is neither matroska nor mp4");
  }
  evidence->mp4 = container == "mp4";
  if (evidence->media_file != (evidence->mp4 ? "media.mp4" : "media.mkv")) {
    fields.Fail("file", "is not the name that the container has");
  }
  evidence->origin_us = fields.Int("origin_us");
  if (evidence->origin_us % 1000 != 0) {
    fields.Fail("origin_us", "is not in whole milliseconds");
  }
}

void ReadChain(const JsonFields& top, Evidence* evidence) {
  top.ForEach("manifests", [evidence](const JsonFields& fields) {
    evidence->manifests.push_back(ReadHeader(fields, false));
  });
  top.IfObject("opened", [evidence](const JsonFields& fields) {
    evidence->opened = ReadHeader(fields, true);
  });
  if (!top.Has("opened")) top.Fail("opened", "is missing");
  top.IfObject("closed", [evidence](const JsonFields& fields) {
    evidence->closed = ReadHeader(fields, true);
  });
  top.IfObject("access", [evidence](const JsonFields& fields) {
    evidence->access.header = ReadHeader(fields, true);
    evidence->access.body_sha256 = fields.Hash("body_sha256");
    evidence->access.record = fields.Bytes("record");
  });
  if (!top.Has("access")) top.Fail("access", "is missing");
}

void ReadPackets(const JsonFields& top, Evidence* evidence) {
  top.ForEach("segments", [evidence](const JsonFields& fields) {
    EvidenceSegment segment;
    segment.manifest = IndexOf(fields, "manifest", evidence->manifests.size());
    fields.ForEach("tracks", [&](const JsonFields& run) {
      segment.runs.push_back(ReadPairRun(run, *evidence));
    });
    evidence->segments.push_back(std::move(segment));
  });
  top.ForEach("sources", [evidence](const JsonFields& fields) {
    SourceRun run;
    run.track_id = static_cast<uint32_t>(fields.UInt("track_id"));
    if (evidence->FindTrack(run.track_id) == nullptr) {
      fields.Fail("track_id", "is none of the tracks");
    }
    run.packets = fields.UInt("packets", limits::kMaxTrackPackets);
    if (run.packets == 0) fields.Fail("packets", "is none");
    if (fields.Has("record")) {
      run.record = IndexOf(fields, "record", evidence->records.size());
      run.first = fields.UInt("first");
      run.others = fields.Hashes("others");
      if (run.packets > limits::kMaxSourceRun_packets) {
        fields.Fail("packets", "is more than one statement has");
      }
    }
    evidence->sources.push_back(std::move(run));
  });
}

}  // namespace

const EvidenceTrack* Evidence::FindTrack(uint32_t track_id) const {
  for (const EvidenceTrack& track : tracks) {
    if (track.track_id == track_id) return &track;
  }
  return nullptr;
}

absl::StatusOr<Evidence> ParseEvidence(absl::string_view text) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(text, kPlace));
  Evidence evidence;
  absl::Status error;
  const JsonFields top(json, kPlace, &error);
  if (top.Text("format") != "diptych-evidence-1") {
    top.Fail("format", "is not diptych-evidence-1");
  }
  evidence.archive = UuidOf(top, "archive");
  evidence.session = UuidOf(top, "session");
  evidence.archive_bytes = std::string(evidence.archive.bytes());
  evidence.session_bytes = std::string(evidence.session.bytes());
  evidence.start_time_us = top.Int("start_time_us");
  evidence.from_us = top.Int("from_us");
  evidence.to_us = top.Int("to_us");
  if (evidence.from_us >= evidence.to_us ||
      evidence.to_us - evidence.from_us > limits::kSessionMax_us) {
    top.Fail("to_us", "is not after from_us, or too long after it");
  }
  if (!top.Has("media")) top.Fail("media", "is missing");
  top.IfObject("media", [&evidence](const JsonFields& fields) {
    ReadMedia(fields, &evidence);
  });
  top.ForEach("tracks", [&evidence](const JsonFields& fields) {
    ReadTrack(fields, &evidence);
  });
  ReadChain(top, &evidence);
  ReadDisclosures(top, &evidence);
  ReadPackets(top, &evidence);
  top.ForEach("anchors", [&evidence](const JsonFields& fields) {
    Anchor anchor;
    anchor.checkpoint = PathOf(fields, "checkpoint");
    if (fields.Has("timestamp")) anchor.timestamp = PathOf(fields, "timestamp");
    anchor.consistency = fields.Hashes("consistency");
    evidence.anchors.push_back(std::move(anchor));
  });
  RETURN_IF_ERROR(error);
  return evidence;
}

}  // namespace diptych::verify
