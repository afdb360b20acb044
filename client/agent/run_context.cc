#include "client/agent/run_context.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_loader.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/protocol/statements.h"

namespace fedgraft {
namespace {

TensorKind KindOf(std::string_view name) {
  const absl::string_view text(name.data(), name.size());
  if (absl::EndsWith(text, ".running_mean")) return TensorKind::kBatchNormMean;
  if (absl::EndsWith(text, ".running_var")) return TensorKind::kBatchNormVar;
  return TensorKind::kWeight;
}

}  // namespace

absl::StatusOr<Plan> VerifyRun(const RunDescriptor& descriptor,
                               ByteSpan aggregator_key) {
  const Digest hash = Sha256(descriptor.plan);
  if (hash != descriptor.plan_hash) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan hash is announced as ", descriptor.plan_hash.Hex(),
                     ", the plan's bytes have ", hash.Hex()));
  }
  const absl::Status signed_by_aggregator = VerifySignature(
      aggregator_key,
      RunKeyStatement(descriptor.run, hash, descriptor.hpke_public_key),
      descriptor.hpke_key_signature);
  if (!signed_by_aggregator.ok()) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the run key is not signed by the aggregator's certificate for this "
        "run and plan: ",
        signed_by_aggregator.message()));
  }
  FG_ASSIGN_OR_RETURN(Plan plan, PlanFromBytes(descriptor.plan));
  if (HasBackbone(plan) == (descriptor.backbone_size_bytes == 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a backbone of ", descriptor.backbone_size_bytes,
        " bytes is announced, the plan's architecture is ", plan.architecture));
  }
  return plan;
}

absl::StatusOr<ParameterLayout> ReadModelLayout(FileStore& files,
                                                const std::string& path) {
  FG_ASSIGN_OR_RETURN(Bytes content, ReadAll(files, path));
  FG_ASSIGN_OR_RETURN(const SafetensorsFile file,
                      SafetensorsFile::Parse(std::move(content), path));
  std::vector<TensorSpec> tensors;
  for (const auto& [name, view] : file.tensors()) {
    tensors.push_back({name, view.shape, KindOf(name)});
  }
  absl::StatusOr<ParameterLayout> layout =
      ParameterLayout::Create(std::move(tensors));
  if (!layout.ok()) return Annotate(layout.status(), path);
  return layout;
}

}  // namespace fedgraft
