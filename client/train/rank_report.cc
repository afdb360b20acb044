#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/train/rank.h"
#include "nlohmann/json.hpp"

namespace fedgraft {

std::string RankTable(const std::vector<BackboneScore>& scores) {
  size_t width = 12;
  for (const BackboneScore& score : scores) {
    width = std::max(width, score.backbone.architecture.size());
  }
  std::string text =
      absl::StrFormat("%-*s  %-12s  %8s  %9s  %9s  %9s  %8s  %8s  %7s\n", width,
                      "architecture", "sha256", "features", "LogME", "H shrunk",
                      "H-score", "5-NN", "5-NN bal", "seconds");
  for (const BackboneScore& score : scores) {
    absl::StrAppendFormat(
        &text, "%-*s  %-12s  %8d  %9.4f  %9.4f  %9.4f  %8.4f  %8.4f  %7.1f\n",
        width, score.backbone.architecture, score.sha256.Short(),
        score.feature_dim, score.log_me, score.h_score_shrunk, score.h_score,
        score.neighbour_accuracy, score.neighbour_balanced_accuracy,
        score.seconds);
  }
  return text;
}

std::string RankJson(const std::vector<BackboneScore>& scores) {
  nlohmann::json json = nlohmann::json::array();
  for (const BackboneScore& score : scores) {
    json.push_back(
        {{"architecture", score.backbone.architecture},
         {"path", score.backbone.path},
         {"sha256", score.sha256.Hex()},
         {"images", score.images},
         {"feature_dim", score.feature_dim},
         {"log_me", score.log_me},
         {"h_score", score.h_score},
         {"h_score_shrunk", score.h_score_shrunk},
         {"neighbour_accuracy", score.neighbour_accuracy},
         {"neighbour_balanced_accuracy", score.neighbour_balanced_accuracy},
         {"seconds", score.seconds}});
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace fedgraft
