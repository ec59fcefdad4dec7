// forger: what somebody does who alters a bundle and knows how it is made. For
// tests; bundle_forgeries_test.py drives it.
//
//   forger remake BUNDLE
//     writes the custody report and the lists of hashes anew, as if BUNDLE had
//     been exported as it is now
//   forger flip BUNDLE KEYS STRIDE MEDIA_FLIPS
//     alters one byte after another (each STRIDEth of files above 1 KiB,
//     MEDIA_FLIPS of the media and of its ends), remakes the lists each time
//     and verifies. Prints each that nobody noticed as a JSON line, and at last
//     how many there were. Leaves BUNDLE as it was.

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "tools/diptych/verify/bag.h"
#include "tools/diptych/verify/report.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verifier.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::mustfail {
namespace {

namespace fs = std::filesystem;

constexpr char kManifest[] = "manifest-sha256.txt";
constexpr char kTagManifest[] = "tagmanifest-sha256.txt";
constexpr size_t kSmallFile_bytes = 1024;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void Write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class Bundle {
 public:
  explicit Bundle(fs::path root) : root_(std::move(root)) {
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (!entry.is_regular_file()) continue;
      const std::string path = fs::relative(entry.path(), root_).string();
      hashes_[path] = base::Sha256Hex(Read(entry.path()));
    }
  }

  const verify::FileHashes& files() const { return hashes_; }
  std::string ReadFile(const std::string& path) const {
    return Read(root_ / path);
  }
  // Also takes its new hash.
  void WriteFile(const std::string& path, const std::string& bytes) {
    Write(root_ / path, bytes);
    hashes_[path] = base::Sha256Hex(bytes);
  }

  // The lists that follow from the other files.
  void RemakeLists() {
    verify::FileHashes payload;
    for (const auto& [path, hash] : hashes_) {
      if (absl::StartsWith(path, "data/")) payload[path] = hash;
    }
    WriteFile(kManifest, verify::ManifestText(payload));
    verify::FileHashes tags;
    for (const char* name : {"bag-info.txt", "bagit.txt", kManifest}) {
      tags[name] = hashes_[name];
    }
    WriteFile(kTagManifest, verify::ManifestText(tags));
  }

 private:
  const fs::path root_;
  verify::FileHashes hashes_;
};

// One member with the header that bundles have.
std::string Pack(const std::string& text) {
  std::string packed("\x1f\x8b\x08\0\0\0\0\0\x02\x03", 10);
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
  std::string body(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(body.data());
  stream.avail_out = static_cast<uInt>(body.size());
  deflate(&stream, Z_FINISH);
  packed.append(body, 0, body.size() - stream.avail_out);
  deflateEnd(&stream);
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(text.data()),
                          static_cast<uInt>(text.size()));
  for (const uint64_t number : {uint64_t{crc}, uint64_t{text.size()}}) {
    for (int shift = 0; shift < 32; shift += 8) {
      packed.push_back(static_cast<char>(number >> shift));
    }
  }
  return packed;
}

std::string Unpack(const std::string& packed) {
  z_stream stream = {};
  inflateInit2(&stream, 15 + 16);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  std::string piece(1 << 16, '\0');
  int state = Z_OK;
  while (state == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    state = inflate(&stream, Z_NO_FLUSH);
    text.append(piece, 0, piece.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  return text;
}

int Remake(const std::string& folder) {
  verify::VerifyOptions options;
  options.before_bag = true;
  const absl::StatusOr<verify::VerifyResult> result =
      verify::VerifyBundle(folder, options);
  Bundle bundle(folder);
  // Of a bundle that proves nothing there is no report: the old one stays.
  if (result.ok() && !result->falsehood.has_value()) {
    bundle.WriteFile("data/report.html", verify::RenderReport(*result));
    verify::BagInfo info;
    info.archive = result->archive.ToString();
    info.session = result->session.ToString();
    info.access_time_us = result->access_time_us;
    for (const auto& [path, hash] : bundle.files()) {
      if (!absl::StartsWith(path, "data/")) continue;
      ++info.payload_files;
      info.payload_bytes += fs::file_size(fs::path(folder) / path);
    }
    bundle.WriteFile("bag-info.txt", verify::BagInfoText(info));
  }
  bundle.RemakeLists();
  return 0;
}

// Offsets to alter in a file.
std::set<size_t> Offsets(const std::string& path, size_t size, size_t stride,
                         size_t media_flips) {
  std::set<size_t> offsets;
  size_t step = size <= kSmallFile_bytes ? 1 : stride;
  if (absl::StartsWith(path, "data/media.")) {
    step = std::max<size_t>(size / std::max<size_t>(media_flips, 1), 1);
    // Its ends, where headers and indexes are.
    for (size_t at = 0; at < std::min<size_t>(size, media_flips); ++at) {
      offsets.insert({at, size - 1 - at});
    }
  }
  for (size_t at = 0; at < size; at += step) offsets.insert(at);
  if (size > 0) offsets.insert(size - 1);
  return offsets;
}

int Flip(const std::string& folder, const std::string& keys, size_t stride,
         size_t media_flips) {
  verify::VerifyOptions options;
  const absl::StatusOr<std::string> text =
      base::ReadWholeFile(keys, limits::kMaxPublicKeys_bytes);
  if (!text.ok() || !verify::AddKeys(*text, &options.trust).ok()) return 2;
  Bundle bundle(folder);
  uint64_t flips = 0;
  uint64_t undetected = 0;
  const verify::FileHashes files = bundle.files();
  for (const auto& [path, hash] : files) {
    const std::string file = bundle.ReadFile(path);
    // What is packed under a checksum is altered inside.
    const bool packed = absl::EndsWith(path, ".gz");
    const std::string good = packed ? Unpack(file) : file;
    for (const size_t at : Offsets(path, good.size(), stride, media_flips)) {
      std::string bad = good;
      // Another bit each time; the lowest make other digits and letters.
      const auto mask = static_cast<char>(1 << (at % 8));
      bad[at] = static_cast<char>(bad[at] ^ mask);
      bundle.WriteFile(path, packed ? Pack(bad) : bad);
      // A list that is altered itself is not made anew.
      if (path != kManifest && path != kTagManifest) bundle.RemakeLists();
      const absl::StatusOr<verify::VerifyResult> result =
          verify::VerifyBundle(folder, options);
      ++flips;
      if (!result.ok() || !result->falsehood.has_value()) {
        ++undetected;
        std::cout << nlohmann::json{{"path", path},
                                    {"offset", at},
                                    {"mask", static_cast<uint8_t>(mask)}}
                  << "\n";
      }
    }
    bundle.WriteFile(path, file);
    bundle.RemakeLists();
  }
  std::cout << nlohmann::json{{"flips", flips}, {"undetected", undetected}}
            << "\n";
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  size_t stride = 0;
  size_t media_flips = 0;
  if (arguments.size() == 2 && arguments[0] == "remake") {
    return Remake(arguments[1]);
  }
  if (arguments.size() == 5 && arguments[0] == "flip" &&
      absl::SimpleAtoi(arguments[3], &stride) && stride > 0 &&
      absl::SimpleAtoi(arguments[4], &media_flips)) {
    return Flip(arguments[1], arguments[2], stride, media_flips);
  }
  std::cerr << "forger remake BUNDLE | forger flip BUNDLE KEYS STRIDE "
               "MEDIA_FLIPS\n";
  return 2;
}

}  // namespace
}  // namespace diptych::mustfail

int main(int argc, char** argv) {
  return diptych::mustfail::Main({argv + 1, argv + argc});
}
