// Looks for byte strings in the memory of a process:
//   image_search PID < PATTERNS
// PATTERNS are lines `LABEL HEX` of 16 bytes or more. The process is stopped
// meanwhile. Prints `hit LABEL COUNT PLACE` for each that is there, with the
// first mapping that has it, and at the end `bytes READ`.

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

// Every pattern is found by these first bytes of it.
constexpr size_t kPrefix_bytes = 8;
constexpr size_t kBlock_bytes = 4 << 20;
constexpr size_t kMaxPattern_bytes = 4096;
// Which prefixes there may be, by 24 bits of them: nearly all places of an
// image are passed over by one look.
constexpr size_t kFilterBits = 24;

struct Hit {
  uint64_t count = 0;
  std::string place;
};

class Search {
 public:
  void Add(std::string label, std::string bytes) {
    const uint64_t prefix = Prefix(bytes.data());
    filter_[prefix & kFilterMask] = true;
    by_prefix_.emplace(prefix, patterns_.size());
    patterns_.emplace_back(std::move(label), std::move(bytes));
  }

  // `tail` more bytes lie behind `size`, for patterns that begin before it.
  void Look(const char* data, size_t size, size_t tail,
            const std::string& place) {
    for (size_t at = 0; at < size && at + kPrefix_bytes <= size + tail; ++at) {
      const uint64_t prefix = Prefix(data + at);
      if (!filter_[prefix & kFilterMask]) continue;
      const auto [from, to] = by_prefix_.equal_range(prefix);
      for (auto found = from; found != to; ++found) {
        const auto& [label, bytes] = patterns_[found->second];
        if (at + bytes.size() > size + tail ||
            std::memcmp(data + at, bytes.data(), bytes.size()) != 0) {
          continue;
        }
        Hit& hit = hits_[label];
        if (hit.count++ == 0) hit.place = place;
      }
    }
  }

  const std::map<std::string, Hit>& hits() const { return hits_; }

 private:
  static constexpr uint64_t kFilterMask = (uint64_t{1} << kFilterBits) - 1;

  static uint64_t Prefix(const char* data) {
    uint64_t prefix = 0;
    std::memcpy(&prefix, data, sizeof(prefix));
    return prefix;
  }

  std::vector<bool> filter_ = std::vector<bool>(size_t{1} << kFilterBits);
  std::unordered_multimap<uint64_t, size_t> by_prefix_;
  std::vector<std::pair<std::string, std::string>> patterns_;
  std::map<std::string, Hit> hits_;
};

// Lets the process go on whatever happens.
class Stopped {
 public:
  explicit Stopped(pid_t pid) : pid_(pid) { kill(pid_, SIGSTOP); }
  ~Stopped() { kill(pid_, SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

  // True once all of its threads stand still.
  bool Wait() const {
    for (int tries = 0; tries < 2000; ++tries) {
      std::ifstream stat(absl::StrCat("/proc/", pid_, "/stat"));
      std::string line;
      std::getline(stat, line);
      const size_t end = line.rfind(") ");
      if (end != std::string::npos && line[end + 2] == 'T') return true;
      usleep(1000);
    }
    return false;
  }

 private:
  const pid_t pid_;
};

int Main(pid_t pid) {
  Search search;
  std::string label;
  std::string hex;
  while (std::cin >> label >> hex) {
    const std::string bytes = absl::HexStringToBytes(hex);
    if (bytes.size() < 16 || bytes.size() > kMaxPattern_bytes) return 2;
    search.Add(label, bytes);
  }
  const Stopped stopped(pid);
  if (!stopped.Wait()) {
    std::cerr << "process " << pid << " does not stop\n";
    return 1;
  }
  const int memory =
      open(absl::StrCat("/proc/", pid, "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  std::ifstream maps(absl::StrCat("/proc/", pid, "/maps"));
  if (memory < 0 || !maps) {
    std::perror("cannot look into the process");
    return 3;
  }
  uint64_t read_bytes = 0;
  std::string line;
  std::vector<char> block(kBlock_bytes + kMaxPattern_bytes);
  while (std::getline(maps, line)) {
    uint64_t from = 0;
    uint64_t to = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &from, &to,
                    mode) != 3 ||
        mode[0] != 'r') {
      continue;
    }
    const size_t name = line.find_first_of("/[");
    const std::string place =
        name == std::string::npos ? "anonymous" : line.substr(name);
    for (uint64_t at = from; at < to;) {
      const size_t wanted = std::min<uint64_t>(block.size(), to - at);
      const ssize_t got =
          pread(memory, block.data(), wanted, static_cast<off_t>(at));
      // The kernel's own pages (vvar) can't be read.
      if (got <= 0) break;
      const size_t have = static_cast<size_t>(got);
      const size_t size = std::min(have, kBlock_bytes);
      search.Look(block.data(), size, have - size,
                  absl::StrCat(place, "@", absl::Hex(at)));
      read_bytes += size;
      at += size;
    }
  }
  close(memory);
  for (const auto& [what, hit] : search.hits()) {
    std::cout << "hit " << what << ' ' << hit.count << ' ' << hit.place << '\n';
  }
  std::cout << "bytes " << read_bytes << '\n';
  return 0;
}

}  // namespace
}  // namespace diptych

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  return diptych::Main(static_cast<pid_t>(std::atoi(argv[1])));
}
