#include "client/data/splits.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

std::vector<size_t> CountLabels(const std::vector<Sample>& samples,
                                size_t num_classes) {
  std::vector<size_t> counts(num_classes, 0);
  for (const Sample& sample : samples) {
    if (sample.label >= 0) ++counts[static_cast<size_t>(sample.label)];
  }
  return counts;
}

void WarnOfTrainingClasses(const std::string& where, const DataContext& context,
                           const std::vector<Sample>& train,
                           std::vector<std::string>& warnings) {
  const std::vector<size_t> counts = CountLabels(train, context.classes.size());
  const size_t present =
      counts.size() - std::count(counts.begin(), counts.end(), size_t{0});
  for (size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] > 0 && present == 1) {
      warnings.push_back(absl::StrCat(
          where, ": all ", train.size(), " training images are of class \"",
          context.classes[label],
          "\": this site can take part, but cannot train alone"));
    } else if (counts[label] == 0 && present > 1) {
      warnings.push_back(absl::StrCat(where, ": no training image of class \"",
                                      context.classes[label], "\""));
    }
  }
}

void WarnOfEvaluation(const std::string& where, const DataContext& context,
                      Split split, const std::vector<Sample>& samples,
                      std::vector<std::string>& warnings) {
  if (samples.empty()) {
    warnings.push_back(absl::StrCat(where, ": the ", SplitName(split),
                                    " split is empty: nothing to evaluate"));
    return;
  }
  const std::vector<size_t> counts =
      CountLabels(samples, context.classes.size());
  const auto empty = std::count(counts.begin(), counts.end(), size_t{0});
  if (static_cast<size_t>(empty) + 1 == counts.size()) {
    warnings.push_back(
        absl::StrCat(where, ": the ", SplitName(split),
                     " split has images of one class only: it has no AUC"));
  }
}

void WarnOfSharedPatients(const std::string& where, const SplitSamples& samples,
                          std::vector<std::string>& warnings) {
  std::set<std::string_view> train;
  for (const Sample& sample : samples[Split::kTrain]) {
    if (!sample.patient.empty()) train.insert(sample.patient);
  }
  for (const Split split : {Split::kVal, Split::kTest}) {
    std::set<std::string_view> shared;
    for (const Sample& sample : samples[split]) {
      if (train.contains(sample.patient)) shared.insert(sample.patient);
    }
    if (shared.empty()) continue;
    warnings.push_back(absl::StrCat(
        where, ": ", shared.size(), " patients are both in the train and the ",
        SplitName(split), " split: its results will be too good"));
  }
}

}  // namespace

std::string SplitName(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kVal:
      return "val";
    case Split::kTest:
      break;
  }
  return "test";
}

absl::Status CheckSplits(const std::string& where, const DataContext& context,
                         const SplitSamples& samples,
                         std::vector<std::string>& warnings) {
  if (context.use == DataUse::kPredict) {
    if (!samples[Split::kTest].empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(where, ": no image to predict"));
  }
  if (samples[Split::kTrain].empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        where, ": the train split is empty (val: ", samples[Split::kVal].size(),
        ", test: ", samples[Split::kTest].size(),
        " images): expected at least one training image"));
  }
  if (IsUnlabelled(context)) return absl::OkStatus();
  WarnOfTrainingClasses(where, context, samples[Split::kTrain], warnings);
  for (const Split split : {Split::kVal, Split::kTest}) {
    WarnOfEvaluation(where, context, split, samples[split], warnings);
  }
  WarnOfSharedPatients(where, samples, warnings);
  return absl::OkStatus();
}

}  // namespace fedgraft
