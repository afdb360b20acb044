#include "client/privacy/budget_ledger.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/privacy/epsilon.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
// Of different costs; one run has one.
constexpr size_t kEntriesMax = 10000;

const char* KindName(DifferentialPrivacy kind) {
  return kind == DifferentialPrivacy::kRecord ? "record" : "site";
}

Json ToJson(const ReleaseCost& cost) {
  if (cost.kind == DifferentialPrivacy::kRecord) {
    return {{"kind", "record"},
            {"noise_multiplier", cost.noise_multiplier},
            {"rate", cost.rate},
            {"steps", cost.steps}};
  }
  return {{"kind", "site"},
          {"norm2_max", cost.sum.norm2_max},
          {"sigma2", cost.sum.sigma2},
          {"dimension", cost.sum.dimension},
          {"contributions", cost.sum.contributions}};
}

// False if it is no positive finite number.
bool ReadPositive(const Json& json, const char* key, double& value) {
  if (!json.contains(key) || !json[key].is_number()) return false;
  value = json[key].get<double>();
  return std::isfinite(value) && value > 0;
}

bool ReadCost(const Json& json, ReleaseCost& cost) {
  if (!json.contains("kind") || !json["kind"].is_string()) return false;
  const std::string kind = json["kind"].get<std::string>();
  if (kind == "record") {
    cost.kind = DifferentialPrivacy::kRecord;
    return ReadPositive(json, "noise_multiplier", cost.noise_multiplier) &&
           ReadPositive(json, "rate", cost.rate) && cost.rate <= 1 &&
           ReadPositive(json, "steps", cost.steps);
  }
  double contributions = 0;
  cost.kind = DifferentialPrivacy::kSite;
  if (kind != "site" || !ReadPositive(json, "norm2_max", cost.sum.norm2_max) ||
      !ReadPositive(json, "sigma2", cost.sum.sigma2) ||
      !ReadPositive(json, "dimension", cost.sum.dimension) ||
      !ReadPositive(json, "contributions", contributions) ||
      contributions > 1 << 20 || contributions != std::floor(contributions)) {
    return false;
  }
  cost.sum.contributions = static_cast<int>(contributions);
  return true;
}

}  // namespace

std::string BudgetLedger::path() const {
  return absl::StrCat("privacy/", budget_.data_set, ".json");
}

absl::StatusOr<std::vector<BudgetLedger::Entry>> BudgetLedger::Read() {
  std::vector<Entry> entries;
  const auto content = ReadAll(files_, path());
  if (absl::IsNotFound(content.status())) return entries;
  FG_RETURN_IF_ERROR(content.status());
  const auto damaged = [this](const std::string& what) {
    return absl::DataLossError(absl::StrCat(
        path(), " is no privacy ledger of data set ", budget_.data_set, " (",
        what,
        "): what was spent is not known, and nothing is built until the file "
        "is back"));
  };
  const Json json = Json::parse(content->begin(), content->end(), nullptr,
                                /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("version", Json()) != kVersion ||
      json.value("data_set", Json()) != budget_.data_set ||
      !json.value("releases", Json()).is_array()) {
    return damaged("version, data_set or releases");
  }
  for (const Json& item : json["releases"]) {
    Entry entry;
    if (!item.is_object() || !ReadCost(item, entry.cost) ||
        !item.value("count", Json()).is_number_unsigned()) {
      return damaged(absl::StrCat("release ", entries.size()));
    }
    entry.count = item["count"].get<uint64_t>();
    const Json run = item.value("last_run", Json());
    const Json round = item.value("last_round", Json());
    if (run.is_string()) entry.last_run = run.get<std::string>();
    if (round.is_number_unsigned()) entry.last_round = round.get<uint32_t>();
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::Status BudgetLedger::Write(const std::vector<Entry>& entries) {
  Json releases = Json::array();
  for (const Entry& entry : entries) {
    Json item = ToJson(entry.cost);
    item["count"] = entry.count;
    item["last_run"] = entry.last_run;
    item["last_round"] = entry.last_round;
    releases.push_back(std::move(item));
  }
  const Json json = {{"version", kVersion},
                     {"data_set", budget_.data_set},
                     {"releases", std::move(releases)}};
  const std::string text = json.dump(2) + "\n";
  return WriteAtomically(files_, path(), AsBytes(text));
}

const std::vector<double>& BudgetLedger::RdpOfOne(const ReleaseCost& cost) {
  const auto found =
      std::find_if(known_.begin(), known_.end(),
                   [&](const auto& known) { return known.first == cost; });
  if (found != known_.end()) return found->second;
  std::vector<double> rdp;
  for (const double order : RdpOrders()) rdp.push_back(RdpOf(cost, order));
  return known_.emplace_back(cost, std::move(rdp)).second;
}

double BudgetLedger::EpsilonOfAll(const std::vector<Entry>& entries) {
  if (entries.empty()) return 0;
  std::vector<double> sums(RdpOrders().size());
  for (const Entry& entry : entries) {
    const std::vector<double>& one = RdpOfOne(entry.cost);
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] += static_cast<double>(entry.count) * one[i];
    }
  }
  return EpsilonOfRdp(RdpOrders(), sums, budget_.delta).epsilon;
}

absl::StatusOr<double> BudgetLedger::Spent() {
  FG_ASSIGN_OR_RETURN(const std::vector<Entry> entries, Read());
  return EpsilonOfAll(entries);
}

absl::StatusOr<PrivacyCharge> BudgetLedger::Charge(const RunId& run,
                                                   RoundId round,
                                                   const ReleaseCost& cost) {
  FG_CHECK(cost.kind != DifferentialPrivacy::kNone);
  FG_ASSIGN_OR_RETURN(std::vector<Entry> entries, Read());
  const double before = EpsilonOfAll(entries);
  if (!entries.empty() && entries.front().cost.kind != cost.kind) {
    return absl::PermissionDeniedError(absl::StrCat(
        "policy.data_set: data set ", budget_.data_set, " was charged for ",
        KindName(entries.front().cost.kind), " privacy, the plan wants ",
        KindName(cost.kind), " privacy, which does not add to it"));
  }
  auto entry =
      std::find_if(entries.begin(), entries.end(),
                   [&](const Entry& known) { return known.cost == cost; });
  if (entry == entries.end()) {
    if (entries.size() == kEntriesMax) {
      return absl::PermissionDeniedError(absl::StrCat(
          "policy.data_set: the ledger of data set ", budget_.data_set,
          " is full with ", kEntriesMax, " kinds of releases"));
    }
    entry = entries.insert(entries.end(), Entry{cost, 0, "", 0});
  }
  ++entry->count;
  entry->last_run = run.value;
  entry->last_round = round.value;
  const double after = EpsilonOfAll(entries);
  // Also if it is infinite or no number.
  if (budget_.epsilon_max > 0 && !(after <= budget_.epsilon_max)) {
    return absl::PermissionDeniedError(absl::StrCat(
        "policy.epsilon_max: data set ", budget_.data_set,
        " has spent epsilon ", before, " of ", budget_.epsilon_max, " (delta ",
        budget_.delta, "), and this update would make it ", after));
  }
  FG_RETURN_IF_ERROR(Write(entries));
  return PrivacyCharge(run, round, cost, after);
}

}  // namespace fedgraft
