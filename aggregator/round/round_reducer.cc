#include "aggregator/round/round_reducer.h"

#include <utility>
#include <vector>

#include "aggregator/round/memory_file.h"
#include "aggregator/rules/rule.h"
#include "aggregator/store/reduce.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/evaluation_layout.h"
#include "common/model/safetensors.h"
#include "common/runtime/blob_store.h"

namespace fedgraft {
namespace {

// The job and what the workers share while they sum.
struct RoundWork {
  std::shared_ptr<const PhaseJob> job;
  std::unique_ptr<AggregationRule> rule;
  uint64_t total_weight_word = 0;
  uint64_t saturated = 0;
  // The base model between moments; becomes the next one shard by shard.
  ParameterVector values;
};

absl::StatusOr<ReduceJob> OpenAll(const PhaseJob& job, FileStore& files) {
  ReduceJob reduce;
  reduce.ring = job.form.ring;
  reduce.count = job.form.count;
  for (const auto& [site, contribution] : job.contributions) {
    SealedContribution one;
    one.site = site;
    FG_ASSIGN_OR_RETURN(one.sealed, OpenContribution(files, contribution));
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

absl::StatusOr<ParameterVector> LoadBase(const PhaseJob& job,
                                         FileStore& files) {
  FG_ASSIGN_OR_RETURN(const auto file, OpenModel(files, job.base));
  Bytes content(file->size_bytes());
  FG_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(content)));
  return DecodeTrainableSet(*job.run->layout, content);
}

absl::Status Prepare(RoundWork& work, FileStore& files, ReduceJob& reduce) {
  const PhaseJob& job = *work.job;
  FG_ASSIGN_OR_RETURN(work.rule, MakeRule(job.run->plan));
  FG_ASSIGN_OR_RETURN(reduce, OpenAll(job, files));
  std::vector<UpdatePayloadHead> heads;
  for (const SealedContribution& one : reduce.contributions) {
    FG_ASSIGN_OR_RETURN(UpdatePayloadHead head, ReadHead(one));
    work.saturated += head.saturated;
    heads.push_back(head);
  }
  work.total_weight_word = SumOfWeights(heads);
  FG_ASSIGN_OR_RETURN(work.values, LoadBase(job, files));
  ToMoments(*job.run->layout, work.values);
  return absl::OkStatus();
}

absl::Status ApplyShard(RoundWork& work, uint64_t begin,
                        absl::Span<const uint64_t> sums) {
  const auto next = absl::MakeSpan(work.values).subspan(begin, sums.size());
  // Rules may not assume that they read what they write.
  const std::vector<float> previous(next.begin(), next.end());
  ShardSum shard;
  shard.ring = work.job->form.ring;
  shard.words = sums;
  shard.total_weight_word = work.total_weight_word;
  shard.contributions = static_cast<int>(work.job->contributions.size());
  shard.previous = previous;
  return work.rule->Apply(shard, next);
}

absl::StatusOr<NewModel> Encode(RoundWork& work, FileStore& files) {
  const PhaseJob& job = *work.job;
  FromMoments(*job.run->layout, work.values);
  Bytes encoded = EncodeTrainableSet(*job.run->layout, work.values);
  work.values = ParameterVector();
  NewModel model;
  model.size_bytes = encoded.size();
  model.saturated = work.saturated;
  if (encoded.size() <= job.inline_bytes_max) {
    model.digest = Sha256(encoded);
    model.inline_bytes = std::move(encoded);
  } else {
    FG_ASSIGN_OR_RETURN(model.digest,
                        BlobStore(files, kBlobFolder).Put(encoded));
  }
  return model;
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
  auto sink = [work](uint64_t begin, absl::Span<const uint64_t> sums) {
    return ApplyShard(*work, begin, sums);
  };
  auto finish = [work, &files, done = std::move(done)](ReduceOutcome outcome) {
    if (outcome.status.ok()) {
      done(Encode(*work, files));
    } else {
      done(outcome.status);
    }
  };
  // The head and a single shard: other workers have nothing to do.
  if (work->job->form.shape.ChunkCount() <= 2) {
    finish(ReduceSumsHere(reduce, sink));
  } else {
    ReduceSums(executor, std::move(reduce), std::move(sink), std::move(finish));
  }
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
