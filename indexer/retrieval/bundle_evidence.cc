#include "indexer/retrieval/bundle_evidence.h"

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/big_endian.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/log/record.h"
#include "archiver/media/canonical.h"
#include "indexer/retrieval/bundle_disclosure.h"
#include "indexer/retrieval/clip_recorder.h"
#include "indexer/retrieval/packet_merger.h"
#include "indexer/retrieval/source_runs.h"
#include "proto/api/v1/common.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "diptych-evidence-1";

std::string Base64(absl::string_view bytes) {
  return absl::Base64Escape(bytes);
}

Json Base64List(const std::vector<std::string>& list) {
  Json json = Json::array();
  for (const std::string& bytes : list) json.push_back(Base64(bytes));
  return json;
}

// As in `diptych show`.
absl::string_view SourceWord(uint32_t source) {
  switch (source) {
    case api::v1::SOURCE_CAMERA:
      return "camera";
    case api::v1::SOURCE_MICROPHONE:
      return "microphone";
    case api::v1::SOURCE_SCREEN:
      return "screen";
    case api::v1::SOURCE_DOCUMENT_CAMERA:
      return "document_camera";
    default:
      return "unknown";
  }
}

absl::string_view CodecWord(uint32_t codec) {
  switch (codec) {
    case api::v1::CODEC_H264:
      return "h264";
    case api::v1::CODEC_H265:
      return "h265";
    case api::v1::CODEC_VP8:
      return "vp8";
    case api::v1::CODEC_VP9:
      return "vp9";
    case api::v1::CODEC_AV1:
      return "av1";
    case api::v1::CODEC_OPUS:
      return "opus";
    case api::v1::CODEC_AAC:
      return "aac";
    case api::v1::CODEC_G711_ALAW:
      return "g711_alaw";
    case api::v1::CODEC_G711_ULAW:
      return "g711_ulaw";
    default:
      return "unknown";
  }
}

bool IsVideo(const stored::v1::Track& track) {
  return media::IsVideo(static_cast<api::v1::Codec>(track.codec()));
}

// Compresses what it is given into one gzip member, always the same for the
// same text.
class Gzip {
 public:
  explicit Gzip(const std::function<absl::Status(absl::string_view)>& write)
      : write_(write) {}
  ~Gzip() {
    if (begun_) deflateEnd(&stream_);
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  absl::Status Add(absl::string_view text, bool last) {
    if (!begun_) {
      if (deflateInit2(&stream_, Z_BEST_COMPRESSION, Z_DEFLATED,
                       MAX_WBITS + kGzipForm, MAX_MEM_LEVEL,
                       Z_DEFAULT_STRATEGY) != Z_OK) {
        return absl::ResourceExhaustedError("out of memory");
      }
      begun_ = true;
    }
    // zlib's own type has no const.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream_.avail_in = static_cast<uInt>(text.size());
    std::string out(limits::kReadData_bytes, '\0');
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = static_cast<uInt>(out.size());
      deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      const size_t made = out.size() - stream_.avail_out;
      if (made == 0) break;
      RETURN_IF_ERROR(write_(absl::string_view(out).substr(0, made)));
    } while (stream_.avail_out == 0);
    return absl::OkStatus();
  }

 private:
  // Added to the window's size, it asks for gzip's frame instead of zlib's.
  static constexpr int kGzipForm = 16;

  const std::function<absl::Status(absl::string_view)>& write_;
  z_stream stream_ = {};
  bool begun_ = false;
};

// One JSON object, one element of its lists at a time.
class Writer {
 public:
  explicit Writer(const std::function<absl::Status(absl::string_view)>& write)
      : gzip_(write) {}

  void Field(absl::string_view name, const Json& value) {
    Name(name);
    text_ += value.dump();
  }
  void BeginList(absl::string_view name) {
    Name(name);
    text_ += "[";
    first_in_list_ = true;
  }
  absl::Status Element(const Json& value) {
    if (!first_in_list_) text_ += ",";
    first_in_list_ = false;
    text_ += value.dump();
    return text_.size() < limits::kReadData_bytes ? absl::OkStatus()
                                                  : Send(/*last=*/false);
  }
  void EndList() { text_ += "]"; }
  absl::Status Finish() {
    text_ += "}\n";
    return Send(/*last=*/true);
  }

 private:
  void Name(absl::string_view name) {
    absl::StrAppend(&text_, first_ ? "{" : ",", "\"", name, "\":");
    first_ = false;
  }
  absl::Status Send(bool last) {
    sent_bytes_ += text_.size();
    if (sent_bytes_ > limits::kMaxEvidenceFile_bytes) {
      return absl::FailedPreconditionError(
          "the range has more evidence than a bundle may: ask for a shorter "
          "one");
    }
    return gzip_.Add(std::exchange(text_, std::string()), last);
  }

