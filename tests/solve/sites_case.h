#pragma once

#include <cstdint>
#include <vector>

#include "common/config/plan.h"
#include "common/solve/head_solver.h"
#include "common/solve/solve_statistics.h"
#include "gtest/gtest.h"
#include "tests/support/plain_statistics.h"
#include "tests/support/status_matchers.h"

// Sites' records up to the sums that a least-squares head is solved from.

namespace fedgraft::testing {

struct SitesCase {
  int classes = 2;
  int64_t dim = 1;
  std::vector<PlainRecords> sites;

  PlainRecords Pooled() const {
    PlainRecords pooled;
    for (const PlainRecords& site : sites) {
      pooled.features.insert(pooled.features.end(), site.features.begin(),
                             site.features.end());
      pooled.labels.insert(pooled.labels.end(), site.labels.begin(),
                           site.labels.end());
    }
    return pooled;
  }
};

inline Plan RidgePlan(int classes, Normalization normalization) {
  Plan plan;
  plan.classes.assign(classes, "c");
  plan.solver.kind = SolverKind::kRidge;
  plan.solver.lambdas = {1};
  plan.solver.normalization = normalization;
  return plan;
}

// What the aggregator holds after the sites' sums at `point` went through the
// ring.
inline std::vector<double> Federated(const SolvePoint& point,
                                     const SitesCase& data) {
  std::vector<uint64_t> total(SolveLayout(point).words());
  for (const PlainRecords& site : data.sites) {
    const auto words =
        PackSolveSums(point, 16, PlainStatistics(point, site, {}));
    EXPECT_THAT(words, IsOk());
    for (size_t i = 0; i < total.size(); ++i) total[i] += (*words)[i];
  }
  return UnpackSolveSums(point, total);
}

struct Crossed {
  SolvePoint point;
  std::vector<double> sums;
};
inline Crossed CrossOf(const SitesCase& data, Normalization normalization) {
  const Plan plan = RidgePlan(data.classes, normalization);
  const SolverState start = InitialSolverState(plan, data.dim);
  const auto next =
      Advance(plan, start, Federated(NextPoint(plan, start), data));
  EXPECT_THAT(next, IsOk());
  Crossed crossed{NextPoint(plan, *next), {}};
  EXPECT_EQ(crossed.point.stage, SolveStage::kCross);
  crossed.sums = Federated(crossed.point, data);
  return crossed;
}

}  // namespace fedgraft::testing
