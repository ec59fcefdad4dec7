#ifndef INDEXER_BUILDER_SYNTHETIC_ARCHIVE_H_
#define INDEXER_BUILDER_SYNTHETIC_ARCHIVE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/log_store.h"
#include "archiver/log/record.h"
#include "archiver/seal/index_keys.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/session_sealer.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

inline constexpr int64_t kSecond_us = 1'000'000;

// For tests: an archive on disk, its records really sealed and in real log
// files, written record by record as a test wants. Failures abort.
class SyntheticArchive {
 public:
  // Makes DIR/volumes and DIR/keystore in `directory`, which must be there.
  explicit SyntheticArchive(const std::string& directory,
                            uint64_t volume_max_bytes = 64 << 20);
  ~SyntheticArchive();

  const std::string& directory() const { return directory_; }
  const base::Uuid& archive_id() const { return archive_id_; }
  const seal::IndexKeys& index_keys() const { return index_keys_; }
  std::vector<seal::KeyPair> RecipientKeys() const;
  const log::LogReader& log() const { return log_reader_; }
  const log::LogReader& key_store() const { return key_reader_; }
  log::Position durable_end() const { return log_->durable_end(); }

  base::Uuid Open(int64_t start_time_us);
  void OpenAs(const base::Uuid& session, int64_t start_time_us);
  // A new epoch, as after a restart of the writer.
  void Resume(const base::Uuid& session);
  void Span(const base::Uuid& session, uint32_t span,
            const stored::v1::SpanDescription& description);

  // Notes of one side in one record, numbered on.
  void Notes(const base::Uuid& session, stored::v1::Side side,
             std::vector<stored::v1::Note> notes);
  // The same with numbers as they are in `notes`.
  void NumberedNotes(const base::Uuid& session, stored::v1::Side side,
                     const std::vector<stored::v1::Note>& notes);
  // A record that no key opens.
  void UnopenableNotes(const base::Uuid& session, stored::v1::Side side);
  void Tag(const base::Uuid& session, const std::string& key,
           const std::vector<std::string>& values, int64_t at_us,
           uint32_t operation = 2);
  void Event(const base::Uuid& session, const std::string& type, int64_t at_us);
  void AttachmentPart(const base::Uuid& session, uint32_t attachment_id,
                      uint64_t offset);

  // One chunk of both sides (1,000 payload bytes each) with this window, under
  // the segment at hand.
  void Chunk(const base::Uuid& session, int64_t from_us, int64_t to_us,
             const std::vector<stored::v1::Side>& sides =
                 {stored::v1::SIDE_RESIDENT, stored::v1::SIDE_CLERK},
             const std::vector<stored::v1::Gap>& gaps = {});
  // The manifest of the segment at hand, whose window is that of its chunks.
  void Manifest(const base::Uuid& session,
                const std::vector<uint32_t>& tracks_without_key_frame = {});
  // A chunk and its manifest.
  void Segment(const base::Uuid& session, int64_t from_us, int64_t to_us);
  // Session and epoch are filled in.
  void StateChanged(const base::Uuid& session,
                    stored::v1::StateChanged changed);
  void ClockChanged(const base::Uuid& session,
                    stored::v1::ClockChanged changed);
  void Close(const base::Uuid& session,
             stored::v1::CloseReason reason = stored::v1::CLOSE_REASON_CLOSED,
             const std::vector<stored::v1::Gap>& gaps = {});

  // Wraps all epochs' root keys to `fresh` instead of the index's key, as
  // `diptych keys rotate` does. index_keys() and RecipientKeys() stay as they
  // are.
  void RotateIndexKey(const seal::KeyPair& fresh);

  log::Position Append(log::RecordType type, std::string header,
                       std::string body);

 private:
  struct Session {
    std::unique_ptr<seal::SessionSealer> sealer;
    int64_t start_time_us = 0;
    uint64_t epoch = 0;
    uint32_t segment = 0;
    uint32_t chunk = 0;
    std::map<int, uint64_t> next_note;
    std::map<int, uint64_t> next_packet;
    stored::v1::Segment manifest;
    std::map<int, stored::v1::SideTotals> totals;
  };

  void WriteOpening(const base::Uuid& id, Session* session, bool resumed);
  Session& At(const base::Uuid& session) { return sessions_.at(session); }

  const std::string directory_;
  const base::Uuid archive_id_;
  seal::KeyPair index_key_;
  seal::KeyPair audit_key_;
  const seal::IndexKeys index_keys_;
  stored::v1::ArchiveConfig config_;
  const std::unique_ptr<base::FileSystem> files_;
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<log::LogStore> key_store_;
  const log::LogReader log_reader_;
  const log::LogReader key_reader_;
  std::map<base::Uuid, Session> sessions_;
  int64_t record_time_us_ = 1;
};

// Notes for the calls above; numbers are filled in there.
stored::v1::Note TagNote(const std::string& key,
                         const std::vector<std::string>& values, int64_t at_us,
                         uint32_t operation = 2);
stored::v1::Note EventNote(const std::string& type, int64_t at_us);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_SYNTHETIC_ARCHIVE_H_