  Gzip gzip_;
  std::string text_;
  size_t sent_bytes_ = 0;
  bool first_ = true;
  bool first_in_list_ = true;
};

Json ProvenJson(const ProvenRecord& record) {
  Json json = {{"header", Base64(record.header)}};
  if (!record.body_sha256.empty()) {
    json["body_sha256"] = Base64(record.body_sha256);
  }
  if (!record.proof.empty()) {
    json["position"] = record.position;
    json["proof"] = record.proof;
  }
  return json;
}

Json RunJson(const EvidenceRun& evidence) {
  const PairRun& run = *evidence.run;
  Json json = {{"track_id", evidence.track_id}, {"stream", run.stream}};
  if (evidence.first > 0) json["first"] = evidence.first;
  Json packets = Json::array();
  for (const Pair& pair : run.pairs) packets.push_back(pair.packets);
  json["packets"] = std::move(packets);
  if (run.before > 0 || run.after > 0) {
    json["boundary"] = {{"before", run.before}, {"after", run.after}};
  }
  if (!evidence.track_salt.empty()) {
    json["salt"] = Base64(evidence.track_salt);
  } else {
    json["salts"] = Base64List(evidence.salts);
    json["others"] = Base64List(evidence.others);
  }
  return json;
}

// Places of records in the list `records`.
using Places = std::map<log::Position, size_t>;

Json SourceJson(uint32_t track_id, const SourceRun& run, const Places& places) {
  Json json = {{"track_id", track_id}, {"packets", run.packets}};
  if (!run.record) return json;
  json["record"] = places.at(*run.record);
  if (run.first > 0) json["first"] = run.first;
  if (!run.others.empty()) json["others"] = Base64List(run.others);
  return json;
}

absl::Status WriteDisclosed(const Disclosure& disclosed, const Places& places,
                            Writer* out) {
  out->BeginList("records");
  for (const auto& [position, record] : disclosed.records) {
    Json json = {{"type", static_cast<int>(record.type)},
                 {"header", Base64(record.header)}};
    if (!record.body_sha256.empty()) {
      json["body_sha256"] = Base64(record.body_sha256);
    }
    RETURN_IF_ERROR(out->Element(json));
  }
  out->EndList();
  out->BeginList("spans");
  for (const DisclosedSpan& span : disclosed.spans) {
    RETURN_IF_ERROR(out->Element({{"record", places.at(span.record)},
                                  {"salt", Base64(span.salt)},
                                  {"description", Base64(span.description)}}));
  }
  out->EndList();
  out->BeginList("notes");
  for (const DisclosedNote& note : disclosed.notes) {
    RETURN_IF_ERROR(out->Element({{"record", places.at(note.record)},
                                  {"at", note.at},
                                  {"salt", Base64(note.salt)},
                                  {"note", Base64(note.note)}}));
  }
  out->EndList();
  out->BeginList("attachments");
  for (const DisclosedPart& part : disclosed.parts) {
    RETURN_IF_ERROR(out->Element({{"record", places.at(part.record)},
                                  {"salt", Base64(part.salt)},
                                  {"file", part.file},
                                  {"offset", part.offset},
                                  {"bytes", part.bytes}}));
  }
  out->EndList();
  return absl::OkStatus();
}

// Per track id, from its clip.
absl::Status WriteTracks(const BundleEvidence& evidence, Writer* out) {
  out->BeginList("tracks");
  for (const TrackClip& clip : evidence.clips) {
    const stored::v1::Track& track = evidence.tracks.at(clip.track_id);
    RETURN_IF_ERROR(out->Element(
        {{"track_id", clip.track_id},
         {"side",
          track.side() == stored::v1::SIDE_CLERK ? "clerk" : "resident"},
         {"source", std::string(SourceWord(track.source()))},
         {"codec", std::string(CodecWord(track.codec()))},
         {"video", IsVideo(track)},
         {"raw_ms", EncodeRawMs(clip.raw_ms)}}));
  }
  out->EndList();
  return absl::OkStatus();
}

}  // namespace

