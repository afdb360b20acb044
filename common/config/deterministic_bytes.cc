#include "common/config/deterministic_bytes.h"

#include <string>

#include "common/base/check.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace fedgraft {

Bytes DeterministicBytes(const google::protobuf::MessageLite& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    FG_CHECK(message.SerializeToCodedStream(&coded));
  }
  return ToBytes(AsBytes(bytes));
}

}  // namespace fedgraft
