#include "client/train/drift.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/train/feature_rows.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/transfer/cka.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 32;

// Those with parameters, without the head, at most kStagesMax.
std::set<int> StagesOf(const Network& network) {
  std::set<int> all;
  for (const auto& item : network.named_parameters()) {
    const int stage = network.StageOf(item.key());
    if (stage != network.head_stage()) all.insert(stage);
  }
  const std::vector<int> stages(all.begin(), all.end());
  const int count = static_cast<int>(stages.size());
  const int kept = std::min(count, DriftProbe::kStagesMax);
  std::set<int> chosen;
  for (int i = 1; i <= kept; ++i) chosen.insert(stages[i * count / kept - 1]);
  return chosen;
}

// REQUIRES: at least 4 rows, as many in both.
MinibatchCka::Sums SumsOf(const torch::Tensor& before,
                          const torch::Tensor& after) {
  MinibatchCka cka;
  const int64_t count = before.size(0);
  const int64_t batches = std::max<int64_t>(count / kBatch, 1);
  for (int64_t k = 0; k < batches; ++k) {
    const int64_t begin = k * count / batches;
    const int64_t size = (k + 1) * count / batches - begin;
    // What LinearCka took.
    FG_CHECK(cka.Add(AsMatrix(before.narrow(0, begin, size)),
                     AsMatrix(after.narrow(0, begin, size)))
                 .ok());
  }
  return cka.sums();
}

}  // namespace

DriftProbe::DriftProbe(Network& network, const Compute& compute)
    : network_(&network), compute_(&compute), stages_(StagesOf(network)) {}

absl::StatusOr<DriftProbe> DriftProbe::Create(
    Network& network, const Compute& compute, const DataSource& source,
    const Preprocessor& preprocessor) {
  DriftProbe probe(network, compute);
  if (!probe.stages_.empty()) {
    FG_RETURN_IF_ERROR(probe.LoadImages(source, preprocessor));
  }
  return probe;
}

absl::Status DriftProbe::LoadImages(const DataSource& source,
                                    const Preprocessor& preprocessor) {
  const std::vector<Sample>& samples = source.Samples(Split::kTrain);
  const auto total = static_cast<int64_t>(samples.size());
  const int64_t count = std::min(total, kImagesMax);
  const int64_t size = preprocessor.size();
  images_ = torch::empty({count, 3, size, size});
  const size_t stride = preprocessor.output_size();
  float* out = images_.data_ptr<float>();
  for (int64_t i = 0; i < count; ++i, out += stride) {
    const auto index = static_cast<size_t>(i * total / count);
    const absl::StatusOr<Image> image = source.Load(Split::kTrain, index);
    const absl::Status status =
        image.ok() ? preprocessor.Apply(*image, {out, stride}) : image.status();
    if (!status.ok()) {
      return Annotate(status, absl::StrCat("image ", samples[index].name));
    }
  }
  return absl::OkStatus();
}

DriftProbe::View DriftProbe::Look() const {
  View view;
  if (stages_.empty()) return view;
  torch::NoGradGuard no_grad;
  const AutocastScope autocast(*compute_);
  for (int64_t begin = 0; begin < images_.size(0); begin += kBatch) {
    const int64_t count = std::min(kBatch, images_.size(0) - begin);
    torch::Tensor x = images_.narrow(0, begin, count).to(compute_->device);
    for (int stage = 0; stage <= *stages_.rbegin(); ++stage) {
      x = network_->Run(std::move(x), stage, stage + 1);
      if (!stages_.contains(stage)) continue;
      const torch::Tensor rows = ChannelMeans(x);
      torch::Tensor& kept = view[network_->stage_name(stage)];
      if (!kept.defined()) {
        kept = torch::empty({images_.size(0), rows.size(1)}, torch::kFloat64);
      }
      kept.narrow(0, begin, count).copy_(rows);
    }
  }
  return view;
}

std::map<std::string, double> Drift(const DriftProbe::View& before,
                                    const DriftProbe::View& after) {
  std::map<std::string, double> drift;
  for (const auto& [stage, rows] : before) {
    const auto other = after.find(stage);
    if (other == after.end()) continue;
    const absl::StatusOr<double> cka = LinearCka(
        AsMatrix(rows), AsMatrix(other->second), CkaEstimator::kUnbiased);
    if (!cka.ok()) continue;
    drift[absl::StrCat("drift_", stage)] = std::max(1 - *cka, 0.0);
    const MinibatchCka::Sums sums = SumsOf(rows, other->second);
    drift[absl::StrCat("hsic_xy_", stage)] = sums.xy;
    drift[absl::StrCat("hsic_xx_", stage)] = sums.xx;
    drift[absl::StrCat("hsic_yy_", stage)] = sums.yy;
  }
  return drift;
}

}  // namespace fedgraft
