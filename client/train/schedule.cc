#include "client/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>

#include "client/data/seeded_random.h"

namespace fedgraft {
namespace {
// Keeps this stream of random numbers apart from others of the same seed.
constexpr uint64_t kOrderStream = 0x6f72646572;  // "order"

SeededRandom OrderOf(const Plan& plan, int round, int epoch) {
  return SeededRandom({plan.seed, kOrderStream, static_cast<uint64_t>(round),
                       static_cast<uint64_t>(epoch)});
}

std::vector<std::vector<int64_t>> Cut(const std::vector<int64_t>& order,
                                      int64_t batch_size) {
  const auto count = static_cast<int64_t>(order.size());
  std::vector<std::vector<int64_t>> batches;
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    const int64_t end = std::min(count, begin + batch_size);
    if (end - begin == 1 && !batches.empty()) {
      batches.back().push_back(order[begin]);
    } else {
      batches.emplace_back(order.begin() + begin, order.begin() + end);
    }
  }
  return batches;
}

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
      // Where the rise is no whole number of rounds, the fall is over those
      // that remain, so that the last round has the lowest rate.
      const double cut =
          std::max(1.0, std::floor(rounds * schedule.cut_fraction));
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
  SeededRandom random = OrderOf(plan, round, epoch);
  random.Shuffle(order);
  return Cut(order, plan.batch_size);
}

std::vector<std::vector<int64_t>> EpochBatches(
    const Plan& plan, int round, int epoch,
    const std::vector<int64_t>& labels) {
  const auto count = static_cast<int64_t>(labels.size());
  if (plan.loss.sampling == Sampling::kShuffled || count == 0) {
    return EpochBatches(plan, round, epoch, count);
  }
  std::map<int64_t, std::vector<int64_t>> by_label;
  for (int64_t i = 0; i < count; ++i) by_label[labels[i]].push_back(i);
  SeededRandom random = OrderOf(plan, round, epoch);
  std::vector<std::vector<int64_t>> classes;
  for (auto& [label, images] : by_label) {
    random.Shuffle(images);
    classes.push_back(std::move(images));
  }
  // Who has the draws that are left over.
  random.Shuffle(classes);
  std::vector<int64_t> order;
  for (int64_t draw = 0; draw < count; ++draw) {
    const auto& images = classes[draw % classes.size()];
    order.push_back(images[draw / classes.size() % images.size()]);
  }
  random.Shuffle(order);
  return Cut(order, plan.batch_size);
}

}  // namespace fedgraft
