#include "indexer/store/keys.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "indexer/store/session_number.h"

namespace diptych::indexer {
namespace {

constexpr uint32_t kMax32 = std::numeric_limits<uint32_t>::max();

// Later times become smaller numbers. The sign bit is turned first, so that
// times before 1970 sort too.
uint64_t DescendingTime(int64_t time_us) {
  return ~(static_cast<uint64_t>(time_us) ^ (uint64_t{1} << 63));
}

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

DocId::DocId(int64_t start_time_us, const base::Uuid& session, uint32_t run) {
  std::string bytes;
  AppendBigEndian64(DescendingTime(start_time_us), &bytes);
  bytes += session.bytes();
  AppendBigEndian32(~run, &bytes);
  *this = FromBytes(bytes);
}

DocId DocId::FromBytes(absl::string_view bytes) {
  DocId doc;
  std::copy_n(bytes.begin(), kSize, doc.bytes_.begin());
  return doc;
}

int64_t DocId::start_time_us() const {
  return static_cast<int64_t>(~ReadBigEndian64(bytes()) ^ (uint64_t{1} << 63));
}

base::Uuid DocId::session() const {
  return base::Uuid::FromBytes(bytes().substr(8, base::Uuid::kSize)).value();
}

uint32_t DocId::run() const {
  return ~ReadBigEndian32(bytes().substr(kSession_bytes));
}

DocId DocId::SmallestOfSession() const {
  return DocId(start_time_us(), session(), kMax32);
}

DocId DocId::LargestOfSession() const {
  return DocId(start_time_us(), session(), 0);
}

DocId DocId::SmallestAt(int64_t start_time_us) {
  return DocId(start_time_us, base::Uuid(), kMax32);
}

DocId DocId::LargestAt(int64_t start_time_us) {
  DocId doc = Largest();
  std::string time;
  AppendBigEndian64(DescendingTime(start_time_us), &time);
  std::copy_n(time.begin(), time.size(), doc.bytes_.begin());
  return doc;
}

DocId DocId::Largest() {
  DocId doc;
  doc.bytes_.fill('\xff');
  return doc;
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

std::string PostingKey(absl::string_view token, const DocId& doc) {
  std::string key(token);
  key.append(doc.bytes().data(), doc.bytes().size());
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

std::string EncodePosition(uint64_t position) {
  std::string out;
  while (position >= 0x80) {
    out.push_back(static_cast<char>(position | 0x80));
    position >>= 7;
  }
  out.push_back(static_cast<char>(position));
  return out;
}

bool DecodePosition(absl::string_view bytes, uint64_t* position) {
  if (bytes.empty() || bytes.size() > 10) return false;
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const bool last = i + 1 == bytes.size();
    if (last != ((byte & 0x80) == 0)) return false;
    if (i == 9 && byte > 1) return false;
    value |= uint64_t{byte & 0x7fu} << (7 * i);
  }
  *position = value;
  return true;
}

}  // namespace diptych::indexer
