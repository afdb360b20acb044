#include "aggregator/round/admission.h"

#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/round/arrival_check.h"
#include "aggregator/store/reduce.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"
#include "common/crypto/ed25519.h"
#include "common/model/evaluation_layout.h"
#include "common/numeric/fed_nova.h"
#include "common/numeric/update_payload.h"
#include "common/privacy/site_noise.h"
#include "common/protocol/seal_suite.h"
#include "common/protocol/statements.h"
#include "common/solve/head_values.h"
#include "common/solve/solve_statistics.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

// A site clips in float; its rounding may not cost it the round.
constexpr double kNormTolerance = 1e-4;

template <typename... Parts>
absl::Status Refuse(RefusalReason reason, const Parts&... parts) {
  return RefusalError(reason, absl::StrCat(parts...));
}

// A site has at least one image, so at least its weight; uniform weights and
// those of evaluations are 1. News are told while training, of one site.
absl::Status CheckWeight(const UpdateToVerify& update, uint64_t weight_word) {
  const Plan& plan = update.run->plan;
  const bool is_training = update.form.kind == TaskKind::kTrain;
  double least = 1;
  if (is_training && plan.update.weighting == Weighting::kSamples) {
    least = WeightOfWord(WeightWord(SiteWeight(plan, 1)));
  }
  const double weight = WeightOfWord(weight_word);
  if (!(weight >= least && weight <= 1)) {
    return Refuse(RefusalReason::kBadWeight, "weight: expected ", least,
                  " to 1, got ", weight);
  }
  const uint64_t news_max = is_training && TellsNews(plan) ? 1 : 0;
  if (NewsOfWord(weight_word) <= news_max) return absl::OkStatus();
  return Refuse(RefusalReason::kBadWeight, "weight: expected at most ",
                news_max, " for news, got ", NewsOfWord(weight_word));
}

// With site privacy most of an update's length is noise.
absl::Status CheckNoisyNorm(const UpdateToVerify& update,
                            const VerifiedUpdate& verified) {
  const int64_t count = static_cast<int64_t>(update.form.count);
  FG_ASSIGN_OR_RETURN(const SiteNoise noise,
                      MakeSiteNoise(update.run->plan, count));
  const double most = NoisyNormMax(noise, update.form.ring.Step(), count);
  if (verified.l2_norm <= most) return absl::OkStatus();
  return Refuse(RefusalReason::kOverNorm, "norm: expected at most ", most,
                " with noise, got ", verified.l2_norm);
}

absl::Status CheckNorm(const UpdateToVerify& update,
                       const VerifiedUpdate& verified) {
  const double clip = update.run->plan.update.clip_norm;
  if (update.form.kind != TaskKind::kTrain || !(clip > 0)) {
    return absl::OkStatus();
  }
  if (update.run->plan.differential_privacy.kind ==
      DifferentialPrivacy::kSite) {
    return CheckNoisyNorm(update, verified);
  }
  // Each word is off by at most half a step, or by less than a whole one.
  const bool is_stochastic =
      update.run->plan.update.rounding == Rounding::kStochastic;
  const double rounding = (is_stochastic ? 1 : 0.5) * update.form.ring.Step() *
                          std::sqrt(static_cast<double>(update.form.count)) /
                          WeightOfWord(verified.head.weight_word);
  if (verified.l2_norm <= clip * (1 + kNormTolerance) + rounding) {
    return absl::OkStatus();
  }
  return Refuse(RefusalReason::kOverNorm, "norm: expected at most ", clip,
                ", got ", verified.l2_norm);
}

// Steps that were taken (fed_nova) are a factor of everybody's update and no
// part of the norm: they must be those of as many images as the weight tells.
// From the cap on the weight tells no more than that, and the range bounds
// them.
absl::Status CheckExtraWords(const UpdateToVerify& update,
                             const VerifiedUpdate& verified) {
  const Plan& plan = update.run->plan;
  const double weight = WeightOfWord(verified.head.weight_word);
  const auto images =
      static_cast<uint64_t>(std::llround(weight * plan.update.weight_cap));
  for (const uint64_t word : verified.extra_words) {
    const double value = Dequantize(update.form.ring, word);
    const double expected = weight * NovaSteps(plan, images);
    const double slack = update.form.ring.Step() + 1e-6 * expected;
    const bool is_capped = weight >= 1;
    if (value >= expected - slack && (is_capped || value <= expected + slack)) {
      continue;
    }
    return Refuse(RefusalReason::kBadWeight, "steps: expected ",
                  is_capped ? "at least " : "", expected, ", got ", value);
  }
  return absl::OkStatus();
}

