// Prints every secret key of an archive's sessions, for a test that looks for
// them where they must not be:
//   session_keys DATA_DIR KEYS_DIR
// One a line: SESSION EPOCH CLASS KIND SEGMENT HEX; kinds are state, key and
// salt. state 0 is the root key. Goes two segments beyond the last in the log.

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/log/log_reader.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/key_positions.h"
#include "archiver/seal/ratchet.h"
#include "archiver/seal/secret.h"
#include "archiver/seal/wrap.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych {
namespace {

// The highest segment of each session that has a chunk.
std::map<base::Uuid, uint32_t> LastSegments(const log::LogReader& log) {
  std::map<base::Uuid, uint32_t> last;
  log.Scan(
         {.bodies = false},
         [&](const log::StoredRecord& record) {
           stored::v1::Chunk chunk;
           if (record.type == log::RecordType::kChunk &&
               chunk.ParseFromString(record.header)) {
             uint32_t& segment =
                 last[*base::Uuid::FromBytes(chunk.session_id())];
             segment = std::max(segment, chunk.segment());
           }
           return absl::OkStatus();
         },
         [](const log::Damage&) { return absl::OkStatus(); })
      .status()
      .IgnoreError();
  return last;
}

void Print(const base::Uuid& session, uint64_t epoch, const char* key_class,
           const char* kind, uint32_t segment, const seal::SecretKey& key) {
  std::cout << session.ToString() << ' ' << epoch << ' ' << key_class << ' '
            << kind << ' ' << segment << ' '
            << absl::BytesToHexString(key.bytes()) << '\n';
}

int Main(const std::string& data, const std::string& keys) {
  const auto config = seal::ReadArchiveConfig(data);
  const auto audit = seal::ReadKeyFile(keys, "audit", std::nullopt);
  const log::LogReader log(base::FileSystem::Real(), data + "/volumes");
  const log::LogReader key_store(base::FileSystem::Real(), data + "/keystore");
  const auto positions =
      seal::KeyPositions::Scan(log, seal::KeyPositions::Which::kAll);
  if (!config.ok() || !audit.ok() || !positions.ok()) {
    std::cerr << config.status() << audit.status() << positions.status()
              << '\n';
    return 1;
  }
  const std::map<base::Uuid, uint32_t> last = LastSegments(log);
  for (const auto& [epoch, position] : positions->epochs()) {
    const auto record = key_store.Read(position);
    stored::v1::KeyWraps wraps;
    if (!record.ok() || !wraps.ParseFromString(record->body)) return 1;
    const auto found = last.find(epoch.first);
    const uint32_t segments = (found == last.end() ? 0 : found->second) + 2;
    for (const stored::v1::Wrap& wrap : wraps.wraps()) {
      auto state = seal::UnwrapKey(wrap,
                                   {.archive_id = config->archive_id(),
                                    .session_id = wraps.session_id(),
                                    .key_class = wrap.key_class(),
                                    .epoch = wraps.epoch()},
                                   *audit);
      if (absl::IsPermissionDenied(state.status())) continue;
      if (!state.ok()) return 1;
      const char* const key_class =
          wrap.key_class() == stored::v1::KEY_CLASS_MEDIA ? "media"
                                                          : "metadata";
      seal::SecretKey chain = *std::move(state);
      for (uint32_t n = 0; n <= segments; ++n) {
        Print(epoch.first, epoch.second, key_class, "state", n, chain);
        Print(epoch.first, epoch.second, key_class, "key", n,
              seal::SegmentKey(chain));
        Print(epoch.first, epoch.second, key_class, "salt", n,
              seal::SaltKey(chain));
        chain = seal::NextChainState(chain);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace diptych

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return diptych::Main(argv[1], argv[2]);
}
