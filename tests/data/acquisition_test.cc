#include "client/data/acquisition.h"

#include <cmath>
#include <utility>
#include <vector>

#include "client/data/phantom_generator.h"
#include "client/data/seeded_random.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

double Of(const AcquisitionNumbers& numbers, Acquisition which) {
  return numbers[static_cast<size_t>(which)];
}

// The same formula as in the script that made the expected values.
Image Pattern(int height, int width, int channels) {
  Image image{height, width, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const int value = (37 * x + 91 * y + 13 * x * y + 50 * c) % 256;
        image.pixels.push_back(static_cast<float>(value) / 255);
      }
    }
  }
  return image;
}

void ExpectNear(const AcquisitionNumbers& numbers,
                const AcquisitionNumbers& expected) {
  for (int i = 0; i < kAcquisitions; ++i) {
    EXPECT_NEAR(numbers[i], expected[i], 2e-6) << i;
  }
}

// Of convolutions written out in NumPy.
TEST(AcquisitionTest, ReproducesTheReferenceValues) {
  ExpectNear(MeasureAcquisition(Pattern(7, 9, 1)),
             {0.509866168689698, 0.29265493073756854, -0.35913671122049273,
              -2.019830270962686});
  ExpectNear(MeasureAcquisition(Pattern(7, 9, 3)),
             {0.5044692187986305, 0.19413624135531185, -0.5351982250974422,
              -2.29626392307564});
}

TEST(AcquisitionTest, FindsTheNoiseThatWasAdded) {
  SeededRandom random({4});
  for (const double deviation : {0.005, 0.05}) {
    Image image{200, 150, 1, {}};
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        image.pixels.push_back(
            static_cast<float>(0.3 + 0.1 * std::sin(0.05 * x + 0.03 * y) +
                               deviation * random.Normal()));
      }
    }
    // Of 29,000 differences: 1 % is two deviations of the estimate or more.
    EXPECT_NEAR(
        std::pow(10, Of(MeasureAcquisition(image), Acquisition::kNoise)),
        deviation, 0.02 * deviation);
  }
}

// Each number's mean over images, less that of the default scanner, in
// deviations from image to image.
AcquisitionNumbers Moves(const PhantomScanner& scanner) {
  constexpr int kImages = 60;
  AcquisitionNumbers mean[2] = {}, square = {};
  for (const bool is_other : {false, true}) {
    PhantomSpec spec;
    if (is_other) spec.scanner = scanner;
    const PhantomGenerator generator = *PhantomGenerator::Create(spec);
    for (uint64_t key = 0; key < kImages; ++key) {
      const AcquisitionNumbers numbers =
          MeasureAcquisition(generator.Render(key + (is_other ? 1000 : 0)));
      for (int i = 0; i < kAcquisitions; ++i) {
        mean[is_other][i] += numbers[i] / kImages;
        if (!is_other) square[i] += numbers[i] * numbers[i] / kImages;
      }
    }
  }
  AcquisitionNumbers moves;
  for (int i = 0; i < kAcquisitions; ++i) {
    moves[i] = (mean[1][i] - mean[0][i]) /
               std::sqrt(square[i] - mean[0][i] * mean[0][i]);
  }
  return moves;
}

TEST(AcquisitionTest, EachNumberFollowsItsDial) {
  AcquisitionNumbers moves = Moves({.gain = 1.5});
  EXPECT_GT(Of(moves, Acquisition::kBrightness), 2);
  EXPECT_GT(Of(moves, Acquisition::kContrast), 1);
  moves = Moves({.photons = 500});
  EXPECT_GT(Of(moves, Acquisition::kNoise), 3);
  EXPECT_LT(std::abs(Of(moves, Acquisition::kBrightness)), 1);
  moves = Moves({.blur_sigma = 1.6});
  EXPECT_LT(Of(moves, Acquisition::kSharpness), -2);
  EXPECT_LT(std::abs(Of(moves, Acquisition::kBrightness)), 1);
}

TEST(AcquisitionTest, SmallAndFlatImagesHaveTheLeastNoiseAndSharpness) {
  for (const auto& [height, width] : {std::pair{1, 1}, {4, 90}, {20, 20}}) {
    const Image image{height, width, 1,
                      std::vector<float>(height * width, 0.25f)};
    ExpectNear(MeasureAcquisition(image), {0.25, 0, -6, -12});
  }
}

}  // namespace
}  // namespace fedgraft
