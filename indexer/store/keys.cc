#include "indexer/store/keys.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

std::string SessionBytes(const base::Uuid& session) {
  return std::string(session.bytes());
}

}  // namespace

void AppendBigEndian32(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift & 0xff));
  }
}

void AppendBigEndian64(uint64_t value, std::string* out) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift & 0xff));
  }
}

uint32_t ReadBigEndian32(absl::string_view bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

uint64_t ReadBigEndian64(absl::string_view bytes) {
  return uint64_t{ReadBigEndian32(bytes)} << 32 |
         ReadBigEndian32(bytes.substr(4));
}

std::string IdKey(const base::Uuid& session) { return SessionBytes(session); }

std::string SessionKey(SessionNumber session) {
  std::string key;
  for (int shift = 8 * (SessionNumber::kKey_bytes - 1); shift >= 0;
       shift -= 8) {
    key.push_back(static_cast<char>(session.value() >> shift & 0xff));
  }
  return key;
}

SessionNumber ReadSessionNumber(absl::string_view key) {
  uint64_t value = 0;
  for (size_t i = 0; i < SessionNumber::kKey_bytes; ++i) {
    value = value << 8 | static_cast<unsigned char>(key[i]);
  }
  return SessionNumber::FromValue(value);
}

std::string GroupKey(SessionNumber session, uint32_t group) {
  std::string key = SessionKey(session);
  AppendBigEndian32(group, &key);
  return key;
}

std::string ChunkGroupKey(const base::Uuid& session, uint32_t group) {
  std::string key = SessionBytes(session);
  AppendBigEndian32(group, &key);
  return key;
}

std::string ChangesKey(uint64_t position) {
  std::string key;
  AppendBigEndian64(position, &key);
  return key;
}

std::string DetailPrefix(const base::Uuid& session, DetailKind kind) {
  std::string key = SessionBytes(session);
  key.push_back(static_cast<char>(kind));
  return key;
}

std::string DetailKey(const base::Uuid& session, DetailKind kind,
                      uint32_t number) {
  std::string key = DetailPrefix(session, kind);
  AppendBigEndian32(number, &key);
  return key;
}

std::string AttachmentPartPrefix(const base::Uuid& session, uint32_t id) {
  return DetailKey(session, DetailKind::kAttachmentPart, id);
}

std::string AttachmentPartKey(const base::Uuid& session, uint32_t id,
                              uint64_t offset) {
  std::string key = AttachmentPartPrefix(session, id);
  AppendBigEndian64(offset, &key);
  return key;
}

std::string PrefixEnd(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty()) {
    const auto last = static_cast<unsigned char>(end.back());
    if (last != 0xff) {
      end.back() = static_cast<char>(last + 1);
      return end;
    }
    end.pop_back();
  }
  return end;
}

}  // namespace diptych::indexer
