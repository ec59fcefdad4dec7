// Damages and forges copies of a small archive in every way that the must-fail
// suite knows and runs the checker over each: everything must be found and
// named, and nothing may crash. Prints what was not, and last
// `N forgeries, N undetected`; exits with 1 if there are any.
//
// archive_damage ARCHIVE SCRATCH [--keys=DIR] [--every=N] [--from=K]
//
// --every=N flips one bit of every N-th byte (1: of each), beginning with K.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "archiver/base/file.h"
#include "archiver/evidence/digest.h"
#include "archiver/log/record.h"
#include "archiver/seal/key_file.h"
#include "archiver/seal/secret.h"
#include "tests/mustfail/forged_archive.h"
#include "tools/diptych/check/archive_checker.h"
#include "tools/diptych/check/store_report.h"

namespace diptych::mustfail {
namespace {

namespace fs = std::filesystem;
using log::Record;
using log::RecordType;
using Records = std::vector<Record>;

constexpr uint64_t kMaxPrinted = 100;

struct Verdict {
  uint64_t errors = 0;
  std::vector<check::Finding> findings;
  std::string failure;
};

class Suite {
 public:
  Suite(const std::string& archive, const std::string& scratch,
        std::vector<seal::KeyPair> keys, uint64_t every, uint64_t from)
      : archive_(archive, scratch),
        keys_(std::move(keys)),
        every_(every),
        from_(from),
        outside_(archive_.Checkpoint()) {}

  int Run() {
    Clean("the archive as it is", {});
    FlipBytes();
    archive_.WriteLog(archive_.records());
    Clean("the log written again", {});
    EditRecords();
    EditHeaders();
    EditKeyStore();
    EditVolumes();
    OlderCopies();
    Forks();
    SealedBodies();
    std::cout << done_ << " forgeries, " << undetected_ << " undetected"
              << std::endl;
    return undetected_ == 0 ? 0 : 1;
  }

 private:
  struct Look {
    bool with_keys = false;
    bool with_outside = false;
  };

  Verdict Check(const Look& look) const {
    Verdict verdict;
    check::CheckOptions options;
    options.data_dir = archive_.directory();
    options.data_share = 1;
    if (look.with_keys) {
      for (const seal::KeyPair& key : keys_) {
        options.keys.push_back(key.Clone());
      }
    }
    if (look.with_outside) options.against = {{"outside", outside_}};
    options.on_finding = [&](const check::Finding& finding) {
      if (verdict.findings.size() < kMaxPrinted) {
        verdict.findings.push_back(finding);
      }
    };
    const auto counts = check::CheckArchive(base::FileSystem::Real(), options);
    if (!counts.ok()) {
      verdict.failure = counts.status().ToString();
      return verdict;
    }
    verdict.errors = counts->errors;
    return verdict;
  }

  void Say(const std::string& what, const Verdict& verdict) {
    ++undetected_;
    if (undetected_ > kMaxPrinted) return;
    std::cout << "NOT FOUND: " << what << " " << verdict.failure << std::endl;
    for (const check::Finding& finding : verdict.findings) {
      std::cout << "    " << finding.place << ": " << finding.what << std::endl;
    }
  }

  // It must be found. With `file`, a finding must be in that file.
  void Found(const std::string& what, const Look& look,
             const std::string& file = "") {
    ++done_;
    const Verdict verdict = Check(look);
    const bool named =
        std::any_of(verdict.findings.begin(), verdict.findings.end(),
                    [&](const check::Finding& finding) {
                      return !finding.place.empty() && !finding.what.empty() &&
                             absl::StrContains(finding.place, file);
                    });
    if (verdict.errors > 0 && named) return;
    Say(what, verdict);
  }

  // Nothing is wrong: that is what makes the others worth something, or shows
  // that it takes more to find it.
  void Clean(const std::string& what, const Look& look) {
    ++done_;
    const Verdict verdict = Check(look);
    if (verdict.failure.empty() && verdict.errors == 0) return;
    Say(absl::StrCat("(should be clean) ", what), verdict);
  }

