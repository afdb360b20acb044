#include "client/train/rank.h"

#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/preprocess.h"
#include "client/model/network_state.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/feature_rows.h"
#include "client/train/guard.h"
#include "client/train/neighbours.h"
#include "client/train/path_io.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/transfer/transferability.h"

namespace fedgraft {
namespace {

struct Loaded {
  std::shared_ptr<Network> network;
  Digest sha256;
};

absl::StatusOr<Loaded> Load(const RankOptions::Backbone& backbone,
                            int num_classes, const Compute& compute) {
  Loaded loaded;
  FG_ASSIGN_OR_RETURN(loaded.network,
                      BuildModel(backbone.architecture, num_classes));
  FG_ASSIGN_OR_RETURN(Bytes content, ReadFile(backbone.path));
  loaded.sha256 = Sha256(content);
  FG_ASSIGN_OR_RETURN(
      SafetensorsFile file,
      SafetensorsFile::Parse(std::move(content), backbone.path));
  const absl::Status status =
      LoadState(file, HeadPolicy::kIgnore, *loaded.network);
  if (!status.ok()) {
    return Annotate(status,
                    absl::StrCat(backbone.path, " as ", backbone.architecture));
  }
  loaded.network->to(compute.device);
  loaded.network->eval();
  return loaded;
}

absl::StatusOr<BackboneScore> ScoreOf(const RankOptions& options,
                                      const RankOptions::Backbone& backbone,
                                      const DataSource& data,
                                      const Preprocessor& preprocessor,
                                      const Compute& compute,
                                      const ProgressSink& progress) {
  BackboneScore score;
  score.backbone = backbone;
  FG_ASSIGN_OR_RETURN(Loaded loaded,
                      Load(backbone, options.num_classes, compute));
  score.sha256 = loaded.sha256;
  ActivationStore::Options images;
  images.network = loaded.network.get();
  images.compute = &compute;
  images.source = &data;
  images.preprocessor = &preprocessor;
  images.stage = loaded.network->head_stage();
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<ActivationStore> store,
                      ActivationStore::Create(std::move(images), progress));
  FG_ASSIGN_OR_RETURN(const torch::Tensor features,
                      HeadFeatures(*store, *loaded.network, compute, progress));
  score.images = features.size(0);
  score.feature_dim = features.size(1);
  FG_ASSIGN_OR_RETURN(
      const FeatureMoments moments,
      MomentsOf(features, store->labels(), options.num_classes));
  FG_ASSIGN_OR_RETURN(score.log_me, LogMe(moments));
  FG_ASSIGN_OR_RETURN(const HScore h_score, ComputeHScore(moments));
  score.h_score = h_score.plain;
  score.h_score_shrunk = h_score.shrunk;
  FG_ASSIGN_OR_RETURN(const NeighbourScore neighbours,
                      LeaveOneOutNeighbours(features, store->labels(),
                                            RankOptions::kNeighbours));
  score.neighbour_accuracy = neighbours.accuracy;
  score.neighbour_balanced_accuracy = neighbours.balanced_accuracy;
  return score;
}

absl::StatusOr<std::vector<BackboneScore>> Rank(const RankOptions& options,
                                                const DataSource& data,
                                                const Clock& clock,
                                                const ProgressSink& progress) {
  if (data.feature_dim() > 0) {
    return absl::InvalidArgumentError(
        "expected images to rank backbones on, found feature vectors");
  }
  FG_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute(options.compute));
  FG_ASSIGN_OR_RETURN(const Preprocessor preprocessor,
                      Preprocessor::Create(options.preprocessing));
  std::vector<BackboneScore> scores;
  for (const RankOptions::Backbone& backbone : options.backbones) {
    const absl::Time begin = clock.Monotonic();
    FG_ASSIGN_OR_RETURN(
        BackboneScore score,
        ScoreOf(options, backbone, data, preprocessor, compute, progress));
    score.seconds = absl::ToDoubleSeconds(clock.Monotonic() - begin);
    scores.push_back(std::move(score));
  }
  std::stable_sort(scores.begin(), scores.end(),
                   [](const BackboneScore& a, const BackboneScore& b) {
                     return a.log_me > b.log_me;
                   });
  return scores;
}

}  // namespace

absl::StatusOr<std::vector<BackboneScore>> RankBackbones(
    const RankOptions& options, const DataSource& data, const Clock& clock,
    const ProgressSink& progress) {
  if (options.backbones.empty()) {
    return absl::InvalidArgumentError("rank: expected at least 1 backbone");
  }
  return CatchTorch([&] { return Rank(options, data, clock, progress); });
}

}  // namespace fedgraft
