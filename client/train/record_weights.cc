#include "client/train/record_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/deterministic_bytes.h"
#include "common/crypto/sha256.h"
#include "common/shift/importance.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/shift.pb.h"

namespace fedgraft {
namespace {

constexpr char kFile[] = "record_weights.bin";
// Of the covariance of 256 random features, whose trace is at most 1.
constexpr double kRidge = 0.01;

Digest LabelsDigest(absl::Span<const int64_t> labels) {
  return Sha256({reinterpret_cast<const uint8_t*>(labels.data()),
                 labels.size() * sizeof(int64_t)});
}

}  // namespace

bool RecordWeights::Covers(const Plan& plan) {
  return plan.importance.target != ImportanceTarget::kNone ||
         plan.shift.on_shift == OnShift::kApply;
}

absl::Status RecordWeights::Take(const Sketch& sketch, const SiteSketch& site) {
  All all;
  all.labels = LabelsDigest(site.records().labels);
  FG_ASSIGN_OR_RETURN(all.importance, Importance(sketch, site));
  FG_ASSIGN_OR_RETURN(all.prior, Prior(sketch, site));
  all_ = std::move(all);
  loaded_ = true;
  return Save();
}

absl::StatusOr<RecordWeights::One> RecordWeights::Importance(
    const Sketch& sketch, const SiteSketch& site) const {
  const SketchLayout& layout = sketch.layout();
  const absl::Span<const double> pooled = sketch.summary();
  const double records = SketchValues(layout, pooled, "records")[0];
  std::vector<double> target;
  for (double sum : SketchValues(layout, pooled, "embedding")) {
    target.push_back(sum / records);
  }
  FG_ASSIGN_OR_RETURN(
      const RecordImportance found,
      FitEmbeddingImportance({site.embedding(), site.n(), kSketchEmbedding},
                             target, kRidge, plan_.importance.flatten));
  return One{
      found.share >= plan_.importance.min_ess
          ? std::vector<float>(found.weights.begin(), found.weights.end())
          : std::vector<float>(),
      found.share};
}

absl::StatusOr<RecordWeights::One> RecordWeights::Prior(
    const Sketch& sketch, const SiteSketch& site) const {
  const SketchLayout& layout = sketch.layout();
  const auto pooled = SketchValues(layout, sketch.summary(), "class_counts");
  const auto own = SketchValues(layout, site.summary(), "class_counts");
  std::vector<double> ratios;
  for (const int64_t label : site.records().labels) {
    ratios.push_back(pooled[label] / own[label]);
  }
  FG_ASSIGN_OR_RETURN(const RecordImportance found,
                      NormalizeImportance(std::move(ratios), 1));
  return One{
      found.share >= plan_.importance.min_ess
          ? std::vector<float>(found.weights.begin(), found.weights.end())
          : std::vector<float>(),
      found.share};
}

absl::Status RecordWeights::Save() const {
  if (files_ == nullptr) return absl::OkStatus();
  pb::RecordWeights message;
  message.set_labels(all_->labels.AsWire());
  message.mutable_importance()->Add(all_->importance.weights.begin(),
                                    all_->importance.weights.end());
  message.set_importance_share(all_->importance.share);
  message.mutable_prior()->Add(all_->prior.weights.begin(),
                               all_->prior.weights.end());
  message.set_prior_share(all_->prior.share);
  return WriteAtomically(*files_, kFile, DeterministicBytes(message));
}

absl::Status RecordWeights::Load() {
  if (loaded_ || files_ == nullptr) return absl::OkStatus();
  const absl::StatusOr<Bytes> content = ReadAll(*files_, kFile);
  if (!content.ok() && !absl::IsNotFound(content.status())) {
    return content.status();
  }
  loaded_ = true;
  if (!content.ok()) return absl::OkStatus();
  pb::RecordWeights message;
  const google::protobuf::LogSilencer silencer;
  if (!message.ParseFromArray(content->data(),
                              static_cast<int>(content->size()))) {
    return absl::DataLossError(
        absl::StrCat(kFile, " holds no weights of records"));
  }
  All all;
  FG_ASSIGN_OR_RETURN(all.labels, Digest::FromWire(message.labels()));
  all.importance = {{message.importance().begin(), message.importance().end()},
                    message.importance_share()};
  all.prior = {{message.prior().begin(), message.prior().end()},
               message.prior_share()};
  all_ = std::move(all);
  return absl::OkStatus();
}

absl::StatusOr<RecordWeights::Use> RecordWeights::For(
    SiteRemedy remedy, const std::vector<int64_t>& labels) {
  const bool prior = remedy == SiteRemedy::kPriorCorrection;
  const bool importance = remedy == SiteRemedy::kImportanceWeights ||
                          plan_.importance.target != ImportanceTarget::kNone;
  Use use;
  if (!prior && !importance) return use;
  FG_RETURN_IF_ERROR(Load());
  // Of other records: the look that sees these ones is yet to come.
  if (!all_.has_value() || all_->labels != LabelsDigest(labels)) return use;
  const One& one = prior ? all_->prior : all_->importance;
  use.weights = one.weights;
  use.scalars = {{"record_weights_share", one.share},
                 {"record_weights_applied", one.weights.empty() ? 0 : 1}};
  if (one.weights.empty()) {
    FG_LOG_WARNING(
        "weights would leave the worth of {:.0f} % of the records, less than "
        "min_ess: this round trains without",
        100 * one.share);
  }
  return use;
}

}  // namespace fedgraft
