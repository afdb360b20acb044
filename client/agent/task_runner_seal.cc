#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/task_runner.h"
#include "client/update/rounding_seed.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// An update on disk and what there is to tell of it.
struct SealedTask {
  SealedUpdate update;
  std::map<std::string, double> scalars;
};

// What of the site's budget its policy may let out.
std::map<std::string, double> BudgetScalars(
    const std::optional<PrivacyCharge>& charge, const PrivacyBudget& budget) {
  if (!charge.has_value()) return {};
  return {{"privacy_epsilon", charge->epsilon()},
          {"privacy_epsilon_max", budget.epsilon_max},
          {"privacy_delta", budget.delta}};
}

}  // namespace

void TaskRunner::SealTrained(const TrainResult& result) {
  if (charge_.has_value() && result.samples != run_->train_samples) {
    return Answer(absl::FailedPreconditionError(
        absl::StrCat("the trainer trained on ", result.samples,
                     " images, the privacy "
                     "budget was charged for ",
                     run_->train_samples)));
  }
  auto quantize = [&files = ports_.files, &random = ports_.random, run = run_,
                   charge = charge_, samples = result.samples,
                   has_news = result.has_news,
                   seed = RoundingSeed(options_.site, HeaderOfTask())]() {
    absl::StatusOr<RawUpdate> raw =
        ReadRawUpdate(files, kWorkDeltaPath, run->layout, samples);
    // An update in the clear stays on disk no longer than needed.
    const absl::Status removed = files.Remove(kWorkDeltaPath);
    if (!raw.ok()) return absl::StatusOr<QuantizedUpdate>(raw.status());
    if (!removed.ok()) return absl::StatusOr<QuantizedUpdate>(removed);
    absl::StatusOr<ClippedUpdate> clipped =
        ClippedUpdate::Clip(*std::move(raw), run->plan);
    if (!clipped.ok()) return absl::StatusOr<QuantizedUpdate>(clipped.status());
    FG_LOG_INFO("update of {} images: L2 norm {:.4g}, clipped to {:.4g}",
                samples, clipped->l2_norm_before(), clipped->l2_norm_after());
    if (!charge.has_value()) {
      return QuantizedUpdate::FromUpdate(*std::move(clipped), run->plan, seed,
                                         has_news);
    }
    return QuantizedUpdate::FromPrivateUpdate(*std::move(clipped), run->plan,
                                              *charge, seed, random);
  };
  std::map<std::string, double> scalars =
      BudgetScalars(charge_, options_.policy.budget);
  scalars.insert(result.scalars.begin(), result.scalars.end());
  Seal(std::move(quantize), result.loss, std::move(scalars));
}

void TaskRunner::SealEvaluated(EvaluateResult result) {
  auto quantize = [run = run_, sums = std::move(result.sums)]() mutable
      -> absl::StatusOr<QuantizedUpdate> {
    FG_ASSIGN_OR_RETURN(EvaluationSums valid,
                        EvaluationSums::Create(run->plan, std::move(sums)));
    return QuantizedUpdate::FromSums(std::move(valid), run->plan);
  };
  Seal(std::move(quantize), 0, std::move(result.scalars));
}

void TaskRunner::SealSolved(const SolveResult& result) {
  auto quantize = [&files = ports_.files, run = run_,
                   samples =
                       result.samples]() -> absl::StatusOr<QuantizedUpdate> {
    FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files, kWorkModelPath));
    FG_ASSIGN_OR_RETURN(SolvePoint point, DecodeSolvePoint(content));
    absl::StatusOr<SolveSums> sums =
        ReadSolveSums(files, kWorkSumsPath, std::move(point));
    // As an update in the clear: no longer on disk than needed.
    const absl::Status removed = files.Remove(kWorkSumsPath);
    FG_RETURN_IF_ERROR(sums.status());
    FG_RETURN_IF_ERROR(removed);
    FG_LOG_INFO("statistics of {} images: {} sums", samples,
                sums->values().size());
    return QuantizedUpdate::FromSolveSums(*std::move(sums), run->plan);
  };
  Seal(std::move(quantize), 0, {});
}

