#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "aggregator/round/coordinator.h"
#include "aggregator/round/round_context.h"
#include "aggregator/store/spool.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// Uploads from their first byte to their receipt: header checks on the strand,
// bytes into the spool by the transport, verification on the executor, then
// the journal; only what the log holds is acknowledged. Single-strand; part of
// the Coordinator.
class UploadDesk {
 public:
  // `context` outlives the desk.
  explicit UploadDesk(RoundContext& context) : context_(context) {}

  void Query(const SitePeer& site, const UploadHeader& header,
             Reply<UploadOffset> reply);
  void Begin(const SitePeer& site, const UploadHeader& header, uint64_t offset,
             Reply<std::shared_ptr<SpoolUpload>> reply);
  void Moved(const SitePeer& site, uint64_t bytes);
  void Finish(const SitePeer& site, const UploadHeader& header,
              std::shared_ptr<SpoolUpload> upload, Reply<UploadReceipt> reply);
  // The stream broke: what arrived waits for the site to go on.
  void Abandon(const SitePeer& site, const UploadHeader& header,
               const std::shared_ptr<SpoolUpload>& upload);
  // Forgets the unfinished uploads that are not for the current phase.
  void DropStale();
  // The site was revoked: its upload, even one being verified, does not count.
  void Drop(const SiteId& site);
  bool IsUploading(const SiteId& site) const {
    return unfinished_.contains(site);
  }

 private:
  struct Candidate;

  // Refuses a header that has no place now.
  absl::Status Check(const SitePeer& site, const UploadHeader& header);
  void Begun(const SitePeer& site, const UploadHeader& header,
             absl::StatusOr<std::shared_ptr<SpoolUpload>> upload,
             const Reply<std::shared_ptr<SpoolUpload>>& reply);
  void Verified(std::shared_ptr<Candidate> candidate, absl::Status verified);
  void Journalled(std::shared_ptr<Candidate> candidate,
                  absl::StatusOr<uint64_t> sequence);
  UpdateToVerify ToVerify(const SitePeer& site,
                          const UploadHeader& header) const;
  // What the words of an upload are added to on arrival; null: nothing.
  std::shared_ptr<RunningSum> FindSum(const UploadHeader& header);
  // The end of an admission that did not succeed.
  void Reject(std::shared_ptr<Candidate> candidate, const absl::Status& status);
  void Rejected(const Candidate& candidate, const absl::Status& status);
  void Forget(const SpoolKey& key);

  RoundContext& context_;
  std::map<SiteId, SpoolKey> unfinished_;
  // Sites that were revoked while an update of theirs was being verified.
  std::set<SiteId> revoked_;
};

}  // namespace fedgraft
