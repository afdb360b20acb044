#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/plan.h"

namespace fedgraft {

struct SplitFractions {
  double val = 0, test = 0;  // of the images; the rest is for training
  uint64_t seed = 0;
};

// One image that is to be put into a split.
struct SplitCandidate {
  std::string patient;
  int label = 0;
};

// A random split by whole patients, about stratified by label: patients are
// sorted into strata by their most frequent label (the smaller one if two are
// equal), put into the order of a hash of (seed, patient), and given to test,
// then val, while that brings the number of images nearer to the fraction of
// the stratum. So the split depends on no order of rows, on no other stratum,
// and on no platform. Returns one split per candidate. REQUIRES: fractions are
// not negative and sum to less than 1.
std::vector<Split> SplitByPatient(const std::vector<SplitCandidate>& candidates,
                                  const SplitFractions& fractions);

}  // namespace fedgraft
