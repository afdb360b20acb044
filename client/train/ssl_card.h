#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/train/self_supervised.h"
#include "common/base/digest.h"

namespace fedgraft {

// What self-supervised training starts from.
struct SslTask {
  std::string start;  // "scratch", or the SHA-256 of the backbone it began at
  uint64_t images = 0;
  // SHA-256 over the preprocessed images, in order.
  Digest data_sha256;
};

// options.projector, or the method's own sizes.
std::vector<int64_t> ProjectorSizes(const SelfSupervisedOptions& options);

// Names everything that determines the result.
Digest SslTaskDigest(const SelfSupervisedOptions& options, const SslTask& task);

// The JSON card of the backbone. Holds no time and no path, so that the same
// training gives the same card.
std::string SslCard(const SelfSupervisedOptions& options, const SslTask& task,
                    const SslResult& result);

}  // namespace fedgraft
