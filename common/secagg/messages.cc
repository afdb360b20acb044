#include "common/secagg/messages.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/x25519.h"
#include "common/secagg/share_box.h"
#include "proto/secagg.pb.h"

namespace fedgraft {
namespace {

constexpr size_t kSignatureBytes = 64;
constexpr size_t kStatisticBytesMax = 512;
// Cohorts that a site remembers; it prunes those of other runs.
constexpr int kCohortsMax = 100000;

absl::Status Wrong(absl::string_view field, absl::string_view expected,
                   absl::string_view got) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": expected ", expected, ", got ", got));
}

absl::Status CheckSize(absl::string_view field, const std::string& bytes,
                       size_t expected) {
  if (bytes.size() == expected) return absl::OkStatus();
  return Wrong(field, absl::StrCat(expected, " bytes"),
               absl::StrCat(bytes.size()));
}

template <typename Wire>
absl::StatusOr<Wire> Parse(absl::string_view what, ByteSpan bytes) {
  Wire wire;
  if (bytes.size() > INT32_MAX ||
      !wire.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": ", bytes.size(), " bytes are not such a message"));
  }
  return wire;
}

template <typename Wire>
Bytes Serialize(const Wire& wire) {
  return ToBytes(AsBytes(wire.SerializeAsString()));
}

std::string ToWire(ByteSpan bytes) { return std::string(AsText(bytes)); }

// The next site of a list in canonical order.
absl::StatusOr<SiteId> NextSite(absl::string_view field,
                                const std::string& wire, const SiteId* before,
                                size_t count) {
  FG_ASSIGN_OR_RETURN(SiteId site, SiteId::Parse(wire));
  if (before != nullptr && site <= *before) {
    return Wrong(field, "different sites in canonical order",
                 absl::StrCat(site.value, " after ", before->value));
  }
  if (count >= kSecureSitesMax) {
    return Wrong(field, absl::StrCat("at most ", kSecureSitesMax, " sites"),
                 "more");
  }
  return site;
}

template <typename Value>
const SiteId* Last(const std::map<SiteId, Value>& map) {
  return map.empty() ? nullptr : &map.rbegin()->first;
}

template <typename Names>
absl::StatusOr<std::vector<SiteId>> SitesFromWire(absl::string_view field,
                                                  const Names& names) {
  std::vector<SiteId> sites;
  for (const std::string& name : names) {
    FG_ASSIGN_OR_RETURN(
        SiteId site,
        NextSite(field, name, sites.empty() ? nullptr : &sites.back(),
                 sites.size()));
    sites.push_back(std::move(site));
  }
  return sites;
}

pb::AdvertisedKeys KeysToWire(const SiteId& site, const AdvertisedKeys& keys) {
  pb::AdvertisedKeys wire;
  wire.set_site(site.value);
  wire.set_share_key(ToWire(keys.share_key));
  wire.set_mask_key(ToWire(keys.mask_key));
  wire.set_self_commitment(keys.self_commitment.AsWire());
  wire.set_signature(ToWire(keys.signature));
  return wire;
}

absl::StatusOr<KeyList::value_type> KeysFromWire(
    const pb::AdvertisedKeys& wire) {
  FG_RETURN_IF_ERROR(
      CheckSize("AdvertisedKeys.share_key", wire.share_key(), kX25519KeySize));
  FG_RETURN_IF_ERROR(
      CheckSize("AdvertisedKeys.mask_key", wire.mask_key(), kX25519KeySize));
  FG_RETURN_IF_ERROR(
      CheckSize("AdvertisedKeys.signature", wire.signature(), kSignatureBytes));
  AdvertisedKeys keys;
  FG_ASSIGN_OR_RETURN(const SiteId site, SiteId::Parse(wire.site()));
  FG_ASSIGN_OR_RETURN(keys.self_commitment,
                      Digest::FromWire(wire.self_commitment()));
  keys.share_key = ToBytes(AsBytes(wire.share_key()));
  keys.mask_key = ToBytes(AsBytes(wire.mask_key()));
  keys.signature = ToBytes(AsBytes(wire.signature()));
  return KeyList::value_type(site, std::move(keys));
}

template <typename Wire>
void SharesToWire(const SealedShares& shares, Wire& wire) {
  for (const auto& [site, sealed] : shares) {
    pb::SealedShare* share = wire.add_shares();
    share->set_site(site.value);
    share->set_sealed(ToWire(sealed));
  }
}

