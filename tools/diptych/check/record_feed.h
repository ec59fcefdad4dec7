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
  log::StoredRecord record;
  // What its body is: not asked for; whole, with its hash; or not what was
  // written.
  enum class Body { kNotRead, kWhole, kDamaged };
  Body body = Body::kNotRead;
  // SHA-256 of a whole body.
  std::string body_sha256;

  // Of the record as it lies in its store; empty if the body is not known.
  std::string Digest() const;
};

// Reads a store in order, on threads of its own: one reads and verifies
// checksums, others hash the bodies, and the caller takes what is ready. Holds
// no more than limits::kCheckQueue_bytes. Next is called by one thread.
class RecordFeed {
 public:
  struct Options {
    // Whether a record's body is read.
    std::function<bool(log::RecordType type, log::Position position)>
        wants_body;
    // False: most bodies are not wanted, so that little is read at a time.
    bool most_bodies = true;
    // Those that hash, 1 to limits::kMaxCheckThreads.
    int threads = 1;
  };
  using Item = std::variant<ReadRecord, log::Damage>;

  // `reader` must outlive this.
  RecordFeed(const log::LogReader* reader, Options options);
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
    bool hashed = false;
  };

  void Read();
  void Hash();
  absl::Status Add(Item item, size_t bytes);
  // Waits for room. CANCELLED once nobody takes anything any more.
  absl::Status Pass();

  const log::LogReader* const reader_;
  const Options options_;
  // Of the reading thread.
  std::unique_ptr<Batch> batch_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::unique_ptr<Batch>> queue_ ABSL_GUARDED_BY(mutex_);
  // Those of the queue that nobody hashes yet.
  std::deque<Batch*> to_hash_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool read_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_RECORD_FEED_H_
