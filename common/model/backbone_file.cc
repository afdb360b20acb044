#include "common/model/backbone_file.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"

namespace fedgraft {

absl::StatusOr<SafetensorsFile> OpenBackbone(const Plan& plan,
                                             const std::string& path) {
  if (HasBackbone(plan)) return SafetensorsFile::Open(path);
  FG_ASSIGN_OR_RETURN(Bytes none, EncodeSafetensors({}, {}));
  return SafetensorsFile::Parse(std::move(none), kIdentity);
}

absl::Status CheckBackbonePath(const Plan& plan, const std::string& path) {
  if (HasBackbone(plan) == !path.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      HasBackbone(plan)
          ? absl::StrCat("expected --backbone FILE, the ", plan.architecture,
                         " of the plan")
          : absl::StrCat("expected no backbone file, because the plan trains "
                         "on feature vectors (architecture identity); found ",
                         path));
}

}  // namespace fedgraft
