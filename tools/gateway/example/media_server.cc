// How a media server embeds the gateway library. What stands in for the server
// itself is SimulatedPeer: two of them play recorded files at their pace and
// call back, each on its own thread, as an RTP stack does. Everything that a
// real server needs is in ArchivedCall.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/common.pb.h"
#include "proto/api/v1/ingest.pb.h"
#include "tools/gateway/gateway_session.h"
#include "tools/gateway/media_source.h"
#include "tools/gateway/source_signer.h"

namespace diptych::gateway {
namespace {

using api::v1::Side;

struct Arguments {
  // Holds host:port of the archive.
  std::string address_file;
  std::string profile;
  std::string spool;
  std::string resident;
  std::string clerk;
};

const char* NameOf(Side side) {
  return side == api::v1::SIDE_RESIDENT ? "resident" : "clerk";
}

// One end of a call, as the server sees it.
class SimulatedPeer {
 public:
  // Called on the peer's thread, which carries the call: they must not block.
  struct Callbacks {
    std::function<void(api::v1::Packet)> on_frame;
    std::function<void(const std::vector<api::v1::Track>&)> on_tracks;
  };

  static absl::StatusOr<std::unique_ptr<SimulatedPeer>> Open(
      Side side, const std::string& recording, uint32_t first_track_id) {
    auto peer = std::make_unique<SimulatedPeer>();
    peer->side_ = side;
    ASSIGN_OR_RETURN(peer->media_,
                     MediaSource::Open({.input = recording,
                                        .side = side,
                                        .first_track_id = first_track_id}));
    return peer;
  }

  Side side() const { return side_; }
  const std::vector<api::v1::Track>& tracks() const { return media_->tracks(); }

  void Start(Callbacks callbacks) {
    thread_ = std::thread(
        [this, callbacks = std::move(callbacks)] { Play(callbacks); });
  }
  void WaitUntilHungUp() { thread_.join(); }

  // A real one sends RTCP PLI or FIR here.
  void AskEncoderForKeyFrame() { ++keyframes_asked_; }
  uint64_t keyframes_asked() const { return keyframes_asked_; }

 private:
  void Play(const Callbacks& callbacks) {
    const absl::Time began = absl::Now();
    // No packet may be shown before the session begins.
    const int64_t shift_us = -std::min<int64_t>(0, media_->earliest_pts_us());
    while (std::optional<SourceItem> item = media_->Next()) {
      if (const auto* const tracks =
              std::get_if<std::vector<api::v1::Track>>(&*item)) {
        callbacks.on_tracks(*tracks);
        continue;
      }
      auto* frame = std::get_if<api::v1::Packet>(&*item);
      if (frame == nullptr) continue;
      frame->set_pts_us(frame->pts_us() + shift_us);
      frame->set_dts_us(frame->dts_us() + shift_us);
      absl::SleepFor(began + absl::Microseconds(frame->dts_us()) - absl::Now());
      callbacks.on_frame(std::move(*frame));
    }
  }

