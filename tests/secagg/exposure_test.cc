// What an update of a head tells of the records behind it, with and without
// masks: the attacks work on what is sent in the clear, and fail on what is
// sent masked.
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/secagg/secagg_world.h"

namespace fedgraft::testing {
namespace {

constexpr int kFeatures = 512;
constexpr int kClasses = 5;
constexpr int kWordBits = 32;
const RingSpec kRing{kWordBits, 24};

// Gradient of the mean cross-entropy of a linear head at weights 0, where every
// class has probability 1 / kClasses: [kClasses][kFeatures], then the biases.
std::vector<double> HeadGradient(
    const std::vector<std::vector<double>>& records,
    const std::vector<int>& labels) {
  std::vector<double> gradient(kClasses * (kFeatures + 1));
  const double n = static_cast<double>(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    for (int c = 0; c < kClasses; ++c) {
      const double error = (1.0 / kClasses - (labels[i] == c ? 1 : 0)) / n;
      for (int k = 0; k < kFeatures; ++k) {
        gradient[static_cast<size_t>(c * kFeatures + k)] +=
            error * records[i][static_cast<size_t>(k)];
      }
      gradient[static_cast<size_t>(kClasses * kFeatures + c)] += error;
    }
  }
  return gradient;
}

std::vector<double> DrawRecord(SimRandom& random) {
  std::vector<double> record(kFeatures);
  for (double& value : record) {
    value = static_cast<double>(random.Below(2001)) / 1000 - 1;
  }
  return record;
}

// On the grid, as a site sends it.
std::vector<uint64_t> ToWords(const std::vector<double>& values) {
  return QuantizeDoubles(kRing, 16, values)->words;
}
std::vector<double> FromWords(const std::vector<uint64_t>& words) {
  std::vector<double> values;
  for (uint64_t word : words) values.push_back(Dequantize(kRing, word));
  return values;
}

// The words that leave site 1 of four if they are masked.
std::vector<uint64_t> Masked(const std::vector<uint64_t>& words) {
  SecureWorld world(4, {}, 21);
  world.ShareAll(world.sites());
  const Bytes packed =
      MaskInput(*world.Mask(world.sites()[1]), kWordBits, PlainInput{words, 1});
  std::vector<uint64_t> masked(words.size());
  UnpackWords(kWordBits, packed, absl::MakeSpan(masked));
  return masked;
}

double Bias(const std::vector<double>& gradient, int c) {
  return gradient[static_cast<size_t>(kClasses * kFeatures + c)];
}

// The class whose bias falls, and the record: its weights over its bias.
struct Reconstruction {
  int label = 0;
  std::vector<double> record;
};
Reconstruction Reconstruct(const std::vector<double>& gradient) {
  Reconstruction result;
  for (int c = 1; c < kClasses; ++c) {
    if (Bias(gradient, c) < Bias(gradient, result.label)) result.label = c;
  }
  for (int k = 0; k < kFeatures; ++k) {
    result.record.push_back(
        gradient[static_cast<size_t>(result.label * kFeatures + k)] /
        Bias(gradient, result.label));
  }
  return result;
}

double Cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

TEST(ExposureTest, AnUpdateOfOneRecordGivesItsFeaturesUnlessMasked) {
  SimRandom random(4);
  const std::vector<double> record = DrawRecord(random);
  const auto words = ToWords(HeadGradient({record}, {3}));
  const Reconstruction clear = Reconstruct(FromWords(words));
  EXPECT_EQ(clear.label, 3);
  EXPECT_GT(Cosine(clear.record, record), 1 - 1e-9);
  // Uniform words: the cosine of 512 of them has a standard deviation of 0.044,
  // so that 0.2 is exceeded once in 200,000 seeds.
  const Reconstruction masked = Reconstruct(FromWords(Masked(words)));
  EXPECT_LT(std::abs(Cosine(masked.record, record)), 0.2);
}

TEST(ExposureTest, AnUpdateOfABatchGivesItsClassCountsUnlessMasked) {
  SimRandom random(5);
  const std::vector<int> counts = {5, 2, 5, 3, 1};
  std::vector<std::vector<double>> records;
  std::vector<int> labels;
  for (int c = 0; c < kClasses; ++c) {
    for (int i = 0; i < counts[static_cast<size_t>(c)]; ++i) {
      records.push_back(DrawRecord(random));
      labels.push_back(c);
    }
  }
  const double n = static_cast<double>(records.size());
  const auto count = [n](const std::vector<double>& gradient, int c) {
    return n / kClasses - n * Bias(gradient, c);
  };
  const auto words = ToWords(HeadGradient(records, labels));
  const auto clear = FromWords(words);
  const auto masked = FromWords(Masked(words));
  double error = 0;
  for (int c = 0; c < kClasses; ++c) {
    EXPECT_NEAR(count(clear, c), counts[static_cast<size_t>(c)], 1e-5);
    error += std::abs(count(masked, c) - counts[static_cast<size_t>(c)]);
  }
  EXPECT_GT(error, n);
}

}  // namespace
}  // namespace fedgraft::testing