template <typename Wire>
absl::StatusOr<SealedShares> SharesFromWire(const Wire& wire) {
  SealedShares shares;
  for (const pb::SealedShare& share : wire.shares()) {
    FG_ASSIGN_OR_RETURN(SiteId site, NextSite("SealedShare.site", share.site(),
                                              Last(shares), shares.size()));
    FG_RETURN_IF_ERROR(
        CheckSize("SealedShare.sealed", share.sealed(), kSealedShareBytes));
    shares.emplace(std::move(site), ToBytes(AsBytes(share.sealed())));
  }
  return shares;
}

absl::Status AsDamage(absl::string_view what, const absl::Status& status) {
  return absl::DataLossError(absl::StrCat(what, ": ", status.message()));
}

absl::StatusOr<SecureSiteRecord> RecordFromWire(
    const pb::SecureSiteRecord& wire) {
  SecureSiteRecord record;
  FG_ASSIGN_OR_RETURN(record.session, Digest::FromWire(wire.session()));
  FG_RETURN_IF_ERROR(
      CheckSize("SecureSiteRecord.root", wire.root(), kSecureSecretBytes));
  record.root = SecretBytes(AsBytes(wire.root()));
  FG_ASSIGN_OR_RETURN(record.keys, DecodeKeyList(AsBytes(wire.key_list())));
  FG_ASSIGN_OR_RETURN(record.sharers, SitesFromWire("SecureSiteRecord.sharers",
                                                    wire.sharers()));
  FG_ASSIGN_OR_RETURN(
      record.survivors,
      SitesFromWire("SecureSiteRecord.survivors", wire.survivors()));
  record.statistic = wire.statistic();
  return record;
}

}  // namespace

Bytes EncodeKeys(const SiteId& site, const AdvertisedKeys& keys) {
  return Serialize(KeysToWire(site, keys));
}

absl::StatusOr<KeyList::value_type> DecodeKeys(ByteSpan bytes) {
  FG_ASSIGN_OR_RETURN(const auto wire,
                      Parse<pb::AdvertisedKeys>("AdvertisedKeys", bytes));
  return KeysFromWire(wire);
}

Bytes EncodeKeyList(const KeyList& keys) {
  pb::KeyList wire;
  for (const auto& [site, own] : keys) *wire.add_keys() = KeysToWire(site, own);
  return Serialize(wire);
}

absl::StatusOr<KeyList> DecodeKeyList(ByteSpan bytes) {
  FG_ASSIGN_OR_RETURN(const auto wire, Parse<pb::KeyList>("KeyList", bytes));
  KeyList keys;
  for (const pb::AdvertisedKeys& one : wire.keys()) {
    FG_RETURN_IF_ERROR(
        NextSite("KeyList.keys", one.site(), Last(keys), keys.size()).status());
    FG_ASSIGN_OR_RETURN(KeyList::value_type entry, KeysFromWire(one));
    keys.insert(std::move(entry));
  }
  return keys;
}

Bytes EncodeSealedShares(const SealedShares& shares) {
  pb::SealedShares wire;
  SharesToWire(shares, wire);
  return Serialize(wire);
}

absl::StatusOr<SealedShares> DecodeSealedShares(ByteSpan bytes) {
  FG_ASSIGN_OR_RETURN(const auto wire,
                      Parse<pb::SealedShares>("SealedShares", bytes));
  return SharesFromWire(wire);
}

Bytes EncodeSites(const std::vector<SiteId>& sites) {
  pb::SecureSites wire;
  for (const SiteId& site : sites) wire.add_sites(site.value);
  return Serialize(wire);
}

absl::StatusOr<std::vector<SiteId>> DecodeSites(ByteSpan bytes) {
  FG_ASSIGN_OR_RETURN(const auto wire,
                      Parse<pb::SecureSites>("SecureSites", bytes));
  return SitesFromWire("SecureSites.sites", wire.sites());
}

Bytes EncodeSurvivorProof(const SurvivorProof& proof) {
  pb::SurvivorProof wire;
  for (const SiteId& site : proof.survivors) wire.add_survivors(site.value);
  for (const auto& [site, signature] : proof.signatures) {
    pb::SurvivorSignature* one = wire.add_signatures();
    one->set_site(site.value);
    one->set_signature(ToWire(signature));
  }
  SharesToWire(proof.shares, wire);
  return Serialize(wire);
}

absl::StatusOr<SurvivorProof> DecodeSurvivorProof(ByteSpan bytes) {
  FG_ASSIGN_OR_RETURN(const auto wire,
                      Parse<pb::SurvivorProof>("SurvivorProof", bytes));
  SurvivorProof proof;
  FG_ASSIGN_OR_RETURN(proof.survivors, SitesFromWire("SurvivorProof.survivors",
                                                     wire.survivors()));
  for (const pb::SurvivorSignature& one : wire.signatures()) {
    FG_ASSIGN_OR_RETURN(
        SiteId site, NextSite("SurvivorProof.signatures", one.site(),
                              Last(proof.signatures), proof.signatures.size()));
    FG_RETURN_IF_ERROR(CheckSize("SurvivorSignature.signature", one.signature(),
                                 kSignatureBytes));
    proof.signatures.emplace(std::move(site),
                             ToBytes(AsBytes(one.signature())));
  }
  FG_ASSIGN_OR_RETURN(proof.shares, SharesFromWire(wire));
  return proof;
}

