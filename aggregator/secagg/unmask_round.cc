#include "aggregator/secagg/unmask_round.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/secret_sharing.h"
#include "common/crypto/x25519.h"

namespace fedgraft {
namespace {

ShareKind KindFor(const UnmaskFacts& facts, const SiteId& site) {
  return std::binary_search(facts.survivors.begin(), facts.survivors.end(),
                            site)
             ? ShareKind::kSelf
             : ShareKind::kMaskKey;
}

bool IsSecretOf(const UnmaskFacts& facts, const SiteId& site, ByteSpan secret) {
  const AdvertisedKeys& keys = facts.keys.at(site);
  if (KindFor(facts, site) == ShareKind::kSelf) {
    return SelfCommitment(facts.session, site, secret) == keys.self_commitment;
  }
  const auto key = X25519PublicKey(secret);
  return key.ok() && *key == keys.mask_key;
}

struct SiteShare {
  uint16_t index = 0;
  ByteSpan value;
};

}  // namespace

absl::Status UnmaskRound::Check(const UnmaskFacts& facts, const SiteId& site,
                                ByteSpan message) const {
  if (!std::binary_search(facts.survivors.begin(), facts.survivors.end(),
                          site)) {
    return absl::InvalidArgumentError(
        absl::StrCat("site ", site.value, " is not among the survivors"));
  }
  FG_ASSIGN_OR_RETURN(const ReleasedShares shares,
                      DecodeReleasedShares(message));
  for (const auto& [of, released] : shares) {
    const bool shared =
        std::binary_search(facts.sharers.begin(), facts.sharers.end(), of);
    if (!shared || released.kind != KindFor(facts, of)) {
      return absl::InvalidArgumentError(
          absl::StrCat("released by ", site.value,
                       ": a share that was not asked for, of ", of.value));
    }
  }
  return absl::OkStatus();
}

absl::Status UnmaskRound::Put(const SiteId& site, ByteSpan message) {
  FG_ASSIGN_OR_RETURN(released_[site], DecodeReleasedShares(message));
  return absl::OkStatus();
}

// Combiners by the indices of the shares: most secrets have the same.
class UnmaskRound::Combiners {
 public:
  explicit Combiners(const KeyList& keys) {
    uint16_t index = 0;
    for (const auto& [site, own] : keys) indices_[site] = ++index;
  }

  uint16_t IndexOf(const SiteId& site) const { return indices_.at(site); }
  // The secret of the first `count` shares but for the one at `skipped`.
  absl::StatusOr<SecretBytes> Combine(const std::vector<SiteShare>& shares,
                                      size_t count,
                                      std::optional<size_t> skipped) {
    std::vector<uint16_t> indices;
    std::vector<ByteSpan> values;
    for (size_t i = 0; i < shares.size() && values.size() < count; ++i) {
      if (i == skipped) continue;
      indices.push_back(shares[i].index);
      values.push_back(shares[i].value);
    }
    auto known = combiners_.find(indices);
    if (known == combiners_.end()) {
      FG_ASSIGN_OR_RETURN(ShareCombiner combiner,
                          ShareCombiner::Create(indices));
      known = combiners_.emplace(std::move(indices), std::move(combiner)).first;
    }
    return known->second.Combine(values);
  }

 private:
  std::map<SiteId, uint16_t> indices_;
  std::map<std::vector<uint16_t>, ShareCombiner> combiners_;
};

absl::StatusOr<SecretBytes> UnmaskRound::SecretOf(const UnmaskFacts& facts,
                                                  const SiteId& site,
                                                  Combiners& combiners) const {
  std::vector<SiteShare> shares;
  for (const auto& [by, released] : released_) {
    const auto found = released.find(site);
    if (found == released.end()) continue;
    shares.push_back({combiners.IndexOf(by), found->second.share});
  }
  const size_t threshold = static_cast<size_t>(facts.threshold);
  if (shares.size() < threshold) {
    return absl::UnavailableError(absl::StrCat("shares of site ", site.value,
                                               ": expected ", threshold,
                                               ", got ", shares.size()));
  }
  FG_ASSIGN_OR_RETURN(SecretBytes secret,
                      combiners.Combine(shares, threshold, std::nullopt));
  if (IsSecretOf(facts, site, secret.span())) return secret;
  // One false share among them, whose place another may take.
  for (size_t skipped = 0; shares.size() > threshold && skipped < threshold;
       ++skipped) {
    FG_ASSIGN_OR_RETURN(secret, combiners.Combine(shares, threshold, skipped));
    if (IsSecretOf(facts, site, secret.span())) return secret;
  }
  return absl::UnavailableError(absl::StrCat(
      "the shares of site ", site.value, " do not give what it advertised"));
}

absl::StatusOr<MaskRemoval> UnmaskRound::Reconstruct(
    const UnmaskFacts& facts) const {
  const size_t threshold = static_cast<size_t>(facts.threshold);
  if (released_.size() < threshold || facts.survivors.size() < threshold) {
    return absl::UnavailableError(absl::StrCat(
        "shares: expected those of ", threshold, " of the ",
        facts.survivors.size(), " survivors, got ", released_.size()));
  }
  const SecureTranscript transcript =
      SecureTranscript::Of(facts.session, facts.keys);
  std::vector<SignedMask> masks;
  Combiners combiners(facts.keys);
  for (const SiteId& site : facts.sharers) {
    FG_ASSIGN_OR_RETURN(const SecretBytes secret,
                        SecretOf(facts, site, combiners));
    if (KindFor(facts, site) == ShareKind::kSelf) {
      FG_ASSIGN_OR_RETURN(RingMask mask,
                          RingMask::OfSelf(secret.span(), transcript, site));
      masks.push_back({MaskSign::kSubtract, std::move(mask)});
      continue;
    }
    FG_ASSIGN_OR_RETURN(const X25519Key key,
                        X25519Key::FromPrivate(secret.span()));
    for (const SiteId& survivor : facts.survivors) {
      FG_ASSIGN_OR_RETURN(
          RingMask mask, RingMask::OfPair(key, facts.keys.at(survivor).mask_key,
                                          transcript, site, survivor));
      masks.push_back(
          {Opposite(RingMask::SignOf(survivor, site)), std::move(mask)});
    }
  }
  return MaskRemoval(std::move(masks));
}

}  // namespace fedgraft
