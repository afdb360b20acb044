#include "common/config/plan_loader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/deterministic_bytes.h"
#include "common/config/field_check.h"
#include "common/config/plan_checks.h"
#include "common/config/plan_message.h"
#include "common/config/yaml_to_proto.h"
#include "common/crypto/sha256.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/plan.pb.h"

namespace fedgraft {
namespace {

constexpr size_t kPlanBytesMax = size_t{1} << 20;

// `message` has passed the checks of its schema.
absl::StatusOr<Plan> Finish(const pb::Plan& message, ConfigErrors& errors) {
  const pb::BackboneSpec& backbone = message.backbone();
  if (backbone.sha256().empty() && backbone.architecture() != "identity") {
    errors.Add("backbone.sha256",
               "is missing; expected the SHA-256 of the safetensors file");
  }
  Plan plan = PlanFromMessage(message);
  CheckPlan(plan, errors);
  FG_RETURN_IF_ERROR(errors.ToStatus());
  plan.bytes = DeterministicBytes(message);
  plan.hash = Sha256(plan.bytes);
  return plan;
}

}  // namespace

absl::StatusOr<Plan> LoadPlan(const std::string& path) {
  FG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(path));
  return ParsePlanYaml(file.text, path);
}

absl::StatusOr<Plan> ParsePlanYaml(std::string_view text,
                                   const std::string& file) {
  ConfigErrors errors(file);
  pb::Plan message;
  YamlToProto(text, "", message, errors);  // a plan has no paths
  FG_RETURN_IF_ERROR(errors.ToStatus());
  return Finish(message, errors);
}

absl::StatusOr<Plan> PlanFromBytes(ByteSpan bytes) {
  if (bytes.size() > kPlanBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a plan of ", bytes.size(), " bytes; at most 1 MiB is allowed"));
  }
  pb::Plan message;
  // The library would log what it dislikes; the Status says enough.
  const google::protobuf::LogSilencer silencer;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError("the plan's bytes are not a plan");
  }
  ConfigErrors errors("plan");
  CheckMessage(message, "", errors);
  FG_RETURN_IF_ERROR(errors.ToStatus());
  message.DiscardUnknownFields();
  if (ByteSpan(DeterministicBytes(message)) != bytes) {
    return absl::InvalidArgumentError(
        "the plan's bytes hold fields that this version does not know, or are "
        "not in canonical form; do both sides run the same version?");
  }
  return Finish(message, errors);
}

}  // namespace fedgraft
