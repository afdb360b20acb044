#include "tests/rules/rule_bench.h"

#include <algorithm>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"

namespace fedgraft::testing {
namespace {

using Words = std::vector<absl::Span<const uint64_t>>;

// Calls `shard(begin, end)` for all of [0, count); the first error.
absl::Status ForShards(
    size_t count, const ShardOrder& order,
    const std::function<absl::Status(size_t, size_t)>& shard) {
  std::vector<size_t> begins;
  for (size_t i = 0; i < count; i += order.words) begins.push_back(i);
  if (order.backwards) std::reverse(begins.begin(), begins.end());
  const auto threads = static_cast<size_t>(order.threads);
  std::vector<absl::Status> results(threads);
  const auto work = [&](size_t thread) {
    for (size_t k = thread; k < begins.size(); k += threads) {
      results[thread].Update(
          shard(begins[k], std::min(count, begins[k] + order.words)));
    }
  };
  std::vector<std::thread> others;
  for (size_t t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& other : others) other.join();
  for (const absl::Status& result : results) FG_RETURN_IF_ERROR(result);
  return absl::OkStatus();
}

ParameterLayout WeightsOnly(size_t count) {
  return *ParameterLayout::Create(
      {{"w", {static_cast<int64_t>(count)}, TensorKind::kWeight}});
}

}  // namespace

Plan PlanOf(absl::string_view rule, int sites) {
  Plan plan;
  plan.rule.kind = std::string(rule);
  plan.quorum = plan.expected_sites = sites;
  return plan;
}

RuleBench::RuleBench(const Plan& plan, ParameterLayout layout)
    : plan_(plan),
      layout_(std::move(layout)),
      ring_(*TrainRing(plan)),
      sites_{plan.expected_sites, plan.expected_sites} {}

RuleBench::RuleBench(const Plan& plan, size_t count)
    : RuleBench(plan, WeightsOnly(count)) {}

void RuleBench::AddWords(std::string_view site, std::vector<float> update,
                         double weight, const std::vector<float>& extra) {
  update.insert(update.end(), extra.begin(), extra.end());
  const uint64_t word = WeightWord(weight);
  auto quantized = Quantize(ring_, MaxTerms(plan_), update, WeightOfWord(word));
  FG_CHECK(quantized.ok());
  contributions_.push_back(
      {{std::string(site)}, std::move(quantized->words), word});
}

absl::StatusOr<RuleBench::Result> RuleBench::Reduce(
    const std::vector<float>& previous, ByteSpan state,
    const ShardOrder& order) const {
  const size_t count = previous.size();
  std::vector<Contribution> canonical = contributions_;
  std::sort(canonical.begin(), canonical.end(),
            [](const auto& a, const auto& b) { return a.site < b.site; });
  RuleRound round;
  round.round = {1};
  round.ring = ring_;
  round.max_terms = MaxTerms(plan_);
  round.of_run = sites_;
  for (const Contribution& one : canonical) {
    round.sites.push_back(one.site);
    round.weight_words.push_back(one.weight_word);
  }
  FG_ASSIGN_OR_RETURN(const auto pass,
                      RulePass::Create(plan_, layout_, round, state));
  Result result;
  result.next = previous;
  const auto values = absl::MakeSpan(result.next);
  const auto words_of = [&](size_t begin, size_t end, bool members_only) {
    Words words;
    for (size_t k = 0; k < canonical.size(); ++k) {
      const auto& members = pass->members();
      if (members_only &&
          std::find(members.begin(), members.end(), k) == members.end()) {
        continue;
      }
      words.push_back(
          absl::MakeConstSpan(canonical[k].words).subspan(begin, end - begin));
    }
    return words;
  };
  if (pass->OnSums()) {
    std::vector<uint64_t> scalars(static_cast<size_t>(pass->extra_words()), 0);
    for (const Contribution& one : contributions_) {
      for (size_t i = 0; i < scalars.size(); ++i) {
        scalars[i] += one.words[count + i];
      }
    }
    pass->SetScalars(std::move(scalars));
    FG_RETURN_IF_ERROR(ForShards(count, order, [&](size_t begin, size_t end) {
      std::vector<uint64_t> sums(end - begin, 0);
      for (const Contribution& one : contributions_) {  // as they arrived
        for (size_t i = begin; i < end; ++i) sums[i - begin] += one.words[i];
      }
      return pass->ApplySums(begin, sums, values.subspan(begin, end - begin));
    }));
  } else {
    if (pass->Selects()) {
      FG_RETURN_IF_ERROR(ForShards(count, order, [&](size_t begin, size_t end) {
        return pass->Measure(words_of(begin, end, false));
      }));
      FG_RETURN_IF_ERROR(pass->Select());
    }
    FG_RETURN_IF_ERROR(ForShards(count, order, [&](size_t begin, size_t end) {
      return pass->ApplyWords(begin, words_of(begin, end, true),
                              values.subspan(begin, end - begin));
    }));
  }
  if (pass->state().slots() > 0) result.state = pass->state().Encode();
  result.influence = pass->Influence();
  return result;
}

}  // namespace fedgraft::testing
