#ifndef INDEXER_RETRIEVAL_FILE_SINK_H_
#define INDEXER_RETRIEVAL_FILE_SINK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct AVIOContext;

namespace diptych::indexer {

// Takes a file's bytes: mostly one after the other, and some places again once
// their content is known.
using WriteBytes =
    std::function<absl::Status(uint64_t offset, absl::string_view bytes)>;

// A file that libav believes it can seek in, but that only ever leaves as
// (offset, bytes). After an error of the receiver nothing more leaves. Not
// thread-safe.
class FileSink {
 public:
  static absl::StatusOr<std::unique_ptr<FileSink>> Create(WriteBytes write);
  ~FileSink();
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  // Owned by this object.
  AVIOContext* io() { return io_; }

  // Lets everything that libav has written so far leave.
  absl::Status Flush();

  // From here on, what is written at or after `from` is kept instead of sent.
  void HoldFrom(uint64_t from);
  // Ends that and returns what was kept, from `from` on. RESOURCE_EXHAUSTED if
  // it was more than limits::kMaxMp4Index_bytes.
  absl::StatusOr<std::string> TakeHeld();

  // Sends bytes past libav.
  absl::Status Send(uint64_t offset, absl::string_view bytes);

  // Where libav writes next, once flushed; and makes it go on elsewhere.
  uint64_t position() const { return position_; }
  void GoOnAt(uint64_t position);

  // The first error of the receiver.
  const absl::Status& status() const { return status_; }

  // The end of what was written.
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  explicit FileSink(WriteBytes write) : write_(std::move(write)) {}

  static int OnWrite(void* opaque, uint8_t* data, int size);
  static int64_t OnSeek(void* opaque, int64_t offset, int whence);
  absl::Status Take(absl::string_view bytes);

  const WriteBytes write_;
  AVIOContext* io_ = nullptr;
  absl::Status status_;
  uint64_t position_ = 0;
  uint64_t file_bytes_ = 0;
  std::optional<uint64_t> hold_from_;
  std::string held_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_FILE_SINK_H_
