#ifndef TOOLS_GATEWAY_GATEWAY_SESSION_H_
#define TOOLS_GATEWAY_GATEWAY_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/outbox.h"
#include "tools/gateway/source_signer.h"
#include "tools/gateway/spool.h"

namespace diptych::gateway {

struct SessionOptions {
  // Makes a channel for one attempt to connect; called again after each break,
  // so that an archive that came back elsewhere is found.
  std::function<absl::StatusOr<std::shared_ptr<grpc::Channel>>()> connect;
  base::Uuid session_id;
  absl::Time start_time;
  // One or both sides, with their tracks before the first packet.
  std::vector<api::v1::OpenSide> sides;
  // Another stream will bring the other side.
  bool more_sides_expected = false;
  size_t buffer_bytes = limits::kGatewayBuffer_bytes;
  // Where to keep on disk what is not durable after limits::kSpoolAfter, or is
  // more than memory holds (spool.h). Empty directory: nowhere. A session with
  // a spool tries to reach its archive for as long as it lives.
  SpoolOptions spool;
  // An earlier process may have handed over a part of this session: what it
  // left in the spool is sent first, and new packets are numbered after all
  // that the archive has. Otherwise numbers begin at 1, what is in the spool is
  // thrown away, and the caller sends everything again.
  bool continues = false;
  // An open spool of an earlier process, for `continues`; else it is opened.
  std::shared_ptr<Spool> opened_spool;
  // Signs what is sent, for each track at least every
  // limits::kSourceDigestEvery; null: nothing is signed. Needed to go on with
  // a spool whose process had one.
  std::shared_ptr<const SourceSigner> source_signer;
  // The caller reads files, and another process may send all of it again with
  // the same numbers, if it signs as this one does. What is stated together is
  // then told by the packets' own times and not by the clock.
  bool repeatable = false;
  // A session that can't be opened for this long, at the start or after a
  // break, has failed.
  absl::Duration first_connect_timeout = limits::kFirstConnectTimeout;
  absl::Duration reconnect_timeout = limits::kReconnectTimeout;
  absl::Duration reconnect_min = limits::kReconnectMin;
  absl::Duration reconnect_max = limits::kReconnectMax;

  // All may be empty. Called on the session's threads, without locks; they must
  // not block, nor destroy the session.
  std::function<void(uint32_t track_id)> on_keyframe_wanted;
  // The stream broke for this reason and is made again.
  std::function<void(const absl::Status& reason)> on_broken;
  // It is there again; what was not durable is sent again.
  std::function<void()> on_resumed;
};

// What became of a session so far.
struct SessionCounters {
  std::map<api::v1::Side, SideCounters> sides;
  // Streams that broke and were made again.
  uint64_t reconnects = 0;
  // Of the spool, now.
  uint64_t spool_bytes = 0;
  // Why the spool can't be written at the moment, or what of it could not be
  // read; OK if neither, or if there is none.
  absl::Status spool_status;
};

// One stream to an archive's Ingest.Record: hands over a session, or one side
// of it. Every packet and note is kept until the archive says that it is
// durable, and after a break everything that is not is sent again, in order,
// from where the archive says. Thread-safe; any number of sessions may run at
// once.
class GatewaySession {
 public:
  // Begins to connect.
  static std::unique_ptr<GatewaySession> Start(SessionOptions options);

  // Breaks the stream if it is not closed. What is not durable goes to the
  // spool; without one it is lost.
  virtual ~GatewaySession() = default;

  // Waits until the archive has opened the session, or has said that it was
  // closed before: then Close gives its receipt, and nothing can be sent.
  // INVALID_ARGUMENT, PERMISSION_DENIED and the like are the archive's;
  // UNAVAILABLE: it could not be reached in time.
  virtual absl::Status WaitUntilOpen() = 0;

  // The same, for at most `timeout`; DEADLINE_EXCEEDED while it is being tried.
  virtual absl::Status WaitUntilOpen(absl::Duration timeout) = 0;

  // Each takes the next number of `side`, from 1, and returns at once: no disk
  // and no network is waited for. RESOURCE_EXHAUSTED, and a packet that is
  // dropped and counted, if memory and spool are full. Any other error means
  // that the side, or the whole session, has failed for good; that status is
  // then returned for ever.
  virtual absl::Status SendPacket(api::v1::Side side,
                                  api::v1::Packet packet) = 0;
  virtual absl::Status SendNote(api::v1::Side side, api::v1::Note note) = 0;

  // For callers that can wait, as one that reads a file: returns once what is
  // not durable fits well into memory. DEADLINE_EXCEEDED after `timeout`; or
  // why the side, or the session, has failed.
  virtual absl::Status WaitForRoom(api::v1::Side side,
                                   absl::Duration timeout) = 0;

  // The side's tracks from the next packet on.
  virtual absl::Status ChangeTracks(
      api::v1::Side side, const std::vector<api::v1::Track>& tracks) = 0;

  // Sends what is left, closes the sides that have not failed, and waits for
  // the receipt. If another stream still carries a side, that one gets it: the
  // result here is then a Receipt without a session id. DEADLINE_EXCEEDED after
  // `timeout`.
  virtual absl::StatusOr<api::v1::Receipt> Close(absl::Duration timeout) = 0;

  // Ends everything at once; calls that wait return CANCELLED.
  virtual void Abort() = 0;

  // OK, or why the side is refused.
  virtual absl::Status side_status(api::v1::Side side) const = 0;

  // How far the archive has it.
  virtual api::v1::SideProgress durable(api::v1::Side side) const = 0;

  virtual SessionCounters counters() const = 0;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_GATEWAY_SESSION_H_
