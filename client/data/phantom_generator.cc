#include "client/data/phantom_generator.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/data/seeded_random.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Tissue: form of the published model (alpha, beta, Lx, Ly), with its lengths
// divided by kPitch so that 64 pixels show what the paper shows on more, and
// with fewer, relatively heavier blobs, which is what makes it fast.
constexpr double kAlpha = 2.1, kBeta = 0.5, kHalfAxisX = 5, kHalfAxisY = 2;
constexpr double kPitch = 3;
constexpr double kClusterSigma = 12 / kPitch;
constexpr double kClustersPerPixel = 60.0 / (64 * 64);
constexpr double kBlobsPerCluster = 10;
// Intensity of the tissue, and the standard deviation of the raw field, which
// is what the numbers above give (measured, and checked by a test).
constexpr double kIntensityMean = 0.42, kIntensitySd = 0.06;
constexpr double kIntensityMin = 0.02;
constexpr double kFieldSd = 1.57;

// Precomputed blobs: one square stamp per orientation. Rows are a multiple of
// 8 floats long, which lets the compiler use vector instructions.
constexpr int kOrientations = 32;
constexpr int kStampRadius = 12;
constexpr int kStampSide = 2 * kStampRadius + 1;
constexpr int kStampStride = 32;
static_assert(kStampStride % 8 == 0 && kStampStride >= kStampSide);
constexpr int kMargin = 2 * kStampRadius;  // of the canvas around the image
constexpr int kLutSize = 4096;

std::vector<float> MakeStamp(double turn) {
  std::vector<float> stamp(kStampSide * kStampStride, 0.0f);
  for (int y = -kStampRadius; y <= kStampRadius; ++y) {
    for (int x = -kStampRadius; x <= kStampRadius; ++x) {
      const double r = std::hypot(x, y);
      if (r > kStampRadius) continue;
      const double angle = std::atan2(y, x) - turn;
      const double half_axis = 1 / std::hypot(std::cos(angle) / kHalfAxisX,
                                              std::sin(angle) / kHalfAxisY);
      const double value =
          std::exp(-kAlpha * std::pow(kPitch * r, kBeta) / half_axis);
      stamp[(y + kStampRadius) * kStampStride + x + kStampRadius] =
          static_cast<float>(value);
    }
  }
  return stamp;
}

// Most of the time of an image is spent here; without `restrict` GCC does not
// vectorise it at -O2.
void AddStamp(const float* __restrict stamp, int canvas_side,
              float* __restrict to) {
  for (int row = 0; row < kStampSide; ++row) {
    for (int i = 0; i < kStampStride; ++i) to[i] += stamp[i];
    to += canvas_side;
    stamp += kStampStride;
  }
}

std::vector<float> MakeBlurKernel(double sigma) {
  const int radius = static_cast<int>(std::ceil(3 * sigma));
  std::vector<float> kernel(2 * radius + 1, 1.0f);
  if (radius == 0) return kernel;
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) {
    sum += std::exp(-0.5 * i * i / (sigma * sigma));
  }
  for (int i = -radius; i <= radius; ++i) {
    kernel[i + radius] =
        static_cast<float>(std::exp(-0.5 * i * i / (sigma * sigma)) / sum);
  }
  return kernel;
}

// out[y * size + x] = sum over taps of in at x - radius + tap, transposed, so
// that two calls blur in both directions. Border pixels are repeated.
void BlurRowsTransposed(const std::vector<float>& kernel, int size,
                        const std::vector<float>& in, std::vector<float>& out) {
  const int radius = static_cast<int>(kernel.size() / 2);
  std::vector<float> row(size + 2 * radius);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < static_cast<int>(row.size()); ++x) {
      row[x] = in[y * size + std::clamp(x - radius, 0, size - 1)];
    }
    for (int x = 0; x < size; ++x) {
      float sum = 0;
      for (size_t tap = 0; tap < kernel.size(); ++tap) {
        sum += kernel[tap] * row[x + tap];
      }
      out[x * size + y] = sum;
    }
  }
}

