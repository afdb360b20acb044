#include "aggregator/admin/allow_list.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::SimFileStore;

constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

AllowListEntry Entry(const std::string& id, uint8_t key) {
  return {.id = id,
          .public_key = Bytes(32, key),
          .active = true,
          .serials = {"0a", "0b"},
          .not_before = absl::FromUnixSeconds(1700000000),
          .not_after = absl::FromUnixSeconds(1800000000),
          .approved = absl::FromUnixSeconds(1700000000),
          .revoked = absl::InfinitePast()};
}

AllowListContent Content() {
  AllowListContent content;
  content.federation = "demo";
  content.sites["alpha"] = Entry("alpha", 1);
  content.sites["gone"] = Entry("gone", 2);
  content.sites["gone"].active = false;
  content.sites["gone"].revoked = absl::FromUnixSeconds(1750000000);
  content.operators["olga"] = Entry("olga", 3);
  content.revoked_serials = {"0a"};
  return content;
}

CertificateInfo Certificate(CertificateRole role, const std::string& id,
                            uint8_t key) {
  return {.role = role,
          .federation = "demo",
          .id = id,
          .serial = "0b",
          .not_before = absl::InfinitePast(),
          .not_after = absl::InfiniteFuture(),
          .public_key = Bytes(32, key)};
}

class AllowListTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Write(Content());
    auto list = AllowList::Load(files_);
    ASSERT_THAT(list, IsOk());
    list_ = *std::move(list);
  }
  void Write(const AllowListContent& content) {
    files_.SetContent(kAllowListFile, ToBytes(AsBytes(content.ToJson())));
  }
  SimFileStore files_;
  std::unique_ptr<AllowList> list_;
};

TEST_F(AllowListTest, JsonRoundTripKeepsEverything) {
  const auto again = AllowListContent::FromJson(Content().ToJson());
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(*again, Content());
}

TEST_F(AllowListTest, AdmitsWhoIsApprovedAndTellsOthersWhyNot) {
  using enum CertificateRole;
  CertificateInfo foreign = Certificate(kSite, "alpha", 1);
  foreign.federation = "other";
  CertificateInfo old = Certificate(kSite, "alpha", 1);
  old.serial = "0a";
  EXPECT_THAT(list_->Check(Certificate(kSite, "alpha", 1)), IsOk());
  EXPECT_THAT(list_->CheckOperator(Certificate(kOperator, "olga", 3)), IsOk());
  const struct {
    CertificateInfo info;
    const char* message;
  } cases[] = {
      {Certificate(kSite, "nobody", 1), "site nobody is unknown"},
      {Certificate(kSite, "gone", 2), "gone was revoked on 2025-06-15"},
      {Certificate(kSite, "alpha", 9), "alpha uses another key"},
      {Certificate(kOperator, "olga", 3), "role is operator (olga)"},
      {Certificate(kAggregator, "alpha", 1), "role is aggregator"},
      {foreign, "federation \"other\""},
      {old, "revoked certificate 0a"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(list_->Check(test.info), IsError(kDenied, test.message));
  }
  EXPECT_THAT(list_->CheckOperator(Certificate(kSite, "alpha", 1)),
              IsError(kDenied, "expected operator"));
  EXPECT_THAT(list_->CheckOperator(Certificate(kOperator, "eve", 3)),
              IsError(kDenied, "operator eve is unknown"));
}

TEST_F(AllowListTest, RevocationTakesEffectAtTheNextReload) {
  const auto alpha = Certificate(CertificateRole::kSite, "alpha", 1);
  AllowListContent changed = Content();
  changed.sites["alpha"].active = false;
  changed.sites["alpha"].revoked = absl::FromUnixSeconds(1760000000);
  Write(changed);
  const auto reloaded = list_->Reload();
  ASSERT_THAT(reloaded, IsOk());
  EXPECT_TRUE(*reloaded);
  EXPECT_THAT(list_->Check(alpha), IsError(kDenied, "was revoked"));
  EXPECT_FALSE(*list_->Reload());
}

TEST_F(AllowListTest, DamagedOrMissingFileKeepsTheListInForce) {
  const auto alpha = Certificate(CertificateRole::kSite, "alpha", 1);
  AllowListContent other = Content();
  other.federation = "other";
  for (const std::string& bad :
       {std::string(), std::string("{"), other.ToJson()}) {
    files_.SetContent(kAllowListFile, ToBytes(AsBytes(bad)));
    EXPECT_THAT(list_->Reload(), HasCode(kInvalid));
    EXPECT_THAT(list_->Check(alpha), IsOk());
  }
  ASSERT_THAT(files_.Remove(kAllowListFile), IsOk());
  EXPECT_THAT(list_->Reload(), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(list_->Check(alpha), IsOk());
  EXPECT_EQ(list_->Content(), Content());
}

TEST_F(AllowListTest, RefusesDamagedFilesWithTheReason) {
  const std::string good = Content().ToJson();
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const struct {
    std::string json, message;
  } cases[] = {
      {"[1]", "not a JSON object"},
      {with("\"version\": 1", "\"version\": 9"), "\"version\" is not 1"},
      {with("\"demo\"", "7"), "\"federation\" is not a text"},
      {with("\"active\"", "\"Active\""), "\"revoked\" is not a text"},
      {with("\"revoked\",", "\"paused\","), "neither \"active\" nor"},
      {with("\"0101", "\"01"), "64 hexadecimal digits"},
      {with("2023-11-14T", "yesterday"), "is not a time"},
      {with("\"id\": \"gone\"", "\"id\": \"alpha\""), "alpha occurs twice"},
      {with("\"id\": \"gone\"", "\"id\": \"../x\""), "bad id"},
      {with("\"sites\": [", "\"sites\": [5, "), "an entry is not an object"},
      {with("\"sites\"", "\"places\""), "\"sites\" is not a list"},
      {with("\"0a\"", "10"), "\"serials\" holds something but texts"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(AllowListContent::FromJson(test.json),
                IsError(kInvalid, test.message));
  }
}

TEST_F(AllowListTest, RosterHoldsTheActiveSitesOnly) {
  const Roster roster = Content().ToRoster();
  EXPECT_EQ(roster.federation, "demo");
  ASSERT_EQ(roster.keys.size(), 1u);
  EXPECT_EQ(roster.keys.at(SiteId{"alpha"}), Bytes(32, 1));
}

}  // namespace
}  // namespace fedgraft
