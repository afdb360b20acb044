#pragma once

#include <map>
#include <vector>

#include "absl/status/status.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/secagg/messages.h"
#include "common/secagg/session.h"

// The aggregator's side of secure aggregation, a class per step. Each holds
// what sites said in its step. Check refuses what a site may not say
// (PERMISSION_DENIED: not signed by it; INVALID_ARGUMENT: not what the step
// asks for); Put takes what was checked, so that a journal can be replayed
// without it. A site says one thing per step: Put is not called twice for one.
// Values; single-threaded.

namespace fedgraft {

// Step 1.
class AdvertiseRound {
 public:
  AdvertiseRound() = default;
  explicit AdvertiseRound(Digest session) : session_(session) {}

  // `public_key`: of the site's certificate.
  absl::Status Check(const SiteId& site, ByteSpan public_key,
                     ByteSpan message) const;
  absl::Status Put(const SiteId& site, ByteSpan message);
  const KeyList& keys() const { return keys_; }

 private:
  Digest session_;
  KeyList keys_;
};

// Step 2, of the sites that advertised.
class ShareRound {
 public:
  // OK if the site gives every other site of `keys` a share.
  absl::Status Check(const KeyList& keys, const SiteId& site,
                     ByteSpan message) const;
  absl::Status Put(const SiteId& site, ByteSpan message);
  bool Has(const SiteId& site) const { return shares_.contains(site); }
  size_t size() const { return shares_.size(); }
  std::vector<SiteId> Sharers() const;
  // What the sharers sealed for `site`.
  SealedShares SharesFor(const SiteId& site) const;

 private:
  std::map<SiteId, SealedShares> shares_;
};

// Step 4, of the sites whose masked update was accepted.
class ConsistencyRound {
 public:
  // `message`: the signature.
  absl::Status Check(const SecureTranscript& transcript,
                     const std::vector<SiteId>& survivors, const SiteId& site,
                     ByteSpan public_key, ByteSpan message) const;
  void Put(const SiteId& site, ByteSpan message) {
    signatures_[site] = ToBytes(message);
  }
  const std::map<SiteId, Bytes>& signatures() const { return signatures_; }

 private:
  std::map<SiteId, Bytes> signatures_;
};

}  // namespace fedgraft
