#ifndef TOOLS_DIPTYCH_CHECK_KEY_STORE_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_KEY_STORE_CHECK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/check/record_feed.h"
#include "tools/diptych/check/store_report.h"

namespace diptych::check {

// Takes the key store's records, and says afterwards what it holds where. Not
// thread-safe.
class KeyStoreCheck {
 public:
  // `report` must outlive this. With `remember_latest` an epoch's wraps are
  // found where they were made last.
  KeyStoreCheck(StoreReport* report, bool remember_latest);

  // Any but a volume's header.
  void Take(const ReadRecord& read);

  // The wraps at a place of the store; nullopt unless they are there whole, are
  // the epoch's and have the digest that the log names.
  std::optional<stored::v1::KeyWraps> Find(log::Position position,
                                           const std::string& session_id,
                                           uint64_t epoch,
                                           const std::string& digest) const;
  // Those of an epoch that were made last, or at `position`.
  std::optional<stored::v1::KeyWraps> Latest(log::Position position,
                                             const std::string& session_id,
                                             uint64_t epoch) const;

 private:
  std::optional<stored::v1::KeyWraps> Read(log::Position position,
                                           std::string* digest) const;

  StoreReport* const report_;
  const bool remember_latest_;
  std::map<std::pair<std::string, uint64_t>, log::Position> latest_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_KEY_STORE_CHECK_H_
