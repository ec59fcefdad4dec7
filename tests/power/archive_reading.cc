#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/faulty_file.h"
#include "archiver/base/status_macros.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/media/packet_table.h"
#include "archiver/seal/session_opener.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tests/power/power_rig.h"
#include "tools/diptych/check/manifest_check.h"

// How the archive is read back: with the audit key, by what the formats say.

namespace diptych::power {
namespace {

using api::v1::Side;
using log::RecordType;
using log::StoredRecord;

class ArchiveReading {
 public:
  ArchiveReading(const Script& script, base::FaultyFileSystem* files)
      : script_(script),
        keys_(files, "/archive/keystore"),
        log_(files, "/archive/volumes") {
    reading_.sessions.resize(script.plans.size());
    state_.resize(script.plans.size());
    for (size_t i = 0; i < state_.size(); ++i) {
      state_[i].manifests = std::make_unique<check::ManifestCheck>(
          [this, i](log::Position position, const std::string& what) {
            Problem(absl::StrCat("session ", i, " at ", position, ": ", what));
          });
    }
  }

  Reading Run() {
    const auto on_damage = [&](const log::Damage& damage) {
      reading_.damages.push_back(damage);
      return absl::OkStatus();
    };
    const std::set<log::Position> log_bases = Bases(log_);
    const std::set<log::Position> key_bases = Bases(keys_);
    log::Position after_header = UINT64_MAX;
    const auto end = log_.Scan(
        {},
        [&](const StoredRecord& record) {
          CheckBegin(record, log_bases);
          // A start need not look further back.
          if (record.position == after_header &&
              record.type != RecordType::kSnapshot) {
            Problem(absl::StrCat("no snapshot at ", record.position));
          }
          if (record.type == RecordType::kVolumeHeader) {
            after_header = record.end;
          }
          const absl::Status status = Take(record);
          if (!status.ok()) {
            Problem(absl::StrCat(log::RecordTypeName(record.type), " at ",
                                 record.position, ": ", status.message()));
          }
          return absl::OkStatus();
        },
        on_damage);
    if (!end.ok()) Problem(end.status().ToString());
    const auto key_end = keys_.Scan(
        {},
        [&](const StoredRecord& record) {
          CheckBegin(record, key_bases);
          return absl::OkStatus();
        },
        on_damage);
    if (!key_end.ok()) Problem(key_end.status().ToString());
    return std::move(reading_);
  }

 private:
  struct State {
    std::map<uint64_t, std::unique_ptr<seal::SessionOpener>> openers;
    std::map<uint32_t, std::string> chunk_digests;
    std::string manifest_sha256;
    // That manifests and ends name every record of the session, once.
    std::unique_ptr<check::ManifestCheck> manifests;
  };

  std::set<log::Position> Bases(const log::LogReader& reader) {
    std::set<log::Position> bases;
    const auto volumes = reader.ListVolumes();
    if (!volumes.ok()) Problem(volumes.status().ToString());
    if (volumes.ok()) {
      for (const log::VolumeInfo& volume : *volumes) bases.insert(volume.base);
    }
    return bases;
  }

  // A volume begins with its header, and nothing else does.
  void CheckBegin(const StoredRecord& record,
                  const std::set<log::Position>& bases) {
    if (bases.contains(record.position) !=
        (record.type == RecordType::kVolumeHeader)) {
      Problem(absl::StrCat(log::RecordTypeName(record.type), " at ",
                           record.position, " where a volume begins or not"));
    }
  }

  void Problem(std::string what) {
    reading_.problems.push_back(std::move(what));
  }

  // Which of the script's sessions a header names.
  template <typename Header>
  absl::StatusOr<size_t> Parse(const StoredRecord& record, Header* header) {
    if (!header->ParseFromString(record.header)) {
      return absl::DataLossError("the header does not parse");
    }
    for (size_t i = 0; i < script_.plans.size(); ++i) {
      if (header->session_id() == script_.plans[i].id.bytes()) return i;
    }
    return absl::DataLossError("a session that nobody opened");
  }

  absl::StatusOr<std::string> Open(size_t session, stored::v1::KeyClass keys,
                                   uint64_t epoch, uint32_t segment,
                                   const StoredRecord& record) {
    const auto opener = state_[session].openers.find(epoch);
    if (opener == state_[session].openers.end()) {
      return absl::DataLossError("the epoch's keys are not there");
    }
    return opener->second->Open(keys, record.type, segment, record.header,
                                record.body);
  }

  // Gives a record that is neither chunk nor manifest nor end to the manifests.
  template <typename Header>
  absl::Status Name(const StoredRecord& record) {
    Header header;
    ASSIGN_OR_RETURN(const size_t session, Parse(record, &header));
    state_[session].manifests->Other(
        record.position, record.type,
        evidence::RecordDigest(record.type, record.header, record.body));
    return absl::OkStatus();
  }

