#include "client/train/plan_learner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/model/graft.h"
#include "client/model/network_state.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/model/trainable_set.h"

namespace fedgraft {

absl::StatusOr<std::unique_ptr<Learner>> MakeLearner(
    const Plan& plan, const SafetensorsFile& backbone,
    const std::string& backbone_path, const Compute& compute) {
  FG_ASSIGN_OR_RETURN(
      std::shared_ptr<Network> network,
      HasBackbone(plan) ? BuildModel(plan.architecture, plan.num_classes())
                        : BuildIdentity(plan.feature_dim, plan.num_classes()));
  absl::Status loaded = LoadState(backbone, HeadPolicy::kIgnore, *network);
  if (!loaded.ok()) {
    return Annotate(loaded, absl::StrCat("backbone ", backbone_path, " as ",
                                         plan.architecture));
  }
  FG_RETURN_IF_ERROR(GraftOnto(plan, *network));
  FG_ASSIGN_OR_RETURN(ParameterLayout layout,
                      TravellingParameters(plan, backbone));
  return Learner::Create(plan, std::move(layout), std::move(network), compute);
}

}  // namespace fedgraft
