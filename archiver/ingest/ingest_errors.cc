#include "archiver/ingest/ingest_errors.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::ingest {
namespace {

api::v1::ErrorDetail Detail(absl::string_view reason) {
  api::v1::ErrorDetail detail;
  detail.set_reason(std::string(reason));
  return detail;
}

absl::Status Error(absl::StatusCode code, absl::string_view reason,
                   absl::string_view message) {
  return base::MakeError(code, message, Detail(reason));
}

// New sessions only: whoever asks again later may be let in.
absl::Status Refused(absl::string_view reason, absl::string_view message) {
  api::v1::ErrorDetail detail = Detail(reason);
  detail.set_retryable(true);
  detail.set_retry_after_ms(static_cast<uint32_t>(
      absl::ToInt64Milliseconds(limits::kRefusedRetryAfter)));
  return base::MakeError(absl::StatusCode::kResourceExhausted, message, detail);
}

absl::string_view SideName(api::v1::Side side) {
  return side == api::v1::SIDE_RESIDENT ? "resident"
         : side == api::v1::SIDE_CLERK  ? "clerk"
                                        : "unspecified";
}

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

}  // namespace

absl::Status NotOpened() {
  return Error(kPrecondition, "NOT_OPENED",
               "a stream's first message must be open");
}

absl::Status OpenedTwice() {
  return Error(kPrecondition, "OPENED_TWICE",
               "this stream is open already; open a session once a stream");
}

absl::Status EmptyMessage() {
  return Error(kInvalid, "EMPTY_MESSAGE",
               "a message holds nothing that this version knows");
}

absl::Status TooManyInMessage(absl::string_view reason, absl::string_view what,
                              size_t limit) {
  return Error(kInvalid, reason,
               absl::StrCat("a message holds more than ", limit, " ", what));
}

absl::Status BadSessionId() {
  return Error(kInvalid, "BAD_SESSION_ID",
               "session_id is not a UUID (8-4-4-4-12 hexadecimal digits)");
}

absl::Status BadOpen(absl::string_view message) {
  return Error(kInvalid, "BAD_OPEN", message);
}

absl::Status SideConflict(api::v1::Side side, absl::string_view message) {
  api::v1::ErrorDetail detail = Detail("SIDE_CONFLICT");
  detail.set_side(side);
  return base::MakeError(absl::StatusCode::kAlreadyExists,
                         absl::StrCat("side ", SideName(side), " ", message),
                         detail);
}

absl::Status UnknownTrack(uint32_t track_id) {
  api::v1::ErrorDetail detail = Detail("UNKNOWN_TRACK");
  detail.set_track_id(track_id);
  return base::MakeError(
      kInvalid,
      absl::StrCat("track ", track_id, " is not one of this stream's tracks"),
      detail);
}

absl::Status BadTime(uint32_t track_id, uint64_t sequence,
                     absl::string_view message) {
  api::v1::ErrorDetail detail = Detail("BAD_TIME");
  detail.set_track_id(track_id);
  detail.set_sequence(sequence);
  return base::MakeError(
      kInvalid,
      absl::StrCat("packet ", sequence, " of track ", track_id, ": ", message),
      detail);
}

absl::Status BadPacket(uint32_t track_id, uint64_t sequence,
                       absl::string_view message) {
  api::v1::ErrorDetail detail = Detail("BAD_PACKET");
  detail.set_track_id(track_id);
  detail.set_sequence(sequence);
  return base::MakeError(
      kInvalid,
      absl::StrCat("packet ", sequence, " of track ", track_id, ": ", message),
      detail);
}

absl::Status SequenceGap(api::v1::Side side, uint64_t expected, uint64_t got,
                         bool note) {
  api::v1::ErrorDetail detail = Detail("SEQUENCE_GAP");
  detail.set_side(side);
  detail.set_sequence(got);
  return base::MakeError(
      kInvalid,
      absl::StrCat("side ", SideName(side), ": expected ",
                   note ? "note " : "packet ", expected, ", got ", got,
                   "; go on from what was expected"),
      detail);
}

absl::Status SequenceReused(api::v1::Side side, uint64_t sequence,
                            absl::string_view stored_sha256,
                            absl::string_view received_sha256) {
  api::v1::ErrorDetail detail = Detail("SEQUENCE_REUSED");
  detail.set_side(side);
  detail.set_sequence(sequence);
  detail.set_stored_sha256(std::string(stored_sha256));
  detail.set_received_sha256(std::string(received_sha256));
  return base::MakeError(
      absl::StatusCode::kAlreadyExists,
      absl::StrCat("side ", SideName(side), ": packet ", sequence,
                   " came before with other content (sha256 ",
                   absl::BytesToHexString(stored_sha256), ", now ",
                   absl::BytesToHexString(received_sha256), ")"),
      detail);
}

absl::Status BadNote(api::v1::Side side, uint64_t note,
                     absl::string_view message) {
  api::v1::ErrorDetail detail = Detail("BAD_NOTE");
  detail.set_side(side);
  detail.set_sequence(note);
  return base::MakeError(
      kInvalid,
      absl::StrCat("note ", note, " of side ", SideName(side), ": ", message),
      detail);
}

