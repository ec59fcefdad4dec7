#include "tools/gateway/mp4_boxes.h"

#include <cctype>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"

namespace diptych::gateway {
namespace {

constexpr uint64_t kHeader_bytes = 8;

struct Box {
  std::string type;
  // 0: to the file's end.
  uint64_t size = 0;
};

uint64_t BigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

// False at the end.
bool ReadBox(std::ifstream* file, uint64_t position, Box* box) {
  std::string header(2 * kHeader_bytes, '\0');
  file->clear();
  file->seekg(static_cast<std::streamoff>(position));
  file->read(header.data(), static_cast<std::streamsize>(header.size()));
  const auto got = static_cast<uint64_t>(file->gcount());
  if (got < kHeader_bytes) return false;
  box->size = BigEndian(absl::string_view(header).substr(0, 4));
  box->type = header.substr(4, 4);
  if (box->size == 1 && got == header.size()) {
    box->size = BigEndian(absl::string_view(header).substr(8, 8));
  }
  return true;
}

bool IsName(const std::string& type) {
  for (const char c : type) {
    if (!std::isprint(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> FindMp4Damage(const std::string& path) {
  std::vector<std::string> damage;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return damage;
  const auto file_bytes = static_cast<uint64_t>(file.tellg());
  uint64_t position = 0;
  Box box;
  while (position < file_bytes && damage.size() < limits::kMaxProblems) {
    if (!ReadBox(&file, position, &box)) {
      damage.push_back(absl::StrCat("byte ", position,
                                    ": the file ends inside a box's header"));
      break;
    }
    if (position == 0 && box.type != "ftyp" && box.type != "styp") return {};
    if (!IsName(box.type) || (box.size != 0 && box.size < kHeader_bytes)) {
      damage.push_back(absl::StrCat("byte ", position, ": this is no box"));
      break;
    }
    if (box.size == 0) break;
    if (box.size > file_bytes - position) {
      damage.push_back(absl::StrCat(
          "byte ", position, ": the box ", box.type, " says that it has ",
          box.size, " bytes, but the file ends after ", file_bytes - position));
      break;
    }
    position += box.size;
  }
  return damage;
}

}  // namespace diptych::gateway
