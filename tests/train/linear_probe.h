#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "client/data/data_source.h"
#include "client/model/network.h"
#include "client/train/head_statistics.h"
#include "common/config/plan.h"

// What frozen features are worth: a two-class logistic head on them, solved
// exactly, its lambda chosen on validation images.

namespace fedgraft::testing {

// Features of all images of a split in evaluation mode, spatial ones averaged.
LabelledFeatures FeaturesOf(Network& network, const DataSource& source,
                            const PreprocessingSpec& preprocessing,
                            Split split);

// The records with these indices.
LabelledFeatures Select(const LabelledFeatures& all,
                        const std::vector<int64_t>& indices);

struct ProbeScore {
  double lambda = 0;
  double validation_auc = 0, test_auc = 0;
};
// Features are standardised by the training records; lambdas are of the summed
// loss, from the largest to the smallest.
ProbeScore ScoreProbe(const LabelledFeatures& train,
                      const LabelledFeatures& validation,
                      const LabelledFeatures& test,
                      const std::vector<double>& lambdas);

}  // namespace fedgraft::testing
