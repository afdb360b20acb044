#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/digest.h"

namespace fedgraft {

// The secret by which a reader of the status page is known. Only its digest is
// kept, and digests are compared in constant time.
class AccessToken {
 public:
  static constexpr size_t kSizeMin = 16, kSizeMax = 1024;

  // The file's text without the white space around it. FAILED_PRECONDITION: it
  // cannot be read, others may read it, or it is too short to be a secret.
  static absl::StatusOr<AccessToken> Load(const std::string& path);

  // The value of an Authorization header: "Bearer TOKEN", or "Basic …" with the
  // token as any user's password, which is what a browser can send.
  bool Admits(absl::string_view authorization) const;

 private:
  explicit AccessToken(const Digest& digest) : digest_(digest) {}
  bool Is(absl::string_view token) const;

  Digest digest_;
};

}  // namespace fedgraft