void TaskRunner::SealGathered(const GatherResult& result) {
  auto quantize = [&files = ports_.files, run = run_,
                   samples =
                       result.samples]() -> absl::StatusOr<QuantizedUpdate> {
    absl::StatusOr<StatisticSums> sums =
        ReadStatisticSums(files, kWorkSumsPath, run->plan, *run->layout);
    // As an update in the clear: no longer on disk than needed.
    const absl::Status removed = files.Remove(kWorkSumsPath);
    FG_RETURN_IF_ERROR(sums.status());
    FG_RETURN_IF_ERROR(removed);
    FG_LOG_INFO("statistics of {} images: {} sums", samples,
                sums->words().size());
    return QuantizedUpdate::FromStatistics(*std::move(sums));
  };
  Seal(std::move(quantize), 0, {});
}

void TaskRunner::SealSketched(SketchResult result) {
  const std::string pooled_path =
      task_.statistics_size_bytes > 0 ? run_->files.SketchPath() : "";
  auto quantize =
      [&files = ports_.files, run = run_, pooled_path, reader = sketches_,
       samples = result.samples]() -> absl::StatusOr<QuantizedUpdate> {
    absl::StatusOr<SketchSums> sums = reader->Read(
        files, kWorkSumsPath, pooled_path, run->plan, *run->layout);
    // As an update in the clear: no longer on disk than needed.
    const absl::Status removed = files.Remove(kWorkSumsPath);
    FG_RETURN_IF_ERROR(sums.status());
    FG_RETURN_IF_ERROR(removed);
    FG_LOG_INFO("sketch of {} images: {} sums", samples, sums->words().size());
    return QuantizedUpdate::FromSketch(*std::move(sums));
  };
  Seal(std::move(quantize), 0, std::move(result.scalars));
}

void TaskRunner::Seal(std::function<absl::StatusOr<QuantizedUpdate>()> quantize,
                      double loss, std::map<std::string, double> scalars) {
  progress_(AgentState::kSealing, 1);
  const std::string path = run_->files.UpdatePath(task_.kind);
  finished_[path] = std::nullopt;  // about to be overwritten
  std::function<absl::StatusOr<MaskedUpdate>(QuantizedUpdate)> mask;
  if (task_.secure.step == SecureStep::kMask) {
    mask = secure_.Masker(run_, task_);
  }
  auto work = [quantize = std::move(quantize), mask = std::move(mask),
               sealer = sealer_, run = run_, header = HeaderOfTask(), path,
               scalars =
                   std::move(scalars)]() mutable -> absl::StatusOr<SealedTask> {
    FG_ASSIGN_OR_RETURN(QuantizedUpdate quantized, quantize());
    const uint64_t payload_bytes = quantized.payload().size_bytes();
    if (quantized.head().saturated > 0) {
      FG_LOG_WARNING(
          "round {}: {} of {} values exceed the plan's range and "
          "were cut to it",
          header.round.value, quantized.head().saturated,
          quantized.head().count);
    }
    absl::StatusOr<SealedUpdate> sealed;
    if (mask) {
      FG_ASSIGN_OR_RETURN(MaskedUpdate masked, mask(std::move(quantized)));
      sealed = sealer->Seal(std::move(masked), header,
                            run->descriptor.hpke_public_key, path);
    } else {
      sealed = sealer->Seal(std::move(quantized), header,
                            run->descriptor.hpke_public_key, path);
    }
    FG_RETURN_IF_ERROR(sealed.status());
    if (header.kind == TaskKind::kTrain) {
      scalars["update_bytes"] = static_cast<double>(payload_bytes);
      scalars["update_error_rms"] = sealed->error_rms();
      FG_LOG_INFO("round {}: {} bytes of update, root mean square error {:.3g}",
                  header.round.value, payload_bytes, sealed->error_rms());
    }
    return SealedTask{*std::move(sealed), std::move(scalars)};
  };
  background_.Run(
      std::move(work),
      guard_([this, path, loss](absl::StatusOr<SealedTask> sealed) mutable {
        if (!sealed.ok()) return Answer(std::move(sealed).status());
        finished_[path] = sealed->update;
        if (cancelled_) {
          return Answer(absl::CancelledError("task was given up"));
        }
        Answer(FinishedTask{std::move(sealed->update), /*recovered=*/false,
                            loss, std::move(sealed->scalars)});
      }));
}

}  // namespace fedgraft
