#include "common/numeric/ring_levels.h"
#include "common/numeric/ring_loops.h"

#define FG_TARGET
#define FG_ODD(bits, Out, add) OddWords<bits, Out, add>
#define FG_PACK_ODD(bits) PackOdd<bits>

namespace fedgraft {
#include "common/numeric/ring_kernels_body.inc"

const RingKernels* PortableKernels() { return &kKernels; }

}  // namespace fedgraft
