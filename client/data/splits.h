#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "client/data/data_source.h"

namespace fedgraft {

inline constexpr std::array<Split, 3> kAllSplits = {Split::kTrain, Split::kVal,
                                                    Split::kTest};

// "train", "val", "test".
std::string SplitName(Split split);

// Whether labels are not looked at: OpenDataSource (data_source_factory.h).
inline bool IsUnlabelled(const DataContext& context) {
  return context.use == DataUse::kTrain && context.classes.empty();
}

// The samples of the three splits of one source.
class SplitSamples {
 public:
  std::vector<Sample>& operator[](Split split) {
    return samples_[static_cast<size_t>(split)];
  }
  const std::vector<Sample>& operator[](Split split) const {
    return samples_[static_cast<size_t>(split)];
  }

 private:
  std::array<std::vector<Sample>, 3> samples_;
};

// What every source checks once its labels are known. `where` names the source
// in messages. FAILED_PRECONDITION: no training image (kTrain) or no image at
// all to predict (kPredict). Appends to `warnings`, if there are labels to
// train on: classes without training images, empty or one-class validation and
// test splits, patients in more than one split.
absl::Status CheckSplits(const std::string& where, const DataContext& context,
                         const SplitSamples& samples,
                         std::vector<std::string>& warnings);

}  // namespace fedgraft