// 1 up to t = 1/2, 0 from t = 3/2, smooth between.
double LesionProfile(double t) {
  const double u = std::clamp(t - 0.5, 0.0, 1.0);
  return 1 - u * u * (3 - 2 * u);
}

absl::Status CheckRange(const char* name, double value, double low,
                        double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "phantom.", name, ": expected ", low, " to ", high, ", found ", value));
}

}  // namespace

struct PhantomGenerator::Tables {
  PhantomSpec spec;
  std::vector<std::vector<float>> stamps;  // one per orientation
  std::vector<float> kernel;               // of the blur
  std::vector<float> lut;                  // 12-bit signal -> value
  double field_mean = 0;

  void AddTissue(SeededRandom& random, std::vector<float>& canvas) const;
  void AddLesion(const PhantomFinding& finding,
                 std::vector<float>& pixels) const;
  void Scan(SeededRandom& random, std::vector<float>& pixels) const;
};

absl::StatusOr<PhantomGenerator> PhantomGenerator::Create(
    const PhantomSpec& spec) {
  FG_RETURN_IF_ERROR(CheckRange("size", spec.size, 16, 512));
  FG_RETURN_IF_ERROR(CheckRange("prevalence", spec.prevalence, 0, 1));
  const PhantomScanner& scanner = spec.scanner;
  FG_RETURN_IF_ERROR(CheckRange("blur_sigma", scanner.blur_sigma, 0, 20));
  FG_RETURN_IF_ERROR(CheckRange("photons", scanner.photons, 1, 1e7));
  FG_RETURN_IF_ERROR(CheckRange("gamma", scanner.gamma, 0.1, 10));
  FG_RETURN_IF_ERROR(CheckRange("gain", scanner.gain, 0.05, 20));
  FG_RETURN_IF_ERROR(
      CheckRange("lesion_contrast", spec.lesion_contrast, 0, 10));
  FG_RETURN_IF_ERROR(
      CheckRange("lesion_radius_min", spec.lesion_radius_min, 0.5, 100));
  FG_RETURN_IF_ERROR(CheckRange("lesion_radius_max", spec.lesion_radius_max,
                                spec.lesion_radius_min, spec.size / 3.0));
  FG_RETURN_IF_ERROR(
      CheckRange("reader_radius_min", spec.reader_radius_min, 0, 100));

  auto tables = std::make_unique<Tables>();
  tables->spec = spec;
  double stamp_sum = 0;
  for (int i = 0; i < kOrientations; ++i) {
    tables->stamps.push_back(MakeStamp(i * std::numbers::pi / kOrientations));
    for (const float value : tables->stamps.back()) stamp_sum += value;
  }
  // Campbell's theorem: density of blobs times the integral of one.
  tables->field_mean =
      kClustersPerPixel * kBlobsPerCluster * stamp_sum / kOrientations;
  tables->kernel = MakeBlurKernel(scanner.blur_sigma);
  for (int i = 0; i < kLutSize; ++i) {
    tables->lut.push_back(static_cast<float>(
        std::pow(static_cast<double>(i) / (kLutSize - 1), scanner.gamma)));
  }
  return PhantomGenerator(std::move(tables));
}

PhantomGenerator::PhantomGenerator(std::unique_ptr<const Tables> tables)
    : tables_(std::move(tables)) {}
PhantomGenerator::PhantomGenerator(PhantomGenerator&&) noexcept = default;
PhantomGenerator& PhantomGenerator::operator=(PhantomGenerator&&) noexcept =
    default;
PhantomGenerator::~PhantomGenerator() = default;

PhantomFinding PhantomGenerator::Find(uint64_t key) const {
  const PhantomSpec& spec = tables_->spec;
  SeededRandom random({key, 0});
  PhantomFinding finding;
  finding.lesion = random.Uniform() < spec.prevalence;
  if (!finding.lesion) return finding;
  finding.radius =
      random.Uniform(spec.lesion_radius_min, spec.lesion_radius_max);
  const double border = 1.5 * finding.radius;  // the lesion is wholly inside
  finding.x = random.Uniform(border, spec.size - 1 - border);
  finding.y = random.Uniform(border, spec.size - 1 - border);
  finding.label = finding.radius >= spec.reader_radius_min ? 1 : 0;
  return finding;
}

