#include "aggregator/store/reduce.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "aggregator/store/shard_reader.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/numeric/ring_sum.h"

namespace fedgraft {
namespace {

ReduceOutcome CheckJob(const ReduceJob& job, const ShardPlan& plan) {
  if (job.contributions.empty()) {
    return {absl::InvalidArgumentError("there is nothing to reduce"), {}};
  }
  for (const SealedContribution& one : job.contributions) {
    const SealedStreamShape& shape = one.opener->shape();
    if (shape.head_bytes == plan.shape().head_bytes &&
        shape.total_bytes == plan.shape().total_bytes) {
      continue;
    }
    return {absl::InvalidArgumentError(absl::StrCat(
                "contribution of site ", one.site.value, ": expected ",
                plan.shape().total_bytes, " bytes of plaintext, it has ",
                shape.total_bytes)),
            one.site};
  }
  return {};
}

// Does one shard. Each worker has its own; not thread-safe.
class ShardWorker {
 public:
  virtual ~ShardWorker() = default;
  virtual ReduceOutcome Do(uint64_t shard) = 0;
};
using WorkerFactory = std::function<std::unique_ptr<ShardWorker>(
    const ReduceJob& job, const ShardPlan& plan)>;

class SumWorker : public ShardWorker {
 public:
  SumWorker(const ReduceJob& job, const ShardPlan& plan, const SumSink& sink)
      : job_(job), plan_(plan), sink_(sink) {}

  ReduceOutcome Do(uint64_t shard) override {
    sum_.Reset(job_.ring.word_bits, plan_.Words(shard));
    for (const SealedContribution& one : job_.contributions) {
      const auto packed = reader_.Open(one, plan_.Chunk(shard));
      if (!packed.ok()) return {packed.status(), one.site};
      sum_.Add(*packed);
    }
    sums_.resize(plan_.Words(shard));
    sum_.Get(absl::MakeSpan(sums_));
    if (job_.unmask) job_.unmask(plan_.Begin(shard), absl::MakeSpan(sums_));
    return {sink_(plan_.Begin(shard), sums_), {}};
  }

 private:
  const ReduceJob& job_;
  const ShardPlan& plan_;
  const SumSink& sink_;
  ShardReader reader_;
  RingSum sum_;
  std::vector<uint64_t> sums_;
};

class KeptWorker : public ShardWorker {
 public:
  KeptWorker(const ReduceJob& job, const ShardPlan& plan, ByteSpan lanes,
             const SumSink& sink)
      : job_(job), plan_(plan), lanes_(lanes), sink_(sink) {}

  ReduceOutcome Do(uint64_t shard) override {
    const uint64_t begin = plan_.Begin(shard);
    sums_.resize(plan_.Words(shard));
    const size_t lane_bytes = LaneBytesOf(job_.ring.word_bits);
    LanesToWords(job_.ring.word_bits,
                 lanes_.subspan(begin * lane_bytes, sums_.size() * lane_bytes),
                 absl::MakeSpan(sums_));
    if (job_.unmask) job_.unmask(begin, absl::MakeSpan(sums_));
    return {sink_(begin, sums_), {}};
  }

 private:
  const ReduceJob& job_;
  const ShardPlan& plan_;
  const ByteSpan lanes_;
  const SumSink& sink_;
  std::vector<uint64_t> sums_;
};

class WordsWorker : public ShardWorker {
 public:
  WordsWorker(const ReduceJob& job, const ShardPlan& plan,
              const WordsSink& sink)
      : job_(job), plan_(plan), sink_(sink), words_(job.contributions.size()) {}

  ReduceOutcome Do(uint64_t shard) override {
    for (size_t i = 0; i < words_.size(); ++i) {
      const SealedContribution& one = job_.contributions[i];
      const auto packed = reader_.Open(one, plan_.Chunk(shard));
      if (!packed.ok()) return {packed.status(), one.site};
      words_[i].resize(plan_.Words(shard));
      UnpackWords(job_.ring.word_bits, *packed, absl::MakeSpan(words_[i]));
    }
    const std::vector<absl::Span<const uint64_t>> spans(words_.begin(),
                                                        words_.end());
    return {sink_(plan_.Begin(shard), spans), {}};
  }

 private:
  const ReduceJob& job_;
  const ShardPlan& plan_;
  const WordsSink& sink_;
  ShardReader reader_;
  std::vector<std::vector<uint64_t>> words_;
};

// One reduce on the workers of an Executor: each takes the next shard until
// there is none, in turns. Owned by the closures in the Executor.
class Reduce : public std::enable_shared_from_this<Reduce> {
 public:
  Reduce(Executor& executor, ReduceJob job, WorkerFactory factory,
         std::function<void(ReduceOutcome)> done)
      : executor_(executor),
        job_(std::move(job)),
        plan_(job_.ring, job_.count),
        factory_(std::move(factory)),
        done_(std::move(done)) {}