  absl::Status NameRecord(const StoredRecord& record) {
    switch (record.type) {
      case RecordType::kSessionOpened:
        return Name<stored::v1::SessionOpened>(record);
      case RecordType::kSpanStarted:
        return Name<stored::v1::SpanStarted>(record);
      case RecordType::kNotes:
        return Name<stored::v1::Notes>(record);
      case RecordType::kAttachmentPart:
        return Name<stored::v1::AttachmentPart>(record);
      case RecordType::kStateChanged:
        return Name<stored::v1::StateChanged>(record);
      case RecordType::kClockChanged:
        return Name<stored::v1::ClockChanged>(record);
      case RecordType::kSourceDigest:
        return Name<stored::v1::SourceDigest>(record);
      default:
        return absl::OkStatus();
    }
  }

  absl::Status Take(const StoredRecord& record) {
    RETURN_IF_ERROR(NameRecord(record));
    switch (record.type) {
      case RecordType::kSessionOpened:
        return TakeOpened(record);
      case RecordType::kChunk:
        return TakeChunk(record);
      case RecordType::kNotes:
        return TakeNotes(record);
      case RecordType::kAttachmentPart:
        return TakeAttachment(record);
      case RecordType::kSegment:
        return TakeSegment(record);
      case RecordType::kSessionClosed: {
        stored::v1::SessionClosed closed;
        ASSIGN_OR_RETURN(const size_t session, Parse(record, &closed));
        state_[session].manifests->Closed(record.position, closed);
        if (closed.manifest_sha256() != state_[session].manifest_sha256) {
          return absl::DataLossError("does not name the last manifest");
        }
        if (reading_.sessions[session].closed_at.has_value()) {
          return absl::DataLossError("a second end of a session");
        }
        reading_.sessions[session].closed_at = record.position;
        return absl::OkStatus();
      }
      default:
        return absl::OkStatus();
    }
  }

  absl::Status TakeOpened(const StoredRecord& record) {
    stored::v1::SessionOpened opened;
    ASSIGN_OR_RETURN(const size_t session, Parse(record, &opened));
    ASSIGN_OR_RETURN(const StoredRecord stored,
                     keys_.Read(opened.key_position()));
    if (opened.key_wraps_digest() !=
        evidence::RecordDigest(stored.type, stored.header, stored.body)) {
      return absl::DataLossError("other wraps than the record names");
    }
    stored::v1::KeyWraps wraps;
    if (!wraps.ParseFromString(stored.body)) {
      return absl::DataLossError("the wraps do not parse");
    }
    std::vector<seal::KeyPair> keys;
    keys.push_back(script_.audit.Clone());
    auto& opener = state_[session].openers[opened.epoch()];
    if (opener != nullptr) return absl::DataLossError("an epoch used twice");
    ASSIGN_OR_RETURN(
        opener, seal::SessionOpener::Create(script_.archive_id, wraps, keys));
    return absl::OkStatus();
  }

