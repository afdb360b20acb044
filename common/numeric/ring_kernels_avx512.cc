#include "common/numeric/ring_levels.h"

#if defined(__x86_64__)

#include "common/numeric/ring_loops.h"
#include "common/numeric/ring_odd_avx2.h"

#define FG_TARGET \
  __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl")))
#define FG_ODD(bits, Out, add) OddWordsAvx2<bits, Out, add>
#define FG_PACK_ODD(bits) PackOddAvx2<bits>

namespace fedgraft {
#include "common/numeric/ring_kernels_body.inc"

const RingKernels* Avx512Kernels() { return &kKernels; }

}  // namespace fedgraft

#else

namespace fedgraft {

const RingKernels* Avx512Kernels() { return nullptr; }

}  // namespace fedgraft

#endif
