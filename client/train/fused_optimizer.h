#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

namespace fedgraft {

// torch::optim::SGD and AdamW, with options of any parameter group, whose step
// goes once over memory where the parameters are floats on the CPU; elsewhere
// torch's own. The step of a parameter without a gradient is left out. Results
// are torch's within float rounding, and the same every time.
std::unique_ptr<torch::optim::Optimizer> MakeSgd(
    std::vector<torch::optim::OptimizerParamGroup> groups,
    torch::optim::SGDOptions defaults);
std::unique_ptr<torch::optim::Optimizer> MakeAdamW(
    std::vector<torch::optim::OptimizerParamGroup> groups,
    torch::optim::AdamWOptions defaults);

}  // namespace fedgraft
