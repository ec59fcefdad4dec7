#include "tools/gateway/libav.h"

#include <algorithm>
#include <cstdarg>
#include <string>
#include <vector>

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"

namespace diptych::gateway {
namespace {

// libav knows only one log function for the whole program; this says whom it
// speaks to.
thread_local std::vector<std::string>* listener = nullptr;

// Decoders complain of streams that are merely joined in the middle.
bool IsDemuxer(void* context) {
  if (context == nullptr) return false;
  const AVClass* const description = *static_cast<AVClass**>(context);
  if (description == nullptr) return false;
  const AVClassCategory category = description->get_category != nullptr
                                       ? description->get_category(context)
                                       : description->category;
  return category == AV_CLASS_CATEGORY_DEMUXER;
}

void Hear(void* context, int level, const char* format, va_list arguments) {
  if (listener == nullptr || level > AV_LOG_ERROR || !IsDemuxer(context)) {
    return;
  }
  char text[256];
  const int length = vsnprintf(text, sizeof(text), format, arguments);
  if (length <= 0) return;
  const std::string complaint(
      absl::StripAsciiWhitespace(absl::string_view(text)));
  if (complaint.empty() || listener->size() >= limits::kMaxProblems) return;
  if (std::find(listener->begin(), listener->end(), complaint) !=
      listener->end()) {
    return;
  }
  listener->push_back(complaint);
}

}  // namespace

std::string LibavError(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof(text));
  return text;
}

LibavComplaints::LibavComplaints(std::vector<std::string>* complaints) {
  static const bool installed = [] {
    av_log_set_callback(Hear);
    return true;
  }();
  static_cast<void>(installed);
  listener = complaints;
}

LibavComplaints::~LibavComplaints() { listener = nullptr; }

}  // namespace diptych::gateway
