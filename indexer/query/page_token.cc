#include "indexer/query/page_token.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/limits.h"
#include "archiver/seal/index_keys.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "proto/api/v1/common.pb.h"

namespace diptych::indexer {
namespace {

constexpr size_t kPlain_bytes = 4 + 8 + 4 + DocId::kSize;

}  // namespace

std::string PageContext(absl::string_view method, Order order,
                        absl::string_view principal, absl::string_view filter) {
  // Only the last part may hold a zero byte, so no two questions share one.
  const absl::string_view zero("\0", 1);
  return absl::StrCat(method, zero,
                      order == Order::kNewestFirst ? "newest" : "oldest", zero,
                      principal, zero, filter);
}

std::string SealPageEnd(const seal::IndexKeys& keys, absl::string_view context,
                        const PageEnd& end) {
  std::string plain;
  AppendBigEndian32(kSchemaVersion, &plain);
  AppendBigEndian64(end.before_position, &plain);
  AppendBigEndian32(end.segment, &plain);
  plain.append(end.last.bytes().data(), end.last.bytes().size());
  return absl::WebSafeBase64Escape(keys.SealPageToken(context, plain));
}

absl::StatusOr<PageEnd> OpenPageEnd(const seal::IndexKeys& keys,
                                    absl::string_view context,
                                    absl::string_view token) {
  api::v1::ErrorDetail detail;
  detail.set_reason("BAD_PAGE_TOKEN");
  detail.set_field("page_token");
  const absl::Status bad = base::MakeError(
      absl::StatusCode::kInvalidArgument,
      "the page token was not given for this question: ask again from the "
      "first page",
      detail);
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
  PageEnd end;
  end.before_position = ReadBigEndian64(bytes.substr(4));
  end.segment = ReadBigEndian32(bytes.substr(12));
  end.last = DocId::FromBytes(bytes.substr(16));
  return end;
}

}  // namespace diptych::indexer