Image PhantomGenerator::Render(uint64_t key) const {
  const int size = tables_->spec.size;
  const int side = size + 2 * kMargin + 8;
  SeededRandom random({key, 1});
  std::vector<float> canvas(static_cast<size_t>(side) * side, 0.0f);
  tables_->AddTissue(random, canvas);
  Image image{size, size, 1, std::vector<float>(size * size)};
  const float offset = static_cast<float>(tables_->field_mean);
  constexpr float kScale = static_cast<float>(kIntensitySd / kFieldSd);
  for (int y = 0; y < size; ++y) {
    const float* row = &canvas[(y + kMargin) * side + kMargin];
    for (int x = 0; x < size; ++x) {
      image.pixels[y * size + x] =
          static_cast<float>(kIntensityMean) + kScale * (row[x] - offset);
    }
  }
  tables_->AddLesion(Find(key), image.pixels);
  tables_->Scan(random, image.pixels);
  return image;
}

void PhantomGenerator::Tables::AddTissue(SeededRandom& random,
                                         std::vector<float>& canvas) const {
  const int side = spec.size + 2 * kMargin + 8;
  // Clusters further out than this hardly reach the image.
  constexpr double kReach = 2 * kClusterSigma + kStampRadius / 2.0;
  const double extent = spec.size + 2 * kReach;
  const double clusters = random.Poisson(kClustersPerPixel * extent * extent);
  for (double cluster = 0; cluster < clusters; ++cluster) {
    const double centre_x = random.Uniform(-kReach, spec.size + kReach);
    const double centre_y = random.Uniform(-kReach, spec.size + kReach);
    const std::vector<float>& stamp = stamps[random.Below(kOrientations)];
    const double blobs = random.Poisson(kBlobsPerCluster);
    for (double blob = 0; blob < blobs; ++blob) {
      const int x = static_cast<int>(
          std::lround(centre_x + kClusterSigma * random.Normal()));
      const int y = static_cast<int>(
          std::lround(centre_y + kClusterSigma * random.Normal()));
      if (x < -kStampRadius || x >= spec.size + kStampRadius ||
          y < -kStampRadius || y >= spec.size + kStampRadius) {
        continue;
      }
      AddStamp(stamp.data(), side,
               &canvas[(y + kMargin - kStampRadius) * side + x + kMargin -
                       kStampRadius]);
    }
  }
}

void PhantomGenerator::Tables::AddLesion(const PhantomFinding& finding,
                                         std::vector<float>& pixels) const {
  if (!finding.lesion) return;
  const double height = spec.lesion_contrast * kIntensityMean;
  const double reach = 1.5 * finding.radius;
  const auto clamp = [&](double v) {
    return std::clamp(static_cast<int>(v), 0, spec.size - 1);
  };
  for (int y = clamp(finding.y - reach); y <= clamp(finding.y + reach); ++y) {
    for (int x = clamp(finding.x - reach); x <= clamp(finding.x + reach); ++x) {
      const double r = std::hypot(x - finding.x, y - finding.y);
      pixels[y * spec.size + x] +=
          static_cast<float>(height * LesionProfile(r / finding.radius));
    }
  }
}

void PhantomGenerator::Tables::Scan(SeededRandom& random,
                                    std::vector<float>& pixels) const {
  for (float& value : pixels) {
    value = std::max(value, static_cast<float>(kIntensityMin));
  }
  if (kernel.size() > 1) {
    std::vector<float> blurred(pixels.size());
    BlurRowsTransposed(kernel, spec.size, pixels, blurred);
    BlurRowsTransposed(kernel, spec.size, blurred, pixels);
  }
  const double per_count = spec.scanner.gain / spec.scanner.photons;
  for (float& value : pixels) {
    const double count = random.Poisson(spec.scanner.photons * value);
    const double signal = std::clamp(per_count * count, 0.0, 1.0);
    value = lut[std::lround(signal * (kLutSize - 1))];
  }
}

}  // namespace fedgraft
