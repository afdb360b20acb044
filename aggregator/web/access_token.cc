#include "aggregator/web/access_token.h"

#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/runtime/folder_lock.h"

namespace fedgraft {
namespace {

// "Bearer x" -> "x" if the scheme fits, in whatever case; else nothing.
absl::string_view AfterScheme(absl::string_view header,
                              absl::string_view scheme) {
  if (!absl::StartsWithIgnoreCase(header, scheme)) return "";
  return absl::StripAsciiWhitespace(header.substr(scheme.size()));
}

Digest DigestOf(absl::string_view token) {
  return Sha256(AsBytes({token.data(), token.size()}));
}

}  // namespace

absl::StatusOr<AccessToken> AccessToken::Load(const std::string& path) {
  FG_ASSIGN_OR_RETURN(const SecretBytes text, ReadSecretFile(path, kSizeMax));
  const std::string_view all = AsText(text.span());
  const absl::string_view token =
      absl::StripAsciiWhitespace(absl::string_view(all.data(), all.size()));
  if (token.size() < kSizeMin) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " holds ", token.size(),
                     " characters; expected a random token "
                     "of at least ",
                     kSizeMin, ", such as: openssl rand -hex 32"));
  }
  return AccessToken(DigestOf(token));
}

bool AccessToken::Is(absl::string_view token) const {
  const Digest digest = DigestOf(token);
  uint8_t difference = 0;
  for (size_t i = 0; i < digest.bytes.size(); ++i) {
    difference |= static_cast<uint8_t>(digest.bytes[i] ^ digest_.bytes[i]);
  }
  return difference == 0;
}

bool AccessToken::Admits(absl::string_view authorization) const {
  const absl::string_view bearer = AfterScheme(authorization, "bearer ");
  if (!bearer.empty()) return Is(bearer);
  const absl::string_view basic = AfterScheme(authorization, "basic ");
  std::string pair;
  if (basic.empty() || !absl::Base64Unescape(basic, &pair)) return false;
  const size_t colon = pair.find(':');
  return colon != std::string::npos &&
         Is(absl::string_view(pair).substr(colon + 1));
}

}  // namespace fedgraft
