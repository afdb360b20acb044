#include "aggregator/cli/transfer_view.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "aggregator/cli/text_table.h"
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

std::string MeasuresText(const std::map<std::string, double>& measures) {
  if (measures.empty()) return "";
  const std::string features = NumberIn(measures, "features", 0);
  std::string text = absl::StrCat(
      "\nTransfer: how well the frozen features suit the task, before any "
      "training\n(",
      features, " features as the backbone makes them, not normalised; ",
      NumberIn(measures, "records", 0), " training records of all sites)\n");
  absl::StrAppend(
      &text,
      TextTable({{"LogME", NumberIn(measures, "log_me", 4)},
                 {"H-score", NumberIn(measures, "h_score", 4)},
                 {"effective dimension",
                  NumberIn(measures, "effective_dimension", 1)}}),
      "LogME has no scale of its own: compare backbones on the same records, "
      "higher is\n  better.\n"
      "H-score is normally between 0 and the number of classes less 1, higher "
      "is better;\n  with no more records than features it is at the top "
      "whatever the labels.\n"
      "Effective dimension is normally a few per cent of the features; near 1 "
      "they all tell\n  the same.\n");
  return text;
}

std::string AlignmentText(const pb::StatusReply& status) {
  const auto sites = AlignmentBySite(status);
  if (sites.empty()) return "";
  std::vector<TableRow> rows = {{"site", "mean cos2", "z"}};
  for (const auto& [site, alignment] : sites) {
    rows.push_back({site, absl::StrFormat("%.4f", alignment.cos2),
                    absl::StrFormat("%.1f", alignment.z)});
  }
  return absl::StrCat(
      "\nMain directions of the features: each site's against the others' "
      "(principal angles)\n",
      TextTable(rows),
      "z counts standard deviations above random subspaces and is normally "
      "far above 3; near\n  0 the site's images vary in other ways than the "
      "others'.\n");
}

// Per site, which stages have moved.
std::string SiteDriftTable(const pb::StatusReply& status) {
  std::vector<TableRow> rows = {
      {"site", "stages moved", "largest drift", "at"}};
  for (const auto& site : status.sites()) {
    const auto drift = DriftOf(site);
    if (drift.empty()) continue;
    int moved = 0;
    std::string at = "-";
    double largest = 0;
    for (const auto& [stage, value] : drift) {
      if (value != 0) ++moved;
      if (!(value > largest)) continue;
      largest = value;
      at = stage;
    }
    rows.push_back({site.site(), absl::StrCat(moved, " of ", drift.size()),
                    absl::StrFormat("%.4f", largest), at});
  }
  return TextTable(rows);
}

std::string DriftText(const pb::StatusReply& status) {
  const std::vector<StageDrift> stages = DriftByStage(status);
  if (stages.empty()) return "";
  std::vector<TableRow> rows = {
      {"stage", "sites", "pooled", "mean", "least", "most"}};
  for (const StageDrift& stage : stages) {
    rows.push_back({stage.stage, absl::StrCat(stage.sites),
                    stage.pooled.has_value()
                        ? absl::StrFormat("%.4f", *stage.pooled)
                        : "-",
                    absl::StrFormat("%.4f", stage.mean),
                    absl::StrFormat("%.4f", stage.least),
                    absl::StrFormat("%.4f", stage.most)});
  }
  return absl::StrCat(
      "\nDrift of the backbone in this run (1 - CKA on each site's own "
      "images)\n",
      SiteDriftTable(status),
      "\nDrift by stage: pooled (minibatch CKA of all sites' images); mean of "
      "the sites' values,\nweighted by n, and their spread\n",
      TextTable(rows),
      "Normally exactly 0 at frozen stages and growing towards the head; 1 "
      "means that nothing\n  is left of what the stage told before. Sites far "
      "apart move for different reasons.\n");
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

std::string RenderTransfer(const pb::StatusReply& status) {
  return absl::StrCat(MeasuresText(PooledTransfer(status)),
                      AlignmentText(status), DriftText(status));
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
