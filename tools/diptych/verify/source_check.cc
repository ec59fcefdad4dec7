#include "tools/diptych/verify/source_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/packet_line.h"
#include "archiver/evidence/source_statement.h"
#include "archiver/log/record.h"
#include "archiver/seal/signing.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/packet_times.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr size_t kKeyId_bytes = 8;
constexpr size_t kMaxSourceKeys = 1000;

std::string StatementPlace(absl::string_view place,
                           const stored::v1::SourceStatement& statement) {
  return absl::StrCat(place, ", its gateway's statement for numbers ",
                      statement.first_sequence(), " to ",
                      statement.last_sequence());
}

// The index in result->source_keys.
size_t FindOrAddKey(const std::string& id, VerifyResult* result) {
  for (size_t i = 0; i < result->source_keys.size(); ++i) {
    if (result->source_keys[i].id == id) return i;
  }
  SeenKey key;
  key.id = id;
  result->source_keys.push_back(std::move(key));
  return result->source_keys.size() - 1;
}

}  // namespace

absl::StatusOr<SourceCheck> SourceCheck::Create(const Evidence& evidence,
                                                const EvidenceTrack& track,
                                                uint64_t packets,
                                                const Trust& trust,
                                                VerifyResult* result) {
  const std::string place =
      absl::StrCat("track ", track.track_id, " (", track.side, " ",
                   absl::CEscape(track.source), ")");
  absl::StatusOr<std::vector<int64_t>> raw_ms =
      UnpackRawTimes(track.raw_ms, packets);
  if (!raw_ms.ok()) {
    return base::IntegrityError(absl::StrCat("data/evidence.json, ", place,
                                             ": ", raw_ms.status().message()));
  }
  SourceCheck check(place, *std::move(raw_ms));
  uint64_t covered = 0;
  for (const SourceRun& source : evidence.sources) {
    if (source.track_id != track.track_id) continue;
    Run run;
    run.evidence = &source;
    run.first_packet = covered;
    covered += source.packets;
    if (covered > packets) break;
    if (source.record.has_value()) {
      RETURN_IF_ERROR(
          check.CheckStatement(evidence, track, trust, result, &run));
    }
    check.runs_.push_back(std::move(run));
  }
  if (covered != packets) {
    return base::IntegrityError(
        absl::StrCat("data/evidence.json, ", place,
                     ": the source runs have other packets than the track"));
  }
  check.SayHoles(result);
  return check;
}

absl::Status SourceCheck::CheckStatement(const Evidence& evidence,
                                         const EvidenceTrack& track,
                                         const Trust& trust,
                                         VerifyResult* result, Run* run) const {
  const DisclosedRecord& record = evidence.records[*run->evidence->record];
  stored::v1::SourceDigest digest;
  if (static_cast<log::RecordType>(record.type) !=
          log::RecordType::kSourceDigest ||
      !digest.ParseFromString(record.header)) {
    return base::IntegrityError(
        absl::StrCat("data/evidence.json, ", place_,
                     ": a source run names a record that is no SourceDigest"));
  }
  run->statement = digest.statement();
  const stored::v1::SourceStatement& statement = run->statement;
  const std::string place = StatementPlace(place_, statement);
  const bool clerk = statement.side() == stored::v1::SIDE_CLERK;
  if (statement.track_id() != track.track_id ||
      (track.side == "clerk") != clerk ||
      run->evidence->first > statement.packets() ||
      run->evidence->packets > statement.packets() - run->evidence->first) {
    return base::IntegrityError(
        absl::StrCat(place, ": is not of these packets"));
  }
  if (digest.key_id().size() != kKeyId_bytes ||
      result->source_keys.size() > kMaxSourceKeys) {
    return base::IntegrityError(absl::StrCat(place, ": names no key"));
  }
  const size_t index =
      FindOrAddKey(absl::BytesToHexString(digest.key_id()), result);
  run->key = index;
  evidence::SourceStatement signed_statement;
  signed_statement.side = static_cast<uint8_t>(statement.side());
  signed_statement.track_id = statement.track_id();
  signed_statement.first_sequence = statement.first_sequence();
  signed_statement.last_sequence = statement.last_sequence();
  signed_statement.packets = statement.packets();
  signed_statement.root = statement.root();
  signed_statement.signed_time_us = statement.signed_time_us();
  const std::string bytes = signed_statement.SignedBytes(
      evidence.archive_bytes, evidence.session_bytes);
  const std::string names =
      evidence::SourceName(evidence.archive.ToString(), "");
  for (const evidence::NoteKey& key : trust.sources) {
    if (!absl::StartsWith(key.name, names) ||
        evidence::SigningKeyId(key.public_key) != digest.key_id()) {
      continue;
    }
    if (!seal::VerifySignature(key.public_key, bytes, digest.signature())) {
      return base::IntegrityError(
          absl::StrCat(place, ": is not signed by the key that it names"));
    }
    result->source_keys[index].name = key.name;
    result->source_keys[index].verified = true;
  }
  return absl::OkStatus();
}

