#ifndef TOOLS_DIPTYCH_WITNESS_WITNESS_H_
#define TOOLS_DIPTYCH_WITNESS_WITNESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/file.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/note.h"
#include "archiver/seal/signing.h"

namespace diptych::cli {

// Somebody who signs a log's checkpoints as long as each goes on from the one
// before, and remembers that one. In its state folder:
//
//   log.vkey     the log's key, from the first time on
//   checkpoint   the last that it signed, or was about to
//   refused      two checkpoints that contradict each other, both signed by the
//                log; while it is there, nothing more is signed
//
// Not thread-safe; one process at a time has a state folder.
class Witness {
 public:
  struct Options {
    base::FileSystem* file_system = nullptr;
    // Made if it is not there.
    std::string state_directory;
    // The log's key; nullopt: the one that the folder remembers.
    std::optional<evidence::NoteKey> log_key;
    // Type kCosignature, of `key`.
    evidence::NoteKey name;
  };

  // FAILED_PRECONDITION if the folder remembers another log key, or none and
  // none is given; DATA_LOSS if something in it is false, or if it has refused
  // this log before.
  static absl::StatusOr<std::unique_ptr<Witness>> Open(const Options& options,
                                                       seal::SigningKey key);

  // Proves that the tree of `from` leaves is the beginning of that of `to`.
  using FetchProof = std::function<absl::StatusOr<std::vector<std::string>>(
      uint64_t from, uint64_t to)>;

  // Signs the log's checkpoint `note` if it is the one before or goes on from
  // it, and returns it with the witness's line; by then it is remembered,
  // durably. DATA_LOSS if it must not be signed: it is not signed by the log,
  // smaller than one before, or contradicts it (which is kept in `refused`).
  // Errors of `fetch` as they are.
  absl::StatusOr<std::string> Sign(absl::string_view note,
                                   const FetchProof& fetch, uint64_t time_s);

  // Leaves of the checkpoint before; 0 if there is none.
  uint64_t last_size() const {
    return last_.has_value() ? last_->checkpoint.size : 0;
  }
  const evidence::NoteKey& log_key() const { return log_key_; }

 private:
  Witness(const Options& options, seal::SigningKey key);

  // Remembers the contradiction for good.
  absl::Status Refuse(const evidence::SignedCheckpoint& other,
                      absl::string_view why);
  std::string Path(absl::string_view name) const;
  absl::Status Write(absl::string_view name, absl::string_view content);
  // nullopt if there is no such file.
  absl::StatusOr<std::optional<std::string>> Read(absl::string_view name) const;

  const Options options_;
  const seal::SigningKey key_;
  evidence::NoteKey log_key_;
  std::optional<evidence::SignedCheckpoint> last_;
};

}  // namespace diptych::cli

#endif  // TOOLS_DIPTYCH_WITNESS_WITNESS_H_
