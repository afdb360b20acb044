#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "client/secagg/party.h"
#include "client/secagg/site_secrets.h"
#include "common/secagg/messages.h"
#include "common/secagg/share_box.h"

namespace fedgraft {

// Step 1 at a site: two fresh keys, and what its own mask will be held to.
class AdvertiseKeys {
 public:
  static AdvertisedKeys Answer(const SecureParty& party, const Digest& session,
                               const SiteSecrets& secrets);
};

// Step 2 at a site: the list of everybody's keys is checked, and the site's
// secrets are shared over the sites of the list.
class ShareKeys {
 public:
  // PERMISSION_DENIED: a site that is not pinned or not with this key, a
  // signature that is not of its site or of another session, this site's keys
  // missing or swapped, too few sites. INVALID_ARGUMENT: a key of low order.
  static absl::StatusOr<ShareKeys> Accept(const SecureParty& party,
                                          const Digest& session,
                                          const SiteSecrets& secrets,
                                          ByteSpan root, KeyList keys);

  // For every other site.
  const SealedShares& message() const { return message_; }
  // What this site would release of itself.
  const SharePair& own() const { return own_; }
  const SecureTranscript& transcript() const { return transcript_; }
  const KeyList& keys() const { return keys_; }

 private:
  ShareKeys(KeyList keys, SecureTranscript transcript)
      : keys_(std::move(keys)), transcript_(transcript) {}
  absl::Status Share(const SecureParty& party, const SiteSecrets& secrets,
                     ByteSpan root);

  KeyList keys_;
  SecureTranscript transcript_;
  SealedShares message_;
  SharePair own_;
};

}  // namespace fedgraft
