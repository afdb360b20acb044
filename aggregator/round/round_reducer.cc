#include "aggregator/round/round_reducer.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "aggregator/round/memory_file.h"
#include "aggregator/round/model_file.h"
#include "aggregator/round/rule_reduce.h"
#include "aggregator/rules/rule_pass.h"
#include "aggregator/store/reduce.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/evaluation_layout.h"
#include "common/runtime/blob_store.h"
#include "common/solve/head_solver.h"
#include "common/solve/head_values.h"
#include "common/solve/site_subspace.h"
#include "common/solve/solve_statistics.h"
#include "common/solve/transfer_metrics.h"
#include "common/statistics/gathered_statistics.h"

namespace fedgraft {
namespace {

// The job and what the workers share while they sum.
struct RoundWork {
  std::shared_ptr<const PhaseJob> job;
  std::shared_ptr<RulePass> pass;
  uint64_t saturated = 0;
  // The base model between moments; becomes the next one shard by shard. With
  // a kept sum: its lanes do.
  ParameterVector values;
  std::optional<TrainableSetReader> base;  // with a kept sum
};

absl::StatusOr<ReduceJob> OpenAll(const PhaseJob& job, FileStore& files) {
  ReduceJob reduce;
  reduce.ring = job.form.ring;
  reduce.count = job.form.count;
  if (job.masks != nullptr) {
    reduce.unmask = [masks = job.masks, word_bits = job.form.ring.word_bits](
                        uint64_t begin, absl::Span<uint64_t> sums) {
      masks->FromWords(word_bits, begin, sums);
    };
  }
  for (const auto& [site, contribution] : job.contributions) {
    SealedContribution one;
    one.site = site;
    FG_ASSIGN_OR_RETURN(one.sealed, OpenContribution(files, contribution));
    one.in_memory = contribution.sealed_inline;
    const auto verified = job.openers.find(site);
    if (verified != job.openers.end()) {
      one.opener = verified->second;
    } else {
      FG_ASSIGN_OR_RETURN(SealedStreamOpener opener,
                          OpenSealed(site, contribution.header, job.form,
                                     *job.key, *one.sealed));
      one.opener =
          std::make_shared<const SealedStreamOpener>(std::move(opener));
    }
    reduce.contributions.push_back(std::move(one));
  }
  return reduce;
}

absl::StatusOr<Bytes> LoadBytes(const ModelRef& model, FileStore& files) {
  FG_ASSIGN_OR_RETURN(const auto file, OpenModel(files, model));
  Bytes content(file->size_bytes());
  FG_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(content)));
  return content;
}

absl::StatusOr<ParameterVector> LoadBase(const PhaseJob& job,
                                         FileStore& files) {
  FG_ASSIGN_OR_RETURN(const auto file, OpenModel(files, job.base));
  return ReadTrainableSet(*job.run->layout, *file);
}

// True: the lanes of the sum are in work.values, and work.base is open.
absl::StatusOr<bool> TakeKeptSum(RoundWork& work, FileStore& files) {
  const PhaseJob& job = *work.job;
  if (job.sum == nullptr) return false;
  std::set<Digest> digests;
  for (const auto& [site, contribution] : job.contributions) {
    digests.insert(contribution.header.sealed_digest);
  }
  std::optional<std::vector<float>> lanes = job.sum->Take(digests);
  if (!lanes.has_value()) {
    FG_LOG_INFO("round {}: summed from the spool", job.round.value);
    return false;
  }
  FG_ASSIGN_OR_RETURN(const auto file, OpenModel(files, job.base));
  auto base = TrainableSetReader::Open(*job.run->layout, file, *lanes);
  if (absl::IsFailedPrecondition(base.status())) return false;
  FG_RETURN_IF_ERROR(base.status());
  work.base = *std::move(base);
  work.values = *std::move(lanes);
  return true;
}

