#include "aggregator/rules/shard_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

absl::Status CheckShard(absl::string_view rule, const ShardSum& sum,
                        int state_slots, absl::Span<const float> next) {
  const size_t count = sum.words.size();
  if (count != sum.previous.size() || count != next.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(rule, ": ", count, " words for ", sum.previous.size(),
                     " previous and ", next.size(), " next values"));
  }
  if (sum.state.size() != static_cast<size_t>(state_slots)) {
    return absl::InvalidArgumentError(
        absl::StrCat(rule, ": expected ", state_slots, " slots of state, got ",
                     sum.state.size()));
  }
  for (const absl::Span<float> slot : sum.state) {
    if (slot.size() == count) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        rule, ": ", slot.size(), " values of state for ", count, " words"));
  }
  if (sum.contributions < 1 || !(WeightOfWord(sum.total_weight_word) > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        rule, ": ", sum.contributions, " contributions with a total weight of ",
        WeightOfWord(sum.total_weight_word)));
  }
  return absl::OkStatus();
}

absl::Status CheckShard(absl::string_view rule, const ShardUpdates& shard,
                        size_t updates_min, absl::Span<const float> next,
                        absl::Span<const uint64_t> kept) {
  const size_t updates = shard.updates.size();
  if (updates < updates_min) {
    return absl::InvalidArgumentError(absl::StrCat(
        rule, ": expected at least ", updates_min, " updates, got ", updates));
  }
  if (kept.size() != updates || shard.previous.size() != next.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        rule, ": ", updates, " updates with ", kept.size(), " counts, ",
        shard.previous.size(), " previous and ", next.size(), " next values"));
  }
  for (const absl::Span<const double> update : shard.updates) {
    if (update.size() == next.size()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(rule, ": an update of ", update.size(), " values for ",
                     next.size(), " parameters"));
  }
  return absl::OkStatus();
}

MeanUpdate::MeanUpdate(const ShardSum& sum)
    : sum_(sum), factor_(1 / WeightOfWord(sum.total_weight_word)) {}

}  // namespace fedgraft
