#include "aggregator/rules/rule_pass.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/rules/site_groups.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"
#include "common/model/control_variates.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {
namespace {

std::vector<absl::Span<const double>> SpansOf(
    const std::vector<std::vector<double>>& updates, size_t from, size_t size) {
  std::vector<absl::Span<const double>> spans;
  for (const std::vector<double>& update : updates) {
    spans.push_back(absl::MakeConstSpan(update).subspan(from, size));
  }
  return spans;
}

}  // namespace

absl::StatusOr<std::shared_ptr<RulePass>> RulePass::Create(
    const Plan& plan, const ParameterLayout& layout, RuleRound round,
    ByteSpan state) {
  FG_ASSIGN_OR_RETURN(auto rule, MakeRule(plan));
  FG_ASSIGN_OR_RETURN(auto statistics_rule, MakeStatisticsRule(plan));
  std::shared_ptr<RulePass> pass(new RulePass(std::move(round), std::move(rule),
                                              std::move(statistics_rule)));
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    const bool is_control = tensor.name.starts_with(kControlVariatePrefix);
    if (tensor.kind == TensorKind::kWeight && !is_control) continue;
    const auto begin = static_cast<uint64_t>(layout.Offset(i));
    const auto count = static_cast<uint64_t>(tensor.Count());
    const AggregationRule* rule = pass->statistics_rule_.get();
    if (is_control) rule = &pass->control_rule_;
    pass->others_.push_back({begin, begin + count, rule});
  }
  if (const SumRule* sum = pass->rule_->AsSum()) {
    const auto count = static_cast<uint64_t>(layout.Count());
    if (state.empty()) {
      pass->state_ = RuleState(sum->StateSlots(), count);
    } else {
      FG_ASSIGN_OR_RETURN(pass->state_,
                          RuleState::Decode(state, sum->StateSlots(), count));
    }
  }
  pass->extra_words_ = ExtraWords(plan.rule);
  const RuleRound& facts = pass->round_;
  for (const uint64_t word : facts.weight_words) {
    pass->total_weight_word_ += word;
  }
  if (facts.total_weight_word.has_value()) {
    pass->total_weight_word_ = *facts.total_weight_word;
  }
  if (pass->OnSums()) return pass;
  const size_t sites = facts.sites.size();
  const auto groups = static_cast<size_t>(plan.rule.groups);
  if (sites < std::max<size_t>(groups, 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        pass->rule_->Name(), ": expected at least ",
        std::max<size_t>(groups, 1), " contributions, got ", sites));
  }
  pass->members_.resize(sites);
  std::iota(pass->members_.begin(), pass->members_.end(), size_t{0});
  pass->SetParts(DealIntoGroups(plan.hash, facts.round, facts.sites,
                                groups > 0 ? groups : sites));
  return pass;
}

void RulePass::SetParts(const std::vector<std::vector<size_t>>& groups) {
  parts_.clear();
  double least = 1;
  for (const std::vector<size_t>& group : groups) {
    uint64_t word = 0;
    for (const size_t k : group) {
      const uint64_t one = round_.weight_words[members_[k]];
      word += one;
      least = std::min(least, WeightOfWord(one));
    }
    parts_.push_back({group, WeightOfWord(word)});
  }
  // Canonical order, whatever the order in which groups were dealt.
  std::sort(parts_.begin(), parts_.end(),
            [](const Part& a, const Part& b) { return a.members < b.members; });
  // A group's mean is no larger than its largest member.
  largest_ = static_cast<double>(round_.ring.TermMax(round_.max_terms)) *
             round_.ring.Step() / least;
  std::lock_guard lock(mutex_);
  distances_ = DistanceMatrix(parts_.size(), round_.ring, largest_);
  kept_.assign(parts_.size(), 0);
}

std::vector<RulePass::Segment> RulePass::Split(uint64_t begin,
                                               uint64_t end) const {
  std::vector<Segment> segments;
  for (const Segment& other : others_) {
    const uint64_t from = std::max(begin, other.begin);
    const uint64_t to = std::min(end, other.end);
    if (from >= to) continue;
    if (begin < from) segments.push_back({begin, from, rule_.get()});
    segments.push_back({from, to, other.rule});
    begin = to;
  }
  if (begin < end) segments.push_back({begin, end, rule_.get()});
  return segments;
}

