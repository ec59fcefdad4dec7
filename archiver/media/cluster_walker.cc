#include "archiver/media/cluster_walker.h"

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/status_macros.h"

namespace diptych::media {
namespace {

// Element ids of RFC 9559, with their length markers.
constexpr uint32_t kCluster = 0x1F43B675;
constexpr uint32_t kTimestamp = 0xE7;
constexpr uint32_t kSimpleBlock = 0xA3;
constexpr uint32_t kBlockGroup = 0xA0;
constexpr uint32_t kBlock = 0xA1;
constexpr uint32_t kBlockAdditions = 0x75A1;
constexpr uint32_t kBlockDuration = 0x9B;
constexpr uint32_t kReferencePriority = 0xFA;
constexpr uint32_t kReferenceBlock = 0xFB;
constexpr uint32_t kDiscardPadding = 0x75A2;
constexpr uint32_t kPrevSize = 0xAB;
constexpr uint32_t kPosition = 0xA7;
constexpr uint32_t kVoid = 0xEC;
constexpr uint32_t kCrc32 = 0xBF;

constexpr size_t kMaxId_bytes = 4;
constexpr size_t kMaxSize_bytes = 8;
constexpr uint8_t kLacingBits = 0x06;

using OnBlock =
    std::function<absl::Status(uint64_t track_number, absl::string_view)>;

// The length that a variable-length number's first byte announces; 0 if none.
size_t VintLength(uint8_t first) {
  for (size_t length = 1; length <= kMaxSize_bytes; ++length) {
    if ((first & (0x100 >> length)) != 0) return length;
  }
  return 0;
}

struct Element {
  uint32_t id = 0;
  bool unknown_size = false;
  absl::string_view content;
};

// Reads elements one after the other, and knows where it is for messages.
class Cursor {
 public:
  Cursor(absl::string_view all, absl::string_view rest)
      : begin_(all.data()), rest_(rest) {}

  bool empty() const { return rest_.empty(); }

  absl::Status Error(absl::string_view what) const {
    return base::IntegrityError(absl::StrCat(
        "the clusters ", what, " at their byte ", rest_.data() - begin_));
  }

  // The next element. One of unknown size has all that is left as its content.
  absl::StatusOr<Element> Next() {
    Element element;
    uint64_t id = 0;
    if (!TakeVint(kMaxId_bytes, /*keep_marker=*/true, &id)) {
      return Error("have no valid element id");
    }
    element.id = static_cast<uint32_t>(id);
    uint64_t size = 0;
    const size_t size_bytes =
        rest_.empty() ? 0 : VintLength(static_cast<uint8_t>(rest_.front()));
    if (!TakeVint(kMaxSize_bytes, /*keep_marker=*/false, &size)) {
      return Error("have no valid element size");
    }
    element.unknown_size = size == (uint64_t{1} << (7 * size_bytes)) - 1;
    if (element.unknown_size) size = rest_.size();
    if (size > rest_.size()) return Error("have an element that is cut off");
    element.content = rest_.substr(0, static_cast<size_t>(size));
    rest_.remove_prefix(static_cast<size_t>(size));
    return element;
  }

  // True if the next element is a cluster, which ends one of unknown size.
  bool AtCluster() const {
    return rest_.size() >= kMaxId_bytes &&
           rest_.substr(0, kMaxId_bytes) ==
               absl::string_view("\x1F\x43\xB6\x75", kMaxId_bytes);
  }

  absl::string_view rest() const { return rest_; }

 private:
  bool TakeVint(size_t max_bytes, bool keep_marker, uint64_t* value) {
    if (rest_.empty()) return false;
    const auto first = static_cast<uint8_t>(rest_.front());
    const size_t length = VintLength(first);
    if (length == 0 || length > max_bytes || length > rest_.size()) {
      return false;
    }
    *value = keep_marker ? first : first & ((0x100 >> length) - 1);
    for (size_t i = 1; i < length; ++i) {
      *value = *value << 8 | static_cast<uint8_t>(rest_[i]);
    }
    rest_.remove_prefix(length);
    return true;
  }

