#include "client/model/network.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/check.h"

namespace fedgraft {

int Network::StageOf(std::string_view tensor) const {
  for (int i = 0; i < stage_count(); ++i) {
    for (const std::string& prefix : stages_[i].prefixes) {
      if (tensor.substr(0, prefix.size()) == prefix) return i;
    }
  }
  FG_CHECK(false && "a tensor that belongs to no stage");
  return 0;
}

void Network::WrapStage(int stage, Wrap wrap) {
  FG_CHECK(0 <= stage && stage < stage_count());
  StageFunction& run = stages_[stage].run;
  run = [inner = std::move(run), wrap = std::move(wrap)](torch::Tensor x) {
    return wrap(inner, std::move(x));
  };
}

torch::Tensor Network::Run(torch::Tensor x, int begin, int end) {
  FG_CHECK(0 <= begin && begin <= end && end <= stage_count());
  for (int i = begin; i < end; ++i) x = stages_[i].run(std::move(x));
  return x;
}

absl::StatusOr<std::shared_ptr<Network>> BuildModel(
    std::string_view architecture, int64_t num_classes) {
  if (num_classes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a model needs at least 1 class, not ", num_classes));
  }
  try {
    if (architecture == "resnet18") {
      return BuildResNet({2, 2, 2, 2}, false, num_classes);
    }
    if (architecture == "resnet34") {
      return BuildResNet({3, 4, 6, 3}, false, num_classes);
    }
    if (architecture == "resnet50") {
      return BuildResNet({3, 4, 6, 3}, true, num_classes);
    }
    if (architecture == "densenet121") return BuildDenseNet121(num_classes);
    if (architecture == "mobilenet_v2") return BuildMobileNetV2(num_classes);
    if (architecture == "squeezenet1_1") return BuildSqueezeNet11(num_classes);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(
        "building ", std::string(architecture), ": ", error.what()));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown architecture \"", std::string(architecture),
                   "\"; known are resnet18, resnet34, resnet50, mobilenet_v2, "
                   "densenet121, squeezenet1_1"));
}

void InitializeFromScratch(Network& network, uint64_t seed) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(seed);
  const std::string head = network.head_prefix() + ".";
  for (const auto& item : network.named_parameters()) {
    torch::Tensor value = item.value();
    const bool is_weight = item.key().ends_with(".weight");
    if (!is_weight) {
      torch::nn::init::zeros_(value);
    } else if (item.key().compare(0, head.size(), head) == 0) {
      torch::nn::init::normal_(value, 0, 0.01);
    } else if (value.dim() == 4) {
      torch::nn::init::kaiming_normal_(value, 0, torch::kFanOut, torch::kReLU);
    } else {
      torch::nn::init::ones_(value);  // BatchNorm scale
    }
  }
  for (const auto& item : network.named_buffers()) {
    torch::Tensor value = item.value();
    if (item.key().ends_with("running_var")) {
      value.fill_(1);
    } else {
      value.zero_();
    }
  }
}

}  // namespace fedgraft
