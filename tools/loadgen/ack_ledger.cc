#include "tools/loadgen/ack_ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/mutex.h"

namespace diptych::loadgen {
namespace {

using Json = nlohmann::ordered_json;

const char* Word(api::v1::Side side) {
  return side == api::v1::SIDE_RESIDENT ? "resident" : "clerk";
}

Json ToJson(const Recording& recording, const Recording::Side& side) {
  Json packets = Json::array();
  for (const Recording::Item& item : side.items) {
    const api::v1::Packet& packet = item.packet;
    packets.push_back({packet.track_id(), packet.pts_us(), packet.dts_us(),
                       packet.duration_us(), packet.key_frame() ? 1 : 0,
                       packet.payload().size(), item.sha256_hex});
  }
  return {{"recording", Word(side.side)},
          {"round_us", recording.round_us()},
          {"packets", std::move(packets)}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<AckLedger>> AckLedger::Open(
    const std::string& path, const Recording& recording) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) {
    return absl::Status(absl::ErrnoToStatusCode(errno),
                        absl::StrCat("cannot open ", path));
  }
  std::unique_ptr<AckLedger> ledger(new AckLedger(fd));
  for (const Recording::Side& side : recording.sides()) {
    ledger->Write(ToJson(recording, side).dump());
  }
  const absl::Status status = ledger->status();
  if (!status.ok()) return status;
  return ledger;
}

AckLedger::~AckLedger() { close(fd_); }

void AckLedger::Acknowledged(absl::string_view session, api::v1::Side side,
                             uint64_t first, uint64_t last) {
  const absl::Time now = base::Clock::Real()->Now();
  Write(absl::StrCat(R"({"session":")", session, R"(","side":")", Word(side),
                     R"(","first":)", first, R"(,"last":)", last,
                     R"(,"at_us":)", absl::ToUnixMicros(now), "}"));
}

void AckLedger::Closed(absl::string_view session, uint64_t resident,
                       uint64_t clerk) {
  Write(absl::StrCat(R"({"session":")", session, R"(","closed":[)", resident,
                     ",", clerk, "]}"));
}

void AckLedger::Write(const std::string& line) {
  const std::string text = absl::StrCat(line, "\n");
  base::MutexLock lock(&mutex_);
  if (!status_.ok()) return;
  if (write(fd_, text.data(), text.size()) !=
      static_cast<ssize_t>(text.size())) {
    status_ =
        absl::Status(absl::ErrnoToStatusCode(errno), "cannot write the ledger");
  }
}

absl::Status AckLedger::status() const {
  base::MutexLock lock(&mutex_);
  return status_;
}

}  // namespace diptych::loadgen
