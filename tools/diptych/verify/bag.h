#ifndef TOOLS_DIPTYCH_VERIFY_BAG_H_
#define TOOLS_DIPTYCH_VERIFY_BAG_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::verify {

// The texts of a bag (RFC 8493) as a bundle has them, to the byte
// (archiver/evidence/BUNDLE_FORMAT.md): whoever writes a bundle and whoever
// checks one call the same functions.

// By path: SHA-256 in lower-case hexadecimal.
using FileHashes = std::map<std::string, std::string>;

std::string BagDeclaration();

struct BagInfo {
  // Text forms of UUIDs.
  std::string archive;
  std::string session;
  // When it was exported, by its access record; the day in UTC goes in.
  int64_t access_time_us = 0;
  uint64_t payload_bytes = 0;
  uint64_t payload_files = 0;
};
std::string BagInfoText(const BagInfo& info);

// As sha256sum writes and reads it, sorted by path.
std::string ManifestText(const FileHashes& hashes);

// The first path of which `text`, a manifest, says something else than
// `hashes`, and what: "data/x is not what manifest-sha256.txt says". For
// messages. REQUIRES: text != ManifestText(hashes).
std::string ManifestDifference(absl::string_view manifest_name,
                               absl::string_view text,
                               const FileHashes& hashes);

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_BAG_H_
