#ifndef ARCHIVER_SEAL_KEY_POSITIONS_H_
#define ARCHIVER_SEAL_KEY_POSITIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::seal {

// Where the key store has the root keys of each epoch, by all of a log: where
// its opening says, or where they were wrapped again last. Also what the log
// tells of recipients. In memory some 100 bytes an epoch. Not thread-safe.
class KeyPositions {
 public:
  using Epoch = std::pair<base::Uuid, uint64_t>;

  enum class Which {
    kAll,
    // Only of epochs whose keys were wrapped again: little, for somebody who
    // has the others from elsewhere.
    kRewrapped,
  };

  // Scans the headers of a whole log. Damage is passed over: what it hid is
  // missing. `on_progress` may be empty; its error ends the scan.
  static absl::StatusOr<KeyPositions> Scan(
      const log::LogReader& log, Which which,
      const std::function<absl::Status(log::Position)>& on_progress = nullptr);

  // Nothing if the log does not tell.
  std::optional<log::Position> Find(const base::Uuid& session,
                                    uint64_t epoch) const;

  const std::map<Epoch, log::Position>& epochs() const { return epochs_; }

  // The last that the log says of a recipient; nothing if it never spoke of it.
  std::optional<stored::v1::ChangedRecipient> FindRecipient(
      absl::string_view recipient_id) const;

 private:
  void Take(const log::StoredRecord& record, Which which);

  std::map<Epoch, log::Position> epochs_;
  std::map<std::string, stored::v1::ChangedRecipient> recipients_;
};

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_KEY_POSITIONS_H_
