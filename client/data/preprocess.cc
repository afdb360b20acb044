#include "client/data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int kSizeMax = 8192;

absl::Status CheckThreeValues(const std::vector<double>& values,
                              const char* name, bool positive) {
  if (values.empty()) return absl::OkStatus();
  if (values.size() != 1 && values.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("preprocessing.", name, ": expected 1 or 3 values, found ",
                     values.size()));
  }
  for (const double value : values) {
    if (!std::isfinite(value) || (positive && !(value > 0))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "preprocessing.", name, ": expected ",
          positive ? "positive" : "finite", " values, found ", value));
    }
  }
  return absl::OkStatus();
}

// OpenCV's INTER_NEAREST is off by half a pixel, and its INTER_NEAREST_EXACT
// breaks ties differently from version to version.
void ResizeNearest(const cv::Mat& from, cv::Mat& to) {
  const size_t pixel_bytes = from.elemSize();
  // floor((i + 1/2) * in / out) in integers.
  const auto source = [](int i, int in, int out) {
    return static_cast<int>((2 * int64_t{i} + 1) * in / (2 * int64_t{out}));
  };
  for (int y = 0; y < to.rows; ++y) {
    const uint8_t* row = from.ptr(source(y, from.rows, to.rows));
    uint8_t* out = to.ptr(y);
    for (int x = 0; x < to.cols; ++x, out += pixel_bytes) {
      std::memcpy(out, row + source(x, from.cols, to.cols) * pixel_bytes,
                  pixel_bytes);
    }
  }
}

// REQUIRES: not kNearest.
int ResizeFlag(Interpolation interpolation, cv::Size from, cv::Size to) {
  switch (interpolation) {
    case Interpolation::kBilinear:
      return cv::INTER_LINEAR;
    case Interpolation::kBicubic:
      return cv::INTER_CUBIC;
    case Interpolation::kArea:
    case Interpolation::kNearest:
      break;
  }
  // OpenCV's INTER_AREA enlarges with another convention for pixel centres.
  const bool shrinks = to.width <= from.width && to.height <= from.height;
  return shrinks ? cv::INTER_AREA : cv::INTER_LINEAR;
}

// The central square of the shorter side.
cv::Rect CentralSquare(const cv::Mat& image) {
  const int side = std::min(image.rows, image.cols);
  return {(image.cols - side) / 2, (image.rows - side) / 2, side, side};
}

// Where the resized image lies inside the padded square.
cv::Rect PaddedPlace(const cv::Mat& image, int size) {
  const double scale =
      static_cast<double>(size) / std::max(image.rows, image.cols);
  const auto side = [&](int length) {
    return std::clamp(static_cast<int>(std::lround(length * scale)), 1, size);
  };
  const int width = side(image.cols), height = side(image.rows);
  return {(size - width) / 2, (size - height) / 2, width, height};
}

// A square image of side `size`, unclamped.
cv::Mat MakeSquare(const cv::Mat& image, const PreprocessingSpec& spec) {
  cv::Mat source = image;
  cv::Rect place(0, 0, spec.size, spec.size);
  if (spec.aspect == AspectPolicy::kCenterCrop) {
    source = image(CentralSquare(image));
  } else if (spec.aspect == AspectPolicy::kPad) {
    place = PaddedPlace(image, spec.size);
  }
  cv::Mat square = cv::Mat::zeros(spec.size, spec.size, image.type());
  cv::Mat inner = square(place);
  if (source.size() == inner.size()) {
    source.copyTo(inner);
  } else if (spec.interpolation == Interpolation::kNearest) {
    ResizeNearest(source, inner);
  } else {
    cv::resize(source, inner, inner.size(), 0, 0,
               ResizeFlag(spec.interpolation, source.size(), inner.size()));
  }
  return square;
}

absl::Status CheckImage(const Image& image) {
  if (image.height <= 0 || image.width <= 0 ||
      (image.channels != 1 && image.channels != 3)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected an image of 1 or 3 channels, found ",
                     image.height, " x ", image.width, " x ", image.channels));
  }
  const size_t expected =
      static_cast<size_t>(image.height) * image.width * image.channels;
  if (image.pixels.size() != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected ", expected, " values for an image of ", image.height, " x ",
        image.width, " x ", image.channels, ", found ", image.pixels.size()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Preprocessor> Preprocessor::Create(
    const PreprocessingSpec& spec) {
  if (spec.size < 1 || spec.size > kSizeMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "preprocessing.size: expected 1 to ", kSizeMax, ", found ", spec.size));
  }
  FG_RETURN_IF_ERROR(CheckThreeValues(spec.mean, "mean", false));
  FG_RETURN_IF_ERROR(CheckThreeValues(spec.std, "std", true));
  return Preprocessor(spec);
}

Preprocessor::Preprocessor(const PreprocessingSpec& spec) : spec_(spec) {
  const auto value = [](const std::vector<double>& values, int c, double none) {
    if (values.empty()) return none;
    return values.size() == 1 ? values[0] : values[c];
  };
  for (int c = 0; c < 3; ++c) {
    mean_[c] = static_cast<float>(value(spec.mean, c, 0));
    scale_[c] = static_cast<float>(1 / value(spec.std, c, 1));
  }
}

absl::StatusOr<Preprocessor> Preprocessor::ForFeatures(int feature_dim) {
  if (feature_dim < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "feature vectors: expected a length above 0, found ", feature_dim));
  }
  Preprocessor preprocessor{PreprocessingSpec()};
  preprocessor.feature_dim_ = feature_dim;
  return preprocessor;
}

std::vector<int64_t> Preprocessor::output_shape() const {
  if (feature_dim_ > 0) return {feature_dim_};
  return {3, spec_.size, spec_.size};
}

size_t Preprocessor::output_size() const {
  if (feature_dim_ > 0) return static_cast<size_t>(feature_dim_);
  return size_t{3} * spec_.size * spec_.size;
}

absl::Status Preprocessor::Apply(const Image& image,
                                 absl::Span<float> out) const {
  FG_CHECK(out.size() == output_size());
  if (feature_dim_ > 0) {
    if (image.pixels.size() != out.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a feature vector of length ", feature_dim_,
                       ", found one of ", image.pixels.size()));
    }
    std::copy(image.pixels.begin(), image.pixels.end(), out.begin());
    return absl::OkStatus();
  }
  FG_RETURN_IF_ERROR(CheckImage(image));
  try {
    // OpenCV's constructor takes no const data; nothing writes through it.
    cv::Mat source(image.height, image.width, CV_32FC(image.channels),
                   const_cast<float*>(image.pixels.data()));
    if (spec_.invert) {
      cv::Mat inverted;
      cv::subtract(cv::Scalar::all(1), source, inverted);
      source = inverted;
    }
    const cv::Mat square = MakeSquare(source, spec_);
    const float* values = square.ptr<float>();
    const size_t plane = static_cast<size_t>(spec_.size) * spec_.size;
    const size_t stride = static_cast<size_t>(image.channels);
    for (size_t c = 0; c < 3; ++c) {
      const float* from = values + (stride == 3 ? c : 0);
      float* to = out.data() + c * plane;
      for (size_t i = 0; i < plane; ++i) {
        const float value = std::clamp(from[i * stride], 0.0f, 1.0f);
        to[i] = (value - mean_[c]) * scale_[c];
      }
    }
  } catch (const std::exception& e) {  // cv::Exception, std::bad_alloc
    return absl::InternalError(
        absl::StrCat("preprocessing an image failed: ", e.what()));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
