#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/secret.h"
#include "common/secagg/session.h"

// What is said in the steps of a session, and its bytes (proto/secagg.proto).
// Decoders trust nothing: INVALID_ARGUMENT names the message, the field, what
// was expected and what came. Sites come in canonical order, each once, at most
// kSecureSitesMax.

namespace fedgraft {

// Step 1, site to aggregator, and back for all.
Bytes EncodeKeys(const SiteId& site, const AdvertisedKeys& keys);
absl::StatusOr<KeyList::value_type> DecodeKeys(ByteSpan bytes);
Bytes EncodeKeyList(const KeyList& keys);
absl::StatusOr<KeyList> DecodeKeyList(ByteSpan bytes);

// Step 2: by one site, for each other one; step 5: for one site, by each other
// one.
using SealedShares = std::map<SiteId, Bytes>;
Bytes EncodeSealedShares(const SealedShares& shares);
absl::StatusOr<SealedShares> DecodeSealedShares(ByteSpan bytes);

// Step 3, aggregator to site: who shared. Step 4: who survived.
Bytes EncodeSites(const std::vector<SiteId>& sites);
absl::StatusOr<std::vector<SiteId>> DecodeSites(ByteSpan bytes);

// Step 4, site to aggregator: an Ed25519 signature, 64 bytes as they are.

// Step 5, aggregator to site.
struct SurvivorProof {
  std::vector<SiteId> survivors;
  std::map<SiteId, Bytes> signatures;
  SealedShares shares;
};
Bytes EncodeSurvivorProof(const SurvivorProof& proof);
absl::StatusOr<SurvivorProof> DecodeSurvivorProof(ByteSpan bytes);

// Step 5, site to aggregator. One share per site: there is no place for both.
enum class ShareKind { kSelf = 1, kMaskKey = 2 };
struct ReleasedShare {
  ShareKind kind = ShareKind::kSelf;
  Bytes share;
  bool operator==(const ReleasedShare&) const = default;
};
using ReleasedShares = std::map<SiteId, ReleasedShare>;
Bytes EncodeReleasedShares(const ReleasedShares& shares);
absl::StatusOr<ReleasedShares> DecodeReleasedShares(ByteSpan bytes);

// Everything that a site keeps of its newest session: secrets and messages
// follow from it. Not sent.
struct SecureSiteRecord {
  Digest session;
  SecretBytes root;
  KeyList keys;                   // empty before step 2
  std::vector<SiteId> sharers;    // empty before step 3
  std::vector<SiteId> survivors;  // empty before step 4
  // What the sum is of.
  std::string statistic;
};
SecretBytes EncodeSiteRecord(const SecureSiteRecord& record);
// DATA_LOSS: damaged.
absl::StatusOr<SecureSiteRecord> DecodeSiteRecord(ByteSpan bytes);

// Sums over these sites were unmasked with the help of this one.
struct ReleasedCohort {
  std::string statistic;
  std::vector<SiteId> sites;
};
Bytes EncodeReleasedCohorts(const std::vector<ReleasedCohort>& cohorts);
// DATA_LOSS: damaged.
absl::StatusOr<std::vector<ReleasedCohort>> DecodeReleasedCohorts(
    ByteSpan bytes);

}  // namespace fedgraft
