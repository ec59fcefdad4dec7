#ifndef TOOLS_GATEWAY_PICTURE_PARSER_H_
#define TOOLS_GATEWAY_PICTURE_PARSER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/gateway/libav.h"
#include "tools/gateway/nal_units.h"

namespace diptych::gateway {

// Reads picture headers of H.264 and H.265 with libav's parser; decodes
// nothing. Not thread-safe.
class PictureParser {
 public:
  struct Picture {
    // Position in display order within its sequence.
    int64_t order_count = 0;
    // 0 if unknown.
    uint32_t width = 0;
    uint32_t height = 0;
  };

  // `config`: avcC or hvcC if packets are length-prefixed; empty for Annex B.
  static absl::StatusOr<PictureParser> Create(NalCodec codec,
                                              absl::string_view config);

  // One whole packet.
  Picture Parse(absl::string_view packet);

 private:
  PictureParser(CodecContextPtr context, ParserPtr parser)
      : context_(std::move(context)), parser_(std::move(parser)) {}

  CodecContextPtr context_;
  ParserPtr parser_;
};

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_PICTURE_PARSER_H_
