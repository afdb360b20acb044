#include "client/train/compute.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <torch/version.h>

#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr int kGrowthSteps = 2000;
constexpr double kScaleMin = 1.0 / 65536, kScaleMax = 16777216;

void SetThreads(int threads) {
  at::set_num_threads(threads);
  // OpenBLAS, if that is the BLAS, has a pool of its own.
  using SetThreadsFunction = void (*)(int);
  auto set = reinterpret_cast<SetThreadsFunction>(
      dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set != nullptr) set(threads);
}

// Activations are allocated and freed in every step. By default glibc gives
// large ones back to the system each time, and the system clears the pages
// again: about a tenth of a step.
void KeepFreedMemory() {
#ifdef __GLIBC__
  constexpr int kLargestThreshold = 32 << 20;  // glibc takes no more
  constexpr int kKeptBytes = 1 << 30;
  // A limit that is refused costs speed only.
  (void)mallopt(M_MMAP_THRESHOLD, kLargestThreshold);
  (void)mallopt(M_TRIM_THRESHOLD, kKeptBytes);
#endif
}

absl::StatusOr<torch::Device> ChooseDevice(const std::string& name) {
  const bool has_gpu = torch::cuda::is_available();
  if (name.empty() || name == "auto") {
    return has_gpu ? torch::Device(torch::kCUDA, 0)
                   : torch::Device(torch::kCPU);
  }
  if (name == "cpu") return torch::Device(torch::kCPU);
  try {
    torch::Device device(name);
    if (!device.is_cuda()) {
      return absl::InvalidArgumentError(
          absl::StrCat("device \"", name, "\": expected auto, cpu or cuda:N"));
    }
    const int gpus =
        has_gpu ? static_cast<int>(torch::cuda::device_count()) : 0;
    const int index = device.has_index() ? device.index() : 0;
    if (index >= gpus) {
      return absl::FailedPreconditionError(absl::StrCat(
          "device \"", name, "\": this machine has ", gpus, " usable GPUs"));
    }
    return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
  } catch (const std::exception&) {
    return absl::InvalidArgumentError(
        absl::StrCat("device \"", name, "\": expected auto, cpu or cuda:N"));
  }
}

// LibTorch 2.4 renamed these.
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
void SetAutocast(bool enabled) {
  at::autocast::set_autocast_enabled(at::kCUDA, enabled);
}
void SetAutocastType(at::ScalarType type) {
  at::autocast::set_autocast_dtype(at::kCUDA, type);
}
#else
void SetAutocast(bool enabled) { at::autocast::set_enabled(enabled); }
void SetAutocastType(at::ScalarType type) {
  at::autocast::set_autocast_gpu_dtype(type);
}
#endif

}  // namespace

absl::StatusOr<Compute> SetUpCompute(const ComputeSpec& spec) {
  Compute compute;
  absl::StatusOr<torch::Device> device = ChooseDevice(spec.device);
  if (!device.ok()) return device.status();
  compute.device = *device;
  if (spec.autocast == "bf16") {
    compute.autocast = Autocast::kBf16;
  } else if (spec.autocast == "fp16") {
    compute.autocast = Autocast::kFp16;
  } else if (!spec.autocast.empty() && spec.autocast != "none") {
    return absl::InvalidArgumentError(absl::StrCat(
        "autocast \"", spec.autocast, "\": expected none, bf16 or fp16"));
  }
  if (!compute.device.is_cuda()) compute.autocast = Autocast::kNone;
  compute.threads =
      spec.threads > 0
          ? spec.threads
          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SetThreads(compute.threads);
  if (compute.device.is_cpu()) KeepFreedMemory();
  return compute;
}

void SetDeterministic(bool deterministic) {
  // cuBLAS reads this when it starts; another value of the operator's stays.
  if (deterministic) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  context.setDeterministicCuDNN(deterministic);
  context.setBenchmarkCuDNN(false);
}

AutocastScope::AutocastScope(const Compute& compute)
    : active_(compute.autocast != Autocast::kNone) {
  if (!active_) return;
  SetAutocastType(compute.autocast == Autocast::kBf16 ? at::kBFloat16
                                                      : at::kHalf);
  SetAutocast(true);
}

AutocastScope::~AutocastScope() {
  if (!active_) return;
  SetAutocast(false);
  at::autocast::clear_cache();
}

bool LossScaler::Unscale(const std::vector<torch::Tensor>& parameters) {
  if (!enabled_) return true;
  torch::NoGradGuard no_grad;
  bool finite = true;
  for (const torch::Tensor& parameter : parameters) {
    torch::Tensor gradient = parameter.grad();
    if (!gradient.defined()) continue;
    gradient.div_(scale_);
    finite = finite && torch::isfinite(gradient).all().item<bool>();
  }
  if (!finite) {
    scale_ = std::max(scale_ / 2, kScaleMin);
    good_steps_ = 0;
  } else if (++good_steps_ == kGrowthSteps) {
    scale_ = std::min(scale_ * 2, kScaleMax);
    good_steps_ = 0;
  }
  return finite;
}

}  // namespace fedgraft
