#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/secagg/rounds.h"
#include "aggregator/secagg/unmask_round.h"
#include "client/secagg/secure_site.h"
#include "common/base/check.h"
#include "common/crypto/ed25519.h"
#include "common/numeric/ring_codec.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

// One site of a federation whose sites have pinned each other.
struct SecureMember {
  explicit SecureMember(SecureParty the_party, uint64_t seed)
      : party(std::move(the_party)), random(seed) {
    Restart();
  }
  // The process dies and another begins over the same files.
  void Restart() { secure = std::make_unique<SecureSite>(files, random); }

  SecureParty party;
  SimFileStore files;
  SimRandom random;
  std::unique_ptr<SecureSite> secure;
};

// Sites and an honest aggregator around the steps' classes. Drives a session
// step by step; a test changes what it carries from one to the other.
class SecureWorld {
 public:
  SecureWorld(int n, SecureRules rules, uint64_t seed) : rules_(rules) {
    Roster roster;
    roster.federation = "test";
    std::vector<SiteId> ids;
    for (int i = 0; i < n; ++i) {
      std::string number = std::to_string(i);
      number.insert(0, 3 - number.size(), '0');
      ids.push_back(SiteId{"site-" + number});
      Bytes key_seed(32, static_cast<uint8_t>(i + 1));
      key_seed[1] = static_cast<uint8_t>(i >> 8);
      keys_.push_back(
          std::make_unique<SigningKey>(*SigningKey::FromSeed(key_seed)));
      roster.keys[ids.back()] = keys_.back()->PublicKey();
    }
    for (int i = 0; i < n; ++i) {
      members_.emplace(
          ids[static_cast<size_t>(i)],
          std::make_unique<SecureMember>(
              SecureParty{ids[static_cast<size_t>(i)],
                          *keys_[static_cast<size_t>(i)], roster, rules},
              seed * 1000 + static_cast<uint64_t>(i)));
    }
    session.run = RunId{"run-1"};
    session.round = RoundId{1};
    session.attempt = 1;
    Begin();
  }

  // A session begins: nothing has been said in it.
  void Begin() {
    advertised = AdvertiseRound(session.Id());
    shared = ShareRound();
    survivors.clear();
    agreed = ConsistencyRound();
    unmasked = UnmaskRound();
  }

  SecureMember& at(const SiteId& site) { return *members_.at(site); }
  std::vector<SiteId> sites() const {
    std::vector<SiteId> result;
    for (const auto& [site, member] : members_) result.push_back(site);
    return result;
  }
  Bytes PublicKey(const SiteId& site) {
    return at(site).party.roster.keys.at(site);
  }
  SecureTranscript transcript() const {
    return SecureTranscript::Of(session.Id(), advertised.keys());
  }

  absl::Status Advertise(const SiteId& site) {
    auto message = at(site).secure->Advertise(at(site).party, session);
    if (!message.ok()) return message.status();
    const absl::Status fits = advertised.Check(site, PublicKey(site), *message);
    return fits.ok() ? advertised.Put(site, *message) : fits;
  }
  absl::Status Share(const SiteId& site) {
    auto message = at(site).secure->Share(at(site).party, session,
                                          EncodeKeyList(advertised.keys()));
    if (!message.ok()) return message.status();
    const absl::Status fits = shared.Check(advertised.keys(), site, *message);
    return fits.ok() ? shared.Put(site, *message) : fits;
  }
  absl::StatusOr<MaskedInput> Mask(const SiteId& site) {
    return at(site).secure->Mask(at(site).party, session,
                                 EncodeSites(shared.Sharers()), "train");
  }
  absl::Status Agree(const SiteId& site) {
    auto message =
        at(site).secure->Agree(at(site).party, session, EncodeSites(survivors));
    if (!message.ok()) return message.status();
    const absl::Status fits =
        agreed.Check(transcript(), survivors, site, PublicKey(site), *message);
    if (fits.ok()) agreed.Put(site, *message);
    return fits;
  }
  SurvivorProof ProofFor(const SiteId& site) const {
    return {survivors, agreed.signatures(), shared.SharesFor(site)};
  }
  UnmaskFacts facts() const {
    return {advertised.keys(), session.Id(), shared.Sharers(), survivors,
            rules_.Threshold(advertised.keys().size())};
  }
  absl::Status Release(const SiteId& site) {
    auto message = at(site).secure->Release(
        at(site).party, session, EncodeSurvivorProof(ProofFor(site)));
    if (!message.ok()) return message.status();
    const absl::Status fits = unmasked.Check(facts(), site, *message);
    return fits.ok() ? unmasked.Put(site, *message) : fits;
  }
  // Steps 1 and 2 of these sites, without a fault.
  void ShareAll(const std::vector<SiteId>& among) {
    for (const SiteId& site : among) FG_CHECK(Advertise(site).ok());
    for (const SiteId& site : among) FG_CHECK(Share(site).ok());
  }

  SecureSession session;
  AdvertiseRound advertised;
  ShareRound shared;
  std::vector<SiteId> survivors;
  ConsistencyRound agreed;
  UnmaskRound unmasked;

 private:
  SecureRules rules_;
  std::vector<std::unique_ptr<SigningKey>> keys_;
  std::map<SiteId, std::unique_ptr<SecureMember>> members_;
};

// A site's update: words below 2^word_bits, and a weight.
struct PlainInput {
  std::vector<uint64_t> words;
  uint64_t weight = 0;
};

inline PlainInput DrawInput(SimRandom& random, int word_bits, size_t count) {
  PlainInput input;
  const RingSpec ring{word_bits, 0};
  for (size_t i = 0; i < count; ++i) {
    input.words.push_back(random.Next() & ring.Mask());
  }
  input.weight = random.Below(uint64_t{1} << 32) + 1;
  return input;
}

// Packed and masked, as it would be sealed.
inline Bytes MaskInput(const MaskedInput& masks, int word_bits,
                       const PlainInput& input) {
  Bytes packed(PackedBytes(word_bits, input.words.size()));
  PackWords(word_bits, input.words, absl::MakeSpan(packed));
  masks.MaskWords(word_bits, 0, input.words.size(), absl::MakeSpan(packed));
  return packed;
}

}  // namespace fedgraft::testing
