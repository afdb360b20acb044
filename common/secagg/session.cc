#include "common/secagg/session.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/crypto/sha256.h"

namespace fedgraft {

Digest SecureSession::Id() const {
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/session/1")
      .U32(kProtocolVersion)
      .Sized(run.value)
      .Raw(plan_hash.bytes)
      .U32(round.value)
      .U8(static_cast<uint8_t>(kind))
      .Raw(base_model.bytes)
      .U32(attempt);
  return Sha256(writer.bytes());
}

SecureTranscript SecureTranscript::Of(const Digest& session,
                                      const KeyList& keys) {
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/keys/1").Raw(session.bytes).U64(keys.size());
  for (const auto& [site, own] : keys) {
    writer.Sized(site.value)
        .Sized(own.share_key)
        .Sized(own.mask_key)
        .Raw(own.self_commitment.bytes);
  }
  return {session, Sha256(writer.bytes())};
}

int SecureRules::Threshold(size_t n) const {
  const int sites = static_cast<int>(n);
  const int wanted = threshold > 0 ? threshold : 2 * sites / 3 + 1;
  return std::max(wanted, sites / 2 + 1);
}

int SecureRules::SurvivorsMin(size_t n) const {
  return std::max({Threshold(n), cohort_min, kSecureSitesMin});
}

SecureRules SecureRulesOf(const Plan& plan) {
  return {plan.secure_aggregation.threshold,
          std::max(plan.secure_aggregation.cohort_min, plan.quorum)};
}

Bytes AdvertiseStatement(const Digest& session, const SiteId& site,
                         const AdvertisedKeys& keys) {
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/advertise/1")
      .Raw(session.bytes)
      .Sized(site.value)
      .Sized(keys.share_key)
      .Sized(keys.mask_key)
      .Raw(keys.self_commitment.bytes);
  return std::move(writer).Take();
}

Bytes SurvivorStatement(const SecureTranscript& transcript,
                        const std::vector<SiteId>& survivors) {
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/survivors/1")
      .Raw(transcript.session.bytes)
      .Raw(transcript.keys.bytes)
      .U64(survivors.size());
  for (const SiteId& site : survivors) writer.Sized(site.value);
  return std::move(writer).Take();
}

Digest SelfCommitment(const Digest& session, const SiteId& site,
                      ByteSpan seed) {
  Sha256Hasher hasher;
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/self/1").Raw(session.bytes).Sized(site.value);
  hasher.Update(writer.bytes());
  hasher.Update(seed);
  return hasher.Finish();
}

int ShareIndex(const KeyList& keys, const SiteId& site) {
  const auto found = keys.find(site);
  if (found == keys.end()) return 0;
  return 1 + static_cast<int>(std::distance(keys.begin(), found));
}

std::vector<SiteId> SitesOf(const KeyList& keys) {
  std::vector<SiteId> sites;
  for (const auto& [site, own] : keys) sites.push_back(site);
  return sites;
}

}  // namespace fedgraft
