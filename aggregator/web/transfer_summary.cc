#include "aggregator/web/transfer_summary.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/transfer/cka.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

constexpr absl::string_view kMeasure = "transfer_";
constexpr absl::string_view kCos2 = "subspace_cos2_", kZ = "subspace_z_";
constexpr absl::string_view kDrift = "drift_";

bool IsDigit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }

// Runs of digits compare as numbers.
struct NaturalLess {
  bool operator()(absl::string_view a, absl::string_view b) const {
    while (!a.empty() && !b.empty()) {
      const absl::string_view x = Piece(a), y = Piece(b);
      const bool numbers = IsDigit(x[0]) && IsDigit(y[0]);
      if (numbers && x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
      a.remove_prefix(x.size());
      b.remove_prefix(y.size());
    }
    return a.size() < b.size();
  }

 private:
  static absl::string_view Piece(absl::string_view text) {
    size_t size = 1;
    while (IsDigit(text[0]) && size < text.size() && IsDigit(text[size])) {
      ++size;
    }
    return text.substr(0, size);
  }
};

// What a site told of its stages, by stage.
std::map<std::string, double, NaturalLess> DriftOf(const pb::SiteStatus& site) {
  std::map<std::string, double, NaturalLess> drift;
  for (const auto& [name, value] : site.scalars()) {
    absl::string_view stage = name;
    if (absl::ConsumePrefix(&stage, kDrift)) drift[std::string(stage)] = value;
  }
  return drift;
}

double ImagesOf(const pb::SiteStatus& site) {
  const auto it = site.scalars().find("n");
  return it == site.scalars().end() ? 0 : std::max(it->second, 0.0);
}

// Of the sites that told it; 1 if none did.
double MeanImages(const pb::StatusReply& status) {
  double sum = 0;
  int count = 0;
  for (const auto& site : status.sites()) {
    if (!(ImagesOf(site) > 0)) continue;
    sum += ImagesOf(site);
    ++count;
  }
  return count == 0 ? 1 : sum / count;
}

// Of all batches of all sites that told the stage's drift.
std::optional<double> PooledDrift(const pb::StatusReply& status,
                                  const std::string& stage) {
  MinibatchCka cka;
  for (const auto& site : status.sites()) {
    const auto& scalars = site.scalars();
    if (!scalars.contains(absl::StrCat(kDrift, stage))) continue;
    const auto xy = scalars.find(absl::StrCat("hsic_xy_", stage));
    const auto xx = scalars.find(absl::StrCat("hsic_xx_", stage));
    const auto yy = scalars.find(absl::StrCat("hsic_yy_", stage));
    for (const auto& part : {xy, xx, yy}) {
      if (part == scalars.end()) return std::nullopt;
    }
    cka.Merge({xy->second, xx->second, yy->second});
  }
  const absl::StatusOr<double> value = cka.Cka();
  if (!value.ok()) return std::nullopt;
  return std::max(1 - *value, 0.0);
}

}  // namespace

std::map<std::string, double> PooledTransfer(const pb::StatusReply& status) {
  std::map<std::string, double> measures;
  for (const auto& round : status.history()) {
    for (const auto& [name, value] : round.metrics()) {
      absl::string_view measure = name;
      if (absl::ConsumePrefix(&measure, kMeasure)) {
        measures[std::string(measure)] = value;
      }
    }
  }
  return measures;
}

std::map<std::string, SiteAlignment> AlignmentBySite(
    const pb::StatusReply& status) {
  std::map<std::string, SiteAlignment> sites;
  for (const auto& round : status.history()) {
    for (const auto& [name, value] : round.metrics()) {
      absl::string_view site = name;
      if (absl::ConsumePrefix(&site, kCos2)) {
        sites[std::string(site)].cos2 = value;
      } else if (absl::ConsumePrefix(&site, kZ)) {
        sites[std::string(site)].z = value;
      }
    }
  }
  return sites;
}

std::vector<StageDrift> DriftByStage(const pb::StatusReply& status) {
  const double fallback = MeanImages(status);
  std::map<std::string, StageDrift, NaturalLess> stages;
  std::map<std::string, double> weights;
  for (const auto& site : status.sites()) {
    const double weight = ImagesOf(site) > 0 ? ImagesOf(site) : fallback;
    for (const auto& [name, value] : DriftOf(site)) {
      StageDrift& stage = stages[name];
      stage.least = stage.sites == 0 ? value : std::min(stage.least, value);
      stage.most = stage.sites == 0 ? value : std::max(stage.most, value);
      stage.mean += weight * value;
      weights[name] += weight;
      ++stage.sites;
    }
  }
  std::vector<StageDrift> result;
  for (auto& [name, stage] : stages) {
    stage.stage = name;
    stage.pooled = PooledDrift(status, name);
    stage.mean /= weights[name];
    result.push_back(stage);
  }
  return result;
}

std::vector<std::pair<std::string, double>> DriftOfSite(
    const pb::SiteStatus& site) {
  const auto drift = DriftOf(site);
  return {drift.begin(), drift.end()};
}

nlohmann::json TransferJson(const pb::StatusReply& status) {
  nlohmann::json json;
  json["pooled"] = PooledTransfer(status);
  json["subspaces"] = nlohmann::json::array();
  for (const auto& [site, alignment] : AlignmentBySite(status)) {
    json["subspaces"].push_back(
        {{"site", site}, {"cos2", alignment.cos2}, {"z", alignment.z}});
  }
  json["drift"] = nlohmann::json::array();
  for (const StageDrift& stage : DriftByStage(status)) {
    json["drift"].push_back({{"stage", stage.stage},
                             {"sites", stage.sites},
                             {"mean", stage.mean},
                             {"least", stage.least},
                             {"most", stage.most}});
    if (stage.pooled.has_value()) {
      json["drift"].back()["pooled"] = *stage.pooled;
    }
  }
  return json;
}

}  // namespace fedgraft
