#include "client/data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

Image Grey(int height, int width, std::vector<float> pixels) {
  return {height, width, 1, std::move(pixels)};
}

PreprocessingSpec Spec(int size,
                       Interpolation interpolation = Interpolation::kBilinear,
                       AspectPolicy aspect = AspectPolicy::kStretch) {
  PreprocessingSpec spec;
  spec.size = size;
  spec.interpolation = interpolation;
  spec.aspect = aspect;
  return spec;
}
PreprocessingSpec WithMean(std::vector<double> mean) {
  PreprocessingSpec spec;
  spec.mean = std::move(mean);
  return spec;
}
PreprocessingSpec WithStd(std::vector<double> std) {
  PreprocessingSpec spec;
  spec.std = std::move(std);
  return spec;
}

// The whole output.
std::vector<float> Preprocessed(const PreprocessingSpec& spec,
                                const Image& image) {
  const auto preprocessor = Preprocessor::Create(spec);
  EXPECT_THAT(preprocessor, IsOk());
  std::vector<float> out(preprocessor->output_size(), -99);
  EXPECT_THAT(preprocessor->Apply(image, absl::MakeSpan(out)), IsOk());
  return out;
}

// The first row of the first channel, for an image whose rows are all `row`.
std::vector<float> RunOnRow(Interpolation interpolation, int size,
                            const std::vector<float>& row) {
  const int width = static_cast<int>(row.size());
  Image image = Grey(width, width, {});
  for (int y = 0; y < width; ++y) {
    image.pixels.insert(image.pixels.end(), row.begin(), row.end());
  }
  std::vector<float> out = Preprocessed(Spec(size, interpolation), image);
  out.resize(static_cast<size_t>(size));
  return out;
}

// Expected values computed by hand, and for bicubic by the formula of Keys
// (1981) with a = -0.75 in Python, from the definitions in preprocess.h.
TEST(PreprocessTest, ResizesByTheDocumentedFormulas) {
  struct Case {
    Interpolation interpolation;
    std::vector<float> row;
    std::vector<float> expected;
  };
  const auto kNearest = Interpolation::kNearest;
  const auto kBilinear = Interpolation::kBilinear;
  const auto kBicubic = Interpolation::kBicubic;
  const auto kArea = Interpolation::kArea;
  const std::vector<Case> cases = {
      {kBilinear, {0, 1}, {0, 0.25, 0.75, 1}},
      // No antialiasing: output 0 lies at 1.5, output 1 at 5.5.
      {kBilinear, {1, 0, 0.5, 1, 1, 0.25, 0.75, 1}, {0.25, 0.5}},
      {kNearest, {0.1, 0.2, 0.3, 0.4, 0.5}, {0.1, 0.3, 0.5}},
      {kNearest, {0.1, 0.9}, {0.1, 0.1, 0.9, 0.9}},
      {kArea, {0.2, 0.4, 0.9, 0.3}, {0.3, 0.6}},
      {kArea, {0.3, 0.6, 0.9}, {0.4, 0.8}},
      // Enlarging is bilinear.
      {kArea, {0, 1}, {0, 0.25, 0.75, 1}},
      {kBicubic,
       {0.2, 0.4, 0.9, 0.3},
       {0.178906, 0.227734, 0.301953, 0.555469, 0.857031, 0.816797, 0.453516,
        0.236719}},
      {kBicubic, {0.2, 0.4, 0.9, 0.3}, {0.220023, 0.725, 0.394792}},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(
        RunOnRow(c.interpolation, static_cast<int>(c.expected.size()), c.row),
        Pointwise(FloatNear(2e-6f), c.expected))
        << static_cast<int>(c.interpolation) << " from " << c.row.size();
  }
}

TEST(PreprocessTest, BicubicOvershootIsClamped) {
  const std::vector<float> row =
      RunOnRow(Interpolation::kBicubic, 16, {0, 0, 1, 1});
  EXPECT_EQ(*std::min_element(row.begin(), row.end()), 0);
  EXPECT_EQ(*std::max_element(row.begin(), row.end()), 1);
}

TEST(PreprocessTest, SameSizeKeepsEveryValue) {
  const Image image = Grey(2, 2, {0.1f, 0.2f, 0.3f, 0.4f});
  for (const auto interpolation :
       {Interpolation::kNearest, Interpolation::kBilinear,
        Interpolation::kBicubic, Interpolation::kArea}) {
    EXPECT_THAT(Preprocessed(Spec(2, interpolation), image),
                ElementsAre(0.1f, 0.2f, 0.3f, 0.4f, 0.1f, 0.2f, 0.3f, 0.4f,
                            0.1f, 0.2f, 0.3f, 0.4f));
  }
}

