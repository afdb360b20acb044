#include "common/shift/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

// Records of each patient, and the patients of each stratum.
struct Patients {
  std::vector<std::vector<int64_t>> records;
  std::vector<std::vector<size_t>> strata;
};

Patients GroupRecords(absl::Span<const int64_t> group,
                      absl::Span<const int64_t> stratum) {
  std::map<int64_t, size_t> index;
  std::map<int64_t, std::vector<size_t>> strata;
  Patients patients;
  for (size_t i = 0; i < group.size(); ++i) {
    const auto [place, is_new] =
        index.emplace(group[i], patients.records.size());
    if (is_new) {
      patients.records.emplace_back();
      strata[stratum.empty() ? 0 : stratum[i]].push_back(place->second);
    }
    patients.records[place->second].push_back(static_cast<int64_t>(i));
  }
  for (auto& [name, members] : strata) patients.strata.push_back(members);
  return patients;
}

std::vector<int64_t> Draw(const Patients& patients, std::mt19937_64& random) {
  std::vector<int64_t> drawn;
  for (const std::vector<size_t>& members : patients.strata) {
    for (size_t i = 0; i < members.size(); ++i) {
      const auto& records =
          patients.records[members[random() % members.size()]];
      drawn.insert(drawn.end(), records.begin(), records.end());
    }
  }
  return drawn;
}

// Efron's acceleration, from leaving one patient out at a time.
double Acceleration(
    const Patients& patients,
    const std::function<double(absl::Span<const int64_t>)>& statistic) {
  std::vector<double> values;
  for (size_t left_out = 0; left_out < patients.records.size(); ++left_out) {
    std::vector<int64_t> rest;
    for (size_t p = 0; p < patients.records.size(); ++p) {
      if (p == left_out) continue;
      rest.insert(rest.end(), patients.records[p].begin(),
                  patients.records[p].end());
    }
    const double value = statistic(rest);
    if (!std::isnan(value)) values.push_back(value);
  }
  double mean = 0;
  for (double value : values) mean += value / values.size();
  double squares = 0, cubes = 0;
  for (double value : values) {
    const double d = mean - value;
    squares += d * d;
    cubes += d * d * d;
  }
  return squares > 0 ? cubes / (6 * std::pow(squares, 1.5)) : 0;
}

}  // namespace

absl::StatusOr<BootstrapInterval> BootstrapBca(
    absl::Span<const int64_t> group, absl::Span<const int64_t> stratum,
    const std::function<double(absl::Span<const int64_t>)>& statistic,
    uint64_t seed, int draws, double level) {
  const Patients patients = GroupRecords(group, stratum);
  if ((!stratum.empty() && stratum.size() != group.size()) ||
      patients.records.size() < 3 || draws < 100 || !(level > 0 && level < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bootstrap: expected three patients or more, a stratum for each of ",
        group.size(),
        " records or for none, 100 draws or more and a level in "
        "(0, 1), not ",
        patients.records.size(), ", ", stratum.size(), ", ", draws, " and ",
        level));
  }
  std::vector<int64_t> all(group.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  BootstrapInterval interval;
  interval.estimate = statistic(all);
  if (std::isnan(interval.estimate)) {
    return absl::FailedPreconditionError(
        "bootstrap: the statistic is not defined on the records");
  }
  std::mt19937_64 random(seed);
  std::vector<double> values;
  double below = 0;
  for (int draw = 0; draw < draws; ++draw) {
    const double value = statistic(Draw(patients, random));
    if (std::isnan(value)) continue;
    values.push_back(value);
    below += value < interval.estimate    ? 1
             : value == interval.estimate ? 0.5
                                          : 0;
  }
  if (2 * values.size() < static_cast<size_t>(draws)) {
    return absl::FailedPreconditionError(
        absl::StrCat("bootstrap: the statistic is defined on ", values.size(),
                     " of ", draws, " draws"));
  }
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  const double bias =
      NormalQuantile(std::clamp(below / count, 0.5 / count, 1 - 0.5 / count));
  const double acceleration = Acceleration(patients, statistic);
  const auto at = [&](double quantile) {
    const double z = bias + NormalQuantile(quantile);
    const double p = 1 - NormalTail(bias + z / (1 - acceleration * z));
    const auto index = static_cast<int64_t>(std::floor(p * count));
    return values[std::clamp<int64_t>(index, 0, values.size() - 1)];
  };
  interval.low = at((1 - level) / 2);
  interval.high = at((1 + level) / 2);
  return interval;
}

}  // namespace fedgraft
