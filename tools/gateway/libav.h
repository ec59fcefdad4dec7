#ifndef TOOLS_GATEWAY_LIBAV_H_
#define TOOLS_GATEWAY_LIBAV_H_

#include <memory>
#include <string>
#include <vector>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include "absl/strings/string_view.h"

namespace diptych::gateway {

struct FormatDeleter {
  void operator()(AVFormatContext* format) const {
    avformat_close_input(&format);
  }
};
using FormatPtr = std::unique_ptr<AVFormatContext, FormatDeleter>;

struct PacketDeleter {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
using PacketPtr = std::unique_ptr<AVPacket, PacketDeleter>;

struct CodecContextDeleter {
  void operator()(AVCodecContext* context) const {
    avcodec_free_context(&context);
  }
};
using CodecContextPtr = std::unique_ptr<AVCodecContext, CodecContextDeleter>;

struct ParserDeleter {
  void operator()(AVCodecParserContext* parser) const {
    av_parser_close(parser);
  }
};
using ParserPtr = std::unique_ptr<AVCodecParserContext, ParserDeleter>;

// libav's text for an error code.
std::string LibavError(int code);

// While it lives, what libav's demuxers complain about on this thread goes to
// `complaints` (each once, bounded); everything else that libav would print is
// dropped. One at a time on a thread.
class LibavComplaints {
 public:
  explicit LibavComplaints(std::vector<std::string>* complaints);
  ~LibavComplaints();
  LibavComplaints(const LibavComplaints&) = delete;
  LibavComplaints& operator=(const LibavComplaints&) = delete;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_LIBAV_H_
