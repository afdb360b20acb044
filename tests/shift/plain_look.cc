#include "tests/shift/plain_look.h"

#include "client/shift/shift_test.h"
#include "client/shift/site_sketch.h"
#include "common/base/check.h"
#include "common/shift/look.h"
#include "common/solve/head_values.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

std::vector<double> PlainLook(uint64_t seed, const Plan& plan,
                              const ParameterLayout& layout, ByteSpan pooled,
                              bool share_devices) {
  constexpr int64_t kRecords = 40;
  const int64_t features_n = HeadFeatures(plan, layout);
  const int64_t classes = plan.num_classes();
  SimRandom random(seed);
  const auto uniform = [&] {
    return static_cast<double>(random.Below(1'000'001)) * 1e-6;
  };
  std::vector<double> features(kRecords * features_n),
      outputs(kRecords * classes), acquisition(kRecords * kAcquisitions);
  std::vector<int64_t> labels(kRecords);
  for (int64_t i = 0; i < kRecords; ++i) {
    labels[i] = i % classes;
    for (int64_t j = 0; j < features_n; ++j) {
      features[i * features_n + j] = uniform() + uniform() + uniform() +
                                     0.3 * static_cast<double>(labels[i]);
    }
    const double first = uniform();
    for (int64_t c = 0; c < classes; ++c) {
      outputs[i * classes + c] =
          c == 0 ? first : (1 - first) / static_cast<double>(classes - 1);
    }
  }
  for (double& value : acquisition) value = uniform();
  std::vector<DeviceBins> devices;
  for (int64_t i = 0; plan.shift.devices && share_devices && i < kRecords;
       ++i) {
    const auto bin = static_cast<uint8_t>((seed + i) % 2);
    devices.push_back({bin, bin});
  }
  Look look = *Look::Create(plan, layout);
  const Look target = *Look::Decode(plan, layout, pooled);
  SiteSketch sketch = *SiteSketch::Create(
      look.sketch(), {.features = {features, kRecords, features_n},
                      .labels = labels,
                      .outputs = {outputs, kRecords, classes},
                      .acquisition = {acquisition, kRecords, kAcquisitions},
                      .devices = devices});
  for (const std::vector<uint64_t>& stage : target.stages()) {
    FG_CHECK(sketch.Sums(look.sketch()).ok());
    FG_CHECK(look.Add(stage).ok());
  }
  if (!target.asks_verdicts()) return *sketch.Sums(look.sketch());
  return VerdictsOf(*TestSite(look.sketch(), sketch, kRecords));
}

}  // namespace fedgraft::testing
