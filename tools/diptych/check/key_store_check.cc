#include "tools/diptych/check/key_store_check.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/check/record_feed.h"
#include "tools/diptych/check/store_report.h"

namespace diptych::check {

KeyStoreCheck::KeyStoreCheck(StoreReport* report, bool remember_latest)
    : report_(report), remember_latest_(remember_latest) {}

void KeyStoreCheck::Take(const ReadRecord& read) {
  const log::StoredRecord& record = read.record;
  if (record.type != log::RecordType::kKeyWraps) {
    report_->False(record.position,
                   absl::StrCat("a ", log::RecordTypeName(record.type),
                                " record lies in the key store"));
    return;
  }
  if (read.body != ReadRecord::Body::kWhole) return;
  stored::v1::KeyWraps header;
  stored::v1::KeyWraps wraps;
  if (!header.ParseFromString(record.header) ||
      !wraps.ParseFromString(record.body) ||
      header.session_id() != wraps.session_id() ||
      header.epoch() != wraps.epoch() || wraps.wraps().empty()) {
    report_->False(record.position,
                   "wrapped keys do not agree with their record's header");
    return;
  }
  if (remember_latest_) {
    latest_[{wraps.session_id(), wraps.epoch()}] = record.position;
  }
}

std::optional<stored::v1::KeyWraps> KeyStoreCheck::Read(
    log::Position position, std::string* digest) const {
  const auto stored = report_->reader().Read(position);
  if (!stored.ok() || stored->type != log::RecordType::kKeyWraps) {
    return std::nullopt;
  }
  stored::v1::KeyWraps wraps;
  if (!wraps.ParseFromString(stored->body)) return std::nullopt;
  if (digest != nullptr) {
    *digest =
        evidence::RecordDigest(stored->type, stored->header, stored->body);
  }
  return wraps;
}

std::optional<stored::v1::KeyWraps> KeyStoreCheck::Find(
    log::Position position, const std::string& session_id, uint64_t epoch,
    const std::string& digest) const {
  std::string found;
  std::optional<stored::v1::KeyWraps> wraps = Read(position, &found);
  if (!wraps.has_value() || wraps->session_id() != session_id ||
      wraps->epoch() != epoch || found != digest) {
    return std::nullopt;
  }
  return wraps;
}

std::optional<stored::v1::KeyWraps> KeyStoreCheck::Latest(
    log::Position position, const std::string& session_id,
    uint64_t epoch) const {
  const auto latest = latest_.find({session_id, epoch});
  return Read(latest == latest_.end() ? position : latest->second, nullptr);
}

}  // namespace diptych::check
