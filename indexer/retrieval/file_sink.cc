#include "indexer/retrieval/file_sink.h"

extern "C" {
#include <libavformat/avio.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
}

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"

namespace diptych::indexer {
namespace {

constexpr int kBuffer_bytes = 64 << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<FileSink>> FileSink::Create(WriteBytes write) {
  auto sink = absl::WrapUnique(new FileSink(std::move(write)));
  auto* buffer = static_cast<uint8_t*>(av_malloc(kBuffer_bytes));
  if (buffer == nullptr) return absl::ResourceExhaustedError("out of memory");
  sink->io_ = avio_alloc_context(buffer, kBuffer_bytes, /*write_flag=*/1,
                                 sink.get(), nullptr, &OnWrite, &OnSeek);
  if (sink->io_ == nullptr) {
    av_free(buffer);
    return absl::ResourceExhaustedError("out of memory");
  }
  return sink;
}

FileSink::~FileSink() {
  if (io_ == nullptr) return;
  av_freep(&io_->buffer);
  avio_context_free(&io_);
}

int FileSink::OnWrite(void* opaque, uint8_t* data, int size) {
  auto* self = static_cast<FileSink*>(opaque);
  if (!self->status_.ok()) return AVERROR_EXTERNAL;
  self->status_ = self->Take(absl::string_view(
      reinterpret_cast<const char*>(data), static_cast<size_t>(size)));
  return self->status_.ok() ? size : AVERROR_EXTERNAL;
}

int64_t FileSink::OnSeek(void* opaque, int64_t offset, int whence) {
  auto* self = static_cast<FileSink*>(opaque);
  int64_t base = 0;
  switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
      return static_cast<int64_t>(self->file_bytes_);
    case SEEK_SET:
      break;
    case SEEK_CUR:
      base = static_cast<int64_t>(self->position_);
      break;
    case SEEK_END:
      base = static_cast<int64_t>(self->file_bytes_);
      break;
    default:
      return AVERROR(EINVAL);
  }
  if (base + offset < 0) return AVERROR(EINVAL);
  self->position_ = static_cast<uint64_t>(base + offset);
  return base + offset;
}

absl::Status FileSink::Take(absl::string_view bytes) {
  if (hold_from_ && position_ < *hold_from_) {
    const size_t sent = static_cast<size_t>(
        std::min<uint64_t>(bytes.size(), *hold_from_ - position_));
    RETURN_IF_ERROR(Send(position_, bytes.substr(0, sent)));
    position_ += sent;
    bytes.remove_prefix(sent);
  }
  if (bytes.empty()) return absl::OkStatus();
  if (hold_from_) {
    const uint64_t at = position_ - *hold_from_;
    if (at + bytes.size() > limits::kMaxMp4Index_bytes) {
      return absl::ResourceExhaustedError(
          "the MP4's index grows too big: read a shorter range, or ask for "
          "fragmented MP4 or Matroska");
    }
    if (held_.size() < at + bytes.size()) held_.resize(at + bytes.size());
    std::copy(bytes.begin(), bytes.end(),
              held_.begin() + static_cast<ptrdiff_t>(at));
  } else {
    RETURN_IF_ERROR(Send(position_, bytes));
  }
  position_ += bytes.size();
  return absl::OkStatus();
}

absl::Status FileSink::Send(uint64_t offset, absl::string_view bytes) {
  file_bytes_ = std::max(file_bytes_, offset + bytes.size());
  return write_(offset, bytes);
}

absl::Status FileSink::Flush() {
  avio_flush(io_);
  return status_;
}

void FileSink::HoldFrom(uint64_t from) {
  hold_from_ = from;
  held_.clear();
}

absl::StatusOr<std::string> FileSink::TakeHeld() {
  RETURN_IF_ERROR(Flush());
  hold_from_.reset();
  return std::exchange(held_, std::string());
}

void FileSink::GoOnAt(uint64_t position) {
  // avio_seek would only move within the buffer, and send the gap's old bytes.
  io_->pos = static_cast<int64_t>(position);
  position_ = position;
}

}  // namespace diptych::indexer
