#ifndef INDEXER_BUILDER_BULK_WRITER_H_
#define INDEXER_BUILDER_BULK_WRITER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/builder/disk_room.h"
#include "indexer/builder/external_sort.h"
#include "indexer/store/family.h"
#include "indexer/store/index_store.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/row_sink.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {

// Sorted runs of each family.
using FamilyRuns = std::array<std::vector<SortedRun>, kFamilies>;

// Gathers rows of a new index in any order and writes them as sorted runs, to
// be merged by IngestRuns. A row may be put again; the later one counts. Each
// of several writers must have sessions of its own. Not thread-safe.
class BulkWriter final : public RowSink {
 public:
  // Runs are files whose names begin with `path`. `max_bytes`: what it holds in
  // memory. `room`: on the disk; may be null, and must outlive it.
  explicit BulkWriter(std::string path,
                      size_t max_bytes = 2 * limits::kRebuildSort_bytes,
                      const DiskRoom* room = nullptr);

  void Put(Family family, std::string key, std::string value) override;
  // A new index has nothing to delete.
  void Delete(Family /*family*/, std::string /*key*/) override {}
  void SetPosting(const PostingList& list, SessionNumber session,
                  const RunSet& runs) override;
  void AddChunk(const base::Uuid& session,
                const stored::v1::ChunkRow& chunk) override;

  // A value that a note brought: `place` is where in the log. Of too many
  // values of a key those stay whose places are the first.
  void AddWord(uint64_t position, uint32_t place, absl::string_view key,
               absl::string_view value);

  // Puts what was gathered of a session's chunks: no more will come of it for
  // now.
  void EndSession(const base::Uuid& session);

  // The first error; what was put since then is lost.
  const absl::Status& status() const { return status_; }

  // Writes all that is in memory, and keeps nothing there.
  absl::Status Spill();
  const FamilyRuns& runs() const { return runs_; }

  // Begins where another writer had come to: its runs, and the number that its
  // next file has.
  void Restore(FamilyRuns runs, uint64_t next_file);
  uint64_t next_file() const { return next_file_; }

 private:
  // Chunks of one session that share a row.
  struct ChunkGroup {
    uint32_t group = 0;
    std::map<uint32_t, stored::v1::ChunkRow> chunks;
  };

  void Add(Family family, absl::string_view key, absl::string_view value);
  void PutChunks(const base::Uuid& session, ChunkGroup* group);
  void PutAllChunks();
  absl::Status SpillFamily(size_t family);

  const std::string path_;
  const size_t max_bytes_;
  const DiskRoom* const room_;
  std::array<RunWriter, kFamilies> rows_;
  std::map<base::Uuid, ChunkGroup> chunk_groups_;
  // In all groups.
  size_t chunks_ = 0;
  FamilyRuns runs_;
  uint64_t next_file_ = 0;
  absl::Status status_;
};

// Merges runs into sorted files and gives them to the generation, which is
// empty. `path`: what the names of files in between begin with. `on_progress`
// is told of rows, now and then, by one thread at a time; an error ends it.
// `room`: on the disk; may be null.
absl::Status IngestRuns(
    const FamilyRuns& runs, const std::string& path,
    IndexGeneration* generation,
    const std::function<absl::Status(uint64_t done, uint64_t total)>&
        on_progress,
    const DiskRoom* room = nullptr);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_BULK_WRITER_H_
