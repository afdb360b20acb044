#include "client/train/fisher.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "client/data/seeded_random.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 64;
// Keeps this stream of random numbers apart from others of the same seed.
constexpr uint64_t kFisherStream = 0x666973686572;  // "fisher"

std::vector<int64_t> ChooseRecords(int64_t count, uint64_t seed) {
  std::vector<int64_t> records(count);
  std::iota(records.begin(), records.end(), 0);
  if (count <= kFisherRecordsMax) return records;
  SeededRandom random({seed, kFisherStream});
  random.Shuffle(records);
  records.resize(kFisherRecordsMax);
  std::sort(records.begin(), records.end());
  return records;
}

// Weight [C, d] and bias [C] of a linear head that is all that is trained.
struct LinearHead {
  const TrainedParameter* weight = nullptr;
  const TrainedParameter* bias = nullptr;
};

LinearHead FindLinearHead(const TrainedModel& model) {
  LinearHead head;
  if (model.boundary != model.network->head_stage()) return head;
  if (model.parameters.size() != 2) return head;
  const std::string& prefix = model.network->head_prefix();
  for (const TrainedParameter& parameter : model.parameters) {
    if (parameter.name == prefix + ".weight" && parameter.value.dim() == 2) {
      head.weight = &parameter;
    }
    if (parameter.name == prefix + ".bias") head.bias = &parameter;
  }
  return head;
}

// Labels [n, C], one-hot.
torch::Tensor OneHot(const ActivationStore& data,
                     const std::vector<int64_t>& images,
                     const torch::Tensor& like) {
  std::vector<int64_t> labels;
  for (int64_t image : images) labels.push_back(data.labels()[image]);
  return torch::one_hot(torch::tensor(labels), like.size(1)).to(like.options());
}

// Sums over the records of one batch.
class FisherSum {
 public:
  FisherSum(const TrainedModel& model, FisherKind kind)
      : model_(model), kind_(kind), head_(FindLinearHead(model)) {
    for (const TrainedParameter& parameter : model.parameters) {
      sums_.push_back(torch::zeros_like(parameter.value, torch::kFloat64));
    }
  }
  bool is_closed_form() const {
    return head_.weight != nullptr && head_.bias != nullptr;
  }
  void Add(const torch::Tensor& activations, int stage,
           const std::vector<int64_t>& images, const ActivationStore& data) {
    if (is_closed_form()) {
      AddLinear(activations, stage, images, data);
    } else {
      AddGeneral(activations, stage, images, data);
    }
  }
  NamedValues Named() const {
    NamedValues named;
    for (size_t i = 0; i < sums_.size(); ++i) {
      named[model_.parameters[i].name] = sums_[i];
    }
    return named;
  }

 private:
  // d log p_y / dz_c = [y = c] - p_c, and dz_c / dW_cj = f_j.
  void AddLinear(const torch::Tensor& activations, int stage,
                 const std::vector<int64_t>& images,
                 const ActivationStore& data) {
    torch::NoGradGuard no_grad;
    torch::Tensor features = activations;
    if (stage < model_.boundary) {
      features = model_.network->Run(features, stage, model_.boundary);
    }
    const torch::Tensor p = torch::softmax(
        model_.Logits(features, model_.boundary).to(torch::kFloat64), 1);
    const torch::Tensor square = kind_ == FisherKind::kExact
                                     ? p * (1 - p)
                                     : (OneHot(data, images, p) - p).square();
    for (size_t i = 0; i < sums_.size(); ++i) {
      sums_[i] += &model_.parameters[i] == head_.bias
                      ? square.sum(0)
                      : torch::matmul(square.t(),
                                      features.to(torch::kFloat64).square());
    }
  }

  void AddGeneral(const torch::Tensor& activations, int stage,
                  const std::vector<int64_t>& images,
                  const ActivationStore& data) {
    const std::vector<torch::Tensor> parameters = ValuesOf(model_.parameters);
    for (size_t i = 0; i < images.size(); ++i) {
      const torch::Tensor record =
          activations.narrow(0, static_cast<int64_t>(i), 1);
      const torch::Tensor log_p =
          torch::log_softmax(model_.Logits(record, stage), 1)[0];
      for (int64_t c = 0; c < log_p.size(0); ++c) {
        const bool is_label = data.labels()[images[i]] == c;
        if (kind_ == FisherKind::kEmpirical && !is_label) continue;
        const double weight = kind_ == FisherKind::kEmpirical
                                  ? 1
                                  : std::exp(log_p[c].item<double>());
        const auto gradients = torch::autograd::grad(
            {log_p[c]}, parameters, {}, /*retain_graph=*/true,
            /*create_graph=*/false, /*allow_unused=*/true);
        for (size_t k = 0; k < sums_.size(); ++k) {
          if (!gradients[k].defined()) continue;
          const torch::Tensor gradient = gradients[k].to(torch::kFloat64);
          sums_[k].addcmul_(gradient, gradient, weight);
        }
      }
    }
  }

  const TrainedModel& model_;
  const FisherKind kind_;
  const LinearHead head_;
  std::vector<torch::Tensor> sums_;
};

// Sums over `records`, F64.
absl::StatusOr<NamedValues> SumOver(const std::vector<int64_t>& records,
                                    const TrainedModel& model, FisherKind kind,
                                    const ActivationStore& data,
                                    const ProgressSink& progress) {
  if (records.empty()) {
    return absl::FailedPreconditionError(
        "there are no training images to take the Fisher information of");
  }
  FisherSum sum(model, kind);
  for (size_t begin = 0; begin < records.size(); begin += kBatch) {
    FG_RETURN_IF_ERROR(
        progress(static_cast<double>(begin) / records.size(), "fisher"));
    const std::vector<int64_t> images(
        records.begin() + begin,
        records.begin() + std::min(records.size(), begin + kBatch));
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, data.Batch(images));
    sum.Add(batch, data.stage(), images, data);
  }
  NamedValues fisher = sum.Named();
  for (const auto& [name, value] : fisher) {
    if (!torch::isfinite(value).all().item<bool>()) {
      return absl::FailedPreconditionError("the Fisher information of " + name +
                                           " is not finite");
    }
  }
  return fisher;
}

}  // namespace

absl::StatusOr<NamedValues> DiagonalFisher(const TrainedModel& model,
                                           FisherKind kind,
                                           const ActivationStore& data,
                                           uint64_t seed,
                                           const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(NamedValues fisher,
                      FisherSums(model, kind, data, seed, progress));
  const auto count = static_cast<double>(data.count());
  for (auto& [name, value] : fisher) {
    value = (value / count).to(torch::kFloat32);
  }
  return fisher;
}

absl::StatusOr<NamedValues> FisherSums(const TrainedModel& model,
                                       FisherKind kind,
                                       const ActivationStore& data,
                                       uint64_t seed,
                                       const ProgressSink& progress) {
  const std::vector<int64_t> records = ChooseRecords(data.count(), seed);
  FG_ASSIGN_OR_RETURN(NamedValues sums,
                      SumOver(records, model, kind, data, progress));
  const int64_t drawn = static_cast<int64_t>(records.size());
  if (drawn == data.count()) return sums;
  for (auto& [name, value] : sums) {
    value = value * (static_cast<double>(data.count()) / drawn);
  }
  return sums;
}

}  // namespace fedgraft