  void FlipBytes() {
    uint64_t number = from_;
    for (const char* folder : {"volumes", "keystore", "tlog"}) {
      for (const auto& entry : fs::recursive_directory_iterator(
               absl::StrCat(archive_.directory(), "/", folder))) {
        if (!entry.is_regular_file()) continue;
        FlipFile(entry.path().string(), &number);
      }
    }
  }

  void FlipFile(const std::string& path, uint64_t* number) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const uint64_t size = fs::file_size(path);
    for (uint64_t at = 0; at < size; ++at) {
      if (++*number % every_ != 0) continue;
      const auto put = [&](char byte) {
        file.seekp(static_cast<std::streamoff>(at));
        file.put(byte);
        file.flush();
      };
      file.seekg(static_cast<std::streamoff>(at));
      const char byte = static_cast<char>(file.get());
      put(static_cast<char>(byte ^ (1 << (at % 8))));
      Found(absl::StrCat("a bit of byte ", at, " of ", path), {}, path);
      put(byte);
    }
  }

  // Writes the records and looks.
  void Forged(const std::string& what, const Records& records) {
    archive_.WriteLog(records);
    Found(what, {});
  }

  std::string Name(size_t i) const {
    const Record& record = archive_.records()[i];
    return absl::StrCat("record ", i, " (",
                        absl::string_view(log::RecordTypeName(record.type)),
                        ")");
  }

  // True if nothing says which of the two came first: neither is a leaf, and
  // they are of different sessions or one is a chunk.
  bool OrderIsFree(const Record& a, const Record& b) const {
    if (evidence::IsLogLeaf(a.type) || evidence::IsLogLeaf(b.type)) {
      return false;
    }
    return SessionOf(a) != SessionOf(b) ||
           (a.type == RecordType::kChunk) != (b.type == RecordType::kChunk);
  }

  void EditRecords() {
    const Records& records = archive_.records();
    for (size_t i = 0; i < records.size(); ++i) {
      Records edited = records;
      edited.erase(edited.begin() + static_cast<ptrdiff_t>(i));
      Forged(Name(i) + " dropped", edited);
      edited = records;
      edited.insert(edited.begin() + static_cast<ptrdiff_t>(i), records[i]);
      Forged(Name(i) + " twice", edited);
      edited = records;
      edited.push_back(records[i]);
      Forged(Name(i) + " again at the end", edited);
      if (i + 1 < records.size() && !OrderIsFree(records[i], records[i + 1])) {
        edited = records;
        std::swap(edited[i], edited[i + 1]);
        Forged(Name(i) + " after its successor", edited);
      }
      edited = records;
      if (!records[i].body.empty()) {
        edited[i].body.pop_back();
        Forged(Name(i) + " with a shorter body", edited);
        edited[i].body.clear();
        Forged(Name(i) + " without its body", edited);
      } else {
        edited[i].body = "x";
        Forged(Name(i) + " with a body", edited);
      }
      edited = records;
      edited[i].header += std::string("\xA0\x06\x01", 3);
      Forged(Name(i) + " with a field that nobody knows", edited);
      edited.resize(i);
      Forged(absl::StrCat("nothing from ", Name(i), " on"), edited);
      Splice(i);
    }
  }

  // Another session's record of the same kind, with this one's id.
  void Splice(size_t i) {
    const Records& records = archive_.records();
    const std::string session = SessionOf(records[i]);
    for (size_t j = 0; j < records.size(); ++j) {
      const std::string other = SessionOf(records[j]);
      if (records[j].type != records[i].type || other == session ||
          other.empty()) {
        continue;
      }
      Records edited = records;
      edited[i] = records[j];
      Forged(absl::StrCat(Name(i), " is that of another session"), edited);
      const size_t at = edited[i].header.find(other);
      if (at == std::string::npos) continue;
      edited[i].header.replace(at, session.size(), session);
      Forged(absl::StrCat(Name(i), " is that of another session, renamed"),
             edited);
      return;
    }
  }

