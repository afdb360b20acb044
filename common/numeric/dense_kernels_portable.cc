#include "common/numeric/dense_kernels.h"

#define FG_TARGET

namespace fedgraft {
namespace {
constexpr int kLanes = 2, kTileRows = 4;
}  // namespace
#include "common/numeric/dense_kernels_body.inc"

const DenseKernels* PortableDenseKernels() { return &kKernels; }

}  // namespace fedgraft