absl::Status UnknownSource(api::v1::Side side, uint64_t note,
                           absl::string_view key_id) {
  api::v1::ErrorDetail detail = Detail("SOURCE_UNKNOWN");
  detail.set_side(side);
  detail.set_sequence(note);
  return base::MakeError(
      kInvalid,
      absl::StrCat("note ", note, " of side ", SideName(side),
                   " is signed by a key that the archive does not know: ",
                   absl::BytesToHexString(key_id)),
      detail);
}

absl::Status BadSourceSignature(api::v1::Side side, uint64_t note,
                                absl::string_view key_id) {
  api::v1::ErrorDetail detail = Detail("SOURCE_SIGNATURE");
  detail.set_side(side);
  detail.set_sequence(note);
  return base::MakeError(
      kInvalid,
      absl::StrCat("note ", note, " of side ", SideName(side),
                   " is not signed by the key that it names: ",
                   absl::BytesToHexString(key_id)),
      detail);
}

absl::Status SourceMismatch(api::v1::Side side, uint64_t note,
                            uint32_t track_id, uint64_t first_sequence,
                            uint64_t last_sequence) {
  api::v1::ErrorDetail detail = Detail("SOURCE_MISMATCH");
  detail.set_side(side);
  detail.set_track_id(track_id);
  detail.set_sequence(note);
  return base::MakeError(
      kInvalid,
      absl::StrCat("note ", note, " of side ", SideName(side), ": packets ",
                   first_sequence, " to ", last_sequence, " of track ",
                   track_id, " are not what was signed"),
      detail);
}

absl::Status CloseMismatch(api::v1::Side side, uint64_t declared,
                           uint64_t received) {
  api::v1::ErrorDetail detail = Detail("CLOSE_MISMATCH");
  detail.set_side(side);
  detail.set_sequence(declared);
  return base::MakeError(
      kPrecondition,
      absl::StrCat("side ", SideName(side), " closes at ", declared,
                   ", but what came ends at ", received),
      detail);
}

absl::Status SideEnded(api::v1::Side side) {
  api::v1::ErrorDetail detail = Detail("SIDE_ENDED");
  detail.set_side(side);
  return base::MakeError(kPrecondition,
                         absl::StrCat("side ", SideName(side), " is closed"),
                         detail);
}

absl::Status EndedWithoutClose() {
  return Error(kPrecondition, "ENDED_WITHOUT_CLOSE",
               "the stream ended without close; the session stays open, what "
               "was acknowledged is kept, resume it to go on");
}

absl::Status TakenOver() {
  return Error(absl::StatusCode::kAborted, "TAKEN_OVER",
               "a newer stream carries this session's side now");
}

absl::Status SideTakenOver(api::v1::Side side) {
  api::v1::ErrorDetail detail = Detail("TAKEN_OVER");
  detail.set_side(side);
  return base::MakeError(
      absl::StatusCode::kAborted,
      absl::StrCat("a newer stream carries side ", SideName(side), " now"),
      detail);
}

absl::Status SessionClosed() {
  return Error(kPrecondition, "SESSION_CLOSED", "the session is closed");
}

absl::Status Settling() {
  api::v1::ErrorDetail detail = Detail("SETTLING");
  detail.set_retryable(true);
  return base::MakeError(absl::StatusCode::kUnavailable,
                         "the session is being settled; resume in a moment",
                         detail);
}

absl::Status TooManySessions() {
  return Refused("TOO_MANY_SESSIONS",
                 absl::StrCat("no more than ", limits::kMaxOpenSessions,
                              " sessions may be open; try again later"));
}

absl::Status NoSpace(uint64_t free_bytes, uint64_t reserve_bytes) {
  return Refused(
      "NO_SPACE",
      absl::StrCat("the archive's disk has ", free_bytes, " bytes left and ",
                   reserve_bytes,
                   " are kept for open sessions; new sessions are refused "
                   "until there is space again"));
}

absl::Status Overloaded() {
  return Refused("OVERLOADED",
                 "the archive has as much in hand as it can make durable; open "
                 "sessions go on, try again later");
}

absl::Status StorageUnhealthy(absl::string_view why) {
  api::v1::ErrorDetail detail = Detail("STORAGE_UNHEALTHY");
  detail.set_retryable(true);
  detail.set_retry_after_ms(static_cast<uint32_t>(
      absl::ToInt64Milliseconds(limits::kRefusedRetryAfter)));
  return base::MakeError(absl::StatusCode::kUnavailable, why, detail);
}

absl::Status Draining() {
  api::v1::ErrorDetail detail = Detail("DRAINING");
  detail.set_retryable(true);
  return base::MakeError(absl::StatusCode::kUnavailable,
                         "the archive is stopping; resume when it is back",
                         detail);
}

absl::Status StorageFailed() {
  return Error(absl::StatusCode::kUnavailable, "STORAGE_FAILED",
               "the archive cannot write to its disk; nothing is acknowledged "
               "until an operator has looked at it");
}

}  // namespace diptych::ingest
