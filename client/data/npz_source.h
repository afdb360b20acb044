#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"

namespace fedgraft {

struct NpzOptions {
  std::string path;
  uint64_t split_seed = 0;
  int shard_index = 0, shard_count = 1;
  bool shard_test = false;
  uint64_t pixels_max = 100'000'000;
};

// Images from one NumPy archive in the layout of MedMNIST (Yang et al.,
// Scientific Data 10, 41, 2023): for each split S of train, val, test
//   S_images   uint8, uint16 or float32 in [0, 1]; (N, H, W), (N, H, W, 1) or
//              (N, H, W, 3)
//   S_labels   integers 0..C-1; (N) or (N, 1)
//   S_patient  optional integers; (N): keys of patients
// Missing splits are empty. For DataUse::kPredict the images are test_images,
// and test_labels may be missing. Without classes they are train_images.
//
// With shard_count > 1 this site gets every shard_count-th image of train and
// val (of test only with `shard_test`), counted in an order shuffled by
// split_seed; images of one patient go to one shard. The shards of 0..count-1
// are disjoint and together everything.
//
// The chosen images are held in memory as stored, at most 8 GiB a split.
absl::StatusOr<std::unique_ptr<DataSource>> OpenNpzSource(
    const NpzOptions& options, const DataContext& context);

}  // namespace fedgraft
