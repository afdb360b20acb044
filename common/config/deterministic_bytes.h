#pragma once

#include "common/base/bytes.h"
#include "google/protobuf/message_lite.h"

namespace fedgraft {

// The serialisation of a message that digests are taken of: the same message
// gives the same bytes, maps included.
Bytes DeterministicBytes(const google::protobuf::MessageLite& message);

}  // namespace fedgraft
