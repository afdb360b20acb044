#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/model/parameter_layout.h"

// With rule scaffold every parameter has a control variate beside it: the
// server's c in the published trainable set, the change of a site's own c_k in
// its update (Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled
// Averaging for Federated Learning", algorithm 1). They are tensors of the
// layout like any other, so that they are quantised, masked, summed, journalled
// and published with the parameters that they belong to.

namespace fedgraft {

// The name of a parameter's control variate is this and the parameter's.
inline constexpr std::string_view kControlVariatePrefix = "control_variate.";

// A control variate beside each parameter; BatchNorm statistics, which no step
// moves, have none. INVALID_ARGUMENT: names that begin like a control variate.
absl::StatusOr<ParameterLayout> AddControlVariates(
    const ParameterLayout& parameters);

// Where control variates lie in a layout: one range, since names are sorted, in
// the order of the parameters that they belong to.
class ControlVariates {
 public:
  explicit ControlVariates(const ParameterLayout& layout);

  uint64_t begin() const { return begin_; }
  uint64_t count() const { return count_; }  // 0: the layout has none

  // `values` of the layout in two, and together again. REQUIRES: sizes fit.
  ParameterVector Of(const ParameterVector& values) const;
  ParameterVector Rest(const ParameterVector& values) const;
  ParameterVector Join(const ParameterVector& rest,
                       const ParameterVector& variates) const;

 private:
  uint64_t begin_ = 0, count_ = 0;
};

// The layout of the control variates alone, named as the parameters that they
// belong to: the tensors of `parameters` that are no BatchNorm statistics.
absl::StatusOr<ParameterLayout> ControlVariateLayout(
    const ParameterLayout& parameters);

// The parameters of a trainable set, with or without control variates in it.
// Errors as of DecodeTrainableSet.
absl::StatusOr<ParameterVector> DecodeParameters(
    const ParameterLayout& parameters, ByteSpan content);

}  // namespace fedgraft
