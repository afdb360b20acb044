#pragma once

#include <cstdint>
#include <vector>

namespace fedgraft {

// What the noise of differential privacy makes of looks (noised_looks.h), for
// each of `records` (a site), 4, 8 and 20 sites and each setting of noise, over
// `runs` federations numbered from `first_run`. Lines "noise_looks": how looks
// without shift end. Lines "noise": each decisive test's size at 5 % and its
// power at the medium setting of its kind, with standard errors, in looks that
// come to an end; a test that cannot be done does not reject.
void MeasureNoise(int runs, uint64_t first_run,
                  const std::vector<int64_t>& records);

}  // namespace fedgraft
