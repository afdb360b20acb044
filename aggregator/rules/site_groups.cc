#include "aggregator/rules/site_groups.h"

#include <algorithm>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/crypto/sha256.h"

namespace fedgraft {

std::vector<std::vector<size_t>> DealIntoGroups(const Digest& plan,
                                                RoundId round,
                                                absl::Span<const SiteId> sites,
                                                size_t groups) {
  FG_CHECK(groups >= 1 && groups <= sites.size());
  std::vector<std::pair<Digest, size_t>> order;
  for (size_t i = 0; i < sites.size(); ++i) {
    ByteWriter writer;
    writer.Raw(plan.bytes).U32(round.value).Sized(sites[i].value);
    order.emplace_back(Sha256(writer.bytes()), i);
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.first.bytes < b.first.bytes;
  });
  std::vector<std::vector<size_t>> dealt(groups);
  for (size_t k = 0; k < order.size(); ++k) {
    dealt[k % groups].push_back(order[k].second);
  }
  for (std::vector<size_t>& group : dealt) {
    std::sort(group.begin(), group.end());
  }
  return dealt;
}

}  // namespace fedgraft
