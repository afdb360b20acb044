#pragma once

#include "common/numeric/ring_kernels.h"

// The levels behind ring_kernels.h, a file each. Null: not in this build.

namespace fedgraft {

const RingKernels* PortableKernels();
const RingKernels* Avx2Kernels();
const RingKernels* Avx512Kernels();

}  // namespace fedgraft
