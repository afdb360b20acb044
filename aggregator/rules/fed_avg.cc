#include "aggregator/rules/fed_avg.h"

#include <algorithm>

#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {
namespace {

// Values at a time, inside the nearest cache.
constexpr size_t kBlock = 1024;

}  // namespace

absl::Status FedAvg::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const double factor =
      server_learning_rate_ / WeightOfWord(sum.total_weight_word);
  double values[kBlock];
  for (size_t begin = 0; begin < next.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, next.size() - begin);
    DequantizeWords(sum.ring, sum.words.subspan(begin, count),
                    absl::MakeSpan(values, count));
    const float* const previous = sum.previous.data() + begin;
    float* const out = next.data() + begin;
    for (size_t i = 0; i < count; ++i) {
      out[i] = static_cast<float>(previous[i] + factor * values[i]);
    }
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
