#include "client/secagg/site_secrets.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/hkdf.h"
#include "common/secagg/share_box.h"

namespace fedgraft {

absl::StatusOr<SiteSecrets> SiteSecrets::Derive(const Digest& session,
                                                ByteSpan root) {
  if (root.size() != kSecureSecretBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the root of a session has ", kSecureSecretBytes,
                     " bytes, this one has ", root.size()));
  }
  const SecretBytes base = HkdfExtract(session.bytes, root);
  const auto derive = [&base](std::string_view label) {
    return HkdfExpand(base.span(), AsBytes(label), kSecureSecretBytes);
  };
  FG_ASSIGN_OR_RETURN(const SecretBytes share_private,
                      derive("fedgraft/secagg/share-key/1"));
  FG_ASSIGN_OR_RETURN(SecretBytes mask_private,
                      derive("fedgraft/secagg/mask-key/1"));
  FG_ASSIGN_OR_RETURN(SecretBytes self_seed,
                      derive("fedgraft/secagg/self-seed/1"));
  FG_ASSIGN_OR_RETURN(X25519Key share_key,
                      X25519Key::FromPrivate(share_private.span()));
  FG_ASSIGN_OR_RETURN(X25519Key mask_key,
                      X25519Key::FromPrivate(mask_private.span()));
  return SiteSecrets(std::move(share_key), std::move(mask_key),
                     std::move(mask_private), std::move(self_seed));
}

}  // namespace fedgraft
