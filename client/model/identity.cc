#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/model/network.h"

namespace fedgraft {
namespace {

namespace nn = torch::nn;

class Identity : public Network {
 public:
  Identity(int64_t feature_dim, int64_t num_classes) {
    nn::Linear head(feature_dim, num_classes);
    register_module("head", head);
    AddStage({"head", {"head."}, [head](torch::Tensor x) mutable {
                return head(x);
              }});
    SetHeadPrefix("head");
  }
};

}  // namespace

absl::StatusOr<std::shared_ptr<Network>> BuildIdentity(int64_t feature_dim,
                                                       int64_t num_classes) {
  if (feature_dim < 1 || num_classes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a head needs at least 1 feature and 1 class, not ",
                     feature_dim, " and ", num_classes));
  }
  try {
    return std::make_shared<Identity>(feature_dim, num_classes);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("building a head: ", error.what()));
  }
}

}  // namespace fedgraft
