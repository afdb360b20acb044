#include "tests/support/plain_statistics.h"

#include <cmath>

#include "common/solve/solve_statistics.h"

namespace fedgraft::testing {
namespace {

using Row = std::vector<double>;

Row Input(const SolvePoint& point, const Row& feature) {
  Row input(feature);
  for (size_t j = 0; j < point.mean.size(); ++j) {
    input[j] = (feature[j] - point.mean[j]) * point.scale[j];
  }
  input.push_back(1);
  return input;
}

// Probabilities of the classes for contrasts V: scores are Q' V [z 1].
Row Probabilities(const SolvePoint& point, const Row& input) {
  const Row q = HelmertContrasts(point.classes);
  Row scores(point.classes, 0.0);
  for (int a = 0; a + 1 < point.classes; ++a) {
    double score = 0;
    for (size_t j = 0; j < input.size(); ++j) {
      score += point.weights[a * input.size() + j] * input[j];
    }
    for (int c = 0; c < point.classes; ++c) {
      scores[c] += q[a * point.classes + c] * score;
    }
  }
  double sum = 0;
  for (double& s : scores) sum += s = std::exp(s);
  for (double& s : scores) s /= sum;
  return scores;
}

void AddPoint(const SolvePoint& point, const SolveLayout& layout,
              const Row& input, int label, Row& sums) {
  const Row q = HelmertContrasts(point.classes);
  const Row p = Probabilities(point, input);
  sums[layout.loss.begin] -= std::log(p[label]);
  const size_t row = input.size();
  const size_t variables = row * (point.classes - 1);
  for (size_t v = 0; v < variables; ++v) {
    double residual = 0;
    for (int c = 0; c < point.classes; ++c) {
      residual += q[v / row * point.classes + c] * (p[c] - (c == label));
    }
    sums[layout.gradient.begin + v] += residual * input[v % row];
  }
  if (layout.hessian.count == 0) return;
  int64_t at = layout.hessian.begin;
  for (size_t v = 0; v < variables; ++v) {
    for (size_t w = v; w < variables; ++w) {
      double weight = 0, left = 0, right = 0;
      for (int c = 0; c < point.classes; ++c) {
        const double a = q[v / row * point.classes + c];
        const double b = q[w / row * point.classes + c];
        weight += a * b * p[c];
        left += a * p[c];
        right += b * p[c];
      }
      sums[at++] += (weight - left * right) * input[v % row] * input[w % row];
    }
  }
}

double CandidateLoss(const SolvePoint& point, int candidate, const Row& input,
                     int label) {
  double loss = 0;
  for (int c = 0; c < point.classes; ++c) {
    double score = 0;
    for (size_t j = 0; j < input.size(); ++j) {
      score +=
          point.weights[(candidate * point.classes + c) * input.size() + j] *
          input[j];
    }
    loss += 0.5 * (score - (c == label)) * (score - (c == label));
  }
  return loss;
}

void AddTrain(const SolvePoint& point, const SolveLayout& layout,
              const Row& feature, int label, Row& sums) {
  sums[layout.records.begin] += 1;
  if (layout.class_counts.count > 0)
    sums[layout.class_counts.begin + label] += 1;
  if (point.stage == SolveStage::kHessian ||
      point.stage == SolveStage::kGradient) {
    return AddPoint(point, layout, Input(point, feature), label, sums);
  }
  if (point.stage == SolveStage::kValidate) return;
  if (point.stage == SolveStage::kGram) {
    const Row input = Input(point, feature);
    double weight = 1;
    for (double p : Probabilities(point, input)) weight -= p * p;
    weight /= point.classes - 1;
    int64_t at = layout.gram.begin;
    for (size_t i = 0; i < input.size(); ++i) {
      for (size_t j = i; j < input.size(); ++j) {
        sums[at++] += weight * input[i] * input[j];
      }
    }
    return;
  }
  const Row input =
      point.stage == SolveStage::kMoments ? feature : Input(point, feature);
  const size_t dim = feature.size();
  int64_t at = layout.gram.begin;
  for (size_t i = 0; i < dim; ++i) {
    sums[layout.feature_sums.begin + i] += input[i];
    if (layout.feature_squares.count > 0) {
      sums[layout.feature_squares.begin + i] += input[i] * input[i];
    }
    for (size_t j = i; layout.gram.count > 0 && j < dim; ++j) {
      sums[at++] += input[i] * input[j];
    }
    if (layout.cross.count > 0) {
      sums[layout.cross.begin + label * dim + i] += input[i];
    }
  }
}

}  // namespace

std::vector<double> PlainStatistics(const SolvePoint& point,
                                    const PlainRecords& train,
                                    const PlainRecords& validation) {
  const SolveLayout layout(point);
  Row sums(static_cast<size_t>(layout.count()), 0.0);
  for (size_t i = 0; i < train.features.size(); ++i) {
    AddTrain(point, layout, train.features[i], train.labels[i], sums);
  }
  if (layout.validation_records.count == 0) return sums;
  for (size_t i = 0; i < validation.features.size(); ++i) {
    const Row input = Input(point, validation.features[i]);
    sums[layout.validation_records.begin] += 1;
    if (point.stage == SolveStage::kValidate) {
      for (int k = 0; k < point.candidates; ++k) {
        sums[layout.validation_losses.begin + k] +=
            CandidateLoss(point, k, input, validation.labels[i]);
      }
    } else {
      sums[layout.validation_losses.begin] -=
          std::log(Probabilities(point, input)[validation.labels[i]]);
    }
  }
  return sums;
}

}  // namespace fedgraft::testing
