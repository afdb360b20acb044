#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "client/shift/site_sketch.h"
#include "client/shift/site_view.h"
#include "common/shift/sketch.h"
#include "tests/shift/simulated_federation.h"

namespace fedgraft {

enum class LookEnd {
  kDone,
  kFlat,     // features do not vary, or not in enough directions
  kOpen,     // the pooled head
  kRefused,  // by CheckSketch
};

// covariate_mmd with the others' noise in its null distribution.
inline constexpr std::string_view kMmdOfNoise = "covariate_mmd_of_noise";

struct LookResult {
  LookEnd end = LookEnd::kDone;
  // Of the tested sites, if done: p-values of the decisive tests, and of
  // kMmdOfNoise if there is noise; 1 of a test that cannot be done.
  std::vector<std::map<std::string_view, double>> p_values;
};

// Looks of one federation, with and without noise in the sites' sums. Tested
// sites take the sums that they have sent from the pooled ones. Not
// thread-safe.
class NoisedLooks {
 public:
  // The records outlive it. The first `tested` sites are tested.
  NoisedLooks(const SimulationOptions& options,
              std::vector<const SimulatedRecords*> records, uint64_t seed,
              int tested);

  LookResult Exact();
  // Noise in every stage, of so many sensitivities of each.
  LookResult EveryStage(double multiplier);
  // In the summary alone: space and head are known without noise. REQUIRES:
  // Exact was called, and done.
  LookResult LastStage(double multiplier);
  // Noise in the moments, and in a summary of nothing but the numbers of
  // records, of labels, the embedding and the histograms of acquisition. The
  // head's tests are left out (it is the exact one, which they need not know).
  LookResult WithoutHead(double multiplier);

 private:
  using Words = std::vector<uint64_t>;
  Sketch NewSketch(double multiplier) const;
  std::vector<SiteSketch> NewSites(const Sketch& sketch) const;
  // `deviation`: of each site's noise in each number of the embedding.
  LookResult TestAll(const Sketch& sketch, const std::vector<SiteSketch>& sites,
                     double deviation) const;

  const SimulationOptions options_;
  const std::vector<const SimulatedRecords*> records_;
  const uint64_t seed_;
  const int tested_;
  // Of Exact: the sites before their summary, what they sent then, and the
  // pooled sums of all stages before.
  std::vector<SiteSketch> before_summary_;
  std::vector<Words> summaries_;
  std::vector<std::vector<double>> stages_;
};

}  // namespace fedgraft
