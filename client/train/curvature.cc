#include "client/train/curvature.h"

#include <cmath>

#include "client/data/seeded_random.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Keeps this stream of random numbers apart from others of the same seed.
constexpr uint64_t kProbeStream = 0x70726f6265;  // "probe"

torch::Tensor RandomSigns(const torch::Tensor& like, SeededRandom& random) {
  torch::Tensor signs = torch::empty(like.sizes(), torch::kFloat32);
  float* out = signs.data_ptr<float>();
  uint64_t bits = 0;
  for (int64_t i = 0; i < signs.numel(); ++i) {
    if (i % 64 == 0) bits = random.Next();
    out[i] = (bits >> (i % 64)) & 1 ? 1.0f : -1.0f;
  }
  return signs.to(like.device());
}

double Dot(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kFloat64) * b.to(torch::kFloat64)).sum().item<double>();
}

}  // namespace

absl::StatusOr<double> ValueOf(const MeanLoss& loss) {
  torch::NoGradGuard no_grad;
  double sum = 0;
  for (int64_t i = 0; i < loss.batches; ++i) {
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, loss.batch(i));
    sum += batch.item<double>();
  }
  return sum / loss.records;
}

absl::StatusOr<std::vector<torch::Tensor>> HessianProduct(
    const MeanLoss& loss, const TrainedParameters& parameters,
    const std::vector<torch::Tensor>& direction) {
  const std::vector<torch::Tensor> values = ValuesOf(parameters);
  std::vector<torch::Tensor> product;
  for (const torch::Tensor& value : values) {
    product.push_back(torch::zeros_like(value, torch::kFloat64));
  }
  for (int64_t i = 0; i < loss.batches; ++i) {
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, loss.batch(i));
    const auto gradients = torch::autograd::grad(
        {batch}, values, {}, /*retain_graph=*/true, /*create_graph=*/true,
        /*allow_unused=*/true);
    torch::Tensor slope;
    for (size_t k = 0; k < values.size(); ++k) {
      if (!gradients[k].defined()) continue;
      const torch::Tensor part = (gradients[k] * direction[k]).sum();
      slope = slope.defined() ? slope + part : part;
    }
    if (!slope.defined() || !slope.requires_grad()) continue;
    const auto seconds = torch::autograd::grad(
        {slope}, values, {}, /*retain_graph=*/false, /*create_graph=*/false,
        /*allow_unused=*/true);
    for (size_t k = 0; k < values.size(); ++k) {
      if (seconds[k].defined()) product[k] += seconds[k].to(torch::kFloat64);
    }
  }
  for (torch::Tensor& part : product) part /= loss.records;
  return product;
}

absl::StatusOr<std::map<int, TraceEstimate>> HessianTraces(
    const MeanLoss& loss, const TrainedParameters& parameters, uint64_t seed,
    int probes) {
  FG_CHECK(probes >= 2);
  std::map<int, std::vector<double>> values;  // by depth and probe
  for (int probe = 0; probe < probes; ++probe) {
    SeededRandom random({seed, kProbeStream, static_cast<uint64_t>(probe)});
    std::vector<torch::Tensor> signs;
    for (const TrainedParameter& parameter : parameters) {
      signs.push_back(RandomSigns(parameter.value, random));
    }
    FG_ASSIGN_OR_RETURN(const std::vector<torch::Tensor> product,
                        HessianProduct(loss, parameters, signs));
    for (size_t i = 0; i < parameters.size(); ++i) {
      std::vector<double>& of_block = values[parameters[i].depth];
      of_block.resize(probes);
      of_block[probe] += Dot(signs[i], product[i]);
    }
  }
  std::map<int, TraceEstimate> traces;
  for (const auto& [depth, of_block] : values) {
    TraceEstimate& trace = traces[depth];
    for (double value : of_block) trace.mean += value / probes;
    double squares = 0;
    for (double value : of_block) squares += std::pow(value - trace.mean, 2);
    trace.standard_error = std::sqrt(squares / (probes - 1) / probes);
  }
  return traces;
}

absl::StatusOr<Forgetting> MeasureForgetting(
    const MeanLoss& loss, const TrainedParameters& parameters,
    const NamedValues& before) {
  Forgetting forgetting;
  FG_ASSIGN_OR_RETURN(const double loss_after, ValueOf(loss));
  const NamedValues after = CopyValues(parameters);
  std::vector<torch::Tensor> moves;
  for (const TrainedParameter& parameter : parameters) {
    moves.push_back(after.at(parameter.name) - before.at(parameter.name));
  }
  SetValues(before, parameters);
  const absl::StatusOr<double> loss_before = ValueOf(loss);
  const absl::StatusOr<std::vector<torch::Tensor>> product =
      HessianProduct(loss, parameters, moves);
  SetValues(after, parameters);
  FG_RETURN_IF_ERROR(loss_before.status());
  FG_RETURN_IF_ERROR(product.status());
  forgetting.measured = loss_after - *loss_before;
  for (size_t i = 0; i < moves.size(); ++i) {
    forgetting.predicted += Dot(moves[i], (*product)[i]) / 2;
  }
  return forgetting;
}

}  // namespace fedgraft
