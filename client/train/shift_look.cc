#include "client/train/shift_look.h"

#include <utility>

#include "client/shift/shift_test.h"
#include "client/train/feature_rows.h"
#include "client/train/progress_part.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// SHA-256 of the features that the newest look compared.
constexpr char kSeenFile[] = "shift_seen.bin";

}  // namespace

absl::Status ShiftLook::TakeRecords(const ActivationStore& store,
                                    const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(features_,
                      HeadFeatures(store, learner_.network(), compute_,
                                   Part(progress, 0, 0.5)));
  FG_ASSIGN_OR_RETURN(const Predictions predictions,
                      learner_.Predict(store, Part(progress, 0.5, 1)));
  outputs_ =
      torch::empty({store.count(), plan_.num_classes()}, torch::kFloat64);
  double* out = outputs_.data_ptr<double>();
  for (size_t i = 0; i < predictions.count(); ++i) {
    // Single precision adds up to 1 only nearly.
    const auto row = predictions.Row(i);
    double total = 0;
    for (const float p : row) total += p;
    for (const float p : row) *out++ = p / total;
  }
  acquisition_.clear();
  for (const AcquisitionNumbers& image : store.acquisition()) {
    acquisition_.insert(acquisition_.end(), image.begin(), image.end());
  }
  labels_ = store.labels();
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ShiftLook::CountNew() {
  const int64_t n = features_.size(0);
  if (files_ == nullptr) return n;
  const Digest digest =
      Sha256({reinterpret_cast<const uint8_t*>(features_.data_ptr<double>()),
              static_cast<size_t>(features_.numel()) * sizeof(double)});
  const auto seen = ReadAll(*files_, kSeenFile);
  if (seen.ok() && AsText(*seen) == digest.AsWire()) return int64_t{0};
  if (!seen.ok() && !absl::IsNotFound(seen.status())) return seen.status();
  FG_RETURN_IF_ERROR(
      WriteAtomically(*files_, kSeenFile, AsBytes(digest.AsWire())));
  return n;
}

absl::StatusOr<ShiftLook::Answer> ShiftLook::Sums(
    const ActivationStore& store, ByteSpan pooled,
    const ProgressSink& progress) {
  const ParameterLayout& layout = learner_.layout();
  FG_ASSIGN_OR_RETURN(const Look target, Look::Decode(plan_, layout, pooled));
  if (target.done()) {
    return absl::InvalidArgumentError("the look has no further stage");
  }
  // A new look may be of another model; later stages are of the same.
  if (target.stages().empty() || !features_.defined()) {
    FG_RETURN_IF_ERROR(TakeRecords(store, progress));
  }
  FG_ASSIGN_OR_RETURN(Look look, Look::Create(plan_, layout));
  FG_ASSIGN_OR_RETURN(
      SiteSketch site,
      SiteSketch::Create(
          look.sketch(),
          {AsMatrix(features_), labels_, AsMatrix(outputs_),
           MatrixView{acquisition_, features_.size(0), kAcquisitions}}));
  Answer answer;
  for (const std::vector<uint64_t>& stage : target.stages()) {
    FG_RETURN_IF_ERROR(site.Sums(look.sketch()).status());
    FG_RETURN_IF_ERROR(look.Add(stage));
  }
  if (!look.asks_verdicts()) {
    FG_ASSIGN_OR_RETURN(answer.sums, site.Sums(look.sketch()));
    return answer;
  }
  FG_ASSIGN_OR_RETURN(const int64_t new_records, CountNew());
  FG_ASSIGN_OR_RETURN(answer.scalars,
                      TestSite(look.sketch(), site, new_records));
  answer.sums = VerdictsOf(answer.scalars);
  features_ = outputs_ = torch::Tensor();
  return answer;
}

}  // namespace fedgraft
