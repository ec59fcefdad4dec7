#ifndef ARCHIVER_INGEST_INGEST_ERRORS_H_
#define ARCHIVER_INGEST_INGEST_ERRORS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::ingest {

// The errors that a gateway can meet, each with its stable reason. The place
// (session, side, track, sequence) is added with base::WithDetail by whoever
// knows it.

// The stream's first message is not `open`, or a later one is.
absl::Status NotOpened();
absl::Status OpenedTwice();
absl::Status EmptyMessage();
// More than `limit` of `what` ("packets") in one message.
absl::Status TooManyInMessage(absl::string_view reason, absl::string_view what,
                              size_t limit);
absl::Status BadSessionId();
absl::Status BadOpen(absl::string_view message);
// A side that one message declares twice.
absl::Status SideConflict(api::v1::Side side, absl::string_view message);
absl::Status UnknownTrack(uint32_t track_id);
absl::Status BadTime(uint32_t track_id, uint64_t sequence,
                     absl::string_view message);
absl::Status BadPacket(uint32_t track_id, uint64_t sequence,
                       absl::string_view message);
absl::Status SequenceGap(api::v1::Side side, uint64_t expected, uint64_t got,
                         bool note);
absl::Status SequenceReused(api::v1::Side side, uint64_t sequence,
                            absl::string_view stored_sha256,
                            absl::string_view received_sha256);
absl::Status BadNote(api::v1::Side side, uint64_t note,
                     absl::string_view message);
// What a gateway signed: by a key that the archive does not know, not by that
// key, not of the packets that came.
absl::Status UnknownSource(api::v1::Side side, uint64_t note,
                           absl::string_view key_id);
absl::Status BadSourceSignature(api::v1::Side side, uint64_t note,
                                absl::string_view key_id);
absl::Status SourceMismatch(api::v1::Side side, uint64_t note,
                            uint32_t track_id, uint64_t first_sequence,
                            uint64_t last_sequence);
absl::Status CloseMismatch(api::v1::Side side, uint64_t declared,
                           uint64_t received);
absl::Status SideEnded(api::v1::Side side);
absl::Status EndedWithoutClose();
// A newer stream carries the stream's sides, or (with `side`) one of them.
absl::Status TakenOver();
absl::Status SideTakenOver(api::v1::Side side);
absl::Status SessionClosed();
// What the session's last actor wrote is not in the log yet.
absl::Status Settling();
absl::Status TooManySessions();
absl::Status Draining();
// New sessions are refused, open ones go on: the disk has only what is reserved
// for those, or memory is taken up by what is not durable yet.
absl::Status NoSpace(uint64_t free_bytes, uint64_t reserve_bytes);
absl::Status Overloaded();
// Nothing becomes durable right now, for this reason.
absl::Status StorageUnhealthy(absl::string_view why);
absl::Status StorageFailed();

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_INGEST_ERRORS_H_
