#ifndef TOOLS_DIPTYCH_VERIFY_VERIFY_RESULT_H_
#define TOOLS_DIPTYCH_VERIFY_VERIFY_RESULT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "archiver/base/ids.h"

namespace diptych::verify {

// What a bundle was found to say. All times are session time in microseconds
// unless their name says otherwise (`*_time_us`: Unix time).

// Of one track in one second; from the least to the most.
enum class SecondState : uint8_t {
  // Nothing was recorded, and the manifests that are here leave no room for it.
  kNothing,
  // Something may have been recorded that the bundle has not.
  kLeftOut,
  // As the archive stored it.
  kArchived,
  // As its gateway signed it.
  kSigned,
};

struct StateRange {
  int64_t from_us = 0;
  int64_t to_us = 0;
  SecondState state = SecondState::kNothing;
  // Of kSigned: whose signature, in VerifyResult::source_keys.
  size_t key = 0;
};

struct TrackResult {
  uint32_t track_id = 0;
  std::string side;
  std::string source;
  std::string codec;
  bool video = false;
  uint64_t packets = 0;
  uint64_t payload_bytes = 0;
  // Whoever's signature it is.
  uint64_t signed_packets = 0;
  // Of these: with a key that was given.
  uint64_t verified_packets = 0;
  // One after another from the clip's beginning to its end.
  std::vector<StateRange> ranges;
};

// Who signed something in it.
struct SeenKey {
  // First 8 bytes of SHA-256 of a public key, in hexadecimal; for signed notes
  // the 4 bytes by which they name it.
  std::string id;
  // As the bundle has it (notes), or as the given keys have it (sources; empty
  // if none of them is it).
  std::string name;
  // Its signatures were verified with a key that was given.
  bool verified = false;
  // Of a cosignature.
  std::optional<int64_t> signed_time_us;
  // Of a cosignature: the leaves of the checkpoint that it is on.
  uint64_t tree_size = 0;
};

struct SeenTimestamp {
  // As its token says.
  int64_t stamped_time_us = 0;
  uint64_t tree_size = 0;
  // Chains up to a certificate that was given.
  bool verified = false;
};

struct TagRow {
  int64_t at_us = 0;
  std::string side;
  std::string key;
  // "add", "set", "remove".
  std::string operation;
  std::vector<std::string> values;
};

struct EventRow {
  int64_t at_us = 0;
  std::string side;
  std::string type;
  std::vector<std::pair<std::string, std::string>> attributes;
  // 0: none.
  uint32_t attachment_id = 0;
  std::string attachment_name;
  uint64_t attachment_bytes = 0;
};

struct AttachmentRow {
  uint32_t attachment_id = 0;
  // Below data/.
  std::string file;
  uint64_t bytes = 0;
  std::string sha256_hex;
};

// A step of the chain of custody.
struct CustodyRow {
  int64_t time_us = 0;
  std::string what;
};

struct VerifyResult {
  // "PLACE: what": the first thing that is false. Then the rest is as far as it
  // was looked at.
  std::optional<std::string> falsehood;

  // The log's key was given and its signature is right: without it everything
  // hangs together and nobody vouches for it.
  bool log_key_verified = false;
  // Logs' keys were given, and none of them is its.
  bool other_log_keys = false;

  base::Uuid archive;
  base::Uuid session;
  int64_t start_time_us = 0;
  int64_t from_us = 0;
  int64_t to_us = 0;
  std::string media_file;
  std::string media_sha256_hex;
  uint64_t media_bytes = 0;

  std::string gateway;
  // The session was closed, and how many segments it had then.
  bool closed = false;
  bool abandoned = false;
  uint64_t session_segments = 0;
  // Of those: what the bundle shows.
  uint64_t shown_segments = 0;
  // Nothing of the session is left out.
  bool whole_session = false;

  // Who asked for this bundle, and why.
  std::string principal;
  std::string purpose;
  int64_t access_time_us = 0;

  uint64_t tree_size = 0;
  std::string tree_root_hex;
  // Leaves of the session's opening, of the last that the bundle proves of the
  // session, and of the access record.
  uint64_t first_leaf = 0;
  uint64_t last_leaf = 0;
  uint64_t access_leaf = 0;
  SeenKey log_key;
  std::vector<SeenKey> witnesses;
  std::vector<SeenTimestamp> timestamps;
  std::vector<SeenKey> source_keys;

  std::vector<TrackResult> tracks;
  std::vector<TagRow> tags;
  std::vector<EventRow> events;
  std::vector<AttachmentRow> attachments;
  std::vector<CustodyRow> custody;

  // What is not here or not proven, in sentences, by the evidence alone.
  std::vector<std::string> missing;
  // Who vouches and who does not, by the keys that were given.
  std::vector<std::string> vouching;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_VERIFY_RESULT_H_
