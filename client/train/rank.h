#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/train/session.h"
#include "common/base/digest.h"
#include "common/config/plan.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// Backbones to choose from, for these images and classes.
struct RankOptions {
  struct Backbone {
    std::string architecture, path;  // safetensors
  };
  static constexpr int kNeighbours = 5;

  std::vector<Backbone> backbones;
  int num_classes = 2;
  PreprocessingSpec preprocessing;
  ComputeSpec compute;
};

// How well a linear head would do on a frozen backbone's features of the
// training images; higher is better. common/transfer/transferability.h,
// client/train/neighbours.h.
struct BackboneScore {
  RankOptions::Backbone backbone;
  Digest sha256;
  int64_t images = 0, feature_dim = 0;
  double log_me = 0;
  double h_score = 0, h_score_shrunk = 0;
  double neighbour_accuracy = 0, neighbour_balanced_accuracy = 0;
  double seconds = 0;
};

// Best LogME first. Nothing is trained or kept. INVALID_ARGUMENT or NOT_FOUND
// naming the file: a backbone that is none of its architecture;
// FAILED_PRECONDITION: fewer than two classes have training images.
absl::StatusOr<std::vector<BackboneScore>> RankBackbones(
    const RankOptions& options, const DataSource& data, const Clock& clock,
    const ProgressSink& progress);

// For people, and for programs.
std::string RankTable(const std::vector<BackboneScore>& scores);
std::string RankJson(const std::vector<BackboneScore>& scores);

}  // namespace fedgraft
