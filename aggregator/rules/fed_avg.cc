#include "aggregator/rules/fed_avg.h"

#include "absl/strings/str_cat.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

absl::Status FedAvg::Apply(const ShardSum& sum, absl::Span<float> next) const {
  if (sum.words.size() != sum.previous.size() ||
      sum.words.size() != next.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "fed_avg: ", sum.words.size(), " words for ", sum.previous.size(),
        " previous and ", next.size(), " next values"));
  }
  if (sum.contributions < 1 || sum.total_weight_word == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("fed_avg: ", sum.contributions,
                     " contributions with a total weight of ",
                     WeightOfWord(sum.total_weight_word)));
  }
  const double factor =
      server_learning_rate_ / WeightOfWord(sum.total_weight_word);
  for (size_t i = 0; i < next.size(); ++i) {
    next[i] = static_cast<float>(sum.previous[i] +
                                 factor * Dequantize(sum.ring, sum.words[i]));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
