#include "indexer/store/run_pack.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "archiver/base/errors.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/steps.h"
#include "indexer/store/varint.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

using stored::v1::RunRow;

constexpr uint8_t kFormat = 1;

// A segment's number from a place and a step.
uint32_t ReadNumber(uint64_t from, VarintReader* in) {
  const uint64_t number = Add(from, in->ReadSigned());
  if (number > std::numeric_limits<uint32_t>::max()) in->Fail();
  return static_cast<uint32_t>(number);
}

}  // namespace

std::string PackRuns(const base::Uuid& session, absl::Span<const RunRow> runs) {
  std::string pack;
  pack.reserve(20 + 16 * runs.size());
  pack.push_back(static_cast<char>(kFormat));
  pack.append(session.bytes().data(), base::Uuid::kSize);
  AppendVarint(runs.size(), &pack);
  // Most runs begin where the one before ended.
  uint64_t next_segment = 0;
  int64_t next_us = 0;
  for (const RunRow& run : runs) {
    AppendVarint(static_cast<uint64_t>(run.segments_size()), &pack);
    for (const auto& range : run.segments()) {
      AppendSignedVarint(Step(next_segment, uint64_t{range.first()}), &pack);
      AppendSignedVarint(Step(uint64_t{range.first()}, uint64_t{range.last()}),
                         &pack);
      next_segment = uint64_t{range.last()} + 1;
    }
    AppendSignedVarint(Step(next_us, run.from_us()), &pack);
    AppendSignedVarint(Step(run.from_us(), run.to_us()), &pack);
    next_us = run.to_us();
  }
  return pack;
}

absl::StatusOr<RunPack> UnpackRuns(absl::string_view bytes) {
  VarintReader in(bytes);
  RunPack pack;
  if (in.ReadByte() != kFormat) in.Fail();
  const absl::string_view id = in.ReadBytes(base::Uuid::kSize);
  if (in.ok()) pack.session = base::Uuid::FromBytes(id).value();
  const uint64_t count = in.ReadVarint();
  if (count > limits::kRunsPerPack) in.Fail();
  uint64_t next_segment = 0;
  int64_t next_us = 0;
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    RunRow run;
    const uint64_t ranges = in.ReadVarint();
    // Each has two bytes at least.
    if (ranges > in.left() / 2) in.Fail();
    for (uint64_t j = 0; j < ranges && in.ok(); ++j) {
      auto* range = run.add_segments();
      range->set_first(ReadNumber(next_segment, &in));
      range->set_last(ReadNumber(range->first(), &in));
      next_segment = uint64_t{range->last()} + 1;
    }
    run.set_from_us(Add(next_us, in.ReadSigned()));
    run.set_to_us(Add(run.from_us(), in.ReadSigned()));
    next_us = run.to_us();
    pack.runs.push_back(std::move(run));
  }
  if (!in.AtGoodEnd()) {
    return base::IntegrityError("the index has unreadable runs");
  }
  return pack;
}

}  // namespace diptych::indexer