void SourceCheck::SayHoles(VerifyResult* result) const {
  const auto say = [&](uint64_t packets, const Run& run) {
    result->missing.push_back(absl::StrCat(
        StatementPlace(place_, run.statement), " counts ", packets,
        packets == 1 ? " packet" : " packets",
        " that lie between others of the track and are not here."));
  };
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Run& run = runs_[i];
    if (!run.key.has_value()) continue;
    const uint64_t end = run.evidence->first + run.evidence->packets;
    if (i > 0 && run.evidence->first > 0) say(run.evidence->first, run);
    if (i + 1 < runs_.size() && end < run.statement.packets()) {
      say(run.statement.packets() - end, run);
    }
    if (i > 0 && runs_[i - 1].key.has_value() &&
        runs_[i - 1].statement.last_sequence() + 1 !=
            run.statement.first_sequence()) {
      result->missing.push_back(absl::StrCat(
          StatementPlace(place_, run.statement),
          " does not follow the statement before it: what lies between is "
          "signed by nobody, or not here."));
    }
  }
}

absl::StatusOr<std::optional<size_t>> SourceCheck::Add(
    uint64_t index, evidence::PacketLine line) {
  // Nearly always the same run as for the packet before.
  const auto holds = [&](const Run& run) {
    return index >= run.first_packet &&
           index - run.first_packet < run.evidence->packets;
  };
  if (at_ >= runs_.size() || !holds(runs_[at_])) {
    const auto after = std::upper_bound(
        runs_.begin(), runs_.end(), index,
        [](uint64_t at, const Run& run) { return at < run.first_packet; });
    if (after == runs_.begin() || !holds(*(after - 1))) {
      return absl::InternalError("a packet of no source run");
    }
    at_ = static_cast<size_t>(after - runs_.begin()) - 1;
  }
  Run& run = runs_[at_];
  if (!run.key.has_value()) return std::optional<size_t>();
  line.pts_ms += raw_ms_[index];
  if (run.leaf_hashes.empty()) run.leaf_hashes.resize(run.evidence->packets);
  run.leaf_hashes[index - run.first_packet] = evidence::LeafHash(line.Bytes());
  if (++run.seen == run.evidence->packets) RETURN_IF_ERROR(FinishRun(&run));
  return run.key;
}

absl::Status SourceCheck::FinishRun(Run* run) const {
  const absl::StatusOr<std::string> root =
      evidence::RootFromRange(run->statement.packets(), run->evidence->first,
                              run->leaf_hashes, run->evidence->others);
  if (!root.ok() || *root != run->statement.root()) {
    return base::IntegrityError(
        absl::StrCat(StatementPlace(place_, run->statement),
                     ": the packets here are not those that it signed"));
  }
  std::vector<std::string>().swap(run->leaf_hashes);
  return absl::OkStatus();
}

}  // namespace diptych::verify
