#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace fedgraft {

// absl and gRPC share their code numbers. A refusal's reason travels as a
// serialised pb::Refusal in the error details.
grpc::Status ToGrpc(const absl::Status& status);

// The reverse. Text from the peer is cut to 1 KiB and stripped of control
// characters, for it ends in logs.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace fedgraft