absl::Status RulePass::ApplySums(uint64_t begin,
                                 absl::Span<const uint64_t> sums,
                                 absl::Span<float> values) {
  // Rules may not assume that they read what they write.
  const std::vector<float> previous(values.begin(), values.end());
  for (const Segment& segment : Split(begin, begin + sums.size())) {
    const size_t from = segment.begin - begin;
    const size_t size = segment.end - segment.begin;
    const SumRule& rule = *segment.rule->AsSum();
    std::vector<absl::Span<float>> state;
    for (int slot = 0; slot < rule.StateSlots(); ++slot) {
      state.push_back(state_.Slot(slot).subspan(segment.begin, size));
    }
    ShardSum shard;
    shard.ring = round_.ring;
    shard.words = sums.subspan(from, size);
    shard.total_weight_word = total_weight_word_;
    shard.contributions = static_cast<int>(round_.sites.size());
    shard.previous = absl::MakeConstSpan(previous).subspan(from, size);
    shard.state = state;
    shard.scalars = scalars_;
    FG_RETURN_IF_ERROR(rule.Apply(shard, values.subspan(from, size)));
  }
  return absl::OkStatus();
}

std::vector<std::vector<double>> RulePass::Updates(
    absl::Span<const absl::Span<const uint64_t>> words) const {
  const size_t size = words[0].size();
  std::vector<std::vector<double>> updates;
  std::vector<uint64_t> sum;
  for (const Part& part : parts_) {
    absl::Span<const uint64_t> of_part = words[part.members[0]];
    if (part.members.size() > 1) {
      sum.assign(of_part.begin(), of_part.end());
      for (size_t k = 1; k < part.members.size(); ++k) {
        const absl::Span<const uint64_t> more = words[part.members[k]];
        for (size_t i = 0; i < size; ++i) sum[i] += more[i];
      }
      of_part = sum;
    }
    std::vector<double> update(size);
    for (size_t i = 0; i < size; ++i) {
      update[i] = Dequantize(round_.ring, of_part[i]) / part.weight;
    }
    updates.push_back(std::move(update));
  }
  return updates;
}

absl::Status RulePass::Measure(
    absl::Span<const absl::Span<const uint64_t>> words) {
  const std::vector<std::vector<double>> updates = Updates(words);
  DistanceMatrix distances(parts_.size(), round_.ring, largest_);
  distances.Add(SpansOf(updates, 0, words[0].size()));
  std::lock_guard lock(mutex_);
  distances_.Add(distances);
  return absl::OkStatus();
}

absl::Status RulePass::Select() {
  std::vector<size_t> selected;
  {
    std::lock_guard lock(mutex_);
    FG_ASSIGN_OR_RETURN(selected, rule_->AsRobust()->Select(distances_));
  }
  std::vector<size_t> members;
  std::vector<std::vector<size_t>> groups;
  for (const size_t part : selected) {
    std::vector<size_t>& group = groups.emplace_back();
    for (const size_t k : parts_[part].members) {
      group.push_back(members.size());
      members.push_back(members_[k]);
    }
  }
  members_ = std::move(members);
  SetParts(groups);
  return absl::OkStatus();
}

absl::Status RulePass::ApplyWords(
    uint64_t begin, absl::Span<const absl::Span<const uint64_t>> words,
    absl::Span<float> values) {
  const std::vector<float> previous(values.begin(), values.end());
  const std::vector<std::vector<double>> updates = Updates(words);
  std::vector<uint64_t> kept(parts_.size(), 0);
  for (const Segment& segment : Split(begin, begin + values.size())) {
    const size_t from = segment.begin - begin;
    const size_t size = segment.end - segment.begin;
    const RobustRule& rule = *segment.rule->AsRobust();
    const std::vector<absl::Span<const double>> spans =
        SpansOf(updates, from, size);
    const ShardUpdates shard = {
        spans, absl::MakeConstSpan(previous).subspan(from, size)};
    FG_RETURN_IF_ERROR(
        rule.Apply(shard, values.subspan(from, size), absl::MakeSpan(kept)));
  }
  std::lock_guard lock(mutex_);
  for (size_t k = 0; k < kept.size(); ++k) kept_[k] += kept[k];
  return absl::OkStatus();
}

std::map<SiteId, double> RulePass::Influence() const {
  std::map<SiteId, double> influence;
  if (OnSums()) return influence;
  for (const SiteId& site : round_.sites) influence[site] = 0;
  std::lock_guard lock(mutex_);
  double total = 0;
  for (size_t k = 0; k < parts_.size(); ++k) {
    total += static_cast<double>(kept_[k]) *
             static_cast<double>(parts_[k].members.size());
  }
  if (!(total > 0)) return influence;
  for (size_t k = 0; k < parts_.size(); ++k) {
    const double share = static_cast<double>(kept_[k]) *
                         static_cast<double>(round_.sites.size()) / total;
    for (const size_t member : parts_[k].members) {
      influence[round_.sites[members_[member]]] = share;
    }
  }
  return influence;
}

}  // namespace fedgraft
