#include "common/numeric/ring_kernels.h"

#include "common/base/check.h"
#include "common/numeric/ring_levels.h"

namespace fedgraft {
namespace {

bool ProcessorHas(KernelLevel level) {
#if defined(__x86_64__)
  switch (level) {
    case KernelLevel::kPortable:
      return true;
    case KernelLevel::kAvx2:
      return __builtin_cpu_supports("avx2") != 0;
    case KernelLevel::kAvx512:
      return __builtin_cpu_supports("avx512f") != 0 &&
             __builtin_cpu_supports("avx512bw") != 0 &&
             __builtin_cpu_supports("avx512dq") != 0 &&
             __builtin_cpu_supports("avx512vl") != 0;
  }
#endif
  return level == KernelLevel::kPortable;
}

const RingKernels* Built(KernelLevel level) {
  switch (level) {
    case KernelLevel::kPortable:
      return PortableKernels();
    case KernelLevel::kAvx2:
      return Avx2Kernels();
    case KernelLevel::kAvx512:
      return Avx512Kernels();
  }
  return nullptr;
}

KernelLevel BestLevel() {
  for (const auto level : {KernelLevel::kAvx512, KernelLevel::kAvx2}) {
    if (HasKernels(level)) return level;
  }
  return KernelLevel::kPortable;
}

}  // namespace

bool HasKernels(KernelLevel level) {
  return Built(level) != nullptr && ProcessorHas(level);
}

const RingKernels& KernelsOf(KernelLevel level) {
  FG_CHECK(HasKernels(level));
  return *Built(level);
}

const RingKernels& BestKernels() {
  static const RingKernels& best = KernelsOf(BestLevel());
  return best;
}

}  // namespace fedgraft
