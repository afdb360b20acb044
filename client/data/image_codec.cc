#include "client/data/image_codec.h"

#include <exception>
#include <limits>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/data/dicom_image.h"
#include "client/data/image_header.h"
#include "client/data/image_size.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// `Value` uint8_t or uint16_t; channels B, G, R(, A) become R, G, B.
template <typename Value>
Image Scale(const cv::Mat& decoded, bool invert) {
  const int from_channels = decoded.channels();
  const int channels = from_channels >= 3 ? 3 : 1;
  Image image{decoded.rows, decoded.cols, channels, {}};
  image.pixels.resize(decoded.total() * channels);
  constexpr float kFull = std::numeric_limits<Value>::max();
  float* to = image.pixels.data();
  for (int y = 0; y < decoded.rows; ++y) {
    const Value* from = decoded.ptr<Value>(y);
    for (int x = 0; x < decoded.cols; ++x, from += from_channels) {
      for (int c = 0; c < channels; ++c) {
        const float value = static_cast<float>(from[channels - 1 - c]) / kFull;
        *to++ = invert ? 1 - value : value;
      }
    }
  }
  return image;
}

}  // namespace

absl::StatusOr<Image> DecodeImage(ByteSpan file, uint64_t pixels_max) {
  if (IsDicom(file)) return DecodeDicom(file, pixels_max);
  FG_ASSIGN_OR_RETURN(const ImageHeader header, ReadImageHeader(file));
  FG_RETURN_IF_ERROR(CheckImageSize(header.width, header.height, pixels_max));
  const std::string name = ImageFormatName(header.format);
  if (file.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, " file of more than 2 GiB"));
  }
  try {
    const cv::Mat bytes(1, static_cast<int>(file.size()), CV_8U,
                        const_cast<uint8_t*>(file.data()));
    const cv::Mat decoded = cv::imdecode(bytes, cv::IMREAD_UNCHANGED);
    if (decoded.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " file is corrupt or of an unsupported kind"));
    }
    if (static_cast<uint64_t>(decoded.cols) != header.width ||
        static_cast<uint64_t>(decoded.rows) != header.height) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " file: expected ", header.width, " x ",
                       header.height, " pixels as its head says, found ",
                       decoded.cols, " x ", decoded.rows));
    }
    // OpenCV turns 8-bit TIFFs round itself, but not those of 16 bits.
    if (decoded.depth() == CV_8U) return Scale<uint8_t>(decoded, false);
    if (decoded.depth() == CV_16U) {
      return Scale<uint16_t>(decoded, header.white_is_zero);
    }
    return absl::InvalidArgumentError(
        absl::StrCat(name, " file: expected 8 or 16 bits per value"));
  } catch (const std::exception& e) {  // cv::Exception, std::bad_alloc
    return absl::InvalidArgumentError(
        absl::StrCat(name, " file cannot be decoded: ", e.what()));
  }
}

}  // namespace fedgraft
