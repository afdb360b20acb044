#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/config/plan.h"

// Plans from people (YAML) and from the wire (bytes). Both pass the same
// checks: those of proto/plan.proto and those between fields. Every error is
// INVALID_ARGUMENT and lists all defects, one a line, as
//   file:line: key.path: what was found; what is allowed

namespace fedgraft {

// NOT_FOUND if there is no such file.
absl::StatusOr<Plan> LoadPlan(const std::string& path);
// `file` is for messages.
absl::StatusOr<Plan> ParsePlanYaml(std::string_view text,
                                   const std::string& file);

// Plan::bytes of the other side. Refuses, besides bad values, any bytes that
// are not exactly what this build would write: a field that it does not know
// would otherwise be agreed to unread.
absl::StatusOr<Plan> PlanFromBytes(ByteSpan bytes);

}  // namespace fedgraft
