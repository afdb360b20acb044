#include "common/base/digest.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<Digest> Digest::FromWire(std::string_view wire) {
  Digest digest;
  if (wire.size() != digest.bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a SHA-256 value has 32 bytes, this one has ", wire.size()));
  }
  std::copy(wire.begin(), wire.end(), digest.bytes.begin());
  return digest;
}

absl::StatusOr<Digest> Digest::FromHex(std::string_view hex) {
  if (hex.size() != 64) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a SHA-256 value has 64 hexadecimal digits, this one has ",
        hex.size()));
  }
  FG_ASSIGN_OR_RETURN(const Bytes bytes, fedgraft::FromHex(hex));
  return FromWire(AsText(bytes));
}

}  // namespace fedgraft
