#include "tools/diptych/push_report.h"

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/api/v1/common.pb.h"
#include "tools/diptych/wire_text.h"

namespace diptych::cli {

void ShowReceipt(const api::v1::Receipt& receipt, Output* output) {
  const std::string manifest =
      absl::BytesToHexString(receipt.manifest_sha256());
  const std::string state(StateWord(receipt.state()));
  const bool proven = !receipt.checkpoint().empty();
  Json sides = Json::array();
  output->Text("receipt");
  output->Text(absl::StrCat("  session   ", receipt.session_id()));
  output->Text(absl::StrCat("  archive   ", receipt.archive_id()));
  output->Text(absl::StrCat("  state     ", state));
  output->Text(
      absl::StrCat("  closed    ", FormatUtc(ToTime(receipt.closed_time()))));
  for (const api::v1::SideTotals& side : receipt.sides()) {
    const std::string word(SideWord(side.side()));
    output->Text(absl::StrFormat("  %-9s %d packets, %d bytes, %s to %s", word,
                                 side.packets(), side.payload_bytes(),
                                 FormatOffset(side.start_us()),
                                 FormatOffset(side.end_us())));
    sides.push_back({{"side", word},
                     {"final_sequence", side.final_sequence()},
                     {"packets", side.packets()},
                     {"bytes", side.payload_bytes()},
                     {"start_s", Seconds(side.start_us())},
                     {"end_s", Seconds(side.end_us())}});
  }
  output->Text(absl::StrCat("  segments  ", receipt.segments()));
  output->Text(absl::StrCat("  manifest  ", manifest));
  output->Text(absl::StrCat("  log       ", receipt.log_position()));
  output->Text(proven ? absl::StrCat("  proof     entry ", receipt.log_index(),
                                     " of the log, in a signed checkpoint")
                      : "  proof     none yet: no checkpoint has it");
  output->Line("receipt", {{"session", receipt.session_id()},
                           {"archive", receipt.archive_id()},
                           {"state", state},
                           {"start", FormatUtc(ToTime(receipt.start_time()))},
                           {"closed", FormatUtc(ToTime(receipt.closed_time()))},
                           {"sides", std::move(sides)},
                           {"segments", receipt.segments()},
                           {"manifest_sha256", manifest},
                           {"log_position", receipt.log_position()},
                           {"log_index",
                            proven ? Json(receipt.log_index()) : Json(nullptr)},
                           {"proven", proven}});
  output->Flush();
}

Json CountersOf(const gateway::SessionCounters& counters) {
  Json sides = Json::array();
  for (const auto& [side, counted] : counters.sides) {
    sides.push_back({{"side", std::string(SideWord(side))},
                     {"accepted", counted.accepted},
                     {"sent", counted.sent},
                     {"sent_again", counted.sent_again},
                     {"acknowledged", counted.acknowledged},
                     {"spooled", counted.spooled},
                     {"dropped", counted.dropped},
                     {"statements", counted.statements},
                     {"signed_packets", counted.signed_packets}});
  }
  return sides;
}

std::string TextOf(const gateway::SessionCounters& counters) {
  gateway::SideCounters sum;
  for (const auto& [side, counted] : counters.sides) {
    sum.acknowledged += counted.acknowledged;
    sum.sent_again += counted.sent_again;
    sum.spooled += counted.spooled;
    sum.dropped += counted.dropped;
    sum.statements += counted.statements;
  }
  std::string text = absl::StrCat("; ", sum.acknowledged, " acknowledged");
  const auto add = [&](uint64_t count, const char* what) {
    if (count > 0) absl::StrAppend(&text, ", ", count, what);
  };
  add(sum.sent_again, " sent again");
  add(sum.spooled, " spooled");
  add(sum.dropped, " dropped");
  add(sum.statements,
      sum.statements == 1 ? " statement signed" : " statements signed");
  add(counters.reconnects,
      counters.reconnects == 1 ? " reconnect" : " reconnects");
  return text;
}

}  // namespace diptych::cli