// True if the sums count one set of records: the confusion matrix and each pair
// of histograms have `n` entries.
bool CountsAgree(const EvaluationLayout& layout,
                 const std::vector<double>& sums) {
  const auto total = [&](int64_t begin, int64_t count) {
    const auto from = sums.begin() + begin;
    return std::accumulate(from, from + count, 0.0);
  };
  const double n = sums[0];
  const int classes = layout.num_classes();
  if (total(layout.ConfusionIndex(0, 0), int64_t{classes} * classes) != n) {
    return false;
  }
  for (int c = classes == 2 ? 1 : 0; c < classes; ++c) {
    if (total(layout.HistogramIndex(c, false), kScoreBins) +
            total(layout.HistogramIndex(c, true), kScoreBins) !=
        n) {
      return false;
    }
  }
  return true;
}

// Counts cannot be negative, and they must make metrics: else this site's could
// spoil everybody's.
absl::Status CheckSums(const UpdateToVerify& update,
                       const SealedContribution& contribution) {
  ReduceJob job;
  job.ring = update.form.ring;
  job.count = update.form.count;
  job.contributions = {contribution};
  std::vector<double> sums(update.form.count);
  const ReduceOutcome outcome = ReduceSumsHere(
      job, [&](uint64_t begin, absl::Span<const uint64_t> words) {
        for (size_t i = 0; i < words.size(); ++i) {
          sums[begin + i] = Dequantize(job.ring, words[i]);
        }
        return absl::OkStatus();
      });
  FG_RETURN_IF_ERROR(outcome.status);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i] < 0) {
      return Refuse(RefusalReason::kBadLayout, "evaluation sum ", i,
                    " is negative");
    }
  }
  const EvaluationLayout layout(update.run->plan.num_classes());
  if (!CountsAgree(layout, sums)) {
    return Refuse(RefusalReason::kBadLayout,
                  "evaluation sums: the counts do not agree with n");
  }
  if (sums[0] == 0) return absl::OkStatus();  // no image in this split
  const auto metrics = EvaluationMetrics(layout, sums);
  if (metrics.ok()) return absl::OkStatus();
  return Refuse(RefusalReason::kBadLayout,
                "evaluation sums: ", metrics.status().message());
}

void SetShape(UpdateForm& form) {
  form.shape.head_bytes = UpdatePayloadHead::kBytes;
  form.shape.total_bytes =
      UpdatePayloadHead::kBytes + PackedBytes(form.ring.word_bits, form.count);
}

// A statistic without a record would make the solver divide by nothing. The
// count comes first in every stage.
absl::Status CheckRecords(const UpdateToVerify& update,
                          const SealedContribution& contribution) {
  ReduceJob job;
  job.ring = update.form.ring;
  job.count = update.form.count;
  job.contributions = {contribution};
  int64_t records = 0;
  const ReduceOutcome outcome = ReduceSumsHere(
      job, [&](uint64_t begin, absl::Span<const uint64_t> words) {
        if (begin == 0) records = static_cast<int64_t>(words[0]);
        return absl::OkStatus();
      });
  FG_RETURN_IF_ERROR(outcome.status);
  if (records > 0) return absl::OkStatus();
  return Refuse(RefusalReason::kBadLayout,
                "solve statistics: expected a positive number of records");
}

absl::Status CheckStatistics(const UpdateToVerify& update,
                             const SealedContribution& contribution) {
  const StatisticsLayout layout(update.run->plan, *update.run->layout);
  StatisticsCheck check(layout);
  ReduceJob job;
  job.ring = update.form.ring;
  job.count = update.form.count;
  job.contributions = {contribution};
  const ReduceOutcome outcome = ReduceSumsHere(
      job, [&](uint64_t begin, absl::Span<const uint64_t> words) {
        check.Add(static_cast<int64_t>(begin), words);
        return absl::OkStatus();
      });
  FG_RETURN_IF_ERROR(outcome.status);
  const absl::Status sound = check.Finish();
  if (sound.ok()) return sound;
  return Refuse(RefusalReason::kBadLayout, sound.message());
}

absl::Status CheckSketched(const UpdateToVerify& update,
                           const SealedContribution& contribution) {
  ReduceJob job;
  job.ring = update.form.ring;
  job.count = update.form.count;
  job.contributions = {contribution};
  std::vector<uint64_t> all(job.count);
  const ReduceOutcome outcome = ReduceSumsHere(
      job, [&](uint64_t begin, absl::Span<const uint64_t> words) {
        std::copy(words.begin(), words.end(),
                  all.begin() + static_cast<ptrdiff_t>(begin));
        return absl::OkStatus();
      });
  FG_RETURN_IF_ERROR(outcome.status);
  const absl::Status sound = update.form.look->Check(all);
  if (sound.ok()) return sound;
  return Refuse(RefusalReason::kBadLayout, sound.message());
}

