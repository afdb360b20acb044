#include "aggregator/secagg/rounds.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/ed25519.h"

namespace fedgraft {

absl::Status AdvertiseRound::Check(const SiteId& site, ByteSpan public_key,
                                   ByteSpan message) const {
  FG_ASSIGN_OR_RETURN(const auto entry, DecodeKeys(message));
  if (entry.first != site) {
    return absl::PermissionDeniedError(absl::StrCat(
        "keys advertised for site ", entry.first.value, " by ", site.value));
  }
  if (!VerifySignature(public_key,
                       AdvertiseStatement(session_, site, entry.second),
                       entry.second.signature)
           .ok()) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the keys are not signed for this session by the certificate of ",
        site.value));
  }
  if (keys_.size() >= kSecureSitesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected keys of at most ", kSecureSitesMax, " sites"));
  }
  return absl::OkStatus();
}

absl::Status AdvertiseRound::Put(const SiteId& site, ByteSpan message) {
  FG_ASSIGN_OR_RETURN(auto entry, DecodeKeys(message));
  keys_.insert_or_assign(site, std::move(entry.second));
  return absl::OkStatus();
}

absl::Status ShareRound::Check(const KeyList& keys, const SiteId& site,
                               ByteSpan message) const {
  FG_ASSIGN_OR_RETURN(const SealedShares shares, DecodeSealedShares(message));
  for (const auto& [other, own] : keys) {
    if (other != site && !shares.contains(other)) {
      return absl::InvalidArgumentError(
          absl::StrCat("shares of ", site.value, ": none for ", other.value));
    }
  }
  if (!keys.contains(site) || shares.contains(site) ||
      shares.size() != keys.size() - 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shares of ", site.value, ": expected one for each of the ",
        keys.size(), " other sites that advertised, got ", shares.size()));
  }
  return absl::OkStatus();
}

absl::Status ShareRound::Put(const SiteId& site, ByteSpan message) {
  FG_ASSIGN_OR_RETURN(shares_[site], DecodeSealedShares(message));
  return absl::OkStatus();
}

std::vector<SiteId> ShareRound::Sharers() const {
  std::vector<SiteId> sites;
  for (const auto& [site, shares] : shares_) sites.push_back(site);
  return sites;
}

SealedShares ShareRound::SharesFor(const SiteId& site) const {
  SealedShares result;
  for (const auto& [from, shares] : shares_) {
    const auto found = shares.find(site);
    if (found != shares.end()) result.emplace(from, found->second);
  }
  return result;
}

absl::Status ConsistencyRound::Check(const SecureTranscript& transcript,
                                     const std::vector<SiteId>& survivors,
                                     const SiteId& site, ByteSpan public_key,
                                     ByteSpan message) const {
  if (!std::binary_search(survivors.begin(), survivors.end(), site)) {
    return absl::InvalidArgumentError(
        absl::StrCat("site ", site.value, " is not among the survivors"));
  }
  if (!VerifySignature(public_key, SurvivorStatement(transcript, survivors),
                       message)
           .ok()) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the survivors are not signed by the certificate of ", site.value));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
