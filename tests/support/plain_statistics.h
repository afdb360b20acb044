#pragma once

#include <cstdint>
#include <vector>

#include "common/solve/solve_point.h"

namespace fedgraft::testing {

// Features and labels of one site, row by row.
struct PlainRecords {
  std::vector<std::vector<double>> features;
  std::vector<int> labels;
};

// The sums of common/solve/solve_statistics.h record by record, from the
// definitions: for tests of what computes them fast, and of what takes them in.
std::vector<double> PlainStatistics(const SolvePoint& point,
                                    const PlainRecords& train,
                                    const PlainRecords& validation);

}  // namespace fedgraft::testing