// A masked update belongs to one attempt, and to a site that shared its keys.
absl::Status CheckSecureHeader(const RunState& state, const SiteId& site,
                               const UploadHeader& header) {
  const SecureProgress& secure = state.secure();
  const uint32_t expected =
      secure.step() == SecureStep::kMask ? secure.attempt() : 0;
  const bool in_time = secure.is_on() == (expected > 0);
  if (!in_time || header.secure_attempt != expected) {
    return Refuse(RefusalReason::kWrongRound, "masks: expected step ",
                  SecureStepName(secure.step()), " of attempt ",
                  secure.attempt(), ", got an update of attempt ",
                  header.secure_attempt);
  }
  if (secure.is_on() && !secure.shared().Has(site)) {
    return Refuse(RefusalReason::kNoTask, site.value,
                  " did not share its keys in attempt ", secure.attempt());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UpdateForm> MakeUpdateForm(const Plan& plan,
                                          const ParameterLayout& layout,
                                          TaskKind kind) {
  UpdateForm form;
  form.kind = kind;
  form.masked = plan.secure_aggregation.is_on;
  form.max_terms = MaxTerms(plan);
  if (kind == TaskKind::kTrain) {
    FG_ASSIGN_OR_RETURN(form.ring, TrainRing(plan));
    form.extra_words = static_cast<uint64_t>(ExtraWords(plan.rule));
    form.count = static_cast<uint64_t>(layout.Count()) + form.extra_words;
    form.layout = layout.digest();
  } else if (kind == TaskKind::kGather) {
    form.ring = StatisticsRing();
    form.count = static_cast<uint64_t>(StatisticsLayout(plan, layout).count());
  } else {
    form.ring = EvaluationRing();
    form.count =
        static_cast<uint64_t>(EvaluationLayout(plan.num_classes()).Count());
  }
  SetShape(form);
  return form;
}

UpdateForm MakeSketchForm(const RunState& state,
                          std::shared_ptr<const Look> look) {
  UpdateForm form;
  form.kind = TaskKind::kSketch;
  if (look == nullptr || look->done()) return form;
  const Plan& plan = state.run()->plan;
  form.masked = plan.secure_aggregation.is_on;
  form.ring = StatisticsRing();
  form.max_terms = MaxTerms(plan);
  form.count = static_cast<uint64_t>(look->words());
  form.look = std::move(look);
  SetShape(form);
  return form;
}

UpdateForm MakeSolveForm(const RunState& state) {
  UpdateForm form;
  form.kind = TaskKind::kSolve;
  if (!state.open() || !state.solve().open) return form;
  const RunFacts& run = *state.run();
  form.masked = run.plan.secure_aggregation.is_on;
  form.ring = SolveRing();
  form.max_terms = MaxTerms(run.plan);
  form.count = static_cast<uint64_t>(
      SolveLayout(state.solve().stage, run.plan.num_classes(),
                  HeadFeatures(run.plan, *run.layout), state.solve().candidates)
          .words());
  SetShape(form);
  return form;
}

absl::Status CheckHeader(const RunState& state, const UpdateForm& form,
                         const SiteId& site, const UploadHeader& header,
                         uint64_t upload_size_bytes_max) {
  if (!state.open() || header.run != state.run()->id) {
    return Refuse(RefusalReason::kUnknownRun, "run ", header.run.value,
                  " is not open");
  }
  const RunFacts& run = *state.run();
  if (header.plan_hash != run.plan.hash) {
    return Refuse(RefusalReason::kWrongPlan, "plan: expected ",
                  run.plan.hash.Short(), ", got ", header.plan_hash.Short());
  }
  if (state.HasContributed(site, header)) {
    return Refuse(RefusalReason::kAlreadyContributed, "another update of ",
                  site.value, " for round ", header.round.value, " (",
                  TaskKindName(header.kind), ") was acknowledged");
  }
  if (header.round != state.round() || state.task_kind() != header.kind) {
    return Refuse(RefusalReason::kWrongRound, "expected ",
                  PhaseName(state.phase()), " of round ", state.round().value,
                  ", got ", TaskKindName(header.kind), " of round ",
                  header.round.value);
  }
  FG_RETURN_IF_ERROR(CheckSecureHeader(state, site, header));
  if (header.base_model != state.task_model().digest) {
    return Refuse(RefusalReason::kWrongBaseModel, "base model: expected ",
                  state.task_model().digest.Short(), ", got ",
                  header.base_model.Short());
  }
  const uint64_t size = form.shape.SealedTotal();
  if (header.size_bytes != size || size > upload_size_bytes_max) {
    return Refuse(RefusalReason::kBadSize, "size: expected ", size,
                  " bytes (limit ", upload_size_bytes_max, "), got ",
                  header.size_bytes);
  }
  if (!state.participants().contains(site)) {
    return Refuse(RefusalReason::kNoTask, site.value, " joined after round ",
                  header.round.value, " was opened; it takes part in the next");
  }
  if (state.contributions().size() >= static_cast<size_t>(form.max_terms)) {
    return Refuse(RefusalReason::kNoTask, "the round is full with ",
                  form.max_terms, " contributions");
  }
  return absl::OkStatus();
}

absl::StatusOr<SealedStreamOpener> OpenSealed(const SiteId& site,
                                              const UploadHeader& header,
                                              const UpdateForm& form,
                                              const RunKey& key,
                                              const ReadableFile& sealed) {
  Bytes enc(kSealedEncBytes);
  FG_RETURN_IF_ERROR(sealed.ReadAt(0, absl::MakeSpan(enc)));
  return MakeOpener(site, header, form, key, enc);
}

absl::StatusOr<SealedStreamOpener> MakeOpener(const SiteId& site,
                                              const UploadHeader& header,
                                              const UpdateForm& form,
                                              const RunKey& key, ByteSpan enc) {
  return SealedStreamOpener::Create(enc, key, AsBytes(kUpdateSealInfo),
                                    UpdateContext(site, header), form.shape,
                                    AlgorithmOf(header.suite));
}

UpdateExpectation ExpectationOf(const UpdateForm& form) {
  return {.ring = form.ring,
          .count = form.count,
          .layout = form.layout,
          .term_max = form.ring.TermMax(form.max_terms),
          .extra_words = form.extra_words,
          .masked = form.masked};
}

namespace {

struct Opened {
  VerifiedUpdate verified;
  std::shared_ptr<const SealedStreamOpener> opener;
};

absl::StatusOr<Opened> OpenAndVerify(
    const UpdateToVerify& update,
    const std::shared_ptr<const ReadableFile>& sealed) {
  auto opener = OpenSealed(update.site.id, update.header, update.form,
                           *update.key, *sealed);
  if (opener.status().code() == absl::StatusCode::kInvalidArgument) {
    return Refuse(RefusalReason::kBadSeal, opener.status().message());
  }
  FG_RETURN_IF_ERROR(opener.status());
  Opened opened;
  opened.opener =
      std::make_shared<const SealedStreamOpener>(*std::move(opener));
  FG_ASSIGN_OR_RETURN(
      opened.verified,
      VerifySealedUpdate({update.site.id, sealed, opened.opener},
                         ExpectationOf(update.form)));
  return opened;
}

absl::StatusOr<Opened> TakeSeen(ArrivalCheck& seen) {
  Opened opened;
  FG_ASSIGN_OR_RETURN(opened.verified, std::move(seen).Finish());
  opened.opener = seen.opener();
  return opened;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SealedStreamOpener>> VerifyUpdate(
    const UpdateToVerify& update, std::shared_ptr<const ReadableFile> sealed,
    ArrivalCheck* seen) {
  const absl::Status signature = VerifySignature(
      update.site.public_key, UploadStatement(update.site.id, update.header),
      update.header.signature);
  if (!signature.ok()) {
    return Refuse(RefusalReason::kBadSignature,
                  "the upload is not signed by the certificate of ",
                  update.site.id.value);
  }
  if (seen != nullptr && !seen->IsFor(update)) seen = nullptr;
  FG_ASSIGN_OR_RETURN(const Opened opened, seen != nullptr
                                               ? TakeSeen(*seen)
                                               : OpenAndVerify(update, sealed));
  const VerifiedUpdate& verified = opened.verified;
  const SealedContribution contribution = {update.site.id, std::move(sealed),
                                           opened.opener};
  const UpdateForm& form = update.form;
  if (form.masked) {
    if (seen != nullptr) seen->Count();
    return contribution.opener;
  }
  FG_RETURN_IF_ERROR(CheckWeight(update, verified.head.weight_word));
  FG_RETURN_IF_ERROR(CheckExtraWords(update, verified));
  FG_RETURN_IF_ERROR(CheckNorm(update, verified));
  if (form.kind == TaskKind::kEvaluate) {
    FG_RETURN_IF_ERROR(CheckSums(update, contribution));
  } else if (form.kind == TaskKind::kSolve) {
    FG_RETURN_IF_ERROR(CheckRecords(update, contribution));
  } else if (form.kind == TaskKind::kGather) {
    FG_RETURN_IF_ERROR(CheckStatistics(update, contribution));
  } else if (form.kind == TaskKind::kSketch) {
    FG_RETURN_IF_ERROR(CheckSketched(update, contribution));
  }
  if (seen != nullptr) seen->Count();
  return contribution.opener;
}

}  // namespace fedgraft
