#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/model/network.h"
#include "client/shift/site_sketch.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/session.h"
#include "common/shift/devices.h"
#include "common/shift/sketch_space.h"

namespace fedgraft {

// A site's records as looks at shift compare them: features on the directions
// of the sketch, never all of them at once.
struct LookRecords {
  int64_t projected_dim = 0, classes = 0;
  std::vector<double> projected;    // [n, projected_dim]
  std::vector<double> outputs;      // [n, classes], probabilities
  std::vector<double> acquisition;  // [n, kAcquisitions]; empty: not images
  std::vector<DeviceBins> devices;  // [n]; empty: not told
  std::vector<int64_t> labels;      // [n]

  // Views of this.
  SketchRecords View() const;
  // SHA-256 of features and labels, raw.
  std::string Digest() const;
};

// Of all records of a store, with the network as it is, in one pass; without
// `with_outputs` the head is not asked. FAILED_PRECONDITION: no record, or
// outputs that are not finite. May throw
// c10::Error.
absl::StatusOr<LookRecords> ReadLookRecords(const ActivationStore& store,
                                            Network& network,
                                            const Compute& compute,
                                            const SketchProjection& projection,
                                            bool with_outputs,
                                            const ProgressSink& progress);

}  // namespace fedgraft
