#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/image.h"
#include "common/config/plan.h"

namespace fedgraft {

// What the images are wanted for. kTrain: every image has a label and the
// training split is not empty. kPredict: labels may be missing (Sample::label
// is then -1) and all images to be predicted are in Split::kTest.
enum class DataUse { kTrain, kPredict };

// What a source has to know besides its own options.
struct DataContext {
  std::vector<std::string> classes;  // of the plan, in label order
  DataUse use = DataUse::kTrain;
};

// A site's labelled images, or feature vectors, in three splits. Made by
// OpenDataSource (client/data/data_source_factory.h), which validates
// everything except the pixels; immutable afterwards.
//
// Thread safety: all methods may be called from several threads at once; Load
// keeps no state, so several threads can decode.
//
// Status messages and warnings may hold local paths: they are for the site's
// own log and never leave the site.
class DataSource {
 public:
  virtual ~DataSource() = default;

  // The samples of a split, in an order that depends on the options only.
  virtual const std::vector<Sample>& Samples(Split split) const = 0;

  // Decodes image `index` of a split. REQUIRES: index < Samples(split).size().
  // INVALID_ARGUMENT: not an image, or one of a kind that is not supported;
  // RESOURCE_EXHAUSTED: larger than the limit; NOT_FOUND: gone since opening.
  virtual absl::StatusOr<Image> Load(Split split, size_t index) const = 0;

  // What is unusual but does not prevent training, one sentence each: a class
  // without images, an empty validation split.
  virtual const std::vector<std::string>& Warnings() const = 0;

  // Above 0: the samples are feature vectors of this length instead of images.
  // Load then gives an Image of 1 x feature_dim and one channel, whose values
  // are finite but not bound to [0, 1].
  virtual int feature_dim() const { return 0; }
};

}  // namespace fedgraft
