#include "indexer/query/page_token.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/session_number.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {
namespace {

// Schema, position, time, session, whether there is a segment, segment.
constexpr size_t kPlain_bytes = 4 + 8 + 8 + 8 + 4 + 4;

absl::Status PageError(absl::string_view reason, absl::string_view message) {
  api::v1::ErrorDetail detail;
  detail.set_reason(std::string(reason));
  detail.set_field("page_token");
  return base::MakeError(absl::StatusCode::kInvalidArgument, message, detail);
}

}  // namespace

std::string PageContext(absl::string_view method, Order order,
                        absl::string_view principal, absl::string_view filter) {
  // Only the last part may hold a zero byte, so no two questions share one.
  const absl::string_view zero("\0", 1);
  return absl::StrCat(method, zero,
                      order == Order::kNewestFirst ? "newest" : "oldest", zero,
                      principal, zero, filter);
}

std::string SealPage(const seal::IndexKeys& keys, absl::string_view context,
                     const PagePlace& place) {
  std::string plain;
  AppendBigEndian32(kSchemaVersion, &plain);
  AppendBigEndian64(place.position, &plain);
  AppendBigEndian64(static_cast<uint64_t>(absl::ToUnixSeconds(place.asked)),
                    &plain);
  AppendBigEndian64(place.session.value(), &plain);
  AppendBigEndian32(place.segment.has_value() ? 1 : 0, &plain);
  AppendBigEndian32(place.segment.value_or(0), &plain);
  return absl::WebSafeBase64Escape(keys.SealPageToken(context, plain));
}

absl::StatusOr<PagePlace> OpenPage(const seal::IndexKeys& keys,
                                   absl::string_view context,
                                   absl::string_view token, absl::Time now) {
  const absl::Status bad = PageError(
      "BAD_PAGE_TOKEN",
      "the page token was not given for this question: ask again from the "
      "first page");
  std::string sealed;
  if (token.size() > limits::kMaxPageToken_bytes ||
      !absl::WebSafeBase64Unescape(token, &sealed)) {
    return bad;
  }
  const absl::StatusOr<std::string> plain = keys.OpenPageToken(context, sealed);
  if (!plain.ok() || plain->size() != kPlain_bytes ||
      ReadBigEndian32(*plain) != kSchemaVersion) {
    return bad;
  }
  const absl::string_view bytes = *plain;
  PagePlace place;
  place.position = ReadBigEndian64(bytes.substr(4));
  place.asked = absl::FromUnixSeconds(
      static_cast<int64_t>(ReadBigEndian64(bytes.substr(12))));
  place.session = SessionNumber::FromValue(ReadBigEndian64(bytes.substr(20)));
  if (ReadBigEndian32(bytes.substr(28)) != 0) {
    place.segment = ReadBigEndian32(bytes.substr(32));
  }
  if (now > place.asked + limits::kPageLifetime) return PageExpired();
  return place;
}

absl::Status PageExpired() {
  return PageError("PAGE_EXPIRED",
                   "the page's first page was asked for too long ago, or too "
                   "much has changed since: ask again from the first page");
}

}  // namespace diptych::indexer