  absl::Status TakeChunk(const StoredRecord& record) {
    stored::v1::Chunk chunk;
    ASSIGN_OR_RETURN(const size_t session, Parse(record, &chunk));
    ++reading_.sessions[session].chunks;
    state_[session].manifests->Chunk(
        record.position, chunk,
        evidence::RecordDigest(record.type, record.header, record.body));
    if (!state_[session]
             .chunk_digests
             .emplace(chunk.chunk(),
                      evidence::RecordDigest(record.type, record.header,
                                             record.body))
             .second) {
      return absl::DataLossError("a chunk number used twice");
    }
    ASSIGN_OR_RETURN(const std::string body,
                     Open(session, stored::v1::KEY_CLASS_MEDIA, chunk.epoch(),
                          chunk.segment(), record));
    ASSIGN_OR_RETURN(const media::ChunkBody decoded,
                     media::DecodeChunkBody(body));
    for (const media::ChunkPacket& packet : decoded.packets) {
      // Track numbers are those of the sides.
      const Side side = static_cast<Side>(packet.info.track_id);
      ++reading_.sessions[session].packets[side][packet.info.sequence];
      if (packet.payload !=
          Script::Payload(script_.plans[session], side, packet.info.sequence)) {
        return absl::DataLossError(absl::StrCat("packet ", packet.info.sequence,
                                                " is not what was sent"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status TakeNotes(const StoredRecord& record) {
    stored::v1::Notes notes;
    ASSIGN_OR_RETURN(const size_t session, Parse(record, &notes));
    ASSIGN_OR_RETURN(const std::string body,
                     Open(session, stored::v1::KEY_CLASS_METADATA,
                          notes.epoch(), notes.segment(), record));
    stored::v1::NoteList list;
    if (!list.ParseFromString(body)) {
      return absl::DataLossError("the notes do not parse");
    }
    const Side side = static_cast<Side>(notes.side());
    for (const stored::v1::Note& note : list.notes()) {
      ++reading_.sessions[session].notes[side][note.note()];
      const auto& sent = script_.plans[session].notes.at(side);
      if (note.note() > sent.size() ||
          note.at_us() != sent[note.note() - 1].at_us()) {
        return absl::DataLossError("a note that was never sent");
      }
    }
    return absl::OkStatus();
  }

  absl::Status TakeAttachment(const StoredRecord& record) {
    stored::v1::AttachmentPart part;
    ASSIGN_OR_RETURN(const size_t session, Parse(record, &part));
    ASSIGN_OR_RETURN(const std::string body,
                     Open(session, stored::v1::KEY_CLASS_MEDIA, part.epoch(),
                          part.segment(), record));
    if (body.find_first_not_of('p') != std::string::npos) {
      return absl::DataLossError("an attachment is not what was sent");
    }
    reading_.sessions[session].attachment_bytes += body.size();
    ++reading_.sessions[session]
          .notes[static_cast<Side>(part.side())][part.note()];
    return absl::OkStatus();
  }

  absl::Status TakeSegment(const StoredRecord& record) {
    stored::v1::Segment segment;
    ASSIGN_OR_RETURN(const size_t session, Parse(record, &segment));
    State& state = state_[session];
    state.manifests->Segment(record.position, segment, record.header);
    if (segment.previous_manifest_sha256() != state.manifest_sha256) {
      return absl::DataLossError("a manifest that does not follow the last");
    }
    state.manifest_sha256 = evidence::ManifestHash(record.header);
    for (const stored::v1::SegmentChunk& chunk : segment.chunks()) {
      ++reading_.sessions[session].chunks_in_manifests;
      const auto found = state.chunk_digests.find(chunk.chunk());
      if (found == state.chunk_digests.end() ||
          found->second != chunk.digest()) {
        return absl::DataLossError("a manifest names what is not there");
      }
    }
    return absl::OkStatus();
  }

  const Script& script_;
  const log::LogReader keys_;
  const log::LogReader log_;
  Reading reading_;
  std::vector<State> state_;
};

// `found` is each number from 1 to `last` once, where `promised` <= last.
void CheckNumbers(const std::map<uint64_t, int>& found, uint64_t promised,
                  uint64_t planned, bool whole, const std::string& what,
                  std::vector<std::string>* problems) {
  uint64_t last = 0;
  for (const auto& [number, count] : found) {
    if (number != last + 1 || count != 1) {
      problems->push_back(
          absl::StrCat(what, " ", number, " ", count, " times, after ", last));
    }
    last = number;
  }
  if (last < promised) {
    problems->push_back(absl::StrCat(what, " ", promised, " was promised, and ",
                                     last, " is the last"));
  }
  if (last > planned || (whole && last != planned)) {
    problems->push_back(
        absl::StrCat(what, " ", planned, " was to be the last, not ", last));
  }
}

}  // namespace

Reading ReadArchive(const Script& script, base::FaultyFileSystem* files) {
  return ArchiveReading(script, files).Run();
}

std::vector<std::string> Compare(const Script& script, const Reading& reading,
                                 const std::vector<Promised>& promised,
                                 bool whole) {
  std::vector<std::string> problems = reading.problems;
  for (const log::Damage& damage : reading.damages) {
    problems.push_back(
        absl::StrCat("damage at ", damage.from, ": ", damage.what));
  }
  for (size_t i = 0; i < script.plans.size(); ++i) {
    const Plan& plan = script.plans[i];
    Found found = reading.sessions[i];
    Promised sure = i < promised.size() ? promised[i] : Promised();
    const std::string session = absl::StrCat("session ", i);
    // What has a receipt was promised as a whole.
    const bool all = whole || sure.receipt.has_value();
    for (const Side side : plan.Sides()) {
      const auto notes = plan.notes.find(side);
      CheckNumbers(found.packets[side], sure.packets[side], plan.packets, all,
                   absl::StrCat(session, " side ", side, " packet"), &problems);
      CheckNumbers(found.notes[side], sure.notes[side],
                   notes == plan.notes.end() ? 0 : notes->second.size(), all,
                   absl::StrCat(session, " side ", side, " note"), &problems);
    }
    if (all && !found.closed_at.has_value()) {
      problems.push_back(absl::StrCat(session, " is not closed"));
    }
    if (all && found.chunks != found.chunks_in_manifests) {
      problems.push_back(
          absl::StrCat(session, " has chunks that no manifest names"));
    }
    if (sure.receipt.has_value() &&
        sure.receipt->log_position() != found.closed_at) {
      problems.push_back(absl::StrCat(session, " was closed elsewhere"));
    }
  }
  return problems;
}

}  // namespace diptych::power
