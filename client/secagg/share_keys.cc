#include "client/secagg/share_keys.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/mask_stream.h"
#include "common/crypto/secret_sharing.h"

namespace fedgraft {
namespace {

absl::Status Denied(const SiteId& site, absl::string_view what) {
  return absl::PermissionDeniedError(
      absl::StrCat("keys of site ", site.value, " ", std::string(what)));
}

absl::Status CheckKeys(const SecureParty& party, const Digest& session,
                       const SiteId& site, const AdvertisedKeys& keys) {
  const auto pinned = party.roster.keys.find(site);
  if (pinned == party.roster.keys.end()) {
    return Denied(site,
                  "were listed, but the site is not in the roster that is "
                  "pinned here: pin the roster that has it (fedgraft-client "
                  "enroll --roster, then --confirm), or have its certificate "
                  "revoked (fedgraft-aggregator pki revoke)");
  }
  if (!VerifySignature(pinned->second, AdvertiseStatement(session, site, keys),
                       keys.signature)
           .ok()) {
    return Denied(site,
                  "are not signed for this session by the key that is pinned "
                  "here; if it has a new one, compare fingerprints and pin it "
                  "(fedgraft-client enroll --roster, then --confirm)");
  }
  return absl::OkStatus();
}

}  // namespace

AdvertisedKeys AdvertiseKeys::Answer(const SecureParty& party,
                                     const Digest& session,
                                     const SiteSecrets& secrets) {
  AdvertisedKeys keys;
  keys.share_key = secrets.share_key().public_key();
  keys.mask_key = secrets.mask_key().public_key();
  keys.self_commitment =
      SelfCommitment(session, party.site, secrets.self_seed());
  keys.signature =
      party.key.Sign(AdvertiseStatement(session, party.site, keys));
  return keys;
}

absl::StatusOr<ShareKeys> ShareKeys::Accept(const SecureParty& party,
                                            const Digest& session,
                                            const SiteSecrets& secrets,
                                            ByteSpan root, KeyList keys) {
  const std::vector<SiteId> sites = SitesOf(keys);
  FG_RETURN_IF_ERROR(CheckCohort(party, keys, sites, sites, "key list"));
  if (keys.size() > kSecureSitesMax) {
    return absl::PermissionDeniedError(
        absl::StrCat("key list: expected at most ", kSecureSitesMax,
                     " sites, got ", keys.size()));
  }
  for (const auto& [site, own] : keys) {
    FG_RETURN_IF_ERROR(CheckKeys(party, session, site, own));
  }
  const AdvertisedKeys& listed = keys.at(party.site);
  if (listed.share_key != secrets.share_key().public_key() ||
      listed.mask_key != secrets.mask_key().public_key() ||
      listed.self_commitment !=
          SelfCommitment(session, party.site, secrets.self_seed())) {
    return Denied(party.site, "are not the ones that this site advertised");
  }
  ShareKeys step(std::move(keys), SecureTranscript());
  step.transcript_ = SecureTranscript::Of(session, step.keys_);
  FG_RETURN_IF_ERROR(step.Share(party, secrets, root));
  return step;
}

absl::Status ShareKeys::Share(const SecureParty& party,
                              const SiteSecrets& secrets, ByteSpan root) {
  const int count = static_cast<int>(keys_.size());
  const int threshold = party.rules.Threshold(keys_.size());
  ByteWriter context;
  context.Sized("fedgraft/secagg/coefficients/1")
      .Raw(transcript_.session.bytes)
      .Raw(transcript_.keys.bytes);
  FG_ASSIGN_OR_RETURN(const MaskStream stream,
                      MaskStream::Derive(root, context.bytes()));
  MaskStream::Reader reader(stream, 0);
  const auto split = [&](ByteSpan secret) {
    SecretBytes coefficients(static_cast<size_t>(threshold - 1) *
                             secret.size());
    reader.Read(coefficients.mutable_span());
    return SplitSecret(secret, threshold, count, coefficients.span());
  };
  FG_ASSIGN_OR_RETURN(auto mask_key, split(secrets.mask_private()));
  FG_ASSIGN_OR_RETURN(auto self_seed, split(secrets.self_seed()));
  size_t i = 0;
  for (const auto& [site, own] : keys_) {
    SharePair pair{std::move(mask_key[i].value), std::move(self_seed[i].value)};
    ++i;
    if (site == party.site) {
      own_ = std::move(pair);
      continue;
    }
    FG_ASSIGN_OR_RETURN(message_[site],
                        SealShares(secrets.share_key(), own.share_key,
                                   transcript_, party.site, site, pair));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
