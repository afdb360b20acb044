#include "common/net/roster.h"

#include <string>

#include "common/net/x509.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::SimFileStore;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;

Roster TwoSites() {
  return {.federation = "demo",
          .keys = {{SiteId{"alpha"}, Bytes(32, 1)},
                   {SiteId{"beta"}, Bytes(32, 2)}}};
}

TEST(RosterTest, JsonRoundTripKeepsEverything) {
  const auto again = Roster::FromJson(TwoSites().ToJson());
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(*again, TwoSites());
  EXPECT_EQ(again->Hash(), TwoSites().Hash());
}

TEST(RosterTest, HashCoversFederationSitesAndKeys) {
  Roster federation = TwoSites(), key = TwoSites(), fewer = TwoSites();
  federation.federation = "other";
  key.keys[SiteId{"beta"}][31] ^= 1;
  fewer.keys.erase(SiteId{"beta"});
  for (const Roster& other : {federation, key, fewer}) {
    EXPECT_NE(other.Hash(), TwoSites().Hash());
  }
}

TEST(RosterTest, RefusesDamagedFilesWithTheReason) {
  const std::string key(64, 'a');
  const auto wrap = [](const std::string& sites) {
    return R"({"version": 1, "federation": "demo", "sites": )" + sites + "}";
  };
  const struct {
    std::string json, message;
  } cases[] = {
      {"", "not a JSON object"},
      {"[]", "not a JSON object"},
      {R"({"version": 2})", "\"version\" is not 1"},
      {R"({"version": 1})", "\"federation\" is missing"},
      {R"({"version": 1, "federation": "D", "sites": []})", "federation name"},
      {wrap("7"), "\"sites\" is not a list"},
      {wrap("[3]"), "entry 0 lacks"},
      {wrap(R"([{"site": "a", "public_key": 5}])"), "entry 0 lacks"},
      {wrap(R"([{"site": "A", "public_key": ")" + key + "\"}]"), "site id"},
      {wrap(R"([{"site": "a", "public_key": "abcd"}])"), "64 hexadecimal"},
      {wrap(R"([{"site": "a", "public_key": ")" + key +
            R"("}, {"site": "a", "public_key": ")" + key + "\"}]"),
       "occurs twice"},
      {wrap(R"([{"site": "a", "fingerprint": "dead beef", "public_key": ")" +
            key + "\"}]"),
       "fingerprint of site a does not belong"},
      {std::string(5 << 20, ' '), "at most"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(Roster::FromJson(test.json), IsError(kInvalid, test.message));
  }
}

TEST(CompareRostersTest, ListsEveryChangeInOrder) {
  Roster after = TwoSites();
  after.keys.erase(SiteId{"alpha"});
  after.keys[SiteId{"beta"}] = Bytes(32, 9);
  after.keys[SiteId{"aaa"}] = Bytes(32, 3);
  const auto changes = CompareRosters(TwoSites(), after);
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[0].ToText(),
            "+ aaa added, key " + KeyFingerprint(Bytes(32, 3)));
  EXPECT_EQ(changes[1].ToText(),
            "- alpha removed, key was " + KeyFingerprint(Bytes(32, 1)));
  EXPECT_EQ(changes[2].ToText(), "! beta KEY CHANGED from " +
                                     KeyFingerprint(Bytes(32, 2)) + " to " +
                                     KeyFingerprint(Bytes(32, 9)));
  EXPECT_TRUE(CompareRosters(after, after).empty());
}

TEST(PinnedRosterTest, NothingIsTrustedBeforeItIsAccepted) {
  SimFileStore files;
  auto pinned = PinnedRoster::Load(files, "roster.json");
  ASSERT_THAT(pinned, IsOk());
  EXPECT_FALSE(pinned->pinned());
  EXPECT_THAT(pinned->Check(TwoSites()),
              IsError(kFailed, "no roster is pinned"));
  EXPECT_THAT(pinned->Check(Roster{.federation = "demo", .keys = {}}),
              HasCode(kFailed));
  EXPECT_THAT(pinned->Accept(TwoSites(), Digest{}),
              IsError(kFailed, "was shown and confirmed"));
  EXPECT_FALSE(files.Exists("roster.json"));
}

TEST(PinnedRosterTest, AcceptedRosterSurvivesAPowerFailure) {
  SimFileStore files;
  auto pinned = PinnedRoster::Load(files, "roster.json");
  ASSERT_THAT(pinned, IsOk());
  ASSERT_THAT(pinned->Accept(TwoSites(), TwoSites().Hash()), IsOk());
  EXPECT_THAT(pinned->Check(TwoSites()), IsOk());
  files.Crash(1);
  const auto again = PinnedRoster::Load(files, "roster.json");
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->pinned());
  EXPECT_EQ(again->roster(), TwoSites());
}

TEST(PinnedRosterTest, InventedSiteIsNamedAndNotAccepted) {
  SimFileStore files;
  auto pinned = PinnedRoster::Load(files, "roster.json");
  ASSERT_THAT(pinned, IsOk());
  ASSERT_THAT(pinned->Accept(TwoSites(), TwoSites().Hash()), IsOk());
  Roster invented = TwoSites();
  invented.keys[SiteId{"sybil"}] = Bytes(32, 7);
  EXPECT_THAT(pinned->Check(invented), IsError(kFailed, "+ sybil added"));
  EXPECT_THAT(pinned->Accept(invented, TwoSites().Hash()), HasCode(kFailed));
  EXPECT_EQ(pinned->roster(), TwoSites());
}

TEST(PinnedRosterTest, AnotherFederationIsNeverAccepted) {
  SimFileStore files;
  auto pinned = PinnedRoster::Load(files, "roster.json");
  ASSERT_THAT(pinned, IsOk());
  ASSERT_THAT(pinned->Accept(TwoSites(), TwoSites().Hash()), IsOk());
  Roster other = TwoSites();
  other.federation = "other";
  EXPECT_THAT(pinned->Accept(other, other.Hash()),
              HasCode(absl::StatusCode::kPermissionDenied));
}

TEST(PinnedRosterTest, DamagedFileIsAnErrorAndFullDiskKeepsTheOldPin) {
  SimFileStore files;
  files.SetContent("roster.json", ToBytes(AsBytes("{")));
  EXPECT_THAT(PinnedRoster::Load(files, "roster.json"),
              IsError(kInvalid, "roster.json: roster: not a JSON"));
  files.SetContent("roster.json", ToBytes(AsBytes(TwoSites().ToJson())));
  auto pinned = PinnedRoster::Load(files, "roster.json");
  ASSERT_THAT(pinned, IsOk());
  Roster next = TwoSites();
  next.keys.erase(SiteId{"beta"});
  files.FailAppends(1);
  EXPECT_THAT(pinned->Accept(next, next.Hash()),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(pinned->roster(), TwoSites());
  EXPECT_EQ(PinnedRoster::Load(files, "roster.json")->roster(), TwoSites());
}

}  // namespace
}  // namespace fedgraft
