#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace fedgraft::bench {

// Sites of a made-up digits task: records of 784 bytes, ten classes, each site
// with a few dozen records of two classes; trained by plain softmax SGD.
inline constexpr int kFeatures = 784, kClasses = 10;
inline constexpr size_t kWeights =
    static_cast<size_t>(kClasses) * (kFeatures + 1);

// Weights: bias [10], then weight [10, 784] (the order of the layout).
using Weights = std::vector<float>;

struct Records {
  std::vector<uint8_t> pixels;  // [n, 784]
  std::vector<int> labels;
  size_t size() const { return labels.size(); }
};

// Of site `index` (two classes), or of all classes alike for index -1.
Records MakeRecords(int index, size_t count);

// One epoch in batches of `batch`; mean loss. All of it in float.
double Train(const Records& records, int batch, float learning_rate,
             Weights& weights);

// Share of the records whose class scores highest.
double Accuracy(const Records& records, const Weights& weights);

}  // namespace fedgraft::bench
