#include "indexer/builder/rebuild_checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/ids.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "archiver/log/record.h"
#include "indexer/builder/bulk_writer.h"
#include "indexer/builder/external_sort.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_number.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kCheckpointFile = "checkpoint";
constexpr absl::string_view kMetFile = "met";
constexpr absl::string_view kLateFile = "late";
constexpr size_t kMet_bytes = base::Uuid::kSize + SessionNumber::kKey_bytes;
constexpr size_t kLate_bytes = 8;

absl::Status Unusable() {
  return base::IntegrityError("a rebuild's checkpoint is not usable");
}

void AppendString(absl::string_view text, std::string* out) {
  AppendVarint(text.size(), out);
  out->append(text.data(), text.size());
}

std::string ReadString(VarintReader* reader) {
  return std::string(reader->ReadBytes(reader->ReadVarint()));
}

// Paths are stored without their folder.
void AppendRuns(const FamilyRuns& runs, std::string* out) {
  for (const std::vector<SortedRun>& family : runs) {
    AppendVarint(family.size(), out);
    for (const SortedRun& run : family) {
      AppendString(fs::path(run.path).filename().string(), out);
      AppendVarint(run.bytes, out);
      AppendVarint(run.rows, out);
    }
  }
}

FamilyRuns ReadRuns(const std::string& folder, VarintReader* reader) {
  FamilyRuns runs;
  for (std::vector<SortedRun>& family : runs) {
    const uint64_t count = reader->ReadVarint();
    for (uint64_t i = 0; i < count && reader->ok(); ++i) {
      SortedRun run;
      run.path = absl::StrCat(folder, "/", ReadString(reader));
      run.bytes = reader->ReadVarint();
      run.rows = reader->ReadVarint();
      family.push_back(std::move(run));
    }
  }
  return runs;
}

// The first `count` entries.
absl::StatusOr<std::string> ReadGrown(const std::string& path, uint64_t count,
                                      size_t entry_bytes) {
  if (count == 0) return std::string();
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file,
                   base::FileSystem::Real()->OpenForRead(path));
  std::string bytes;
  RETURN_IF_ERROR(file->Read(0, count * entry_bytes, &bytes));
  if (bytes.size() != count * entry_bytes) return Unusable();
  return bytes;
}

// The hash of what was added so far.
std::string DigestOf(base::Sha256Hasher hasher) { return hasher.Finish(); }

std::string Encode(const RebuildCheckpoint& checkpoint,
                   const std::string& met_digest,
                   const std::string& late_digest) {
  std::string bytes;
  AppendString(checkpoint.identity, &bytes);
  AppendString(checkpoint.state.SerializeAsString(), &bytes);
  for (size_t i = 0; i < checkpoint.runs.size(); ++i) {
    AppendRuns(checkpoint.runs[i], &bytes);
    AppendVarint(checkpoint.next_file[i], &bytes);
  }
  AppendVarint(checkpoint.met.size(), &bytes);
  bytes += met_digest;
  AppendVarint(checkpoint.late.size(), &bytes);
  bytes += late_digest;
  AppendVarint(checkpoint.read_from, &bytes);
  AppendVarint(checkpoint.open.size(), &bytes);
  for (const base::Uuid& open : checkpoint.open) {
    bytes += std::string(open.bytes());
  }
  bytes += base::Sha256(bytes);
  return bytes;
}

}  // namespace

std::string RebuildIdentity(const base::Uuid& archive_id,
                            const std::string& key_fingerprint) {
  std::string identity(archive_id.bytes());
  AppendBigEndian32(kSchemaVersion, &identity);
  // Of what this file writes.
  AppendBigEndian32(2, &identity);
  return identity + key_fingerprint;
}

absl::StatusOr<RebuildCheckpoints> RebuildCheckpoints::Open(
    const std::string& folder) {
  RETURN_IF_ERROR(base::FileSystem::Real()->CreateDirectory(folder));
  return RebuildCheckpoints(folder);
}

