#ifndef TESTS_POWER_POWER_RIG_H_
#define TESTS_POWER_POWER_RIG_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "archiver/base/fake_clock.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/ids.h"
#include "archiver/base/mutex.h"
#include "archiver/ingest/session.h"
#include "archiver/ingest/session_registry.h"
#include "archiver/log/committer.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/seal/key_file.h"
#include "proto/api/v1/ingest.pb.h"
#include "proto/stored/v1/keys.pb.h"

namespace diptych::power {

// How long anything may take that should happen at once.
inline constexpr absl::Duration kPatience = absl::Seconds(30);

// What a gateway will have sent of one session once it is through.
struct Plan {
  base::Uuid id;
  // The sides that each of its streams carries.
  std::vector<std::vector<api::v1::Side>> streams;
  // Of each side, in bursts of 50; a burst is a second.
  uint64_t packets = 0;
  std::map<api::v1::Side, std::vector<api::v1::Note>> notes;

  std::vector<api::v1::Side> Sides() const;
};

// What a gateway has been promised of one session.
struct Promised {
  std::map<api::v1::Side, uint64_t> packets;
  std::map<api::v1::Side, uint64_t> notes;
  std::optional<api::v1::Receipt> receipt;
};

// The archive's name, keys, and what its sessions are to hold.
struct Script {
  Script();

  base::Uuid archive_id = base::Uuid::Random();
  seal::KeyPair audit = seal::KeyPair::Generate("audit");
  stored::v1::ArchiveConfig archive;
  std::vector<Plan> plans;

  // 160 bytes that no other packet has.
  static std::string Payload(const Plan& plan, api::v1::Side side,
                             uint64_t sequence);
};

// The writer's parts on one file system, as the daemon puts them together. Its
// end is a crash: nothing is drained.
class Writer {
 public:
  static absl::StatusOr<std::unique_ptr<Writer>> Start(
      const Script* script, base::FaultyFileSystem* files,
      base::FakeClock* clock);
  ~Writer();

  ingest::SessionRegistry* registry() { return registry_.get(); }
  // Of both stores: the first that is not well.
  absl::Status health() const;
  // False if it does not say within `timeout` that nothing becomes durable.
  bool WaitUnwell(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Writer() = default;
  void SayUnwell() ABSL_LOCKS_EXCLUDED(mutex_);

  base::Mutex mutex_;
  base::CondVar unwell_changed_;
  bool unwell_ ABSL_GUARDED_BY(mutex_) = false;

  std::unique_ptr<log::LogStore> keys_;
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<log::LogReader> reader_;
  std::unique_ptr<ingest::SessionRegistry> registry_;
  std::unique_ptr<log::Committer> key_committer_;
  std::unique_ptr<log::Committer> committer_;
  ingest::SessionContext context_;
};

// A gateway's end of a stream: keeps what it was promised.
class Sink final : public ingest::StreamSink {
 public:
  void Send(api::v1::RecordResponse response) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  void SendDurable(const api::v1::SideProgress& progress) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  void FailSide(api::v1::Side side, const absl::Status& status) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Finish(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);
  void Resume() override {}

  // Waits for what is said; false if the stream ended first.
  bool WaitOpened(api::v1::Opened* opened) ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitDurable(api::v1::Side side, uint64_t packets, uint64_t notes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitEnd() ABSL_LOCKS_EXCLUDED(mutex_);

  std::map<api::v1::Side, api::v1::SideProgress> durable()
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<api::v1::Receipt> receipt() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool Wait(const std::function<bool()>& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::Mutex mutex_;
  base::CondVar changed_;
  std::optional<api::v1::Opened> opened_ ABSL_GUARDED_BY(mutex_);
  std::optional<api::v1::Receipt> receipt_ ABSL_GUARDED_BY(mutex_);
  std::map<api::v1::Side, api::v1::SideProgress> durable_
      ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// Drives all sessions from wherever the writer says they are to their receipts.
// Returns false if it got no further. What was promised by then is in
// `promised`, one for each plan. `before_burst` is called before each burst.
bool Drive(const Script& script, Writer* writer, base::FakeClock* clock,
           std::vector<Promised>* promised,
           const std::function<void(size_t)>& before_burst = nullptr);

struct Found {
  // By side, then by number: how often.
  std::map<api::v1::Side, std::map<uint64_t, int>> packets;
  std::map<api::v1::Side, std::map<uint64_t, int>> notes;
  uint64_t attachment_bytes = 0;
  std::optional<uint64_t> closed_at;
  int chunks = 0;
  int chunks_in_manifests = 0;
};

struct Reading {
  std::vector<Found> sessions;
  std::vector<log::Damage> damages;
  // What contradicts something: for people.
  std::vector<std::string> problems;
};

// Opens everything with the audit key and compares it byte by byte.
Reading ReadArchive(const Script& script, base::FaultyFileSystem* files);

// Everything promised is there, once, and nothing is that was never sent; with
// `whole`, everything of the plan. Problems, for people.
std::vector<std::string> Compare(const Script& script, const Reading& reading,
                                 const std::vector<Promised>& promised,
                                 bool whole);

// Calls `each` for 0 to `count` - 1 on a few threads.
void InParallel(uint64_t count, const std::function<void(uint64_t)>& each);

}  // namespace diptych::power

#endif  // TESTS_POWER_POWER_RIG_H_
