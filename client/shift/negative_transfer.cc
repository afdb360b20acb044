#include "client/shift/negative_transfer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/shift/site_sketch.h"
#include "common/base/status_macros.h"
#include "common/shift/bootstrap.h"
#include "common/shift/distributions.h"
#include "common/shift/paired_auc.h"

namespace fedgraft {
namespace {

constexpr double kQuantile = 1.959963984540054;  // 95 %, two-sided
constexpr int kDraws = 2000;

absl::Status Check(const TransferRecords& records, TransferMeasure measure) {
  FG_RETURN_IF_ERROR(CheckMatrix(records.federated, "federated scores"));
  FG_RETURN_IF_ERROR(CheckMatrix(records.local, "local scores"));
  const int64_t n = records.federated.rows, classes = records.federated.columns;
  if (records.local.rows != n || records.local.columns != classes ||
      static_cast<int64_t>(records.labels.size()) != n ||
      static_cast<int64_t>(records.patients.size()) != n || classes < 2 ||
      (measure == TransferMeasure::kAuc && classes != 2)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "transfer: expected scores of both models, a label and a patient for "
        "each of ",
        n, " records, and two classes for AUC, not ", records.local.rows,
        " scores of ", records.local.columns, " classes, ",
        records.labels.size(), " labels and ", records.patients.size(),
        " patients"));
  }
  std::vector<int64_t> counts(classes);
  for (int64_t label : records.labels) {
    if (label < 0 || label >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("transfer: label ", label, " of ", classes, " classes"));
    }
    ++counts[label];
  }
  for (int64_t c = 0; c < classes; ++c) {
    if (counts[c] < kTransferClassMin) {
      return absl::FailedPreconditionError(
          absl::StrCat("transfer: expected ", kTransferClassMin,
                       " records of class ", c, " or more, got ", counts[c]));
    }
  }
  return absl::OkStatus();
}

std::vector<double> Margins(const MatrixView& scores) {
  std::vector<double> margins;
  for (int64_t r = 0; r < scores.rows; ++r) {
    margins.push_back(scores.Row(r)[1] - scores.Row(r)[0]);
  }
  return margins;
}

// Of one class's recall after another, federated less local, over records
// drawn; NaN if a class was not drawn.
class RecallDifference {
 public:
  explicit RecallDifference(const TransferRecords& records)
      : labels_(records.labels),
        classes_(records.federated.columns),
        gain_(records.labels.size()) {
    for (size_t r = 0; r < gain_.size(); ++r) {
      gain_[r] =
          (PredictedClass(records.federated.Row(r)) == labels_[r] ? 1 : 0) -
          (PredictedClass(records.local.Row(r)) == labels_[r] ? 1 : 0);
    }
  }
  double operator()(absl::Span<const int64_t> drawn) const {
    std::vector<double> counts(classes_), gains(classes_);
    for (int64_t r : drawn) {
      counts[labels_[r]] += 1;
      gains[labels_[r]] += gain_[r];
    }
    double mean = 0;
    for (int64_t c = 0; c < classes_; ++c) {
      mean += gains[c] / counts[c] / static_cast<double>(classes_);
    }
    return mean;
  }

 private:
  absl::Span<const int64_t> labels_;
  int64_t classes_;
  std::vector<double> gain_;
};

double AucDifference(absl::Span<const int64_t> labels,
                     absl::Span<const double> a, absl::Span<const double> b,
                     absl::Span<const int64_t> drawn) {
  std::vector<int64_t> drawn_labels;
  std::vector<double> drawn_a, drawn_b;
  for (int64_t r : drawn) {
    drawn_labels.push_back(labels[r]);
    drawn_a.push_back(a[r]);
    drawn_b.push_back(b[r]);
  }
  const auto compared = CompareAuc(drawn_labels, drawn_a, drawn_b);
  return compared.ok() ? compared->difference
                       : std::numeric_limits<double>::quiet_NaN();
}

TransferComparison WithVerdict(TransferComparison comparison) {
  comparison.verdict = VerdictOfInterval(comparison.low, comparison.high);
  return comparison;
}

}  // namespace

absl::StatusOr<TransferComparison> CompareTransfer(
    const TransferRecords& records, TransferMeasure measure, uint64_t seed) {
  FG_RETURN_IF_ERROR(Check(records, measure));
  const size_t patients =
      std::set<int64_t>(records.patients.begin(), records.patients.end())
          .size();
  if (patients < 3) {
    return absl::FailedPreconditionError(absl::StrCat(
        "transfer: expected three patients or more, got ", patients));
  }
  std::function<double(absl::Span<const int64_t>)> statistic;
  std::vector<double> federated, local;
  if (measure == TransferMeasure::kAuc) {
    federated = Margins(records.federated);
    local = Margins(records.local);
    if (patients == records.labels.size()) {
      FG_ASSIGN_OR_RETURN(const PairedAuc compared,
                          CompareAuc(records.labels, federated, local));
      const double half = kQuantile * compared.deviation;
      return WithVerdict({compared.difference, compared.difference - half,
                          compared.difference + half, compared.p});
    }
    statistic = [&](absl::Span<const int64_t> drawn) {
      return AucDifference(records.labels, federated, local, drawn);
    };
  } else {
    statistic = RecallDifference(records);
  }
  FG_ASSIGN_OR_RETURN(
      const BootstrapInterval interval,
      BootstrapBca(records.patients, records.labels, statistic, seed, kDraws));
  TransferComparison comparison{interval.estimate, interval.low, interval.high};
  const double deviation = (interval.high - interval.low) / (2 * kQuantile);
  if (deviation > 0) {
    comparison.p =
        std::min(1.0, 2 * NormalTail(std::abs(comparison.delta) / deviation));
  }
  return WithVerdict(comparison);
}

void AddTransfer(const TransferComparison& comparison, ShiftScalars& scalars) {
  const std::string prefix(kTransferPrefix);
  scalars[prefix + "delta"] = comparison.delta;
  scalars[prefix + "low"] = comparison.low;
  scalars[prefix + "high"] = comparison.high;
  scalars[prefix + "p"] = comparison.p;
}

}  // namespace fedgraft
