#ifndef TESTS_VECTORS_VECTOR_FILES_H_
#define TESTS_VECTORS_VECTOR_FILES_H_

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace diptych::vectors {

// The folder NAME of published vectors, or "" where there is none.
inline std::string Folder(const std::string& name) {
  const char* const root = std::getenv("DIPTYCH_VECTORS");
  if (root == nullptr) return "";
  const std::string folder = std::string(root) + "/" + name;
  return std::filesystem::exists(folder) ? folder : "";
}

inline nlohmann::json ReadJson(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

// All JSON files in a folder and those in it, sorted.
inline std::vector<std::filesystem::path> JsonFiles(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace diptych::vectors

// Sets `folder`, or skips the test and says what it lacks.
#define FIND_VECTORS(folder, name)                                  \
  const std::string folder = ::diptych::vectors::Folder(name);      \
  if (folder.empty()) {                                             \
    GTEST_SKIP() << "no vectors " << (name)                         \
                 << ": DIPTYCH_VECTORS does not name their folder"; \
  }                                                                 \
  static_assert(true)

#endif  // TESTS_VECTORS_VECTOR_FILES_H_
