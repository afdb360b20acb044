#include "common/numeric/dense_kernels.h"

namespace fedgraft {

namespace {

const DenseKernels& Widest() {
  const DenseKernels* widest = Avx512DenseKernels();
  if (widest == nullptr) widest = Avx2DenseKernels();
  return widest == nullptr ? *PortableDenseKernels() : *widest;
}

}  // namespace

const DenseKernels& BestDenseKernels() {
  static const DenseKernels& best = Widest();
  return best;
}

}  // namespace fedgraft
