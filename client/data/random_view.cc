#include "client/data/random_view.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "client/data/seeded_random.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

// Keeps these random numbers apart from others of the same seed.
constexpr uint64_t kViewStream = 0x76696577;  // "view"
constexpr double kSideRatioMax = 1.1;
// The tails beyond this many sigmas are left out.
constexpr double kBlurReach = 3;

// Sets zoom and shift so that a window of `width` x `height` pixels, moved by
// (right, down) from the centre of the image, fills it.
void Crop(double width, double height, double right, double down, int size,
          View& view) {
  view.zoom_x = size / width;
  view.zoom_y = size / height;
  view.shift_x = -right * view.zoom_x;
  view.shift_y = -down * view.zoom_y;
}

// Weights of a pixel and its neighbours on one side; both sides sum to 1.
std::vector<float> BlurWeights(double sigma) {
  const int reach = static_cast<int>(std::ceil(kBlurReach * sigma));
  std::vector<double> weights(reach + 1);
  double sum = 0;
  for (int i = 0; i <= reach; ++i) {
    weights[i] = std::exp(-0.5 * i * i / (sigma * sigma));
    sum += i == 0 ? weights[i] : 2 * weights[i];
  }
  std::vector<float> result;
  for (double weight : weights) {
    result.push_back(static_cast<float>(weight / sum));
  }
  return result;
}

// Blurs the `count` values at data[0], data[stride], …; the ends repeat.
void BlurLine(const std::vector<float>& weights, int count, size_t stride,
              float* data, std::vector<float>& line) {
  line.resize(count);
  for (int i = 0; i < count; ++i) line[i] = data[i * stride];
  const int reach = static_cast<int>(weights.size()) - 1;
  for (int i = 0; i < count; ++i) {
    float sum = weights[0] * line[i];
    for (int k = 1; k <= reach; ++k) {
      sum += weights[k] *
             (line[std::max(i - k, 0)] + line[std::min(i + k, count - 1)]);
    }
    data[i * stride] = sum;
  }
}

void Blur(double sigma, int size, absl::Span<float> chw) {
  const std::vector<float> weights = BlurWeights(sigma);
  const size_t plane = static_cast<size_t>(size) * size;
  std::vector<float> line;
  for (size_t start = 0; start < chw.size(); start += plane) {
    float* data = chw.data() + start;
    for (int i = 0; i < size; ++i) {
      BlurLine(weights, size, 1, data + static_cast<size_t>(i) * size, line);
    }
    for (int i = 0; i < size; ++i)
      BlurLine(weights, size, size, data + i, line);
  }
}

}  // namespace

RandomView DrawRandomView(const RandomViewSpec& spec, const ViewKey& key,
                          int size) {
  SeededRandom random({key.seed, kViewStream, key.epoch, key.image});
  // Every number is drawn whatever the spec says, so that switching one kind of
  // change off leaves the others as they were.
  const double area = 1 - (1 - spec.crop_area_min) * random.Uniform();
  const double ratio =
      std::exp(random.Uniform(-1, 1) * std::log(kSideRatioMax));
  const double right = random.Uniform(-1, 1), down = random.Uniform(-1, 1);
  const double turn = random.Uniform(-1, 1);
  const bool mirrored = random.Uniform() < 0.5;
  const double brightness = random.Uniform(-1, 1);
  const double contrast = random.Uniform(-1, 1);
  const bool blurred = random.Uniform() < 0.5;
  const double sigma = random.Uniform();

  RandomView view;
  if (spec.crop_area_min < 1) {
    const double width = size * std::min(1.0, std::sqrt(area * ratio));
    const double height = size * std::min(1.0, std::sqrt(area / ratio));
    Crop(width, height, right * (size - width) / 2, down * (size - height) / 2,
         size, view.geometry);
  }
  view.geometry.radians = turn * spec.rotate_degrees * std::numbers::pi / 180;
  view.geometry.mirrored = spec.horizontal_flip && mirrored;
  view.brightness = 1 + brightness * spec.brightness;
  view.contrast = 1 + contrast * spec.contrast;
  if (blurred) view.blur_sigma = sigma * spec.blur_sigma_max;
  return view;
}

void ApplyRandomView(const RandomView& view, int size, absl::Span<float> chw) {
  FG_CHECK(!chw.empty());
  ApplyView(view.geometry, size, chw);
  // Less changes nothing that a float can tell.
  if (view.blur_sigma > 0.1) Blur(view.blur_sigma, size, chw);
  const double mean = std::accumulate(chw.begin(), chw.end(), 0.0) / chw.size();
  const double scale = view.brightness * view.contrast;
  const double offset = view.brightness * mean * (1 - view.contrast);
  for (float& value : chw) {
    value = static_cast<float>(std::clamp(scale * value + offset, 0.0, 1.0));
  }
}

}  // namespace fedgraft
