#ifndef TOOLS_DIPTYCH_CHECK_RECORD_FEED_H_
#define TOOLS_DIPTYCH_CHECK_RECORD_FEED_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/mutex.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"

namespace diptych::check {

// A record with what reading it showed.
struct ReadRecord {
  // Its body is there only if it was asked for.
  log::StoredRecord record;
  // What its body is: not read; whole, with its hash; or not what was written.
  enum class Body { kNotRead, kWhole, kDamaged };
  Body body = Body::kNotRead;
  size_t body_bytes = 0;
  // SHA-256 of a whole body.
  std::string body_sha256;

  // Of the record as it lies in its store; empty if the body is not known.
  std::string Digest() const;
};

// Reads a store in order, on threads of its own: each reads a volume, verifies
// checksums and hashes bodies where they lie; the caller takes what is ready,
// volume by volume. Holds no more than limits::kCheckQueue_bytes. Next is
// called by one thread.
class RecordFeed {
 public:
  struct Options {
    // Whether a record's body is read, and whether it is then also wanted.
    std::function<bool(log::RecordType type, log::Position position)>
        reads_body;
    std::function<bool(log::RecordType type)> keeps_body;
    // False: most bodies are not read, so that little is read at a time.
    bool most_bodies = true;
    // Volumes that are read at once, 1 to limits::kMaxCheckThreads.
    int threads = 1;
  };
  using Item = std::variant<ReadRecord, log::Damage>;

  // Reads `volumes`, as `reader` lists them, which must outlive this.
  RecordFeed(const log::LogReader* reader,
             const std::vector<log::VolumeInfo>& volumes, Options options);
  // Gives up what was not taken.
  ~RecordFeed();
  RecordFeed(const RecordFeed&) = delete;
  RecordFeed& operator=(const RecordFeed&) = delete;

  // Some items in the order of the store; none: the store ends here. An error
  // is the reader's, after all that came before it.
  absl::StatusOr<std::vector<Item>> Next();

 private:
  struct Batch {
    std::vector<Item> items;
    size_t bytes = 0;
  };
  struct Volume {
    log::VolumeInfo info;
    std::deque<Batch> queue;
    size_t queued_bytes = 0;
    bool read_all = false;
    absl::Status end;
  };

  void Work();
  absl::Status Read(Volume* volume);
  absl::Status Add(Volume* volume, Item item, size_t bytes, Batch* batch);
  // Waits for room. CANCELLED once nobody takes anything any more.
  absl::Status Pass(Volume* volume, Batch* batch);

  const log::LogReader* const reader_;
  const Options options_;
  const size_t max_queued_bytes_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<Volume> volumes_ ABSL_GUARDED_BY(mutex_);
  // The next that nobody reads yet, and that which is being taken.
  size_t next_to_read_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t next_to_take_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_RECORD_FEED_H_
