#ifndef TOOLS_DIPTYCH_CHECK_LOG_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_LOG_CHECK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/open_sessions.h"
#include "archiver/log/record.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/archive_checker.h"
#include "tools/diptych/check/key_store_check.h"
#include "tools/diptych/check/record_feed.h"
#include "tools/diptych/check/seal_check.h"
#include "tools/diptych/check/session_check.h"
#include "tools/diptych/check/statement_check.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/tree_check.h"

namespace diptych::check {

// Takes the records of the log in order and gives each to the checks of its
// session, of the key store and of the log tree. Not thread-safe.
class LogCheck {
 public:
  // All must outlive this.
  LogCheck(const CheckOptions* options,
           const stored::v1::ArchiveConfig* archive, StoreReport* log,
           KeyStoreCheck* keys, TreeCheck* tree, CheckCounts* counts);

  // Any but a volume's header.
  void Take(const ReadRecord& read);
  void Damaged(const log::Damage& damage);
  void End();

 private:
  struct Session {
    SessionCheck check;
    StatementCheck statements;
    std::optional<SealCheck> seals;
  };

  void Dispatch(const ReadRecord& read);
  template <typename Message>
  std::optional<Message> Header(const ReadRecord& read);
  // The open session that a record names; null, after saying so once a session,
  // if it is not open.
  Session* Find(const log::StoredRecord& record, const std::string& session_id);
  Session* Add(const base::Uuid& id);
  // Whether there is a seal to open; counts it if the keys are not for it.
  bool CanOpen(const ReadRecord& read, const Session& session);
  // Counts how a seal opened.
  void TakeSeal(const log::StoredRecord& record, const absl::Status& status);
  void OpenSeals(log::Position position, const stored::v1::KeyWraps& wraps,
                 Session* session);
  void TakeWraps(
      log::Position position, const seal::WrapContext& context,
      const google::protobuf::RepeatedPtrField<stored::v1::Wrap>& wraps);
  void At(log::Position position, const std::string& session_id);
  void AtChunk(log::Position position, const stored::v1::Chunk& header);

  void TakeOpened(const ReadRecord& read);
  void TakeSpan(const ReadRecord& read);
  void TakeChunk(const ReadRecord& read);
  void TakeNotes(const ReadRecord& read);
  void TakeAttachmentPart(const ReadRecord& read);
  void TakeSourceDigest(const ReadRecord& read);
  void TakeSegment(const ReadRecord& read);
  void TakeStateChanged(const ReadRecord& read);
  void TakeClockChanged(const ReadRecord& read);
  void TakeClosed(const ReadRecord& read);
  void TakeAccess(const ReadRecord& read);
  void TakeKeysChanged(const ReadRecord& read);
  void TakeSnapshot(const ReadRecord& read);
  void CheckFold(const ReadRecord& read, uint64_t errors_before);
  void AdoptSession(log::Position position, const base::Uuid& id,
                    const stored::v1::OpenSession& stored);

  const CheckOptions* const options_;
  const stored::v1::ArchiveConfig* const archive_;
  StoreReport* const log_;
  KeyStoreCheck* const keys_;
  TreeCheck* const tree_;
  CheckCounts* const counts_;
  // The latest that a record says.
  int64_t last_time_us_ = 0;
  // Of the record at hand.
  int64_t record_time_us_ = 0;
  // Durable bytes are damaged: what is missing after them is a consequence.
  bool lost_ = false;
  std::map<base::Uuid, Session> open_;
  // With their last epochs.
  std::unordered_map<base::Uuid, uint64_t, absl::Hash<base::Uuid>> closed_;
  std::set<base::Uuid> unknown_;
  // What snapshots must say.
  log::OpenSessions fold_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_LOG_CHECK_H_
