#include "common/numeric/dense_kernels.h"

#if defined(__x86_64__)

#define FG_TARGET __attribute__((target("avx512f,avx512dq")))

namespace fedgraft {
namespace {
constexpr int kLanes = 8, kTileRows = 8;
}  // namespace
#include "common/numeric/dense_kernels_body.inc"

const DenseKernels* Avx512DenseKernels() {
  const bool has =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  return has ? &kKernels : nullptr;
}

}  // namespace fedgraft

#else

namespace fedgraft {

const DenseKernels* Avx512DenseKernels() { return nullptr; }

}  // namespace fedgraft

#endif