  const char* begin_;
  absl::string_view rest_;
};

absl::Status HandleBlock(const Cursor& at, absl::string_view content,
                         const OnBlock& on_block) {
  if (content.empty()) return at.Error("have an empty block");
  const size_t length = VintLength(static_cast<uint8_t>(content.front()));
  // Number, two bytes of time, flags.
  if (length == 0 || content.size() < length + 3) {
    return at.Error("have a block without a header");
  }
  uint64_t number =
      static_cast<uint8_t>(content.front()) & ((0x100 >> length) - 1);
  for (size_t i = 1; i < length; ++i) {
    number = number << 8 | static_cast<uint8_t>(content[i]);
  }
  const auto flags = static_cast<uint8_t>(content[length + 2]);
  if ((flags & kLacingBits) != 0) return at.Error("have a laced block");
  return on_block(number, content.substr(length + 3));
}

absl::Status WalkBlockGroup(absl::string_view all, absl::string_view group,
                            const OnBlock& on_block) {
  Cursor cursor(all, group);
  int blocks = 0;
  while (!cursor.empty()) {
    ASSIGN_OR_RETURN(const Element element, cursor.Next());
    if (element.unknown_size) return cursor.Error("have an unknown size");
    switch (element.id) {
      case kBlock:
        ++blocks;
        RETURN_IF_ERROR(HandleBlock(cursor, element.content, on_block));
        break;
      case kBlockAdditions:
      case kBlockDuration:
      case kReferencePriority:
      case kReferenceBlock:
      case kDiscardPadding:
      case kVoid:
      case kCrc32:
        break;
      default:
        return cursor.Error("have an element that no block group holds");
    }
  }
  if (blocks != 1) return cursor.Error("have a group without one block");
  return absl::OkStatus();
}

// Walks one cluster's children from `cursor` on: to its end, or, if its size is
// not known, to the next cluster.
absl::Status WalkCluster(absl::string_view all, bool unknown_size,
                         const OnBlock& on_block, Cursor* cursor) {
  bool has_timestamp = false;
  while (!cursor->empty() && !(unknown_size && cursor->AtCluster())) {
    ASSIGN_OR_RETURN(const Element element, cursor->Next());
    if (element.unknown_size) return cursor->Error("have an unknown size");
    switch (element.id) {
      case kTimestamp:
        if (has_timestamp || element.content.empty() ||
            element.content.size() > sizeof(uint64_t)) {
          return cursor->Error("have an invalid timestamp");
        }
        has_timestamp = true;
        break;
      case kSimpleBlock:
        if (!has_timestamp) return cursor->Error("have a block without time");
        RETURN_IF_ERROR(HandleBlock(*cursor, element.content, on_block));
        break;
      case kBlockGroup:
        if (!has_timestamp) return cursor->Error("have a block without time");
        RETURN_IF_ERROR(WalkBlockGroup(all, element.content, on_block));
        break;
      case kPrevSize:
      case kPosition:
      case kVoid:
      case kCrc32:
        break;
      default:
        return cursor->Error("have an element that no cluster holds");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WalkClusters(absl::string_view clusters, const OnBlock& on_block) {
  Cursor cursor(clusters, clusters);
  while (!cursor.empty()) {
    ASSIGN_OR_RETURN(const Element element, cursor.Next());
    if (element.id == kVoid && !element.unknown_size) continue;
    if (element.id != kCluster) {
      return cursor.Error("hold something else than a cluster");
    }
    Cursor inside(clusters, element.content);
    RETURN_IF_ERROR(
        WalkCluster(clusters, element.unknown_size, on_block, &inside));
    // After a cluster of unknown size the rest is what it did not take.
    if (element.unknown_size) cursor = inside;
  }
  return absl::OkStatus();
}

}  // namespace diptych::media
