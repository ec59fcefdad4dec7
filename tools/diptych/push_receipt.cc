#include "tools/diptych/push_receipt.h"

#include <algorithm>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/clock.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/new_file.h"
#include "tools/diptych/wire_text.h"

namespace diptych::cli {
namespace {

constexpr char kFormat[] = "diptych-receipt-1";
// Between two attempts; the archive itself waits for its next checkpoint.
constexpr absl::Duration kPause = absl::Milliseconds(200);

}  // namespace

Json ReceiptJson(const api::v1::Receipt& receipt) {
  Json sides = Json::array();
  for (const api::v1::SideTotals& side : receipt.sides()) {
    sides.push_back({{"side", std::string(SideWord(side.side()))},
                     {"final_sequence", side.final_sequence()},
                     {"packets", side.packets()},
                     {"bytes", side.payload_bytes()},
                     {"start_s", Seconds(side.start_us())},
                     {"end_s", Seconds(side.end_us())}});
  }
  Json json = {
      {"format", kFormat},
      {"session", receipt.session_id()},
      {"archive", receipt.archive_id()},
      {"state", std::string(StateWord(receipt.state()))},
      {"start_time", FormatUtc(ToTime(receipt.start_time()))},
      {"closed_time", FormatUtc(ToTime(receipt.closed_time()))},
      {"sides", std::move(sides)},
      {"segments", receipt.segments()},
      {"manifest_sha256", absl::BytesToHexString(receipt.manifest_sha256())},
      {"closed_header", absl::Base64Escape(receipt.closed_header())},
      {"log_position", receipt.log_position()}};
  if (receipt.checkpoint().empty()) return json;
  json["log_index"] = receipt.log_index();
  json["inclusion_proof"] = Json::array();
  for (const std::string& hash : receipt.inclusion_proof()) {
    json["inclusion_proof"].push_back(absl::Base64Escape(hash));
  }
  json["checkpoint"] = receipt.checkpoint();
  return json;
}

absl::Status CheckReceiptPath(const std::string& path,
                              const std::string& session_id) {
  const absl::StatusOr<std::string> there =
      base::ReadWholeFile(path, limits::kMaxReceipt_bytes);
  if (!absl::IsNotFound(there.status())) {
    const Json json = Json::parse(there.value_or(""), /*callback=*/nullptr,
                                  /*allow_exceptions=*/false);
    if (!json.is_object() || json.value("format", Json()) != kFormat ||
        json.value("session", Json()) != session_id) {
      return absl::AlreadyExistsError(
          absl::StrCat(path,
                       " exists already: choose another name for the "
                       "receipt"));
    }
  }
  // Goes at once: it only shows that the folder takes a file.
  return PendingFile::Create(path, /*replace=*/true).status();
}

absl::Status WriteReceipt(const std::string& path,
                          const api::v1::Receipt& receipt) {
  ASSIGN_OR_RETURN(PendingFile file,
                   PendingFile::Create(path, /*replace=*/true));
  RETURN_IF_ERROR(file.WriteAt(
      0, absl::StrCat(ReceiptJson(receipt).dump(2, ' ', /*ensure_ascii=*/false,
                                                Json::error_handler_t::replace),
                      "\n")));
  return file.Commit();
}

absl::StatusOr<api::v1::Receipt> AwaitProvenReceipt(
    const gateway::SessionOptions& session, const api::v1::Receipt& unproven,
    absl::Duration timeout, Interrupt* interrupt) {
  const absl::Duration deadline = base::Clock::Real()->Monotonic() + timeout;
  while (true) {
    const absl::Duration left = deadline - base::Clock::Real()->Monotonic();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          "the archive's log has no checkpoint for it yet");
    }
    gateway::SessionOptions options;
    options.connect = session.connect;
    options.session_id = session.session_id;
    options.start_time = session.start_time;
    options.sides = session.sides;
    options.first_connect_timeout = left;
    const auto again = gateway::GatewaySession::Start(std::move(options));
    const Interrupt::ScopedCallback abort(interrupt,
                                          [&again] { again->Abort(); });
    RETURN_IF_ERROR(again->WaitUntilOpen(left));
    // It was closed: this sends nothing.
    ASSIGN_OR_RETURN(api::v1::Receipt receipt, again->Close(left));
    if (receipt.closed_header() != unproven.closed_header()) {
      return absl::FailedPreconditionError(
          "the archive has another closing of this session now");
    }
    if (!receipt.checkpoint().empty()) return receipt;
    RETURN_IF_ERROR(interrupt->Check());
    absl::SleepFor(std::min(kPause, left));
  }
}

}  // namespace diptych::cli