absl::Status Prepare(RoundWork& work, FileStore& files, ReduceJob& reduce) {
  const PhaseJob& job = *work.job;
  FG_ASSIGN_OR_RETURN(reduce, OpenAll(job, files));
  RuleRound round;
  round.round = job.round;
  round.ring = job.form.ring;
  round.max_terms = job.form.max_terms;
  round.of_run = job.sites;
  for (const SealedContribution& one : reduce.contributions) {
    FG_ASSIGN_OR_RETURN(UpdatePayloadHead head, ReadHead(one));
    work.saturated += head.saturated;
    round.sites.push_back(one.site);
    round.weight_words.push_back(head.weight_word);
  }
  if (job.masks != nullptr) {
    round.total_weight_word = job.masks->FromWeight(std::accumulate(
        round.weight_words.begin(), round.weight_words.end(), uint64_t{0}));
  }
  Bytes state;
  if (job.rule_state.size_bytes > 0) {
    FG_ASSIGN_OR_RETURN(state, LoadBytes(job.rule_state, files));
  }
  FG_ASSIGN_OR_RETURN(work.pass,
                      RulePass::Create(job.run->plan, *job.run->layout,
                                       std::move(round), state));
  FG_ASSIGN_OR_RETURN(const bool is_kept, TakeKeptSum(work, files));
  if (is_kept) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(work.values, LoadBase(job, files));
  ToMoments(*job.run->layout, work.values);
  return absl::OkStatus();
}

// Bytes to be published: in `inline_bytes` if small, else in the blob store.
absl::StatusOr<Digest> Keep(Bytes bytes, const PhaseJob& job,
                            uint64_t& size_bytes, Bytes& inline_bytes) {
  size_bytes = bytes.size();
  if (bytes.size() > job.inline_bytes_max) {
    return job.blobs->Put(bytes);
  }
  inline_bytes = std::move(bytes);
  return Sha256(inline_bytes);
}

absl::StatusOr<NewModel> EncodeModel(const PhaseJob& job,
                                     const ParameterVector& values) {
  FG_ASSIGN_OR_RETURN(KeptModel kept,
                      KeepTrainableSet(*job.run->layout, values,
                                       job.inline_bytes_max, *job.blobs));
  NewModel model;
  model.digest = kept.digest;
  model.size_bytes = kept.size_bytes;
  model.inline_bytes = std::move(kept.inline_bytes);
  return model;
}

absl::StatusOr<NewModel> Encode(RoundWork& work) {
  FromMoments(*work.job->run->layout, work.values);
  FG_ASSIGN_OR_RETURN(NewModel model, EncodeModel(*work.job, work.values));
  model.saturated = work.saturated;
  model.influence = work.pass->Influence();
  model.news = NewsOfWord(work.pass->total_weight_word());
  if (work.pass->state().slots() == 0) return model;
  RuleAdvanced& rule = model.rule.emplace();
  FG_ASSIGN_OR_RETURN(rule.state,
                      Keep(work.pass->state().Encode(), *work.job,
                           rule.state_size_bytes, rule.state_inline));
  return model;
}

absl::StatusOr<SolverState> LoadSolver(const PhaseJob& job, FileStore& files) {
  if (job.solver_state.size_bytes == 0) {
    return InitialSolverState(job.run->plan,
                              HeadFeatures(job.run->plan, *job.run->layout));
  }
  FG_ASSIGN_OR_RETURN(const Bytes content, LoadBytes(job.solver_state, files));
  return DecodeSolverState(content);
}

absl::StatusOr<std::vector<uint64_t>> SumWords(const PhaseJob& job,
                                               FileStore& files) {
  FG_ASSIGN_OR_RETURN(const ReduceJob reduce, OpenAll(job, files));
  std::vector<uint64_t> words(job.form.count);
  const ReduceOutcome outcome = ReduceSumsHere(
      reduce, [&](uint64_t begin, absl::Span<const uint64_t> sums) {
        std::copy(sums.begin(), sums.end(), words.begin() + begin);
        return absl::OkStatus();
      });
  FG_RETURN_IF_ERROR(outcome.status);
  return words;
}

