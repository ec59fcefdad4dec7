#include "indexer/store/change_row.h"

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "indexer/store/session_number.h"
#include "indexer/store/varint.h"

namespace diptych::indexer {

std::string PackChange(const ChangeRow& row) {
  std::string bytes;
  AppendSignedVarint(row.time_us, &bytes);
  AppendVarint(row.sessions.size(), &bytes);
  uint64_t before = 0;
  for (const SessionNumber session : row.sessions) {
    AppendVarint(session.value() - before, &bytes);
    before = session.value();
  }
  return bytes;
}

absl::StatusOr<ChangeRow> UnpackChange(absl::string_view bytes) {
  VarintReader in(bytes);
  ChangeRow row;
  row.time_us = in.ReadSigned();
  const uint64_t count = in.ReadVarint();
  if (count > in.left()) in.Fail();
  uint64_t value = 0;
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    const uint64_t step = in.ReadVarint();
    const uint64_t most = SessionNumber::Largest().value() - value;
    if (step > most || (step == 0 && i > 0)) in.Fail();
    value += step;
    row.sessions.push_back(SessionNumber::FromValue(value));
  }
  if (!in.AtGoodEnd()) {
    return base::IntegrityError("the index has an unreadable change");
  }
  return row;
}

}  // namespace diptych::indexer
