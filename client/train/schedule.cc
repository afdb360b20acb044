#include "client/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "client/data/seeded_random.h"

namespace fedgraft {
namespace {
// Keeps this stream of random numbers apart from others of the same seed.
constexpr uint64_t kOrderStream = 0x6f72646572;  // "order"
}  // namespace

double LearningRate(const Plan& plan, int round) {
  const ScheduleSpec& schedule = plan.schedule;
  const double peak = plan.optimizer.learning_rate;
  const int warmup = schedule.warmup_rounds;
  if (round <= warmup) return peak * round / (warmup + 1);
  const int step = round - 1 - warmup;
  switch (schedule.kind) {
    case ScheduleKind::kConstant:
      return peak;
    case ScheduleKind::kCosine: {
      const double rounds = std::max(1, plan.rounds - warmup);
      const double done = std::min(step / rounds, 1.0);
      return peak * 0.5 * (1 + std::cos(std::numbers::pi * done));
    }
    case ScheduleKind::kStep:
      return peak *
             std::pow(schedule.gamma, step / std::max(1, schedule.step_rounds));
    case ScheduleKind::kSlantedTriangular: {
      // Howard and Ruder, "Universal Language Model Fine-tuning for Text
      // Classification", 2018, equation 3, with rounds for iterations.
      const double rounds = std::max(1, plan.rounds - warmup);
      const double cut = std::max(1.0, rounds * schedule.cut_fraction);
      const double rising = (step + 1) / cut;
      const double share =
          rising <= 1 ? rising
                      : std::max(0.0, 1 - (step + 1 - cut) /
                                              std::max(1.0, rounds - cut));
      return peak * (1 + share * (schedule.ratio - 1)) / schedule.ratio;
    }
  }
  return peak;
}

std::vector<std::vector<int64_t>> EpochBatches(const Plan& plan, int round,
                                               int epoch, int64_t count) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  SeededRandom random({plan.seed, kOrderStream, static_cast<uint64_t>(round),
                       static_cast<uint64_t>(epoch)});
  random.Shuffle(order);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t begin = 0; begin < count; begin += plan.batch_size) {
    const int64_t end = std::min<int64_t>(count, begin + plan.batch_size);
    if (end - begin == 1 && !batches.empty()) {
      batches.back().push_back(order[begin]);
    } else {
      batches.emplace_back(order.begin() + begin, order.begin() + end);
    }
  }
  return batches;
}

}  // namespace fedgraft
