#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "client/data/image.h"

namespace fedgraft {

// The scanner: what differs between sites although patients do not (covariate
// shift).
struct PhantomScanner {
  double blur_sigma = 0.8;  // point spread, pixels
  double photons = 2000;    // mean count in a pixel at intensity 1
  double gamma = 1;         // displayed value = signal ^ gamma
  double gain = 1;          // signal = gain * count / photons
};

// Images are made of these numbers and of a key per image, of nothing else.
struct PhantomSpec {
  int size = 64;            // side in pixels
  double prevalence = 0.5;  // P(lesion), apart for each image (label shift)
  PhantomScanner scanner = {};
  // Height of the lesion as a fraction of the mean background intensity, and
  // the range of its radius (uniform, pixels). With the defaults, a small CNN
  // reaches a test AUC of about 0.7 from 300 images and 0.9 from 1,200.
  double lesion_contrast = 0.25;
  double lesion_radius_min = 2, lesion_radius_max = 6;
  // Readers call an image positive if its lesion has at least this radius
  // (concept shift). Label 1 = lesion present and large enough, so that
  // P(label 1) < prevalence where this exceeds lesion_radius_min.
  double reader_radius_min = 0;
};

// What is in an image, before it is drawn.
struct PhantomFinding {
  bool lesion = false;
  double radius = 0, x = 0, y = 0;  // of the lesion; pixels, from pixel (0, 0)
  int label = 0;
};

// Synthetic radiographs of known truth.
//
// Tissue is a clustered lumpy background: F. O. Bochud, C. K. Abbey and M. P.
// Eckstein, "Statistical texture synthesis of mammographic images with
// clustered lumpy backgrounds", Optics Express 4(1), 1999, eqs. 4-6. Cluster
// centres are a Poisson process; each cluster has a Poisson number of blobs,
// spread about its centre by a Gaussian; a blob is
//   b(r) = exp(-alpha * |r|^beta / L(R r)),
// where L is the radius, in the direction of r, of an ellipse that one random
// turn R orients for the whole cluster. The field is scaled to a fixed mean
// and standard deviation of intensity; all lengths are in pixels, so that a
// larger image shows more of the same tissue.
//
// The lesion adds contrast * mean * s(r / radius), with s = 1 up to 1/2, 0
// from 3/2, and a smooth step through 1/2 at 1. Then the scanner: Gaussian
// blur, Poisson counts, gain, clipping to [0, 1], 12-bit quantisation, gamma.
//
// Immutable and thread-safe. The same key always gives the same image, up to
// the last bits of the platform's exp, log, sin and cos.
class PhantomGenerator {
 public:
  // INVALID_ARGUMENT: a number is outside its range.
  static absl::StatusOr<PhantomGenerator> Create(const PhantomSpec& spec);
  PhantomGenerator(PhantomGenerator&&) noexcept;
  PhantomGenerator& operator=(PhantomGenerator&&) noexcept;
  ~PhantomGenerator();

  PhantomFinding Find(uint64_t key) const;
  // The image whose truth is Find(key): one channel, size x size.
  Image Render(uint64_t key) const;

 private:
  struct Tables;
  explicit PhantomGenerator(std::unique_ptr<const Tables> tables);

  std::unique_ptr<const Tables> tables_;
};

}  // namespace fedgraft
