#include "tools/gateway/picture_parser.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/gateway/libav.h"
#include "tools/gateway/nal_units.h"

namespace diptych::gateway {

absl::StatusOr<PictureParser> PictureParser::Create(NalCodec codec,
                                                    absl::string_view config) {
  const AVCodecID id =
      codec == NalCodec::kH264 ? AV_CODEC_ID_H264 : AV_CODEC_ID_HEVC;
  ParserPtr parser(av_parser_init(id));
  CodecContextPtr context(avcodec_alloc_context3(nullptr));
  if (parser == nullptr || context == nullptr) {
    return absl::InternalError("libav has no parser for this codec");
  }
  context->codec_id = id;
  context->codec_type = AVMEDIA_TYPE_VIDEO;
  if (!config.empty()) {
    context->extradata = static_cast<uint8_t*>(
        av_mallocz(config.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (context->extradata == nullptr) {
      return absl::ResourceExhaustedError("no memory for codec parameters");
    }
    std::memcpy(context->extradata, config.data(), config.size());
    context->extradata_size = static_cast<int>(config.size());
  }
  parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
  return PictureParser(std::move(context), std::move(parser));
}

PictureParser::Picture PictureParser::Parse(absl::string_view packet) {
  // libav reads a little past the end.
  std::string padded(packet);
  padded.append(AV_INPUT_BUFFER_PADDING_SIZE, '\0');
  uint8_t* out = nullptr;
  int out_bytes = 0;
  av_parser_parse2(parser_.get(), context_.get(), &out, &out_bytes,
                   reinterpret_cast<const uint8_t*>(padded.data()),
                   static_cast<int>(packet.size()), AV_NOPTS_VALUE,
                   AV_NOPTS_VALUE, 0);
  Picture picture;
  picture.order_count = parser_->output_picture_number;
  if (parser_->width > 0 && parser_->height > 0) {
    picture.width = static_cast<uint32_t>(parser_->width);
    picture.height = static_cast<uint32_t>(parser_->height);
  }
  return picture;
}

}  // namespace diptych::gateway
