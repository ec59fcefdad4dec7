#include "tools/diptych/verify/custody.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/result_text.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

using log::RecordType;

absl::string_view SideName(stored::v1::Side side) {
  return side == stored::v1::SIDE_CLERK ? "clerk" : "resident";
}

std::string GapText(const stored::v1::Gap& gap) {
  return absl::StrCat(
      "The archive noted that nothing came of the ", SideName(gap.side()),
      gap.track_id() == 0 ? "'s side"
                          : absl::StrCat("'s track ", gap.track_id()),
      " from ", OffsetText(gap.start_us()), " to ", OffsetText(gap.end_us()),
      ".");
}

std::string StateText(const stored::v1::StateChanged& change) {
  switch (change.state()) {
    case stored::v1::SESSION_STATE_DEGRADED: {
      std::string text = absl::StrCat("At ", OffsetText(change.at_us()),
                                      " something was missing");
      for (const stored::v1::SideTrouble& trouble : change.troubles()) {
        absl::StrAppend(&text, "; the ", SideName(trouble.side()), "'s side ",
                        trouble.trouble() == stored::v1::TROUBLE_MISSING
                            ? "had not come"
                            : "had stalled");
      }
      return absl::StrCat(text, ".");
    }
    case stored::v1::SESSION_STATE_RECOVERED:
      return absl::StrCat("At ", OffsetText(change.at_us()),
                          " it was whole again.");
    default:
      return absl::StrCat("At ", OffsetText(change.at_us()),
                          " the session went on.");
  }
}

// One disclosed record as a step, if it is one.
void AddRecord(const DisclosedRecord& record, VerifyResult* result) {
  switch (static_cast<RecordType>(record.type)) {
    case RecordType::kSessionOpened: {
      stored::v1::SessionOpened opened;
      if (!opened.ParseFromString(record.header) || !opened.resumed()) return;
      result->custody.push_back(
          {opened.record_time_us(),
           "The archive was started again and the session went on."});
      return;
    }
    case RecordType::kChunk: {
      stored::v1::Chunk chunk;
      if (!chunk.ParseFromString(record.header)) return;
      for (const stored::v1::Gap& gap : chunk.gaps()) {
        result->custody.push_back({chunk.record_time_us(), GapText(gap)});
      }
      return;
    }
    case RecordType::kStateChanged: {
      stored::v1::StateChanged change;
      if (!change.ParseFromString(record.header)) return;
      result->custody.push_back({change.record_time_us(), StateText(change)});
      return;
    }
    case RecordType::kClockChanged: {
      stored::v1::ClockChanged change;
      if (!change.ParseFromString(record.header) ||
          change.reason() != stored::v1::CLOCK_REASON_JUMP) {
        return;
      }
      result->custody.push_back(
          {change.record_time_us(),
           absl::StrCat("The clock of the ", SideName(change.side()),
                        "'s track ", change.track_id(), " jumped at ",
                        OffsetText(change.at_us()), ".")});
      return;
    }
    default:
      return;
  }
}

}  // namespace

void FillCustody(const Evidence& evidence, const Chain& chain,
                 VerifyResult* result) {
  result->first_leaf = chain.first_leaf;
  result->last_leaf = chain.last_leaf;
  result->access_leaf = chain.access_leaf;
  result->gateway = chain.opened.gateway();
  result->custody.push_back(
      {chain.opened.record_time_us(),
       absl::StrCat("The session was opened by the gateway ",
                    absl::Utf8SafeCEscape(chain.opened.gateway()), ".")});
  for (const DisclosedRecord& record : evidence.records) {
    AddRecord(record, result);
  }
  if (!chain.manifests.empty()) {
    const size_t count = chain.manifests.size();
    const size_t recovered = static_cast<size_t>(std::count_if(
        chain.manifests.begin(), chain.manifests.end(),
        [](const Manifest& manifest) { return manifest.header.recovered(); }));
    result->custody.push_back(
        {chain.manifests.back().header.record_time_us(),
         absl::StrCat("The last of ", count,
                      count == 1 ? " manifest" : " manifests",
                      " that are here was stored",
                      recovered == 0 ? "."
                                     : absl::StrCat("; ", recovered,
                                                    " were completed after the "
                                                    "archive had been started "
                                                    "again."))});
  }
  if (chain.closed.has_value()) {
    result->closed = true;
    result->abandoned =
        chain.closed->reason() == stored::v1::CLOSE_REASON_ABANDONED;
    result->session_segments = chain.closed->segments();
    for (const stored::v1::Gap& gap : chain.closed->gaps()) {
      result->custody.push_back({chain.closed->record_time_us(), GapText(gap)});
    }
    result->custody.push_back(
        {chain.closed->record_time_us(),
         absl::StrCat(result->abandoned
                          ? "Nothing more came, and the archive closed the "
                            "session"
                          : "The gateway closed the session",
                      " with ", chain.closed->segments(), " segments.")});
  }
  const stored::v1::AccessRecord& access = chain.access_record;
  result->principal = access.principal();
  result->purpose = access.purpose();
  result->access_time_us = access.time_us();
  result->custody.push_back(
      {access.time_us(),
       absl::StrCat("This was asked for by ",
                    absl::Utf8SafeCEscape(access.principal()),
                    ", for: ", absl::Utf8SafeCEscape(access.purpose()), ".")});
  std::stable_sort(result->custody.begin(), result->custody.end(),
                   [](const CustodyRow& a, const CustodyRow& b) {
                     return a.time_us < b.time_us;
                   });
}

