#include "client/model/graft.h"

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/model/adapters.h"

namespace fedgraft {
namespace {

namespace nn = torch::nn;

std::shared_ptr<nn::Module> FindModule(const Network& network,
                                       const std::string& name) {
  const auto modules = network.named_modules();
  const auto* found = modules.find(name);
  FG_CHECK(found != nullptr);
  return *found;
}

// A layer whose weight is W + scale B A while its stage runs. Handles share
// storage with the registered parameters, on whichever device they are.
struct LowRankLayer {
  std::shared_ptr<nn::Module> layer;
  torch::Tensor* used = nullptr;  // what the layer's forward multiplies by
  torch::Tensor weight, a, b;
  double scale = 0;

  void Merge() const {
    *used = weight + scale * torch::matmul(b, a).view_as(weight);
  }
};

// While it lives, the layers use their merged weights.
class MergedWeights {
 public:
  explicit MergedWeights(const std::vector<LowRankLayer>& layers)
      : layers_(layers) {
    for (const LowRankLayer& layer : layers_) layer.Merge();
  }
  ~MergedWeights() {
    for (const LowRankLayer& layer : layers_) *layer.used = layer.weight;
  }
  MergedWeights(const MergedWeights&) = delete;
  MergedWeights& operator=(const MergedWeights&) = delete;

 private:
  const std::vector<LowRankLayer>& layers_;
};

LowRankLayer MakeLowRank(const Plan& plan, const LoraTarget& target,
                         Network& network) {
  LowRankLayer result;
  result.layer = FindModule(network, target.layer);
  if (auto* linear = dynamic_cast<nn::LinearImpl*>(result.layer.get())) {
    result.used = &linear->weight;
  } else {
    auto* convolution = dynamic_cast<nn::Conv2dImpl*>(result.layer.get());
    FG_CHECK(convolution != nullptr);
    result.used = &convolution->weight;
  }
  result.weight = *result.used;
  result.scale = plan.adapter.alpha / plan.adapter.rank;
  torch::Tensor a =
      torch::tensor(LoraA(plan, target)).reshape({-1, target.columns});
  result.a = plan.adapter.kind == AdapterKind::kLora
                 ? result.layer->register_buffer("lora_a", a)
                 : result.layer->register_parameter("lora_a", a);
  result.b = result.layer->register_parameter(
      "lora_b", torch::zeros({target.rows, plan.adapter.rank}));
  return result;
}

absl::Status AddLowRank(const Plan& plan, const Architecture& architecture,
                        Network& network) {
  FG_ASSIGN_OR_RETURN(const std::vector<LoraTarget> targets,
                      LoraTargets(plan, architecture));
  std::map<int, std::vector<LowRankLayer>> layers_by_stage;
  for (const LoraTarget& target : targets) {
    layers_by_stage[network.StageOf(target.weight())].push_back(
        MakeLowRank(plan, target, network));
  }
  for (auto& [stage, layers] : layers_by_stage) {
    network.WrapStage(
        stage, [layers = std::move(layers)](const Network::StageFunction& inner,
                                            torch::Tensor x) {
          const MergedWeights merged(layers);
          return inner(std::move(x));
        });
  }
  return absl::OkStatus();
}

class BottleneckAdapterImpl : public nn::Module {
 public:
  BottleneckAdapterImpl(int64_t channels, int64_t hidden)
      : down_(register_module(
            "down", nn::Conv2d(nn::Conv2dOptions(channels, hidden, 1)))),
        up_(register_module(
            "up", nn::Conv2d(nn::Conv2dOptions(hidden, channels, 1)))) {
    torch::NoGradGuard no_grad;
    up_->weight.zero_();
    up_->bias.zero_();
  }
  torch::Tensor forward(torch::Tensor x) {
    return x + up_(torch::relu(down_(x)));
  }

 private:
  nn::Conv2d down_, up_;
};
TORCH_MODULE(BottleneckAdapter);

absl::Status AddBottlenecks(const Plan& plan, const Architecture& architecture,
                            Network& network) {
  FG_ASSIGN_OR_RETURN(const std::vector<BottleneckTarget> targets,
                      BottleneckTargets(plan, architecture));
  for (const BottleneckTarget& target : targets) {
    BottleneckAdapter adapter(target.channels, target.hidden);
    FindModule(network, target.block)->register_module("adapter", adapter);
    network.WrapStage(
        network.StageOf(target.block + ".adapter.up.weight"),
        [adapter](const Network::StageFunction& inner, torch::Tensor x) {
          return adapter.ptr()->forward(inner(std::move(x)));
        });
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status GraftOnto(const Plan& plan, Network& network) {
  if (plan.strategy == StrategyKind::kAdapter) {
    FG_ASSIGN_OR_RETURN(const Architecture architecture,
                        FindArchitecture(plan.architecture));
    switch (plan.adapter.kind) {
      case AdapterKind::kLora:
      case AdapterKind::kLoraPlain:
        FG_RETURN_IF_ERROR(AddLowRank(plan, architecture, network));
        break;
      case AdapterKind::kBottleneck:
        FG_RETURN_IF_ERROR(AddBottlenecks(plan, architecture, network));
        break;
      case AdapterKind::kBatchNormTune:
        break;
    }
  }
  if (plan.hidden_dim > 0) AddHiddenBranch(plan.hidden_dim, network);
  return absl::OkStatus();
}

}  // namespace fedgraft
