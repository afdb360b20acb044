#include "aggregator/rules/site_groups.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

std::vector<SiteId> Sites(int count) {
  std::vector<SiteId> sites;
  for (int i = 0; i < count; ++i) sites.push_back({absl::StrCat("site-", i)});
  return sites;
}

Digest Plan(uint8_t fill) {
  Digest digest;
  digest.bytes.fill(fill);
  return digest;
}

TEST(SiteGroupsTest, EverySiteIsInOneGroupAndSizesDifferByOneAtMost) {
  for (const size_t groups : {1, 3, 4, 10}) {
    std::set<size_t> seen;
    for (const auto& group : DealIntoGroups(Plan(1), {1}, Sites(10), groups)) {
      EXPECT_GE(group.size(), 10 / groups);
      EXPECT_LE(group.size(), (10 + groups - 1) / groups);
      for (const size_t site : group) EXPECT_TRUE(seen.insert(site).second);
    }
    EXPECT_EQ(seen.size(), 10u);
  }
}

TEST(SiteGroupsTest, TheSameRoundGivesTheSameGroupsAndTheNextOneOthers) {
  const auto first = DealIntoGroups(Plan(1), {1}, Sites(12), 4);
  EXPECT_EQ(DealIntoGroups(Plan(1), {1}, Sites(12), 4), first);
  EXPECT_NE(DealIntoGroups(Plan(1), {2}, Sites(12), 4), first);
  EXPECT_NE(DealIntoGroups(Plan(2), {1}, Sites(12), 4), first);
}

}  // namespace
}  // namespace fedgraft