  // A byte of what lies under checksums, which are made again.
  void EditHeaders() {
    const Records& records = archive_.records();
    uint64_t number = from_;
    for (size_t i = 0; i < records.size(); ++i) {
      for (const auto part : {&Record::header, &Record::body}) {
        for (size_t at = 0; at < (records[i].*part).size(); ++at) {
          if (++number % every_ != 0) continue;
          Records edited = records;
          (edited[i].*part)[at] ^= static_cast<char>(1 << (at % 8));
          Forged(absl::StrCat("byte ", at, " of the ",
                              part == &Record::header ? "header" : "body",
                              " of ", Name(i)),
                 edited);
        }
      }
    }
    archive_.WriteLog(records);
  }

  void EditKeyStore() {
    const Records& records = archive_.key_records();
    const auto forged = [&](const std::string& what, const Records& edited) {
      archive_.WriteKeyStore(edited);
      Found(absl::StrCat("the key store with ", what), {});
    };
    uint64_t number = from_;
    for (size_t i = 0; i < records.size(); ++i) {
      Records edited = records;
      edited.erase(edited.begin() + static_cast<ptrdiff_t>(i));
      forged(absl::StrCat("wraps ", i, " dropped"), edited);
      edited = records;
      std::swap(edited[i], edited[(i + 1) % edited.size()]);
      forged(absl::StrCat("wraps ", i, " swapped"), edited);
      for (size_t at = 0; at < records[i].body.size(); ++at) {
        if (++number % every_ != 0) continue;
        edited = records;
        edited[i].body[at] ^= static_cast<char>(1 << (at % 8));
        forged(absl::StrCat("byte ", at, " of wraps ", i), edited);
      }
    }
    Records edited = records;
    edited.pop_back();
    forged("an older copy in its place", edited);
    archive_.WriteKeyStore(records);
    Clean("the key store written again", {});
  }

  // An archive of many volumes, some of which go, come twice or change places.
  void EditVolumes() {
    constexpr size_t kRecords = 9;
    archive_.WriteLog(archive_.records(), kRecords);
    archive_.SignTree();
    Clean("the log in small volumes", {});
    const std::string folder = archive_.directory() + "/volumes";
    std::vector<fs::path> volumes;
    for (const auto& entry : fs::directory_iterator(folder)) {
      volumes.push_back(entry.path());
    }
    std::sort(volumes.begin(), volumes.end());
    const fs::path aside = archive_.directory() + "/aside";
    for (size_t i = 0; i < volumes.size(); ++i) {
      fs::rename(volumes[i], aside);
      Found(absl::StrCat("volume ", i, " dropped"), {});
      fs::copy_file(volumes[i == 0 ? 1 : i - 1], volumes[i]);
      Found(absl::StrCat("volume ", i, " is a copy of another"), {});
      fs::rename(aside, volumes[i]);
      const uint64_t size = fs::file_size(volumes[i]);
      for (const uint64_t part : {uint64_t{0}, size / 2, size - 1}) {
        fs::copy_file(volumes[i], aside);
        fs::resize_file(volumes[i], part);
        Found(absl::StrCat("volume ", i, " cut to ", part, " bytes"), {});
        fs::rename(aside, volumes[i]);
      }
      if (i + 1 == volumes.size()) continue;
      fs::rename(volumes[i], aside);
      fs::rename(volumes[i + 1], volumes[i]);
      fs::rename(aside, volumes[i + 1]);
      Found(absl::StrCat("volumes ", i, " and ", i + 1, " swapped"), {});
      fs::rename(volumes[i], aside);
      fs::rename(volumes[i + 1], volumes[i]);
      fs::rename(aside, volumes[i + 1]);
    }
    Clean("the volumes put back", {});
    archive_.Restore();
  }

  // As far as the first session's end.
  Records FirstPart() const {
    Records records = archive_.records();
    const auto closed =
        std::find_if(records.begin(), records.end(), [](const Record& record) {
          return record.type == RecordType::kSessionClosed;
        });
    records.erase(closed + 1, records.end());
    return records;
  }