absl::StatusOr<RebuildCheckpoint> RebuildCheckpoints::Read(
    const std::string& identity) {
  ASSIGN_OR_RETURN(
      const std::string bytes,
      base::ReadWholeFile(absl::StrCat(folder_, "/", kCheckpointFile),
                          std::numeric_limits<uint32_t>::max()));
  if (bytes.size() < base::kSha256_bytes) return Unusable();
  const absl::string_view body =
      absl::string_view(bytes).substr(0, bytes.size() - base::kSha256_bytes);
  if (base::Sha256(body) != absl::string_view(bytes).substr(body.size())) {
    return Unusable();
  }
  VarintReader reader(body);
  RebuildCheckpoint checkpoint;
  checkpoint.identity = ReadString(&reader);
  if (checkpoint.identity != identity ||
      !checkpoint.state.ParseFromString(ReadString(&reader))) {
    return Unusable();
  }
  for (size_t i = 0; i < checkpoint.runs.size(); ++i) {
    checkpoint.runs[i] = ReadRuns(folder_, &reader);
    checkpoint.next_file[i] = reader.ReadVarint();
  }
  const uint64_t met = reader.ReadVarint();
  const std::string met_digest(reader.ReadBytes(base::kSha256_bytes));
  const uint64_t late = reader.ReadVarint();
  const std::string late_digest(reader.ReadBytes(base::kSha256_bytes));
  checkpoint.read_from = reader.ReadVarint();
  const uint64_t open = reader.ReadVarint();
  for (uint64_t i = 0; i < open && reader.ok(); ++i) {
    const auto id =
        base::Uuid::FromBytes(std::string(reader.ReadBytes(base::Uuid::kSize)));
    if (!id.ok()) return Unusable();
    checkpoint.open.push_back(*id);
  }
  if (!reader.AtGoodEnd()) return Unusable();

  ASSIGN_OR_RETURN(
      const std::string met_bytes,
      ReadGrown(absl::StrCat(folder_, "/", kMetFile), met, kMet_bytes));
  met_ = {.count = met};
  met_.hasher.Add(met_bytes);
  if (DigestOf(met_.hasher) != met_digest) return Unusable();
  for (size_t at = 0; at < met_bytes.size(); at += kMet_bytes) {
    ASSIGN_OR_RETURN(
        const base::Uuid session,
        base::Uuid::FromBytes(met_bytes.substr(at, base::Uuid::kSize)));
    checkpoint.met.push_back(
        {session, ReadSessionNumber(absl::string_view(met_bytes).substr(
                      at + base::Uuid::kSize))});
  }
  ASSIGN_OR_RETURN(
      const std::string late_bytes,
      ReadGrown(absl::StrCat(folder_, "/", kLateFile), late, kLate_bytes));
  late_ = {.count = late};
  late_.hasher.Add(late_bytes);
  if (DigestOf(late_.hasher) != late_digest) return Unusable();
  for (size_t at = 0; at < late_bytes.size(); at += kLate_bytes) {
    checkpoint.late.push_back(
        ReadBigEndian64(absl::string_view(late_bytes).substr(at)));
  }
  std::error_code error;
  for (const FamilyRuns& worker : checkpoint.runs) {
    for (const std::vector<SortedRun>& family : worker) {
      for (const SortedRun& run : family) {
        if (fs::file_size(run.path, error) != run.bytes) return Unusable();
      }
    }
  }
  return checkpoint;
}

absl::StatusOr<RebuildCheckpoint> RebuildCheckpoints::Load(
    const std::string& identity) {
  absl::StatusOr<RebuildCheckpoint> checkpoint = Read(identity);
  if (!checkpoint.ok()) {
    RETURN_IF_ERROR(Clear());
    RETURN_IF_ERROR(base::FileSystem::Real()->CreateDirectory(folder_));
    checkpoint.emplace();
    checkpoint->identity = identity;
  }
  std::set<std::string> named = {std::string(kCheckpointFile),
                                 std::string(kMetFile), std::string(kLateFile)};
  for (const FamilyRuns& worker : checkpoint->runs) {
    for (const std::vector<SortedRun>& family : worker) {
      for (const SortedRun& run : family) {
        named.insert(fs::path(run.path).filename());
      }
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (!named.contains(entry.path().filename())) {
      fs::remove_all(entry.path(), error);
    }
  }
  if (error) {
    return absl::InternalError(
        absl::StrCat("tidying up a rebuild: ", error.message()));
  }
  return checkpoint;
}

// Cuts off what a crash left behind the last checkpoint, and adds what is new.
absl::Status RebuildCheckpoints::Grow(absl::string_view name,
                                      size_t entry_bytes,
                                      const std::string& added,
                                      Saved* saved) const {
  base::FileSystem* const files = base::FileSystem::Real();
  ASSIGN_OR_RETURN(const std::unique_ptr<base::AppendFile> file,
                   files->OpenForAppend(absl::StrCat(folder_, "/", name)));
  const uint64_t good = uint64_t{saved->count} * entry_bytes;
  if (file->size() < good) return Unusable();
  if (file->size() > good) RETURN_IF_ERROR(file->CutTo(good));
  if (added.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(file->Append({added}));
  RETURN_IF_ERROR(file->Sync());
  saved->count += added.size() / entry_bytes;
  saved->hasher.Add(added);
  return absl::OkStatus();
}

absl::Status RebuildCheckpoints::Save(const RebuildCheckpoint& checkpoint) {
  std::string met;
  for (size_t i = met_.count; i < checkpoint.met.size(); ++i) {
    met += std::string(checkpoint.met[i].session.bytes());
    met += SessionKey(checkpoint.met[i].number);
  }
  std::string late;
  for (size_t i = late_.count; i < checkpoint.late.size(); ++i) {
    AppendBigEndian64(checkpoint.late[i], &late);
  }
  RETURN_IF_ERROR(Grow(kMetFile, kMet_bytes, met, &met_));
  RETURN_IF_ERROR(Grow(kLateFile, kLate_bytes, late, &late_));
  base::FileSystem* const files = base::FileSystem::Real();
  RETURN_IF_ERROR(files->SyncDirectory(folder_));
  RETURN_IF_ERROR(base::ReplaceFile(
      files, absl::StrCat(folder_, "/", kCheckpointFile),
      Encode(checkpoint, DigestOf(met_.hasher), DigestOf(late_.hasher))));
  return files->SyncDirectory(folder_);
}

absl::Status RebuildCheckpoints::Clear() {
  std::error_code error;
  // Without it the rest says nothing.
  fs::remove(absl::StrCat(folder_, "/", kCheckpointFile), error);
  fs::remove_all(folder_, error);
  if (error) {
    return absl::InternalError(
        absl::StrCat("removing a rebuild's files: ", error.message()));
  }
  met_ = Saved();
  late_ = Saved();
  return absl::OkStatus();
}

}  // namespace diptych::indexer
