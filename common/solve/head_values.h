#pragma once

#include <cstdint>
#include <vector>

#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

// The linear head inside a trainable set, as [classes][feature_dim + 1]: of
// each class its slopes, then its intercept.

namespace fedgraft {

// Features of the layout's head; 0 if it has no linear one.
int64_t HeadFeatures(const Plan& plan, const ParameterLayout& layout);

// REQUIRES: HeadFeatures > 0, values of the layout's length, a head of
// classes * (HeadFeatures + 1) numbers.
void SetHead(const Plan& plan, const ParameterLayout& layout,
             const std::vector<double>& head, ParameterVector& values);
std::vector<double> GetHead(const Plan& plan, const ParameterLayout& layout,
                            const ParameterVector& values);

}  // namespace fedgraft
