#ifndef TESTS_MUSTFAIL_FORGED_ARCHIVE_H_
#define TESTS_MUSTFAIL_FORGED_ARCHIVE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::mustfail {

// A copy of an archive as somebody has it who can write its disk and knows its
// formats: its records, to be changed and written again with frames, checksums
// and positions that fit. Failures abort.
class ForgedArchive {
 public:
  // Copies the archive's folders to `directory`, which is made anew.
  ForgedArchive(const std::string& original, const std::string& directory);

  const std::string& directory() const { return directory_; }
  const stored::v1::ArchiveConfig& config() const { return config_; }

  // The log's records but for volume headers, and snapshots, which Write makes
  // again where they belong.
  const std::vector<log::Record>& records() const { return records_; }
  const std::vector<log::Record>& key_records() const { return key_records_; }

  // Puts these in the place of the log, or of the key store, in volumes of at
  // most so many records.
  void WriteLog(const std::vector<log::Record>& records,
                size_t records_per_volume = SIZE_MAX) const;
  void WriteKeyStore(const std::vector<log::Record>& records) const;
  // Makes the tree again from what lies in the log, and signs it with the log's
  // own key.
  void SignTree() const;
  // Everything as it was copied.
  void Restore() const;

  std::string Checkpoint() const;

 private:
  void Write(const std::string& folder, stored::v1::VolumeHeader header,
             const std::vector<log::Record>& records,
             size_t records_per_volume) const;

  const std::string original_;
  const std::string directory_;
  stored::v1::ArchiveConfig config_;
  stored::v1::VolumeHeader log_volume_;
  stored::v1::VolumeHeader key_volume_;
  std::vector<log::Record> records_;
  std::vector<log::Record> key_records_;
};

// What a forger makes again who holds no media key: digests in manifests, their
// chain, and what the sessions' ends say of both.
std::vector<log::Record> Rechain(std::vector<log::Record> records);

// The session that a record is of; empty if it is of none.
std::string SessionOf(const log::Record& record);

}  // namespace diptych::mustfail

#endif  // TESTS_MUSTFAIL_FORGED_ARCHIVE_H_