std::string EncodeRawMs(const std::vector<int64_t>& raw_ms) {
  std::string bytes;
  int64_t before = 0;
  for (const int64_t ms : raw_ms) {
    const int64_t step = ms - before;
    before = ms;
    uint64_t zigzag =
        (static_cast<uint64_t>(step) << 1) ^ static_cast<uint64_t>(step >> 63);
    for (; zigzag >= 0x80; zigzag >>= 7) {
      bytes.push_back(static_cast<char>(0x80 | (zigzag & 0x7f)));
    }
    bytes.push_back(static_cast<char>(zigzag));
  }
  uLongf size = compressBound(static_cast<uLong>(bytes.size()));
  std::string compressed(size, '\0');
  // Fails only for want of memory or room, of which there is enough.
  compress2(reinterpret_cast<Bytef*>(compressed.data()), &size,
            reinterpret_cast<const Bytef*>(bytes.data()),
            static_cast<uLong>(bytes.size()), Z_BEST_COMPRESSION);
  compressed.resize(size);
  return Base64(compressed);
}

absl::Status WriteBoundary(
    const BundleEvidence& evidence,
    const std::function<absl::Status(absl::string_view)>& write) {
  std::map<uint32_t, const TrackClip*> clips;
  for (const TrackClip& clip : evidence.clips) clips[clip.track_id] = &clip;
  const auto put =
      [&](const std::vector<ChunkedPacket>& packets) -> absl::Status {
    for (const ChunkedPacket& packet : packets) {
      const bool video = IsVideo(evidence.tracks.at(packet.info.track_id));
      std::string bytes;
      evidence::AppendU32(&bytes, packet.info.track_id);
      evidence::AppendU64(
          &bytes, static_cast<uint64_t>(evidence::ToMs(packet.info.pts_us)));
      bytes.push_back(static_cast<char>(
          video && packet.info.key_frame ? evidence::kKeyFrameFlag : 0));
      evidence::AppendU32(&bytes, static_cast<uint32_t>(packet.payload.size()));
      absl::StrAppend(&bytes, packet.payload);
      RETURN_IF_ERROR(write(bytes));
    }
    return absl::OkStatus();
  };
  for (const EvidenceSegment& segment : evidence.segments) {
    for (const EvidenceRun& run : segment.runs) {
      const TrackClip& clip = *clips.at(run.track_id);
      if (run.run == &clip.runs.front()) RETURN_IF_ERROR(put(clip.before));
      if (run.run == &clip.runs.back()) RETURN_IF_ERROR(put(clip.after));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteEvidence(
    const BundleEvidence& evidence,
    const std::function<absl::Status(absl::string_view)>& write) {
  Places places;
  for (const auto& [position, record] : evidence.disclosed.records) {
    places.emplace(position, places.size());
  }
  Writer out(write);
  out.Field("format", kFormat);
  out.Field("archive", evidence.archive_id.ToString());
  out.Field("session", evidence.session_id.ToString());
  out.Field("start_time_us", evidence.start_time_us);
  out.Field("from_us", evidence.from_us);
  out.Field("to_us", evidence.to_us);
  out.Field("media", {{"file", evidence.media_file},
                      {"container", evidence.container},
                      {"origin_us", evidence.origin_us}});
  RETURN_IF_ERROR(WriteTracks(evidence, &out));
  out.BeginList("segments");
  for (const EvidenceSegment& segment : evidence.segments) {
    Json runs = Json::array();
    for (const EvidenceRun& run : segment.runs) runs.push_back(RunJson(run));
    RETURN_IF_ERROR(out.Element(
        {{"manifest", segment.manifest}, {"tracks", std::move(runs)}}));
  }
  out.EndList();
  out.BeginList("sources");
  for (const TrackClip& clip : evidence.clips) {
    for (const SourceRun& run : clip.sources) {
      RETURN_IF_ERROR(out.Element(SourceJson(clip.track_id, run, places)));
    }
  }
  out.EndList();
  out.BeginList("manifests");
  for (const ProvenRecord& manifest : evidence.manifests) {
    RETURN_IF_ERROR(out.Element(ProvenJson(manifest)));
  }
  out.EndList();
  out.Field("opened", ProvenJson(evidence.opened));
  out.Field("closed", evidence.closed ? ProvenJson(*evidence.closed) : Json());
  RETURN_IF_ERROR(WriteDisclosed(evidence.disclosed, places, &out));
  Json access = ProvenJson(evidence.access);
  access["record"] = Base64(evidence.access_record);
  out.Field("access", access);
  out.BeginList("anchors");
  for (const EvidenceAnchor& anchor : evidence.anchors) {
    Json json = {{"checkpoint", anchor.checkpoint}};
    if (!anchor.timestamp.empty()) json["timestamp"] = anchor.timestamp;
    json["consistency"] = Base64List(anchor.consistency);
    RETURN_IF_ERROR(out.Element(json));
  }
  out.EndList();
  return out.Finish();
}

}  // namespace diptych::indexer
