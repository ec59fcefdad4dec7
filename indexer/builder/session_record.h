#ifndef INDEXER_BUILDER_SESSION_RECORD_H_
#define INDEXER_BUILDER_SESSION_RECORD_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <variant>

#include "absl/types/span.h"
#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "indexer/builder/opener_cache.h"
#include "indexer/builder/session_state.h"
#include "indexer/store/row_sink.h"
#include "proto/stored/v1/index_rows.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// The header of a record that belongs to one session, understood.
struct SessionRecord {
  using Header =
      std::variant<stored::v1::SessionOpened, stored::v1::SpanStarted,
                   stored::v1::Chunk, stored::v1::Notes,
                   stored::v1::AttachmentPart, stored::v1::Segment,
                   stored::v1::SessionClosed, stored::v1::StateChanged,
                   stored::v1::ClockChanged, stored::v1::SourceDigest>;

  base::Uuid session;
  // When the session began or, if the record does not open it, when the record
  // was written: better found at about its time than never.
  int64_t start_time_us = 0;
  bool opens = false;
  Header header;
};

// True for records that belong to one session.
bool IsOfSession(log::RecordType type);

// Whose record it is, by a look at the header that understands nothing else:
// for handing records out. nullopt if no id is there; where there is one the
// rest may still be nothing that ParseSessionRecord takes. REQUIRES:
// IsOfSession.
std::optional<base::Uuid> SessionIdOf(const log::StoredRecord& record);

// nullopt if the header is not what its type says. REQUIRES: IsOfSession.
std::optional<SessionRecord> ParseSessionRecord(
    const log::StoredRecord& record);

// What records say that an index counts over all sessions.
struct RecordCounts {
  uint64_t segments = 0;
  uint64_t unopened_records = 0;
  uint64_t refused_tag_notes = 0;
};

using TagNotes = absl::Span<const stored::v1::TagNote* const>;

// Takes the record into its session. `parsed` is of `record`, and both of the
// session. The tag notes that it came to go to `on_tags`, for the dictionary.
void ApplySessionRecord(const SessionRecord& parsed,
                        const log::StoredRecord& record, OpenerCache* openers,
                        SessionState* session, RowSink* sink,
                        RecordCounts* counts,
                        const std::function<void(TagNotes)>& on_tags);

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_SESSION_RECORD_H_
