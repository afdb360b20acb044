#pragma once

#include <array>

#include "client/data/image.h"
#include "common/shift/sketch_layout.h"

namespace fedgraft {

// How an image was taken, as far as its pixels tell: by Acquisition, of the
// grey values (0.299 R + 0.587 G + 0.114 B) at the image's own size, before any
// preprocessing.
//
// kBrightness  mean
// kContrast    standard deviation
// kNoise       log10 of the noise's standard deviation, at least 1e-6, by
//              Immerkaer, "Fast Noise Variance Estimation", Computer Vision and
//              Image Understanding 64(2), 1996: the mean absolute difference of
//              two Laplacians, which structures of the image hardly touch
// kSharpness   log10 of the variance of the Laplacian, at least 1e-12 (Pech-
//              Pacheco et al., "Diatom autofocusing in brightfield microscopy:
//              a comparative study", 2000), here after a 3 x 3 binomial filter,
//              without which it would mostly tell the noise again
//
// Logarithms, because ratios are what scanners differ by, and so that over
// images the numbers are about normal. An image of fewer than 5 pixels a side
// has the least noise and sharpness.
using AcquisitionNumbers = std::array<double, kAcquisitions>;

// Some 10 ns a pixel. REQUIRES: an image of 1 or 3 channels with all its
// pixels. Thread-safe.
AcquisitionNumbers MeasureAcquisition(const Image& image);

}  // namespace fedgraft
