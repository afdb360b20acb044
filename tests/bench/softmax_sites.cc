#include "tests/bench/softmax_sites.h"

#include <algorithm>
#include <cmath>

#include "tests/support/sim_random.h"

namespace fedgraft::bench {
namespace {

// Sums in lanes, so that the compiler uses vector instructions.
constexpr int kLanes = 16;
static_assert(kFeatures % kLanes == 0);

// Each class lights a random fifth of the pixels.
std::vector<uint8_t> Prototypes() {
  testing::SimRandom random(1);
  std::vector<uint8_t> pixels(static_cast<size_t>(kClasses) * kFeatures);
  for (uint8_t& pixel : pixels) pixel = random.Below(5) == 0 ? 180 : 0;
  return pixels;
}

void ToFloats(const uint8_t* pixels, float* values) {
  for (int k = 0; k < kFeatures; ++k) {
    values[k] = static_cast<float>(pixels[k]) * (1.0f / 255);
  }
}

void Scores(const float* x, const Weights& weights, float* scores) {
  for (int c = 0; c < kClasses; ++c) {
    const float* const row = weights.data() + kClasses + c * kFeatures;
    float lanes[kLanes] = {};
    for (int k = 0; k < kFeatures; k += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        lanes[lane] += row[k + lane] * x[k + lane];
      }
    }
    float sum = weights[static_cast<size_t>(c)];
    for (const float lane : lanes) sum += lane;
    scores[c] = sum;
  }
}

}  // namespace

Records MakeRecords(int index, size_t count) {
  static const std::vector<uint8_t> prototypes = Prototypes();
  testing::SimRandom random(static_cast<uint64_t>(index + 2));
  Records records;
  records.pixels.resize(count * kFeatures);
  for (size_t i = 0; i < count; ++i) {
    const int label = index < 0 ? static_cast<int>(i % kClasses)
                                : (index + (i % 2 == 0 ? 0 : 3)) % kClasses;
    records.labels.push_back(label);
    uint8_t* const pixels = records.pixels.data() + i * kFeatures;
    const uint8_t* const prototype = prototypes.data() + label * kFeatures;
    uint64_t noise = 0;
    for (int k = 0; k < kFeatures; ++k) {
      if (k % 8 == 0) noise = random.Next();
      const int value = prototype[k] + static_cast<int>(noise & 0xff) - 128;
      pixels[k] = static_cast<uint8_t>(std::clamp(value, 0, 255));
      noise >>= 8;
    }
  }
  return records;
}

double Train(const Records& records, int batch, float learning_rate,
             Weights& weights) {
  double loss = 0;
  Weights gradient(kWeights);
  float x[kFeatures];
  for (size_t begin = 0; begin < records.size();
       begin += static_cast<size_t>(batch)) {
    const size_t end =
        std::min(records.size(), begin + static_cast<size_t>(batch));
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    for (size_t i = begin; i < end; ++i) {
      float p[kClasses];
      ToFloats(records.pixels.data() + i * kFeatures, x);
      Scores(x, weights, p);
      const float largest = *std::max_element(p, p + kClasses);
      float total = 0;
      for (float& score : p) total += score = std::exp(score - largest);
      const int label = records.labels[i];
      loss -= std::log(p[label] / total);
      for (int c = 0; c < kClasses; ++c) {
        const float slope = p[c] / total - (c == label ? 1.0f : 0.0f);
        gradient[static_cast<size_t>(c)] += slope;
        float* const row = gradient.data() + kClasses + c * kFeatures;
        for (int k = 0; k < kFeatures; ++k) row[k] += slope * x[k];
      }
    }
    const float step = learning_rate / static_cast<float>(end - begin);
    for (size_t j = 0; j < kWeights; ++j) weights[j] -= step * gradient[j];
  }
  return records.size() == 0 ? 0 : loss / static_cast<double>(records.size());
}

double Accuracy(const Records& records, const Weights& weights) {
  size_t right = 0;
  float x[kFeatures], scores[kClasses];
  for (size_t i = 0; i < records.size(); ++i) {
    ToFloats(records.pixels.data() + i * kFeatures, x);
    Scores(x, weights, scores);
    right += std::max_element(scores, scores + kClasses) - scores ==
             records.labels[i];
  }
  return static_cast<double>(right) / static_cast<double>(records.size());
}

}  // namespace fedgraft::bench
