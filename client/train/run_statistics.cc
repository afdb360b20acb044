#include "client/train/run_statistics.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/train/ewc_start.h"
#include "client/train/fisher.h"
#include "client/train/path_io.h"
#include "client/train/training_loss.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"

namespace fedgraft {
namespace {

// Puts each tensor of `layout` where it lies among `sums`.
absl::Status Flatten(const NamedValues& values, const ParameterLayout& layout,
                     absl::Span<double> sums) {
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    const auto found = values.find(tensor.name);
    if (found == values.end()) {
      return absl::InternalError(absl::StrCat(
          tensor.name, " travels, but is no parameter that is trained"));
    }
    const torch::Tensor host =
        found->second.to(torch::kCPU, torch::kFloat64).contiguous();
    const double* data = host.data_ptr<double>();
    std::copy(data, data + host.numel(), sums.begin() + layout.Offset(i));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<double>> RunStatistics::Sums(
    const ActivationStore& store, const ProgressSink& progress) {
  if (store.count() == 0) {
    return absl::FailedPreconditionError("there are no training images");
  }
  std::vector<double> sums(static_cast<size_t>(layout_.count()));
  sums[0] = static_cast<double>(store.count());
  if (const auto* part = layout_.Find(StatisticKind::kClassCounts)) {
    const std::vector<double> counts =
        CountClasses(store.labels(), plan_.num_classes());
    std::copy(counts.begin(), counts.end(), sums.begin() + part->begin);
  }
  if (const auto* part = layout_.Find(StatisticKind::kFisher)) {
    FG_ASSIGN_OR_RETURN(const ParameterLayout tensors,
                        FisherLayout(learner_.layout()));
    FG_ASSIGN_OR_RETURN(
        const NamedValues fisher,
        FisherSums(learner_.model(), plan_.regularizers.ewc_fisher, store,
                   plan_.seed, progress));
    FG_RETURN_IF_ERROR(
        Flatten(fisher, tensors,
                absl::MakeSpan(sums).subspan(part->begin, part->count)));
  }
  return sums;
}

absl::StatusOr<bool> RunStatistics::LacksStart() {
  if (layout_.Find(StatisticKind::kFisher) == nullptr ||
      learner_.has_run_start()) {
    return false;
  }
  const absl::Status loaded = LoadEwcStart(*files_, learner_);
  if (absl::IsNotFound(loaded)) return true;
  FG_RETURN_IF_ERROR(loaded);
  return false;
}

absl::Status RunStatistics::TakeStart(const GatheredStatistics& gathered) {
  const ParameterLayout& layout = learner_.layout();
  const torch::Device device = learner_.model().compute->device;
  FG_ASSIGN_OR_RETURN(const ParameterVector start,
                      DecodeTrainableSet(layout, gathered.model_bytes));
  FG_ASSIGN_OR_RETURN(const ParameterLayout tensors, FisherLayout(layout));
  const std::vector<double> sums =
      UnpackStatistics(*layout_.Find(StatisticKind::kFisher), gathered.words);
  ParameterVector fisher(sums.size());
  std::transform(sums.begin(), sums.end(), fisher.begin(),
                 [n = gathered.records()](double sum) {
                   return static_cast<float>(sum / n);
                 });
  return KeepEwcStart(ToNamedValues(layout, start, device),
                      ToNamedValues(tensors, fisher, device), *files_,
                      learner_);
}

absl::Status RunStatistics::Use(const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan trains with gathered statistics (",
                     AskedStatistics(plan_), "); the task has none"));
  }
  const auto* counts = layout_.Find(StatisticKind::kClassCounts);
  FG_ASSIGN_OR_RETURN(const bool lacks_start, LacksStart());
  if (lacks_start || (counts != nullptr && class_counts_.empty())) {
    FG_ASSIGN_OR_RETURN(const Bytes content, ReadFile(path));
    const auto gathered = DecodeGathered(layout_, content);
    if (!gathered.ok()) return Annotate(gathered.status(), path);
    if (counts != nullptr) {
      class_counts_ = UnpackStatistics(*counts, gathered->words);
    }
    if (lacks_start) FG_RETURN_IF_ERROR(TakeStart(*gathered));
  }
  if (counts != nullptr) learner_.SetClassCounts(class_counts_);
  return absl::OkStatus();
}

void RunStatistics::UseOwn(const ActivationStore& store) {
  learner_.SetClassCounts(CountClasses(store.labels(), plan_.num_classes()));
}

}  // namespace fedgraft
