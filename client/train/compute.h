#pragma once

#include <torch/torch.h>

#include <string>

#include "absl/status/statusor.h"
#include "client/train/session.h"

namespace fedgraft {

enum class Autocast { kNone, kBf16, kFp16 };

// Where and how exactly the network computes.
struct Compute {
  torch::Device device = torch::kCPU;
  Autocast autocast = Autocast::kNone;  // kNone unless the device is a GPU
  int threads = 1;

  std::string DeviceName() const { return device.str(); }
};

// Chooses the device (`auto`: the first GPU, else the CPU), and sets the
// process's thread counts (0: all cores) for torch and for OpenBLAS, which
// does not follow torch's, and on the CPU its memory allocator.
// INVALID_ARGUMENT: not a device name, or a precision that is not known;
// FAILED_PRECONDITION: that GPU is not there.
absl::StatusOr<Compute> SetUpCompute(const ComputeSpec& spec);

// Whether this process may use only algorithms that give the same bytes every
// time. If so, an operation that has none fails (on GPUs; the CPU's all have).
void SetDeterministic(bool deterministic);

// Autocasting of the current thread while it lives; no effect on the CPU.
class AutocastScope {
 public:
  explicit AutocastScope(const Compute& compute);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  bool active_;
};

// Loss scaling for fp16, whose gradients underflow otherwise: losses are
// multiplied by scale(); a step whose gradients overflowed is skipped and the
// scale halved; after 2,000 good steps it doubles. (Micikevicius et al.,
// "Mixed Precision Training", 2018, section 3.2.)
class LossScaler {
 public:
  explicit LossScaler(bool enabled) : scale_(enabled ? 65536.0 : 1.0) {
    enabled_ = enabled;
  }
  double scale() const { return scale_; }
  // Divides the gradients by the scale. False: skip this step.
  bool Unscale(const std::vector<torch::Tensor>& parameters);

 private:
  bool enabled_;
  double scale_;
  int good_steps_ = 0;
};

}  // namespace fedgraft
