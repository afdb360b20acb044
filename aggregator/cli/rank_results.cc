#include "aggregator/cli/rank_results.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/cli/text_table.h"
#include "aggregator/web/transfer_summary.h"
#include "common/base/status_macros.h"
#include "common/runtime/text_file.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using nlohmann::json;

constexpr const char* kTexts[] = {"federation",   "plan_hash", "run",
                                  "architecture", "path",      "sha256"};

std::string* TextOf(RankResult& result, size_t i) {
  std::string* texts[] = {&result.federation, &result.plan_hash,
                          &result.run,        &result.architecture,
                          &result.path,       &result.sha256};
  return texts[i];
}

json ToJson(RankResult result) {
  json object = json::object();
  for (size_t i = 0; i < std::size(kTexts); ++i) {
    object[kTexts[i]] = *TextOf(result, i);
  }
  for (const auto& [name, value] : result.values) object[name] = value;
  return object;
}

bool FromJson(const json& object, RankResult& result) {
  if (!object.is_object()) return false;
  for (size_t i = 0; i < std::size(kTexts); ++i) {
    const auto it = object.find(kTexts[i]);
    if (it == object.end() || !it->is_string()) return false;
    *TextOf(result, i) = it->get<std::string>();
  }
  for (const auto& [name, value] : object.items()) {
    if (value.is_number()) result.values[name] = value.get<double>();
  }
  return true;
}

}  // namespace

absl::StatusOr<std::map<std::string, double>> ValuesOfRun(
    const pb::StatusReply& status) {
  std::map<std::string, double> values = PooledTransfer(status);
  if (values.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "run ", status.run_id(),
        " gave no measures of transfer; expected at most 2048 features, and "
        "sums of classes that agree with the records"));
  }
  const std::pair<const char*, const char*> others[] = {
      {"solve_lambda", "ridge_lambda"},
      {"solve_validation_loss", "ridge_validation_loss"},
      {"auc", "validation_auc"}};
  for (const auto& round : status.history()) {
    for (const auto& [from, to] : others) {
      const auto it = round.metrics().find(from);
      if (it != round.metrics().end()) values[to] = it->second;
    }
  }
  return values;
}

void SortByLogMe(std::vector<RankResult>& results) {
  const auto key = [](const RankResult& result) {
    const auto it = result.values.find("log_me");
    return it == result.values.end() ? -HUGE_VAL : it->second;
  };
  std::stable_sort(results.begin(), results.end(),
                   [&](const RankResult& a, const RankResult& b) {
                     return key(a) > key(b);
                   });
}

std::string RankTable(const std::vector<RankResult>& results) {
  std::vector<TableRow> rows = {{"architecture", "rank", "sha256", "records",
                                 "features", "LogME", "H-score", "dimension",
                                 "ridge loss", "AUC", "lambda", "run"}};
  for (size_t i = 0; i < results.size(); ++i) {
    const auto& values = results[i].values;
    rows.push_back(
        {results[i].architecture, absl::StrCat(i + 1),
         results[i].sha256.substr(0, 12), NumberIn(values, "records", 0),
         NumberIn(values, "features", 0), NumberIn(values, "log_me", 4),
         NumberIn(values, "h_score", 4),
         NumberIn(values, "effective_dimension", 1),
         NumberIn(values, "ridge_validation_loss", 4),
         NumberIn(values, "validation_auc", 3),
         NumberIn(values, "ridge_lambda", 1), results[i].run});
  }
  return TextTable(rows);
}

std::string RankJson(const std::vector<RankResult>& results) {
  json array = json::array();
  for (const RankResult& result : results) array.push_back(ToJson(result));
  return array.dump(2, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<RankFile> RankFile::Open(std::string path) {
  RankFile file(std::move(path));
  const absl::StatusOr<std::string> text = ReadTextFile(file.path_);
  if (absl::IsNotFound(text.status())) return file;
  FG_RETURN_IF_ERROR(text.status());
  const json array = json::parse(*text, nullptr, false);
  bool good = array.is_array();
  for (size_t i = 0; good && i < array.size(); ++i) {
    good = FromJson(array[i], file.results_.emplace_back());
  }
  if (good) return file;
  return absl::FailedPreconditionError(
      absl::StrCat(file.path_,
                   " holds no results of plan rank; expected those of an "
                   "earlier call, or no file"));
}

const RankResult* RankFile::Find(const std::string& federation,
                                 const std::string& plan_hash) const {
  for (const RankResult& result : results_) {
    if (result.federation == federation && result.plan_hash == plan_hash) {
      return &result;
    }
  }
  return nullptr;
}

absl::Status RankFile::Put(RankResult result) {
  const auto same = [&](const RankResult& old) {
    return old.federation == result.federation &&
           old.plan_hash == result.plan_hash;
  };
  results_.erase(std::remove_if(results_.begin(), results_.end(), same),
                 results_.end());
  results_.push_back(std::move(result));
  return WriteTextFile(path_, RankJson(results_) + "\n");
}

}  // namespace fedgraft
