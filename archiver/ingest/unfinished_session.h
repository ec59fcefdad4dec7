#ifndef ARCHIVER_INGEST_UNFINISHED_SESSION_H_
#define ARCHIVER_INGEST_UNFINISHED_SESSION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::ingest {

// A session that the log says is open and that no actor holds.
struct UnfinishedSession {
  stored::v1::OpenSession session;
  // Digests of the records that no manifest names, in the order of the log.
  std::vector<std::string> unnamed_records;
};

// What is known of `session`; its chunks without a manifest are left alone. A
// record that can't be read any more is said in the daemon's log and left out:
// nothing is attested that is not there, and the session goes on.
UnfinishedSession ReadUnfinished(const stored::v1::OpenSession& session,
                                 const log::LogReader& log);

// The manifests of the chunks that none names yet, one for each segment; the
// first names all records that none does. `session` is then as it is once these
// are in the log. No key is needed. Chunks that can't be read are left out, as
// above.
std::vector<log::Record> CompleteManifests(UnfinishedSession* session,
                                           const log::LogReader& log,
                                           int64_t now_us);

// The record that closes it as abandoned. REQUIRES: every chunk has a manifest.
log::Record AbandonedRecord(const UnfinishedSession& session, int64_t now_us);

}  // namespace diptych::ingest

#endif  // ARCHIVER_INGEST_UNFINISHED_SESSION_H_
