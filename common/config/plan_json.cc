#include "common/config/plan_json.h"

#include "common/base/check.h"
#include "google/protobuf/util/json_util.h"
#include "proto/plan.pb.h"

namespace fedgraft {

std::string PlanToJson(const Plan& plan) {
  pb::Plan message;
  FG_CHECK(message.ParseFromArray(plan.bytes.data(),
                                  static_cast<int>(plan.bytes.size())));
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  FG_CHECK(google::protobuf::util::MessageToJsonString(message, &json, options)
               .ok());
  return json;
}

}  // namespace fedgraft