TEST(PreprocessTest, AspectPoliciesTreatTheLongSideAsDocumented) {
  const Image wide =
      Grey(2, 5, {.1f, .2f, .3f, .4f, .5f, .6f, .7f, .8f, .9f, 1});
  const auto first = [&](AspectPolicy aspect, int size, const Image& image) {
    std::vector<float> out =
        Preprocessed(Spec(size, Interpolation::kNearest, aspect), image);
    out.resize(static_cast<size_t>(size) * size);
    return out;
  };
  EXPECT_THAT(first(AspectPolicy::kCenterCrop, 2, wide),
              ElementsAre(.2f, .3f, .7f, .8f));
  EXPECT_THAT(first(AspectPolicy::kStretch, 2, wide),
              ElementsAre(.2f, .4f, .7f, .9f));
  EXPECT_THAT(first(AspectPolicy::kPad, 5, wide),
              ElementsAre(0, 0, 0, 0, 0,            //
                          .1f, .2f, .3f, .4f, .5f,  //
                          .6f, .7f, .8f, .9f, 1,    //
                          0, 0, 0, 0, 0,            //
                          0, 0, 0, 0, 0));
  const Image tall = Grey(4, 1, {.1f, .2f, .3f, .4f});
  EXPECT_THAT(first(AspectPolicy::kPad, 2, tall), ElementsAre(.2f, 0, .4f, 0));
  // The short side never vanishes.
  const Image thread = Grey(1, 1000, std::vector<float>(1000, 0.5f));
  EXPECT_THAT(first(AspectPolicy::kPad, 2, thread),
              ElementsAre(.5f, .5f, 0, 0));
}

TEST(PreprocessTest, InvertsBeforePaddingAndNormalisesLast) {
  PreprocessingSpec spec = Spec(2, Interpolation::kNearest, AspectPolicy::kPad);
  spec.mean = {0.25};
  spec.std = {0.5};
  spec.invert = true;
  const std::vector<float> out = Preprocessed(spec, Grey(1, 2, {0, 0.25f}));
  EXPECT_THAT(std::vector<float>(out.begin(), out.begin() + 4),
              ElementsAre(1.5f, 1, -0.5f, -0.5f));
}

TEST(PreprocessTest, ColoursBecomePlanesWithTheirOwnStatistics) {
  const Image image = {1, 1, 3, {0.5f, 0.25f, 1}};
  PreprocessingSpec spec = Spec(1);
  spec.mean = {0.5, 0.5, 0.5};
  spec.std = {1, 0.5, 0.25};
  EXPECT_THAT(Preprocessed(spec, image), ElementsAre(0, -0.5f, 2));
  EXPECT_THAT(Preprocessed(Spec(1), Grey(1, 1, {0.5f})),
              ElementsAre(0.5f, 0.5f, 0.5f));
}

TEST(PreprocessTest, RefusesAWrongSpecification) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct Case {
    PreprocessingSpec spec;
    std::string message;
  };
  const std::vector<Case> cases = {
      {Spec(0), "size: expected 1 to 8192, found 0"},
      {Spec(9000), "found 9000"},
      {WithMean({0, 0}), "mean: expected 1 or 3 values, found 2"},
      {WithStd({1, 1, 1, 1}), "std: expected 1 or 3 values, found 4"},
      {WithStd({0}), "std: expected positive values, found 0"},
      {WithStd({1, -1, 1}), "found -1"},
      {WithStd({nan}), "std: expected positive"},
      {WithMean({nan}), "mean: expected finite"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Preprocessor::Create(c.spec),
                IsError(absl::StatusCode::kInvalidArgument, c.message));
  }
}

TEST(PreprocessTest, RefusesAnImageThatIsNone) {
  const auto preprocessor = Preprocessor::Create(Spec(2));
  ASSERT_THAT(preprocessor, IsOk());
  std::vector<float> out(preprocessor->output_size());
  const std::vector<Image> images = {
      {}, {0, 5, 1, {}}, {1, 1, 2, {0, 0}}, {2, 2, 1, {0}}, {-1, -1, 1, {0}}};
  for (const Image& image : images) {
    EXPECT_THAT(preprocessor->Apply(image, absl::MakeSpan(out)),
                IsError(absl::StatusCode::kInvalidArgument, "expected"));
  }
}

TEST(PreprocessTest, FeatureVectorsPassAsTheyAre) {
  const auto preprocessor = Preprocessor::ForFeatures(3);
  ASSERT_THAT(preprocessor, IsOk());
  EXPECT_EQ(preprocessor->output_size(), 3u);
  EXPECT_THAT(preprocessor->output_shape(), ElementsAre(3));
  std::vector<float> out(3);
  ASSERT_THAT(
      preprocessor->Apply({1, 3, 1, {-5, 0.5, 1e6}}, absl::MakeSpan(out)),
      IsOk());
  EXPECT_THAT(out, ElementsAre(-5, 0.5, 1e6));
  EXPECT_THAT(preprocessor->Apply({1, 2, 1, {1, 2}}, absl::MakeSpan(out)),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expected a feature vector of length 3, found one of 2"));
  EXPECT_THAT(Preprocessor::ForFeatures(0),
              IsError(absl::StatusCode::kInvalidArgument, "above 0"));
}

}  // namespace
}  // namespace fedgraft
