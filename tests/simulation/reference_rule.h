#pragma once

#include <string>
#include <vector>

#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

namespace fedgraft::testing {

// One site's update as it arrived: values on the grid, times the weight.
struct WeightedUpdate {
  std::vector<double> values;
  double weight = 0;
  double steps = 0;  // fed_nova: times the weight, in any unit
};

// What a plan's rule makes of whole updates, in doubles and without shards: a
// second opinion for the checker.
class ReferenceRule {
 public:
  explicit ReferenceRule(const Plan& plan) : rule_(plan.rule) {}

  // The next values between moments. `updates` in canonical order; groups of
  // sites are not known here. `sites`: of the run, with this round.
  std::vector<double> Next(const ParameterLayout& layout,
                           const ParameterVector& previous,
                           const std::vector<WeightedUpdate>& updates,
                           size_t sites);
  // As many values per parameter as the rule remembers, slot by slot.
  std::vector<std::vector<double>>& state() { return state_; }

 private:
  double Step(size_t i, double delta);
  std::vector<double> Combine(const std::vector<WeightedUpdate>& updates) const;

  const RuleSpec rule_;
  std::vector<std::vector<double>> state_;
  double mean_steps_ = 0;  // fed_nova
  // scaffold: of all sites' control variates, added up since the run began.
  std::vector<double> control_sums_;
};

// Images in batches of 32, one epoch, momentum 0.9: how far the steps go.
double ReferenceSteps(uint64_t images);

// Keys of a rule that these many sites at least can feed; chosen by `draw`.
std::string RuleKeys(int quorum, uint64_t draw);

}  // namespace fedgraft::testing
