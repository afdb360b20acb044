#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json_fwd.hpp"
#include "proto/admin.pb.h"

// What the report says of transfer: how well the pretrained features suit the
// task, and how far training has moved the backbone.

namespace fedgraft {

// The measures of a solve round over all sites' records, by name without
// "transfer_" (common/solve/transfer_metrics.h); empty if there was none.
std::map<std::string, double> PooledTransfer(const pb::StatusReply& status);

// Whether a site's features vary in the same directions as the others', as
// common/solve/site_subspace.h measures it, by site.
struct SiteAlignment {
  double cos2 = 0, z = 0;
};
std::map<std::string, SiteAlignment> AlignmentBySite(
    const pb::StatusReply& status);

// How far one stage has moved, over the sites that told: 1 - CKA of each site's
// own images, and the same over all sites' batches of images.
struct StageDrift {
  std::string stage;
  int sites = 0;
  double mean = 0;  // weighted by the sites' evaluated images
  double least = 0, most = 0;
  // 1 - minibatch CKA of all sites' batches, from their sums (hsic_*); absent
  // unless each of these sites told its own.
  std::optional<double> pooled;
};
// From the input on, as far as names tell (layer9 before layer10). A site that
// keeps in how many images it has counts as one whose number is the others'
// mean.
std::vector<StageDrift> DriftByStage(const pb::StatusReply& status);

// The stages that a site told, with their drift, in the same order.
std::vector<std::pair<std::string, double>> DriftOfSite(
    const pb::SiteStatus& site);

// `pooled` (object), `subspaces` (array, a site each) and `drift` (array, a
// stage each).
nlohmann::json TransferJson(const pb::StatusReply& status);

}  // namespace fedgraft