Bytes EncodeReleasedShares(const ReleasedShares& shares) {
  pb::ReleasedShares wire;
  for (const auto& [site, released] : shares) {
    pb::ReleasedShare* one = wire.add_shares();
    one->set_site(site.value);
    one->set_kind(static_cast<pb::ShareKind>(released.kind));
    one->set_share(ToWire(released.share));
  }
  return Serialize(wire);
}

absl::StatusOr<ReleasedShares> DecodeReleasedShares(ByteSpan bytes) {
  FG_ASSIGN_OR_RETURN(const auto wire,
                      Parse<pb::ReleasedShares>("ReleasedShares", bytes));
  ReleasedShares shares;
  for (const pb::ReleasedShare& one : wire.shares()) {
    FG_ASSIGN_OR_RETURN(SiteId site, NextSite("ReleasedShare.site", one.site(),
                                              Last(shares), shares.size()));
    if (one.kind() != pb::SHARE_KIND_SELF &&
        one.kind() != pb::SHARE_KIND_MASK_KEY) {
      return Wrong("ReleasedShare.kind", "self (1) or mask key (2)",
                   absl::StrCat(static_cast<int>(one.kind())));
    }
    FG_RETURN_IF_ERROR(
        CheckSize("ReleasedShare.share", one.share(), kSecureSecretBytes));
    shares.emplace(std::move(site),
                   ReleasedShare{static_cast<ShareKind>(one.kind()),
                                 ToBytes(AsBytes(one.share()))});
  }
  return shares;
}

SecretBytes EncodeSiteRecord(const SecureSiteRecord& record) {
  pb::SecureSiteRecord wire;
  wire.set_session(record.session.AsWire());
  wire.set_root(ToWire(record.root.span()));
  wire.set_key_list(ToWire(EncodeKeyList(record.keys)));
  for (const SiteId& site : record.sharers) wire.add_sharers(site.value);
  for (const SiteId& site : record.survivors) wire.add_survivors(site.value);
  wire.set_statistic(record.statistic);
  SecretBytes bytes(wire.ByteSizeLong());
  wire.SerializeToArray(bytes.mutable_span().data(),
                        static_cast<int>(bytes.size()));
  return bytes;
}

absl::StatusOr<SecureSiteRecord> DecodeSiteRecord(ByteSpan bytes) {
  constexpr char kWhat[] = "the site's record of secure aggregation";
  const auto wire = Parse<pb::SecureSiteRecord>(kWhat, bytes);
  if (!wire.ok()) return AsDamage(kWhat, wire.status());
  auto record = RecordFromWire(*wire);
  if (!record.ok()) return AsDamage(kWhat, record.status());
  return record;
}

Bytes EncodeReleasedCohorts(const std::vector<ReleasedCohort>& cohorts) {
  pb::ReleasedCohorts wire;
  for (const ReleasedCohort& cohort : cohorts) {
    pb::ReleasedCohorts::Cohort* one = wire.add_cohorts();
    one->set_statistic(cohort.statistic);
    for (const SiteId& site : cohort.sites) one->add_sites(site.value);
  }
  return Serialize(wire);
}

absl::StatusOr<std::vector<ReleasedCohort>> DecodeReleasedCohorts(
    ByteSpan bytes) {
  constexpr char kWhat[] = "the site's record of released sums";
  const auto wire = Parse<pb::ReleasedCohorts>(kWhat, bytes);
  if (!wire.ok()) return AsDamage(kWhat, wire.status());
  std::vector<ReleasedCohort> cohorts;
  if (wire->cohorts_size() > kCohortsMax) {
    return absl::DataLossError(absl::StrCat(kWhat, " is too long"));
  }
  for (const auto& one : wire->cohorts()) {
    auto sites = SitesFromWire("ReleasedCohorts.sites", one.sites());
    if (!sites.ok()) return AsDamage(kWhat, sites.status());
    if (one.statistic().size() > kStatisticBytesMax) {
      return absl::DataLossError(absl::StrCat(kWhat, " is damaged"));
    }
    cohorts.push_back({one.statistic(), *std::move(sites)});
  }
  return cohorts;
}

}  // namespace fedgraft
