#include "aggregator/round/rule_reduce.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "aggregator/store/shard_reader.h"

namespace fedgraft {
namespace {

using Words = absl::Span<const absl::Span<const uint64_t>>;

// With a single shard the other workers have nothing to do.
bool HasOneShard(const ReduceJob& job) {
  return ShardPlan(job.ring, job.count).shards() <= 1;
}

void ReduceAll(Executor& executor, ReduceJob job, WordsSink sink,
               std::function<void(ReduceOutcome)> done) {
  if (HasOneShard(job)) {
    done(ReduceWordsHere(job, sink));
  } else {
    ReduceWords(executor, std::move(job), std::move(sink), std::move(done));
  }
}

// The sums of the last `count` words, whose shards are read for them alone.
ReduceOutcome SumLastWords(const ReduceJob& job, int count,
                           std::vector<uint64_t>& sums) {
  const ShardPlan plan(job.ring, job.count);
  const uint64_t first = job.count - static_cast<uint64_t>(count);
  sums.assign(static_cast<size_t>(count), 0);
  ShardReader reader;
  std::vector<uint64_t> words;
  for (uint64_t shard = plan.shards(); shard-- > 0;) {
    const uint64_t begin = plan.Begin(shard);
    const uint64_t end = begin + plan.Words(shard);
    if (end <= first) break;
    for (const SealedContribution& one : job.contributions) {
      const auto packed = reader.Open(one, plan.Chunk(shard));
      if (!packed.ok()) return {packed.status(), one.site};
      words.resize(plan.Words(shard));
      UnpackWords(job.ring.word_bits, *packed, absl::MakeSpan(words));
      for (uint64_t i = std::max(begin, first); i < end; ++i) {
        sums[i - first] += words[i - begin];
      }
    }
    if (job.unmask) {
      // Masks are read shard by shard, as the words were.
      words.assign(plan.Words(shard), 0);
      job.unmask(begin, absl::MakeSpan(words));
      for (uint64_t i = std::max(begin, first); i < end; ++i) {
        sums[i - first] += words[i - begin];
      }
    }
  }
  return {};
}

void ApplyRobust(Executor& executor, std::shared_ptr<RulePass> pass,
                 const ReduceJob& job, absl::Span<float> values,
                 std::function<void(ReduceOutcome)> done) {
  ReduceJob of_members = job;
  of_members.contributions.clear();
  for (const size_t k : pass->members()) {
    of_members.contributions.push_back(job.contributions[k]);
  }
  ReduceAll(
      executor, std::move(of_members),
      [pass = std::move(pass), values](uint64_t begin, Words words) {
        return pass->ApplyWords(begin, words,
                                values.subspan(begin, words[0].size()));
      },
      std::move(done));
}

}  // namespace

void ReduceByRule(Executor& executor, std::shared_ptr<RulePass> pass,
                  ReduceJob job, absl::Span<float> values,
                  std::function<void(ReduceOutcome)> done) {
  if (pass->OnSums()) {
    if (pass->extra_words() > 0) {
      std::vector<uint64_t> scalars;
      ReduceOutcome outcome = SumLastWords(job, pass->extra_words(), scalars);
      if (!outcome.status.ok()) return done(std::move(outcome));
      pass->SetScalars(std::move(scalars));
    }
    auto sink = [pass, values](uint64_t begin,
                               absl::Span<const uint64_t> sums) {
      // What follows the parameters was taken before.
      if (begin >= values.size()) return absl::OkStatus();
      const auto shard = values.subspan(begin, sums.size());
      return pass->ApplySums(begin, sums.first(shard.size()), shard);
    };
    if (HasOneShard(job)) return done(ReduceSumsHere(job, sink));
    return ReduceSums(executor, std::move(job), std::move(sink),
                      std::move(done));
  }
  if (!pass->Selects()) {
    return ApplyRobust(executor, std::move(pass), job, values, std::move(done));
  }
  auto measure = [pass](uint64_t, Words words) { return pass->Measure(words); };
  auto measured = [&executor, pass, job, values,
                   done = std::move(done)](ReduceOutcome outcome) {
    if (outcome.status.ok()) outcome.status = pass->Select();
    if (!outcome.status.ok()) return done(std::move(outcome));
    ApplyRobust(executor, pass, job, values, done);
  };
  ReduceAll(executor, std::move(job), std::move(measure), std::move(measured));
}

}  // namespace fedgraft
