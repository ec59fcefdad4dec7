#include "tools/diptych/check/tree_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/evidence/checkpoint.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/merkle.h"
#include "archiver/evidence/note.h"
#include "archiver/evidence/tile_store.h"
#include "archiver/evidence/timestamp.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "tools/diptych/check/outside.h"
#include "tools/diptych/check/store_report.h"
#include "tools/diptych/check/tree_files.h"

namespace diptych::check {
namespace {

constexpr size_t kHash_bytes = base::kSha256_bytes;
constexpr absl::string_view kStampSuffix = ".tsr";
constexpr absl::string_view kStampedSuffix = ".checkpoint";

std::string TileRoot(absl::string_view hashes) {
  evidence::GrowingTree tree;
  for (size_t at = 0; at < hashes.size(); at += kHash_bytes) {
    tree.Add(std::string(hashes.substr(at, kHash_bytes)));
  }
  return tree.Root();
}

}  // namespace

TreeCheck::TreeCheck(base::FileSystem* file_system, const std::string& data_dir,
                     const stored::v1::ArchiveConfig* archive,
                     std::function<void(const Finding&)> on_finding)
    : archive_(archive),
      on_finding_(std::move(on_finding)),
      files_(file_system, absl::StrCat(data_dir, "/tlog")) {}

void TreeCheck::Say(Severity severity, const std::string& place, uint64_t leaf,
                    const std::string& what) const {
  on_finding_({.severity = severity,
               .store = "tree",
               .position = leaf,
               .place = place,
               .what = what});
}

void TreeCheck::False(const std::string& place, const std::string& what) const {
  Say(Severity::kError, place, tree_.size(), what);
}

void TreeCheck::Start() {
  const absl::StatusOr<evidence::NoteKey> key = LogKey(*archive_);
  if (key.ok()) {
    log_key_ = *key;
  } else {
    Say(Severity::kUnread, files_.Place(""), 0,
        absl::StrCat(key.status().message(),
                     ", so that no checkpoint can be verified"));
  }
  // First of all, so that all that it stands for is there by now.
  ReadCheckpoint();
  const absl::Status listed = files_.List();
  if (!listed.ok() && !absl::IsNotFound(listed)) {
    Say(Severity::kUnread, files_.Place(""), 0, std::string(listed.message()));
  }
  for (const std::string& stranger : files_.strangers()) {
    Say(Severity::kRemark, files_.Place(stranger), 0,
        "the file is none of a log tree");
  }
  ReadCosigned();
  ReadTimestamps();
}

std::optional<evidence::SignedCheckpoint> TreeCheck::Open(
    const std::string& place, absl::string_view text) const {
  if (!log_key_.has_value()) return std::nullopt;
  auto opened = evidence::SignedCheckpoint::Open(text, *log_key_);
  if (!opened.ok()) {
    False(place, std::string(opened.status().message()));
    return std::nullopt;
  }
  // In the one form in which it was written, so that no byte is without
  // meaning.
  if (opened->note.ToText() != text ||
      opened->checkpoint.ToText() != opened->note.text) {
    False(place, "the checkpoint holds more than a checkpoint does");
  }
  return *std::move(opened);
}

void TreeCheck::Expect(uint64_t size, const std::string& place,
                       const std::string& root) {
  if (size > 0) {
    expected_.emplace(size, Expected{place, root});
  } else if (root != evidence::EmptyRoot()) {
    False(place, "the tree of 0 leaves has another root");
  }
}

void TreeCheck::ReadCheckpoint() {
  const std::string name(evidence::kCheckpointFile);
  const auto text = files_.Read(name, limits::kMaxCheckpoint_bytes);
  if (absl::IsNotFound(text.status())) return;
  if (!text.ok()) {
    Say(Severity::kUnread, files_.Place(name), 0,
        std::string(text.status().message()));
    return;
  }
  checkpoint_text_ = *text;
  const auto opened = Open(files_.Place(name), *text);
  if (!opened.has_value()) return;
  CheckCosignatures(files_.Place(name), *opened);
  checkpoint_size_ = opened->checkpoint.size;
  Expect(checkpoint_size_, files_.Place(name), opened->checkpoint.root);
}

void TreeCheck::CheckCosignatures(
    const std::string& place,
    const evidence::SignedCheckpoint& checkpoint) const {
  for (const evidence::NoteSignature& signature : checkpoint.note.signatures) {
    if (signature.name == log_key_->name &&
        signature.key_id == log_key_->Id()) {
      continue;
    }
    bool known = false;
    for (const stored::v1::SigningIdentity& witness : archive_->witnesses()) {
      const evidence::NoteKey key = {
          .name = witness.name(),
          .type = evidence::NoteKeyType::kCosignature,
          .public_key = witness.public_key()};
      if (signature.name != key.name || signature.key_id != key.Id()) continue;
      known = true;
      const auto verified = evidence::VerifyNote(checkpoint.note, key);
      if (!verified.ok()) {
        False(place, std::string(verified.status().message()));
      }
    }
    if (known) continue;
    False(place,
          absl::StrCat("there is a signature of the unknown ", signature.name));
  }
}

void TreeCheck::ReadCosigned() {
  const std::string name(evidence::kCosignedFile);
  const auto text = files_.Read(name, limits::kMaxCheckpoint_bytes);
  if (absl::IsNotFound(text.status())) return;
  if (!text.ok()) {
    Say(Severity::kUnread, files_.Place(name), 0,
        std::string(text.status().message()));
    return;
  }
  const auto opened = Open(files_.Place(name), *text);
  if (!opened.has_value()) return;
  CheckCosignatures(files_.Place(name), *opened);
  Expect(opened->checkpoint.size, files_.Place(name), opened->checkpoint.root);
}

void TreeCheck::ReadTimestamps() {
  for (const std::string& file : files_.timestamps()) {
    const std::string name =
        absl::StrCat(evidence::kTimestampFolder, "/", file);
    if (absl::EndsWith(file, kStampSuffix)) {
      CheckTimestamp(file);
      continue;
    }
    if (!absl::EndsWith(file, kStampedSuffix)) {
      Say(Severity::kRemark, files_.Place(name), 0,
          "the file is none of a log tree");
      continue;
    }
    const auto text = files_.Read(name, limits::kMaxCheckpoint_bytes);
    if (!text.ok()) {
      Say(Severity::kUnread, files_.Place(name), 0,
          std::string(text.status().message()));
      continue;
    }
    const auto opened = Open(files_.Place(name), *text);
    if (!opened.has_value()) continue;
    CheckCosignatures(files_.Place(name), *opened);
    if (absl::StrCat(opened->checkpoint.size, kStampedSuffix) != file) {
      False(files_.Place(name), "the checkpoint is of another size");
    }
    Expect(opened->checkpoint.size, files_.Place(name),
           opened->checkpoint.root);
  }
}

void TreeCheck::CheckTimestamp(const std::string& file) const {
  const std::string name = absl::StrCat(evidence::kTimestampFolder, "/", file);
  const std::string beside =
      absl::StrCat(evidence::kTimestampFolder, "/",
                   absl::StripSuffix(file, kStampSuffix), kStampedSuffix);
  const auto response = files_.Read(name, limits::kMaxTimestamp_bytes);
  const auto stamped = files_.Read(beside, limits::kMaxCheckpoint_bytes);
  // A writer at work may be making room: it takes the stamp away first.
  if (absl::IsNotFound(response.status())) return;
  if (absl::IsNotFound(stamped.status())) {
    if (absl::IsNotFound(
            files_.Read(name, limits::kMaxTimestamp_bytes).status())) {
      return;
    }
    False(files_.Place(name), "the checkpoint that it stamps is missing");
    return;
  }
  for (const absl::Status& status : {response.status(), stamped.status()}) {
    if (status.ok()) continue;
    Say(Severity::kUnread, files_.Place(name), 0,
        std::string(status.message()));
    return;
  }
  const auto stamp = evidence::ParseTimestamp(*response);
  if (!stamp.ok()) {
    False(files_.Place(name), std::string(stamp.status().message()));
  } else if (stamp->imprint != base::Sha256(*stamped)) {
    False(files_.Place(name),
          "the time stamp is not one of the checkpoint beside it");
  }
}

void TreeCheck::Against(const Outside& outside) {
  // A checkpoint is on the archive's disk before anybody gets it.
  if (log_key_.has_value() && outside.checkpoint.size > checkpoint_size_) {
    False(files_.Place(evidence::kCheckpointFile),
          absl::StrCat("the checkpoint stands for ", checkpoint_size_,
                       " leaves, ", outside.name, " for ",
                       outside.checkpoint.size,
                       ": an older copy was put in its place"));
  }
  Expect(outside.checkpoint.size, outside.name, outside.checkpoint.root);
  if (outside.leaf.has_value()) {
    expected_leaves_.emplace(outside.leaf_index, *outside.leaf);
  }
}

std::optional<Entry> TreeCheck::Peek(uint64_t ahead) {
  const uint64_t leaf = tree_.size() + ahead;
  const uint64_t tile = leaf / kTile_hashes;
  if (tile != peeked_tile_) {
    if (tile != tree_.size() / kTile_hashes) {
      // One look ahead over a tile's end is not worth a second tile.
      return std::nullopt;
    }
    peeked_tile_ = tile;
    peeked_.clear();
    TileName name = {.kind = kEntriesKind, .index = tile};
    auto content = files_.Read(name.Path(), kTile_hashes * kEntry_bytes);
    const std::vector<size_t> widths = files_.PartialWidths(kEntriesKind, tile);
    if (!content.ok() && !widths.empty()) {
      name.width = widths.back();
      content = files_.Read(name.Path(), kTile_hashes * kEntry_bytes);
    }
    if (content.ok()) peeked_ = DecodeEntries(*content);
  }
  const size_t slot = leaf % kTile_hashes;
  return slot < peeked_.size() ? peeked_[slot] : std::nullopt;
}

void TreeCheck::Damaged(log::Position from, log::Position to,
                        bool was_durable) {
  if (was_durable) damaged_.emplace_back(from, to);
}

void TreeCheck::Leaf(log::Position position, const std::string& digest,
                     int64_t record_time_us) {
  // Whether an entry can be the next at all.
  const auto in_order = [this](const Entry& entry) {
    return !last_position_.has_value() || entry.position > *last_position_;
  };
  for (;;) {
    const std::optional<Entry> entry = Peek(0);
    if (!entry.has_value() || !in_order(*entry)) break;
    const std::string place = files_.Place(
        TileName{.kind = kEntriesKind, .index = peeked_tile_}.Path());
    if (entry->position == position) {
      if (digest.empty()) {
        False(place,
              absl::StrCat("leaf ", tree_.size(), " stands for the record at ",
                           position, ", which is damaged"));
        Push(position, entry->digest);
        return;
      }
      break;
    }
    if (entry->digest == digest) break;
    if (entry->position > position) {
      const std::optional<Entry> after = Peek(1);
      if (after.has_value() && after->position <= entry->position) break;
      False(place, absl::StrCat("the record at ", position,
                                " is no leaf of the tree: leaf ", tree_.size(),
                                " is that at ", entry->position));
      return;
    }
    while (!damaged_.empty() && damaged_.front().second <= entry->position) {
      damaged_.pop_front();
    }
    if (damaged_.empty() || entry->position < damaged_.front().first) {
      False(place,
            absl::StrCat("leaf ", tree_.size(), " stands for a record at ",
                         entry->position, " that the log does not hold"));
    }
    Push(entry->position, entry->digest);
  }
  // A torn tail, if nothing stands for it.
  if (digest.empty()) return;
  // Every leaf holds something that is drawn or counted for it alone.
  if (!digests_.insert(digest).second) {
    False(files_.Place(TileName{.kind = kEntriesKind,
                                .index = tree_.size() / kTile_hashes}
                           .Path()),
          absl::StrCat("the record at ", position,
                       " is one that the log has held before"));
  }
  latest_digests_.push_back(digest);
  if (latest_digests_.size() > limits::kTreeQueue_leaves) {
    digests_.erase(latest_digests_.front());
    latest_digests_.pop_front();
  }
  if (tree_.size() >= checkpoint_size_ && !first_unproven_us_.has_value()) {
    first_unproven_us_ = record_time_us;
  }
  Push(position, digest);
}

void TreeCheck::Push(log::Position position, const std::string& digest) {
  last_position_ = position;
  const uint64_t index = tree_.size();
  if (index < checkpoint_size_) proven_position_ = position;
  const std::string hash =
      evidence::LeafHash(evidence::LogLeafData(position, digest));
  const auto [first, last] = expected_leaves_.equal_range(index);
  for (auto leaf = first; leaf != last; ++leaf) {
    if (leaf->second.leaf_hash == hash) continue;
    False(leaf->second.name, absl::StrCat("the archive's leaf ", index,
                                          " is of another record than that at ",
                                          leaf->second.position));
  }
  entries_ += EncodeEntry(position, digest);
  tree_.Add(hash);
  PushHash(0, hash);
  Compare();
}

void TreeCheck::Compare() {
  const auto [first, last] = expected_.equal_range(tree_.size());
  if (first == last) return;
  const std::string root = tree_.Root();
  for (auto expected = first; expected != last; ++expected) {
    if (expected->second.root == root) continue;
    False(expected->second.place,
          absl::StrCat("the tree of ", tree_.size(),
                       " leaves has another root: what it stands for is not "
                       "what the archive holds"));
  }
}

void TreeCheck::PushHash(size_t level, const std::string& hash) {
  if (levels_.size() <= level) levels_.resize(level + 1);
  levels_[level].hashes += hash;
  if (levels_[level].hashes.size() < kTile_hashes * kHash_bytes) return;
  const std::string hashes = std::move(levels_[level].hashes);
  levels_[level].hashes.clear();
  const uint64_t index = levels_[level].index++;
  CheckTile(absl::StrCat(level), index, hashes, kHash_bytes);
  if (level == 0) {
    CheckTile(kEntriesKind, index, entries_, kEntry_bytes);
    entries_.clear();
  }
  PushHash(level + 1, TileRoot(hashes));
}

void TreeCheck::CheckTile(const std::string& kind, uint64_t index,
                          const std::string& content, size_t entry_bytes) {
  uint64_t level = 0;
  if (kind != kEntriesKind && !absl::SimpleAtoi(kind, &level)) return;
  // How much of the tile the checkpoint stands for.
  const uint64_t before = index * kTile_hashes;
  const uint64_t proven = checkpoint_size_ >> (8 * level);
  const uint64_t needed =
      proven <= before ? 0 : std::min<uint64_t>(proven - before, kTile_hashes);
  std::vector<size_t> widths = files_.PartialWidths(kind, index);
  widths.push_back(kTile_hashes);
  bool found = needed == 0;
  for (const size_t width : widths) {
    const bool is_there = CheckFile({kind, index, width}, content, entry_bytes);
    found = found || (is_there && width >= needed);
  }
  if (found) return;
  // A writer at work may have put a larger one in its place.
  const auto now =
      files_.Read(evidence::kCheckpointFile, limits::kMaxCheckpoint_bytes);
  if (now.ok() && now.value() != checkpoint_text_) return;
  const TileName name = {kind, index, static_cast<size_t>(needed)};
  False(files_.Place(name.Path()), "the tile is missing");
}

bool TreeCheck::CheckFile(const TileName& name, absl::string_view content,
                          size_t entry_bytes) {
  const std::string place = files_.Place(name.Path());
  const size_t bytes = name.width * entry_bytes;
  const auto read = files_.Read(name.Path(), kTile_hashes * entry_bytes);
  if (absl::IsNotFound(read.status())) return false;
  if (!read.ok()) {
    Say(Severity::kUnread, place, tree_.size(),
        std::string(read.status().message()));
    return true;
  }
  if (read->size() != bytes) {
    False(place, absl::StrCat("the tile has ", read->size(), " bytes; ",
                              name.width, " leaves take ", bytes));
    return true;
  }
  // One of more leaves than there are is said at the end.
  const size_t both = std::min(content.size(), bytes);
  const auto differs =
      std::mismatch(read->begin(), read->begin() + static_cast<ptrdiff_t>(both),
                    content.begin())
          .first;
  const size_t at = static_cast<size_t>(differs - read->begin());
  if (at < both) {
    False(
        absl::StrCat(place, " at byte ", at),
        absl::StrCat("the tile is not that of the log's records: number ",
                     name.index * kTile_hashes + at / entry_bytes, " differs"));
  }
  return true;
}

log::Position TreeCheck::DurableBefore() const {
  if (checkpoint_size_ == 0) return 0;
  std::optional<log::Position> last = proven_position_;
  if (tree_.size() < checkpoint_size_) {
    // Its record is not there any more; its entry may be.
    const uint64_t leaf = checkpoint_size_ - 1;
    TileName name = {.kind = kEntriesKind, .index = leaf / kTile_hashes};
    auto content = files_.Read(name.Path(), kTile_hashes * kEntry_bytes);
    const std::vector<size_t> widths =
        files_.PartialWidths(kEntriesKind, name.index);
    if (!content.ok() && !widths.empty()) {
      name.width = widths.back();
      content = files_.Read(name.Path(), kTile_hashes * kEntry_bytes);
    }
    if (content.ok()) {
      const auto entries = DecodeEntries(*content);
      const size_t slot = leaf % kTile_hashes;
      if (slot < entries.size() && entries[slot].has_value()) {
        last = std::max(last.value_or(0), entries[slot]->position);
      }
    }
  }
  // No record is empty.
  return last.has_value() ? *last + 1 : 0;
}

void TreeCheck::EndTiles() {
  for (size_t level = 0; level < levels_.size(); ++level) {
    CheckTile(absl::StrCat(level), levels_[level].index, levels_[level].hashes,
              kHash_bytes);
  }
  CheckTile(kEntriesKind, tree_.size() / kTile_hashes, entries_, kEntry_bytes);
  if (files_.last_leaf_end() > tree_.size()) {
    False(files_.Place(files_.last_leaf_path()),
          absl::StrCat("the tile is of ", files_.last_leaf_end(),
                       " leaves; the log holds ", tree_.size()));
  }
}

void TreeCheck::End(int64_t last_record_time_us) {
  log_leaves_ = tree_.size();
  // What the tree has and the log has not: the log was cut.
  uint64_t more = 0;
  log::Position from = 0;
  while (const std::optional<Entry> entry = Peek(0)) {
    if (more++ == 0) from = entry->position;
    Push(entry->position, entry->digest);
  }
  if (more > 0) {
    False(files_.Place(TileName{.kind = kEntriesKind,
                                .index = (tree_.size() - 1) / kTile_hashes}
                           .Path()),
          absl::StrCat("the tree has ", more,
                       " leaves more than the log, from position ", from,
                       " on: the log was cut, or an older copy put in its "
                       "place"));
  }
  EndTiles();
  for (auto expected = expected_.upper_bound(tree_.size());
       expected != expected_.end(); ++expected) {
    False(expected->second.place,
          absl::StrCat("it stands for ", expected->first,
                       " leaves; the archive holds ", tree_.size(),
                       ": it was cut, or is an older copy"));
  }
  for (auto leaf = expected_leaves_.lower_bound(tree_.size());
       leaf != expected_leaves_.end(); ++leaf) {
    False(leaf->second.name,
          absl::StrCat("its leaf ", leaf->first, " is not in the archive"));
  }
  EndCheckpoint(last_record_time_us);
}

void TreeCheck::EndCheckpoint(int64_t last_record_time_us) {
  if (!log_key_.has_value() || !first_unproven_us_.has_value()) return;
  const std::string place = files_.Place(evidence::kCheckpointFile);
  const uint64_t unproven = log_leaves_ - checkpoint_size_;
  const int64_t age_us = last_record_time_us - *first_unproven_us_;
  if (age_us <= absl::ToInt64Microseconds(limits::kCheckpointLag)) {
    Say(Severity::kRemark, place, checkpoint_size_,
        absl::StrCat("the last ", unproven,
                     " leaves of the log are not in a checkpoint yet"));
    return;
  }
  False(place, absl::StrCat(checkpoint_text_.has_value()
                                ? "the checkpoint stands for "
                                : "there is no checkpoint, of ",
                            checkpoint_size_, " leaves; the log holds ",
                            unproven, " more and went on for ",
                            age_us / 1'000'000, " s after the first of them"));
}

}  // namespace diptych::check
