#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/admin.pb.h"

// What `plan rank` found out about candidate backbones, and where it keeps that
// between two calls.

namespace fedgraft {

// Of one finished run over all sites' records.
struct RankResult {
  std::string federation, plan_hash, run;  // plan_hash: hex
  std::string architecture, path, sha256;  // sha256: hex
  // records, features, log_me, h_score, effective_dimension (of the features as
  // the backbone makes them), ridge_lambda, ridge_validation_loss,
  // validation_auc. What is not defined or not known is absent.
  std::map<std::string, double> values;
};

// `values` of a run that has finished. FAILED_PRECONDITION: its history holds
// no measures of transfer.
absl::StatusOr<std::map<std::string, double>> ValuesOfRun(
    const pb::StatusReply& status);

// Best LogME first; without one, last.
void SortByLogMe(std::vector<RankResult>& results);

// For people, and for programs: an array of objects, best first.
std::string RankTable(const std::vector<RankResult>& results);
std::string RankJson(const std::vector<RankResult>& results);

// Results of finished runs, in a file of the form of RankJson.
class RankFile {
 public:
  // No file: no results. FAILED_PRECONDITION naming the path: it holds
  // something else.
  static absl::StatusOr<RankFile> Open(std::string path);

  // Null if there is none.
  const RankResult* Find(const std::string& federation,
                         const std::string& plan_hash) const;
  // On disk when this returns; takes the place of an older one of that plan.
  absl::Status Put(RankResult result);

 private:
  explicit RankFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::vector<RankResult> results_;
};

}  // namespace fedgraft
