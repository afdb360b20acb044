#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/runtime/random_source.h"
#include "proto/config.pb.h"

namespace fedgraft {

// The feature cache as the trainer is told of it.
struct FeatureCacheSetup {
  pb::CacheConfig config;  // key_file filled in, if encrypt is set
  std::string folder;      // empty: no cache
};

// Checks the part `cache` of the client's configuration against this machine.
// RESOURCE_EXHAUSTED: the limit is larger than what the disk has free (and the
// cache holds already); FAILED_PRECONDITION: a key file that others can read or
// that is too short. Changes nothing.
absl::StatusOr<FeatureCacheSetup> CheckFeatureCache(
    const pb::ClientConfig& config);

// The same, and makes the key file if it is missing: 32 random bytes, mode
// 0600.
absl::StatusOr<FeatureCacheSetup> SetUpFeatureCache(
    const pb::ClientConfig& config, RandomSource& random);

}  // namespace fedgraft