absl::Status CheckTotals(const Chain& chain, const VerifyResult& result) {
  if (!result.whole_session || !chain.closed.has_value()) {
    return absl::OkStatus();
  }
  if (chain.closed->segments() != chain.manifests.size()) {
    return base::IntegrityError(absl::StrCat(
        "data/evidence.json.closed: counts ", chain.closed->segments(),
        " segments, and the chain of manifests has ", chain.manifests.size()));
  }
  for (const stored::v1::SideTotals& side : chain.closed->sides()) {
    uint64_t packets = 0;
    for (const TrackResult& track : result.tracks) {
      if (track.side == SideName(side.side())) packets += track.packets;
    }
    if (packets != side.packets()) {
      return base::IntegrityError(
          absl::StrCat("data/evidence.json.closed: counts ", side.packets(),
                       " packets of the ", SideName(side.side()),
                       "'s side, and the manifests name ", packets));
    }
  }
  return absl::OkStatus();
}

namespace {

// Those whose keys were given; of the others, which anybody can add, how many.
void SayWitnesses(VerifyResult* result) {
  size_t unverified = 0;
  for (const SeenKey& witness : result->witnesses) {
    if (!witness.verified) {
      ++unverified;
      continue;
    }
    result->vouching.push_back(absl::StrCat(
        "Cosigned by the witness ", absl::Utf8SafeCEscape(witness.name),
        witness.signed_time_us.has_value()
            ? absl::StrCat(", ", TimeText(*witness.signed_time_us))
            : "",
        ", ", LeavesText(*result, witness.tree_size), "."));
  }
  if (unverified == result->witnesses.size()) {
    result->vouching.push_back(
        unverified == 0 ? "No witness cosigned it."
                        : "No witness whose key was given cosigned it.");
  }
  if (unverified > 0) {
    result->vouching.push_back(
        absl::StrCat("Not checked: ", unverified,
                     unverified == 1 ? " cosignature, by a key that was"
                                     : " cosignatures, by keys that were",
                     " not given."));
  }
}

}  // namespace

void SayVouching(VerifyResult* result) {
  const auto say = [result](std::string text) {
    result->vouching.push_back(std::move(text));
  };
  if (result->log_key_verified) {
    say(absl::StrCat("The archive's log vouches for all of it: checkpoint of ",
                     result->tree_size, " leaves, signed by key ",
                     result->log_key.id, "."));
  } else {
    say(absl::StrCat(NotProvenText(*result),
                     " Whoever made this bundle could have made all of it."));
  }
  for (const SeenKey& key : result->source_keys) {
    if (key.verified) {
      say(absl::StrCat("Signed at its source by ",
                       absl::Utf8SafeCEscape(key.name), " (key ", key.id,
                       ")."));
    } else {
      say(absl::StrCat("Signatures at the source by key ", key.id,
                       " were not checked: that key was not given."));
    }
  }
  if (result->source_keys.empty()) {
    say("Nothing here is signed at its source.");
  }
  SayWitnesses(result);
  for (const SeenTimestamp& stamp : result->timestamps) {
    say(absl::StrCat(
        stamp.verified ? "Time-stamped " : "Not checked: a time stamp of ",
        TimeText(stamp.stamped_time_us), ", ",
        LeavesText(*result, stamp.tree_size),
        stamp.verified ? "."
                       : ", by an authority whose certificate was not given "
                         "(--tsa-ca)."));
  }
  if (result->timestamps.empty()) say("No time stamp is with it.");
}

}  // namespace diptych::verify
