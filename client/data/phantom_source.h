#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/phantom_generator.h"

namespace fedgraft {

struct PhantomOptions {
  PhantomSpec spec;
  uint64_t seed = 0;
  int train = 0, val = 0, test = 0;  // images per split
};

// Synthetic radiographs, drawn anew whenever they are loaded: image i of a
// split depends on spec, seed, split and i only, so that more images or
// another prevalence leave the tissue of the others as it was. Class 0: no
// lesion that readers would report; class 1: lesion.
// INVALID_ARGUMENT: an option is out of range, or the plan has not two classes.
absl::StatusOr<std::unique_ptr<DataSource>> OpenPhantomSource(
    const PhantomOptions& options, const DataContext& context);

}  // namespace fedgraft
