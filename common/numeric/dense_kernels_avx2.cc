#include "common/numeric/dense_kernels.h"

#if defined(__x86_64__)

#define FG_TARGET __attribute__((target("avx2,fma")))

namespace fedgraft {
namespace {
constexpr int kLanes = 4, kTileRows = 6;
}  // namespace
#include "common/numeric/dense_kernels_body.inc"

const DenseKernels* Avx2DenseKernels() {
  const bool has =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has ? &kKernels : nullptr;
}

}  // namespace fedgraft

#else

namespace fedgraft {

const DenseKernels* Avx2DenseKernels() { return nullptr; }

}  // namespace fedgraft

#endif