// What single sites' sums tell beside the total, where this process may see
// them: masked ones say nothing alone.
absl::Status AlignSites(const PhaseJob& job, FileStore& files,
                        const SolvePoint& point, absl::Span<const double> total,
                        std::map<std::string, double>& metrics) {
  const size_t sites = job.contributions.size();
  if (point.stage != SolveStage::kCross || sites < 2 ||
      sites > kAlignedSitesMax || point.feature_dim > kAlignedFeaturesMax ||
      job.run->plan.secure_aggregation.is_on) {
    return absl::OkStatus();
  }
  for (const auto& [site, contribution] : job.contributions) {
    PhaseJob alone = job;
    alone.contributions = {{site, contribution}};
    FG_ASSIGN_OR_RETURN(const std::vector<uint64_t> words,
                        SumWords(alone, files));
    metrics.merge(AlignSite(point, site, UnpackSolveSums(point, words), total));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<ReadableFile>> OpenModel(FileStore& files,
                                                        const ModelRef& model) {
  if (model.inline_bytes != nullptr) {
    return std::make_shared<MemoryFile>(model.inline_bytes);
  }
  FG_ASSIGN_OR_RETURN(std::shared_ptr<ReadableFile> file,
                      BlobStore(files, kBlobFolder).Open(model.digest));
  return file;
}

absl::StatusOr<std::shared_ptr<ReadableFile>> OpenContribution(
    FileStore& files, const Contribution& contribution) {
  if (contribution.sealed_inline != nullptr) {
    return std::make_shared<MemoryFile>(contribution.sealed_inline);
  }
  FG_ASSIGN_OR_RETURN(std::shared_ptr<ReadableFile> file,
                      files.OpenRead(contribution.spool_file));
  return file;
}

void ReduceRound(std::shared_ptr<const PhaseJob> job, FileStore& files,
                 Executor& executor,
                 std::function<void(absl::StatusOr<NewModel>)> done) {
  auto work = std::make_shared<RoundWork>();
  work->job = std::move(job);
  ReduceJob reduce;
  if (const absl::Status ready = Prepare(*work, files, reduce); !ready.ok()) {
    done(ready);
    return;
  }
  auto finish = [work, &files, done = std::move(done)](ReduceOutcome outcome) {
    if (outcome.status.ok()) {
      done(Encode(*work));
    } else {
      done(outcome.status);
    }
  };
  const absl::Span<float> values = absl::MakeSpan(work->values);
  if (!work->base.has_value()) {
    return ReduceByRule(executor, work->pass, std::move(reduce), values,
                        std::move(finish));
  }
  const ByteSpan lanes(reinterpret_cast<const uint8_t*>(values.data()),
                       values.size() * sizeof(float));
  ReduceKeptSums(
      executor, std::move(reduce), lanes,
      [work, values](uint64_t begin, absl::Span<const uint64_t> sums) {
        // In the place of the lanes, whose sums these are.
        const auto shard = values.subspan(begin, sums.size());
        FG_RETURN_IF_ERROR(work->base->Read(begin, shard));
        return work->pass->ApplySums(begin, sums, shard);
      },
      std::move(finish));
}

absl::StatusOr<NewModel> AdvanceSolve(const PhaseJob& job, FileStore& files) {
  const Plan& plan = job.run->plan;
  FG_ASSIGN_OR_RETURN(const SolverState before, LoadSolver(job, files));
  const SolvePoint point = NextPoint(plan, before);
  FG_ASSIGN_OR_RETURN(const std::vector<uint64_t> words, SumWords(job, files));
  // Of single masked statistics this could not be seen.
  if (words.empty() || static_cast<int64_t>(words[0]) <= 0) {
    return absl::InvalidArgumentError(
        "solve statistics: expected a positive number of records");
  }
  const std::vector<double> sums = UnpackSolveSums(point, words);
  FG_ASSIGN_OR_RETURN(const SolverState state, Advance(plan, before, sums));
  FG_ASSIGN_OR_RETURN(ParameterVector values, LoadBase(job, files));
  SetHead(plan, *job.run->layout, PublishedHead(state), values);
  FG_ASSIGN_OR_RETURN(NewModel model, EncodeModel(job, values));
  model.metrics = SolveMetrics(plan, state);
  model.metrics.merge(TransferMetrics(point, sums));
  FG_RETURN_IF_ERROR(AlignSites(job, files, point, sums, model.metrics));
  SolveAdvanced& solve = model.solve.emplace();
  FG_ASSIGN_OR_RETURN(
      solve.state, Keep(EncodeSolverState(state), job, solve.state_size_bytes,
                        solve.state_inline));
  solve.solved = state.done;
  if (state.done) return model;
  const SolvePoint next = NextPoint(plan, state);
  solve.stage = next.stage;
  solve.candidates = next.candidates;
  FG_ASSIGN_OR_RETURN(solve.point,
                      Keep(EncodeSolvePoint(next), job, solve.point_size_bytes,
                           solve.point_inline));
  return model;
}

absl::StatusOr<NewModel> GatherStatistics(const PhaseJob& job,
                                          FileStore& files) {
  NewModel model;
  model.digest = job.base.digest;
  model.size_bytes = job.base.size_bytes;
  if (job.base.inline_bytes != nullptr) {
    model.inline_bytes = *job.base.inline_bytes;
  }
  GatheredStatistics gathered;
  gathered.model = job.base.digest;
  FG_ASSIGN_OR_RETURN(gathered.words, SumWords(job, files));
  if (job.masks != nullptr) {
    // Of single masked statistics this could not be seen.
    const StatisticsLayout layout(job.run->plan, *job.run->layout);
    StatisticsCheck check(layout);
    check.Add(0, gathered.words);
    FG_RETURN_IF_ERROR(check.Finish());
  }
  model.metrics["gathered_records"] = gathered.records();
  if (NeedsModel(StatisticsLayout(job.run->plan, *job.run->layout))) {
    FG_ASSIGN_OR_RETURN(gathered.model_bytes, LoadBytes(job.base, files));
  }
  Bytes encoded = EncodeGathered(gathered);
  gathered = GatheredStatistics();
  StatisticsGathered& statistics = model.statistics.emplace();
  FG_ASSIGN_OR_RETURN(statistics.digest,
                      Keep(std::move(encoded), job, statistics.size_bytes,
                           statistics.content_inline));
  return model;
}

absl::StatusOr<NewSketch> AdvanceSketch(const PhaseJob& job, FileStore& files) {
  if (job.form.look == nullptr) {
    return absl::UnavailableError("where the look stands could not be read");
  }
  Look look = *job.form.look;
  FG_ASSIGN_OR_RETURN(std::vector<uint64_t> words, SumWords(job, files));
  FG_RETURN_IF_ERROR(look.Add(std::move(words)));
  NewSketch sketch;
  FG_ASSIGN_OR_RETURN(sketch.digest, Keep(look.Encode(), job, sketch.size_bytes,
                                          sketch.inline_bytes));
  sketch.look = std::make_shared<const Look>(std::move(look));
  return sketch;
}

absl::StatusOr<Look> LoadLook(const RunFacts& run, const ModelRef& pooled,
                              FileStore& files) {
  Bytes content;
  if (pooled.size_bytes > 0) {
    FG_ASSIGN_OR_RETURN(content, LoadBytes(pooled, files));
  }
  return Look::Decode(run.plan, *run.layout, content);
}

absl::StatusOr<std::map<std::string, double>> PoolEvaluation(
    const PhaseJob& job, FileStore& files) {
  if (job.contributions.empty()) return std::map<std::string, double>();
  FG_ASSIGN_OR_RETURN(const ReduceJob reduce, OpenAll(job, files));
  std::vector<double> pooled(job.form.count);
  const ReduceOutcome outcome = ReduceSumsHere(
      reduce, [&](uint64_t begin, absl::Span<const uint64_t> sums) {
        for (size_t i = 0; i < sums.size(); ++i) {
          pooled[begin + i] = Dequantize(job.form.ring, sums[i]);
        }
        return absl::OkStatus();
      });
  FG_RETURN_IF_ERROR(outcome.status);
  if (!(pooled[0] > 0)) return std::map<std::string, double>();
  return EvaluationMetrics(EvaluationLayout(job.run->plan.num_classes()),
                           pooled);
}

}  // namespace fedgraft