  void Start() {
    outcome_ = CheckJob(job_, plan_);
    const uint64_t workers = std::min<uint64_t>(
        static_cast<uint64_t>(executor_.Workers()), plan_.shards());
    if (!outcome_.status.ok() || workers == 0) {
      executor_.Run([self = shared_from_this()] { self->Finish(); });
      return;
    }
    running_ = workers;
    for (uint64_t i = 0; i < workers; ++i) QueueTurn();
  }

 private:
  void QueueTurn() {
    executor_.Run([self = shared_from_this()] { self->Turn(); });
  }

  void Turn() {
    const auto worker = factory_(job_, plan_);
    for (uint64_t i = 0; i < std::max<uint64_t>(job_.shards_per_turn, 1); ++i) {
      const uint64_t shard = next_shard_++;
      if (shard >= plan_.shards() || failed_) {
        if (--running_ == 0) Finish();
        return;
      }
      if (ReduceOutcome outcome = worker->Do(shard); !outcome.status.ok()) {
        Fail(std::move(outcome));
      }
    }
    QueueTurn();
  }

  void Fail(ReduceOutcome outcome) {
    std::lock_guard lock(mutex_);
    if (!failed_.exchange(true)) outcome_ = std::move(outcome);
  }

  void Finish() {
    ReduceOutcome outcome;
    {
      std::lock_guard lock(mutex_);
      outcome = std::move(outcome_);
    }
    done_(std::move(outcome));
  }

  Executor& executor_;
  const ReduceJob job_;
  const ShardPlan plan_;
  const WorkerFactory factory_;
  const std::function<void(ReduceOutcome)> done_;
  std::atomic<uint64_t> next_shard_ = 0;
  std::atomic<uint64_t> running_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  ReduceOutcome outcome_ ABSL_GUARDED_BY(mutex_);
};

ReduceOutcome ReduceHere(const ReduceJob& job, const WorkerFactory& factory) {
  const ShardPlan plan(job.ring, job.count);
  ReduceOutcome outcome = CheckJob(job, plan);
  if (!outcome.status.ok()) return outcome;
  const auto worker = factory(job, plan);
  for (uint64_t shard = 0; shard < plan.shards() && outcome.status.ok();
       ++shard) {
    outcome = worker->Do(shard);
  }
  return outcome;
}

template <typename Worker, typename Sink>
WorkerFactory MakeFactory(Sink sink) {
  return [sink = std::move(sink)](const ReduceJob& job, const ShardPlan& plan) {
    return std::make_unique<Worker>(job, plan, sink);
  };
}

}  // namespace

void ReduceSums(Executor& executor, ReduceJob job, SumSink sink,
                std::function<void(ReduceOutcome)> done) {
  std::make_shared<Reduce>(executor, std::move(job),
                           MakeFactory<SumWorker>(std::move(sink)),
                           std::move(done))
      ->Start();
}

void ReduceKeptSums(Executor& executor, ReduceJob job, ByteSpan lanes,
                    SumSink sink, std::function<void(ReduceOutcome)> done) {
  FG_CHECK(lanes.size() == job.count * LaneBytesOf(job.ring.word_bits));
  auto factory = [lanes, sink = std::move(sink)](const ReduceJob& the_job,
                                                 const ShardPlan& plan) {
    return std::make_unique<KeptWorker>(the_job, plan, lanes, sink);
  };
  std::make_shared<Reduce>(executor, std::move(job), std::move(factory),
                           std::move(done))
      ->Start();
}

void ReduceWords(Executor& executor, ReduceJob job, WordsSink sink,
                 std::function<void(ReduceOutcome)> done) {
  std::make_shared<Reduce>(executor, std::move(job),
                           MakeFactory<WordsWorker>(std::move(sink)),
                           std::move(done))
      ->Start();
}

ReduceOutcome ReduceSumsHere(const ReduceJob& job, const SumSink& sink) {
  return ReduceHere(job, MakeFactory<SumWorker>(sink));
}

ReduceOutcome ReduceWordsHere(const ReduceJob& job, const WordsSink& sink) {
  return ReduceHere(job, MakeFactory<WordsWorker>(sink));
}

absl::StatusOr<UpdatePayloadHead> ReadHead(const SealedContribution& one) {
  ShardReader reader;
  FG_ASSIGN_OR_RETURN(const ByteSpan head, reader.Open(one, 0));
  return DecodeUpdateHead(head);
}

uint64_t SumOfWeights(absl::Span<const UpdatePayloadHead> heads) {
  uint64_t sum = 0;
  for (const UpdatePayloadHead& head : heads) sum += head.weight_word;
  return sum;
}

}  // namespace fedgraft
