#include "common/config/probe_plan.h"

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/config/config_errors.h"
#include "common/config/deterministic_bytes.h"
#include "common/config/identity.h"
#include "common/config/plan_loader.h"
#include "common/config/yaml_to_proto.h"
#include "proto/plan.pb.h"

namespace fedgraft {
namespace {

// Everything that a probe does not take from the plan, defaults included. All
// lambdas come from one exchange of sums.
constexpr char kProbe[] = R"(
version: 1
name: rank
rounds: 0
sites: {quorum: 1}
task: {classes: [a, b]}
backbone: {architecture: resnet18}
strategy: {kind: linear_probe}
evaluation: {every: 0, split: val, final_split: val}
solver: {kind: ridge, lambdas: [1000, 100, 10, 1, 0.1],
         rounds_max: 3}
)";

}  // namespace

absl::StatusOr<Plan> ProbePlan(const Plan& plan,
                               const std::string& architecture,
                               const Digest& backbone) {
  if (architecture == kIdentity || !HasBackbone(plan)) {
    return absl::InvalidArgumentError(
        "expected a plan and backbones for images; architecture identity has "
        "feature vectors and no backbone to choose");
  }
  if (plan.differential_privacy.kind != DifferentialPrivacy::kNone) {
    return absl::InvalidArgumentError(
        "found differential privacy in the plan; backbones are ranked by exact "
        "sums, which it does not allow");
  }
  ConfigErrors errors("probe");
  pb::Plan probe;
  YamlToProto(kProbe, "", probe, errors);
  FG_CHECK(errors.ToStatus().ok());
  pb::Plan from;
  FG_CHECK(from.ParseFromArray(plan.bytes.data(),
                               static_cast<int>(plan.bytes.size())));
  probe.set_name(absl::StrCat("rank ", architecture));
  probe.set_seed(from.seed());
  *probe.mutable_sites() = from.sites();
  *probe.mutable_deadlines() = from.deadlines();
  *probe.mutable_task() = from.task();
  *probe.mutable_preprocessing() = from.preprocessing();
  *probe.mutable_update() = from.update();
  *probe.mutable_privacy() = from.privacy();
  probe.mutable_backbone()->set_architecture(architecture);
  probe.mutable_backbone()->set_sha256(backbone.Hex());
  if (plan.solver.kind != SolverKind::kNone) {
    *probe.mutable_solver()->mutable_lambdas() = from.solver().lambdas();
    if (plan.solver.normalization == Normalization::kNone) {
      probe.mutable_solver()->set_normalization("none");
    }
  }
  return PlanFromBytes(DeterministicBytes(probe));
}

}  // namespace fedgraft
