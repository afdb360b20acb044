#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/preprocess.h"
#include "client/model/network.h"
#include "client/train/compute.h"

namespace fedgraft {

// How far training has moved what the stages of a backbone make of images: the
// network is shown the same few training images with two sets of values.
//
//   drift of a stage = 1 - linear CKA (HSIC₁) of its channel means, at least 0
//
// A frozen stage's drift is exactly 0: the same tensors give the same bits.
// The images are spread evenly over the training split and do not depend on
// anything else.
//
// Holds the images. Not thread-safe; may throw c10::Error.
class DriftProbe {
 public:
  static constexpr int64_t kImagesMax = 128;
  // Stages whose drift is told: so many, spread evenly, the last among them.
  static constexpr int kStagesMax = 20;

  // What stages that hold parameters put out, [images, channels] each.
  using View = std::map<std::string, torch::Tensor>;

  // INVALID_ARGUMENT and others: an image that cannot be decoded. `network`, in
  // evaluation mode, and `compute` outlive the probe.
  static absl::StatusOr<DriftProbe> Create(Network& network,
                                           const Compute& compute,
                                           const DataSource& source,
                                           const Preprocessor& preprocessor);

  // With the values that the network has now.
  View Look() const;

 private:
  DriftProbe(Network& network, const Compute& compute);
  absl::Status LoadImages(const DataSource& source,
                          const Preprocessor& preprocessor);

  Network* network_;
  const Compute* compute_;
  std::set<int> stages_;
  torch::Tensor images_;  // undefined if there are no stages
};

// drift_<stage> for each stage of both views; none where CKA is not defined
// (fewer than 4 images, or channels that are the same for all). Beside each
// hsic_xy_<stage>, hsic_xx_<stage> and hsic_yy_<stage>, the sums of
// MinibatchCka over batches of about 32 images (x before, y after): added up
// over sites they give the drift over all sites' batches.
std::map<std::string, double> Drift(const DriftProbe::View& before,
                                    const DriftProbe::View& after);

}  // namespace fedgraft
