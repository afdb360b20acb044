#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/config/plan.h"
#include "common/protocol/messages.h"

// Secure aggregation: Bonawitz et al., "Practical Secure Aggregation for
// Privacy-Preserving Machine Learning" (CCS 2017), full graph, with the
// consistency round against an aggregator that lies. Its rounds are called
// steps here:
//
//   1 advertise  every site: two fresh X25519 keys, signed
//   2 share      every site: shares of its mask key and of the seed of its own
//                mask, sealed for every other site
//   3 mask       every site: its update plus its own mask plus or minus one
//                mask per other site (an ordinary sealed upload)
//   4 agree      survivors sign the set of survivors
//   5 unmask     survivors release, for every survivor, a share of the seed;
//                for every other site a share of its mask key; never both
//
// A session is one run of these steps; a sum that cannot be unmasked begins a
// new one, with fresh keys.

namespace fedgraft {

// What a session is for. Everything that is signed, sealed or masked in it is
// bound to all of this, so that no message is of use in another one.
struct SecureSession {
  RunId run;
  Digest plan_hash;
  RoundId round;
  TaskKind kind = TaskKind::kTrain;
  Digest base_model;
  uint32_t attempt = 0;  // from 1

  Digest Id() const;
};

// A site's part in step 1.
struct AdvertisedKeys {
  Bytes share_key;
  Bytes mask_key;
  Digest self_commitment;
  Bytes signature;
};
// In canonical order, which also gives sites their share indices: 1, 2, …
using KeyList = std::map<SiteId, AdvertisedKeys>;

// Session and keys together: what sites must agree on before they mask.
struct SecureTranscript {
  Digest session;
  Digest keys;

  static SecureTranscript Of(const Digest& session, const KeyList& keys);
};

// How many sites it takes, by plan and policy.
struct SecureRules {
  int threshold = 0;  // 0: floor(2n/3) + 1
  int cohort_min = 3;

  // Of n sites that advertised keys: always more than half of them, so that the
  // aggregator cannot have two sets of sites release different shares.
  int Threshold(size_t n) const;
  // Survivors that a sum needs at least.
  int SurvivorsMin(size_t n) const;
};
// The plan's; a site's policy may raise cohort_min.
SecureRules SecureRulesOf(const Plan& plan);
// Keys and shares of all pairs pass through the aggregator: 150 MB at the most.
inline constexpr int kSecureSitesMax = 1024;
inline constexpr int kSecureSitesMin = 3;

// Signed by a site: these keys are mine, in this session.
Bytes AdvertiseStatement(const Digest& session, const SiteId& site,
                         const AdvertisedKeys& keys);
// Signed by a survivor: these are the survivors.
Bytes SurvivorStatement(const SecureTranscript& transcript,
                        const std::vector<SiteId>& survivors);
// What the seed of a site's own mask is held to.
Digest SelfCommitment(const Digest& session, const SiteId& site, ByteSpan seed);

// The index of the site's shares; 0 if it is not in the list.
int ShareIndex(const KeyList& keys, const SiteId& site);
std::vector<SiteId> SitesOf(const KeyList& keys);

}  // namespace fedgraft