  void OlderCopies() {
    const std::string tlog = archive_.directory() + "/tlog";
    const std::string older = archive_.directory() + "/older";
    archive_.WriteLog(FirstPart());
    Found("an older copy of the volumes", {});
    // With the tree of that time all is as it was then.
    archive_.SignTree();
    Clean("an older copy of everything", {});
    Found("an older copy of everything, against a checkpoint",
          {.with_outside = true});
    fs::rename(tlog, older);
    archive_.Restore();
    fs::remove_all(tlog);
    Found("no tree at all", {.with_outside = true});
    archive_.WriteLog(FirstPart());
    archive_.SignTree();
    fs::rename(tlog, older);
    archive_.WriteLog(archive_.records());
    fs::rename(older, tlog);
    Found("an older copy of the tree", {.with_outside = true});
    archive_.Restore();
  }

  // Histories that the log's own key has signed.
  void Forks() {
    const Records& records = archive_.records();
    const std::string first = SessionOf(records.front());
    Records without;
    for (const Record& record : records) {
      if (SessionOf(record) != first) without.push_back(record);
    }
    const auto fork = [&](const std::string& what, const Records& edited) {
      archive_.WriteLog(edited);
      archive_.SignTree();
      Clean(what + ", signed again", {});
      Found(what + ", signed again, against a checkpoint",
            {.with_outside = true});
    };
    fork("a session left out", without);
    // An access record that nobody shall see.
    Records unseen = records;
    unseen.erase(std::remove_if(unseen.begin(), unseen.end(),
                                [](const Record& record) {
                                  return record.type == RecordType::kAccess;
                                }),
                 unseen.end());
    fork("the access records left out", unseen);
    archive_.Restore();
    Clean("the archive put back", {.with_outside = true});
  }

  // A forger with the log's key, and without the sessions' keys.
  void SealedBodies() {
    const Records& records = archive_.records();
    for (size_t i = 0; i < records.size(); ++i) {
      const RecordType type = records[i].type;
      if (type != RecordType::kChunk && type != RecordType::kNotes &&
          type != RecordType::kSpanStarted &&
          type != RecordType::kAttachmentPart && type != RecordType::kAccess) {
        continue;
      }
      Records edited = records;
      edited[i].body[edited[i].body.size() / 2] ^= 1;
      archive_.WriteLog(Rechain(edited));
      archive_.SignTree();
      // An envelope may not parse any more, which needs no key.
      if (type != RecordType::kAccess) {
        Clean(Name(i) + " changed under its seal, all signed again", {});
      }
      Found(Name(i) + " changed under its seal, all signed again, with keys",
            {.with_keys = true});
      Found(Name(i) + " changed under its seal, against a checkpoint",
            {.with_outside = true});
    }
    archive_.Restore();
    Clean("the archive put back", {.with_keys = true});
  }

  const ForgedArchive archive_;
  const std::vector<seal::KeyPair> keys_;
  const uint64_t every_;
  const uint64_t from_;
  const std::string outside_;
  uint64_t done_ = 0;
  uint64_t undetected_ = 0;
};

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "archive_damage ARCHIVE SCRATCH [--keys=DIR] [--every=N] "
                 "[--from=K]"
              << std::endl;
    return 2;
  }
  uint64_t every = 1;
  uint64_t from = 0;
  std::vector<seal::KeyPair> keys;
  for (int i = 3; i < argc; ++i) {
    absl::string_view flag = argv[i];
    if (absl::ConsumePrefix(&flag, "--every=")) {
      if (!absl::SimpleAtoi(flag, &every) || every == 0) return 2;
    } else if (absl::ConsumePrefix(&flag, "--from=")) {
      if (!absl::SimpleAtoi(flag, &from)) return 2;
    } else if (absl::ConsumePrefix(&flag, "--keys=")) {
      for (const char* name : {"index", "audit", "escrow"}) {
        auto key = seal::ReadKeyFile(std::string(flag), name, std::nullopt);
        if (!key.ok()) {
          std::cerr << key.status() << std::endl;
          return 2;
        }
        keys.push_back(*std::move(key));
      }
    } else {
      return 2;
    }
  }
  return Suite(argv[1], argv[2], std::move(keys), every, from).Run();
}

}  // namespace
}  // namespace diptych::mustfail

int main(int argc, char** argv) {
  if (!diptych::seal::InitializeCrypto().ok()) return 2;
  return diptych::mustfail::Main(argc, argv);
}