  Side side_ = api::v1::SIDE_UNSPECIFIED;
  std::unique_ptr<MediaSource> media_;
  std::thread thread_;
  std::atomic<uint64_t> keyframes_asked_ = 0;
};

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path);
  // It may be about to be replaced: only UNAVAILABLE is tried again.
  if (!file) return absl::UnavailableError(absl::StrCat("can't read ", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A call of two peers that the archive gets while it runs.
class ArchivedCall {
 public:
  ArchivedCall(Arguments arguments, std::vector<SimulatedPeer*> peers)
      : arguments_(std::move(arguments)), peers_(std::move(peers)) {}

  absl::Status Begin();
  absl::StatusOr<api::v1::Receipt> End();

  const GatewaySession& session() const { return *session_; }
  // The longest that a thread of the server was held up.
  int64_t longest_call_us() const { return longest_call_us_; }

 private:
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect() const;
  absl::StatusOr<std::shared_ptr<const SourceSigner>> LoadSigner() const;
  void OnFrame(Side side, api::v1::Packet frame);

  const Arguments arguments_;
  const std::vector<SimulatedPeer*> peers_;
  std::unique_ptr<GatewaySession> session_;
  std::atomic<int64_t> longest_call_us_ = 0;
};

absl::Status ArchivedCall::Begin() {
  SessionOptions options;
  // So that nobody behind this server can change what it sent. One signer
  // serves all calls.
  ASSIGN_OR_RETURN(options.source_signer, LoadSigner());
  options.session_id = base::Uuid::Random();
  options.start_time = absl::Now();
  std::printf("session %s\n", options.session_id.ToString().c_str());
  std::fflush(stdout);
  for (const SimulatedPeer* const peer : peers_) {
    api::v1::OpenSide& side = options.sides.emplace_back();
    side.set_side(peer->side());
    for (const api::v1::Track& track : peer->tracks()) {
      *side.add_tracks() = track;
    }
  }
  // Asked again after each break: certificates and addresses may be new.
  options.connect = [this] { return Connect(); };
  // Without it a long outage would cost packets.
  options.spool.directory = arguments_.spool;
  options.on_keyframe_wanted = [this](uint32_t track_id) {
    for (SimulatedPeer* const peer : peers_) {
      for (const api::v1::Track& track : peer->tracks()) {
        if (track.track_id() == track_id) peer->AskEncoderForKeyFrame();
      }
    }
  };
  // Whether the archive can be reached does not matter to the call: nobody
  // waits for it.
  session_ = GatewaySession::Start(std::move(options));
  for (SimulatedPeer* const peer : peers_) {
    const Side side = peer->side();
    peer->Start({.on_frame =
                     [this, side](api::v1::Packet frame) {
                       OnFrame(side, std::move(frame));
                     },
                 .on_tracks =
                     [this, side](const std::vector<api::v1::Track>& tracks) {
                       // A refusal is seen at the next frame.
                       session_->ChangeTracks(side, tracks).IgnoreError();
                     }});
  }
  return absl::OkStatus();
}

void ArchivedCall::OnFrame(Side side, api::v1::Packet frame) {
  const absl::Time began = absl::Now();
  // The call goes on whatever becomes of it; the counters tell what was
  // dropped, and Close what was refused.
  session_->SendPacket(side, std::move(frame)).IgnoreError();
  const int64_t took_us = absl::ToInt64Microseconds(absl::Now() - began);
  int64_t longest_us = longest_call_us_;
  while (took_us > longest_us &&
         !longest_call_us_.compare_exchange_weak(longest_us, took_us)) {
  }
}

absl::StatusOr<api::v1::Receipt> ArchivedCall::End() {
  for (SimulatedPeer* const peer : peers_) peer->WaitUntilHungUp();
  return session_->Close(limits::kCloseTimeout);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ArchivedCall::Connect() const {
  grpc::SslCredentialsOptions tls;
  ASSIGN_OR_RETURN(tls.pem_root_certs,
                   ReadText(arguments_.profile + "/ca.crt"));
  ASSIGN_OR_RETURN(tls.pem_cert_chain,
                   ReadText(arguments_.profile + "/client.crt"));
  ASSIGN_OR_RETURN(tls.pem_private_key,
                   ReadText(arguments_.profile + "/client.key"));
  ASSIGN_OR_RETURN(const std::string address,
                   ReadText(arguments_.address_file));
  return grpc::CreateChannel(std::string(absl::StripAsciiWhitespace(address)),
                             grpc::SslCredentials(tls));
}

absl::StatusOr<std::shared_ptr<const SourceSigner>> ArchivedCall::LoadSigner()
    const {
  ASSIGN_OR_RETURN(const std::string profile,
                   ReadText(arguments_.profile + "/profile.json"));
  ASSIGN_OR_RETURN(const std::string key,
                   ReadText(arguments_.profile + "/source.key"));
  const auto json = nlohmann::json::parse(profile, /*callback=*/nullptr,
                                          /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("archive_id") ||
      !json["archive_id"].is_string()) {
    return absl::InvalidArgumentError("the profile names no archive");
  }
  ASSIGN_OR_RETURN(const base::Uuid archive_id,
                   base::Uuid::Parse(json["archive_id"].get<std::string>()));
  return SourceSigner::Make(key, archive_id);
}

absl::Status Run(const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const auto resident,
      SimulatedPeer::Open(api::v1::SIDE_RESIDENT, arguments.resident, 1));
  ASSIGN_OR_RETURN(const auto clerk,
                   SimulatedPeer::Open(api::v1::SIDE_CLERK, arguments.clerk,
                                       1 + limits::kMaxTracksPerSide));
  ArchivedCall call(arguments, {resident.get(), clerk.get()});
  RETURN_IF_ERROR(call.Begin());
  const auto receipt = call.End();
  const SessionCounters counters = call.session().counters();
  for (const auto& [side, of] : counters.sides) {
    std::printf(
        "%s: accepted %llu, sent %llu, sent again %llu, acknowledged %llu, "
        "spooled %llu, dropped %llu, statements %llu\n",
        NameOf(side), static_cast<unsigned long long>(of.accepted),
        static_cast<unsigned long long>(of.sent),
        static_cast<unsigned long long>(of.sent_again),
        static_cast<unsigned long long>(of.acknowledged),
        static_cast<unsigned long long>(of.spooled),
        static_cast<unsigned long long>(of.dropped),
        static_cast<unsigned long long>(of.statements));
  }
  const uint64_t keyframes_asked =
      resident->keyframes_asked() + clerk->keyframes_asked();
  std::printf(
      "reconnects %llu, key frames asked for %llu, longest call %lld us\n",
      static_cast<unsigned long long>(counters.reconnects),
      static_cast<unsigned long long>(keyframes_asked),
      static_cast<long long>(call.longest_call_us()));
  return receipt.status();
}

}  // namespace
}  // namespace diptych::gateway

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(
        stderr,
        "usage: media_server ADDRESS_FILE PROFILE SPOOL RESIDENT CLERK\n");
    return 2;
  }
  const absl::Status status =
      diptych::gateway::Run({argv[1], argv[2], argv[3], argv[4], argv[5]});
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}
