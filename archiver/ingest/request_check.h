#ifndef ARCHIVER_INGEST_REQUEST_CHECK_H_
#define ARCHIVER_INGEST_REQUEST_CHECK_H_

#include "absl/status/status.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"

namespace diptych::ingest {

// What can be said of a message without knowing its session. Every error has
// its reason; see ingest_errors.h.

// Sides named once, each with 1 to 8 good tracks of its own, ids unique.
absl::Status CheckOpen(const api::v1::Open& open);
absl::Status CheckOpenSide(const api::v1::OpenSide& side);

// Times in range and in order with each other, payload in canonical form.
absl::Status CheckPacket(const api::v1::Track& track,
                         const api::v1::Packet& packet);

// Times in range, tags and events by the rules.
absl::Status CheckNote(api::v1::Side side, const api::v1::Note& note);

// True if both describe the same track with the same parameters.
bool SameTrack(const api::v1::Track& a, const api::v1::Track& b);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_REQUEST_CHECK_H_
