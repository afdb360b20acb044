#include "aggregator/admin/pki.h"

#include <sys/stat.h>

#include <string>

#include "aggregator/admin/pki_issue.h"
#include "common/net/identity.h"
#include "common/runtime/posix_file_store.h"
#include "gtest/gtest.h"
#include "tests/net/x509_fixtures.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using testing::FixtureKey;
using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::SimFileStore;
using testing::X509Fixture;

constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const SiteId kAlpha{"alpha"};

class FixedClock : public Clock {
 public:
  absl::Time Monotonic() const override { return now; }
  absl::Time Wall() const override { return now; }
  absl::Time now =
      absl::FromCivil(absl::CivilDay(2024, 6, 1), absl::UTCTimeZone());
};

PkiOptions Options() {
  return {
      .federation = "demo",
      .aggregator_names = {"agg.example.org", "localhost", "127.0.0.1", "::1"},
      .operator_name = "olga"};
}

class PkiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pki = Pki::Init(files_, clock_, Options());
    ASSERT_THAT(pki, IsOk());
    pki_ = std::make_unique<Pki>(*std::move(pki));
  }
  std::string Csr(uint8_t seed, const std::string& site = "alpha") {
    return *MakeSiteCsr(FixtureKey(seed), "demo", SiteId{site});
  }
  absl::StatusOr<Issued> Approve(const std::string& csr,
                                 const std::string& site = "alpha",
                                 bool replace = false) {
    return pki_->Approve(
        {.csr_pem = csr, .site = SiteId{site}, .days = 90, .replace = replace});
  }
  CertificateInfo InfoOf(std::string_view path) {
    const Bytes pem = files_.Content(path);
    auto info = ParseCertificate(AsText(pem));
    EXPECT_THAT(info, IsOk());
    return *info;
  }
  absl::Status Allowed(const CertificateInfo& info) {
    return (*AllowList::Load(files_))->Check(info);
  }

  SimFileStore files_;
  FixedClock clock_;
  std::unique_ptr<Pki> pki_;
};

TEST_F(PkiTest, InitMakesCredentialsThatVerify) {
  const CertificateInfo aggregator = InfoOf(kPkiAggregatorFile);
  EXPECT_THAT(CheckRole(aggregator, CertificateRole::kAggregator, "demo"),
              IsOk());
  const CertificateInfo person = InfoOf("operators/olga.pem");
  EXPECT_THAT(CheckRole(person, CertificateRole::kOperator, "demo"), IsOk());
  EXPECT_EQ(person.not_after, clock_.now + absl::Hours(24 * 365));
  for (auto [path, use, ok] :
       {std::tuple{"aggregator.pem", CertificateUse::kServer, true},
        std::tuple{"aggregator.pem", CertificateUse::kClient, true},
        std::tuple{"operators/olga.pem", CertificateUse::kClient, true},
        std::tuple{"operators/olga.pem", CertificateUse::kServer, false}}) {
    const Bytes pem = files_.Content(path);
    EXPECT_EQ(
        VerifyCertificate(AsText(pem), pki_->ca_pem(), clock_.now, use).ok(),
        ok)
        << path;
  }
  EXPECT_THAT((*AllowList::Load(files_))->CheckOperator(person), IsOk());
}

TEST_F(PkiTest, InitRefusesAFolderWithACaAndBadOptions) {
  EXPECT_THAT(Pki::Init(files_, clock_, Options()),
              IsError(absl::StatusCode::kAlreadyExists, "never overwritten"));
  PkiOptions no_host = Options(), bad_host = Options(), bad_name = Options(),
             bad_days = Options(), bad_operator = Options();
  no_host.aggregator_names = {};
  bad_host.aggregator_names = {"a.org,URI:fedgraft://demo/operator/x"};
  bad_name.federation = "Demo Hospital";
  bad_days.days = 0;
  bad_operator.operator_name = "../../x";
  for (const PkiOptions& options :
       {no_host, bad_host, bad_name, bad_days, bad_operator}) {
    SimFileStore empty;
    EXPECT_THAT(Pki::Init(empty, clock_, options), HasCode(kInvalid));
    EXPECT_TRUE(empty.AllPaths().empty());
  }
}

TEST_F(PkiTest, OpenAfterAPowerFailureGoesOnWhereInitStopped) {
  files_.Crash(1);
  auto pki = Pki::Open(files_, clock_);
  ASSERT_THAT(pki, IsOk());
  EXPECT_EQ(pki->federation(), "demo");
  EXPECT_EQ(pki->ca_pem(), pki_->ca_pem());
  SimFileStore empty;
  EXPECT_THAT(Pki::Open(empty, clock_),
              IsError(absl::StatusCode::kNotFound, "pki init"));
  const SecretBytes other = FixtureKey(2).ToPem();
  files_.SetContent(kPkiCaKeyFile, ToBytes(other.span()));
  EXPECT_THAT(Pki::Open(files_, clock_), IsError(kFailed, "belong together"));
}

TEST_F(PkiTest, ApprovedSiteIsAdmittedAndOnTheRoster) {
  const auto issued = Approve(Csr(10));
  ASSERT_THAT(issued, IsOk());
  EXPECT_EQ(issued->info.role, CertificateRole::kSite);
  EXPECT_EQ(issued->info.id, "alpha");
  EXPECT_EQ(issued->info.not_after, clock_.now + absl::Hours(24 * 90));
  EXPECT_THAT(VerifyCertificate(issued->certificate_pem, pki_->ca_pem(),
                                clock_.now, CertificateUse::kClient),
              IsOk());
  EXPECT_THAT(Allowed(issued->info), IsOk());
  const Bytes roster = files_.Content(kPkiRosterFile);
  EXPECT_EQ(Roster::FromJson(AsText(roster))->keys.at(kAlpha),
            FixtureKey(10).PublicKey());
}

TEST_F(PkiTest, EnrolmentEndToEnd) {
  SimFileStore site;
  const auto csr = Identity::CreateKeyAndCsr(site, "demo", kAlpha);
  ASSERT_THAT(csr, IsOk());
  const auto issued = Approve(*csr);
  ASSERT_THAT(issued, IsOk());
  ASSERT_THAT(Identity::InstallCertificate(site, issued->certificate_pem,
                                           pki_->ca_pem(), clock_.now),
              IsOk());
  EXPECT_THAT(Allowed(Identity::Load(site)->info()), IsOk());
}

TEST_F(PkiTest, RequestThatAsksForOperatorGetsASiteCertificate) {
  const auto issued = Approve(X509Fixture("asks_for_operator.csr"));
  ASSERT_THAT(issued, IsOk());
  EXPECT_EQ(issued->info.role, CertificateRole::kSite);
  EXPECT_EQ(issued->info.id, "alpha");
  EXPECT_FALSE(ParseCaCertificate(issued->certificate_pem).ok());
  EXPECT_THAT(VerifyCertificate(issued->certificate_pem, pki_->ca_pem(),
                                clock_.now, CertificateUse::kServer),
              HasCode(kDenied));
  EXPECT_THAT((*AllowList::Load(files_))->CheckOperator(issued->info),
              HasCode(kDenied));
}

TEST_F(PkiTest, BadRequestsAreRefusedAndChangeNothing) {
  const Bytes before = files_.Content(kAllowListFile);
  const struct {
    std::string csr, site;
    absl::StatusCode code;
    const char* message;
  } cases[] = {
      {X509Fixture("bad_signature.csr"), "alpha", kDenied, "not signed by its"},
      {X509Fixture("stolen_key.csr"), "alpha", kDenied, "not signed by its"},
      {X509Fixture("rsa.csr"), "alpha", kInvalid, "RSA"},
      {X509Fixture("p256.csr"), "alpha", kInvalid, "Ed25519 only"},
      {X509Fixture("site.pem"), "alpha", kInvalid, "not a certificate req"},
      {"", "alpha", kInvalid, "empty"},
      {Csr(10), "beta", kInvalid, "is for \"alpha\""},
      {*MakeSiteCsr(FixtureKey(10), "other", kAlpha), "alpha", kInvalid,
       "federation \"other\""},
      {Csr(10), "../alpha", kInvalid, "site id"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(Approve(test.csr, test.site), IsError(test.code, test.message));
  }
  EXPECT_THAT(pki_->Approve({.csr_pem = Csr(10), .site = kAlpha, .days = 0}),
              IsError(kInvalid, "expected 1 to"));
  EXPECT_EQ(files_.Content(kAllowListFile), before);
  EXPECT_FALSE(files_.Exists("sites/alpha.pem"));
}

TEST_F(PkiTest, RenewalKeepsTheKeyAndBothCertificatesWork) {
  const auto first = Approve(Csr(10));
  clock_.now += absl::Hours(24 * 60);
  const auto second = Approve(Csr(10));
  ASSERT_THAT(second, IsOk());
  EXPECT_NE(first->info.serial, second->info.serial);
  EXPECT_GT(second->info.not_after, first->info.not_after);
  EXPECT_THAT(Allowed(first->info), IsOk());
  EXPECT_THAT(Allowed(second->info), IsOk());
  EXPECT_EQ(pki_->List()->sites.at("alpha").serials.size(), 2u);
}

TEST_F(PkiTest, AnotherKeyNeedsReplaceAndEndsTheOldOne) {
  const auto first = Approve(Csr(10));
  EXPECT_THAT(Approve(Csr(12)), IsError(kFailed, "approve with replace"));
  const auto second = Approve(Csr(12), "alpha", /*replace=*/true);
  ASSERT_THAT(second, IsOk());
  EXPECT_THAT(Allowed(first->info), IsError(kDenied, "another key"));
  EXPECT_THAT(Allowed(second->info), IsOk());
  // Even if the old key returns, its old certificates stay refused.
  const auto third = Approve(Csr(10), "alpha", /*replace=*/true);
  ASSERT_THAT(third, IsOk());
  EXPECT_THAT(Allowed(third->info), IsOk());
  EXPECT_THAT(Allowed(first->info), IsError(kDenied, "revoked certificate"));
}

TEST_F(PkiTest, OneKeyIsNotTwoParties) {
  ASSERT_THAT(Approve(Csr(10)), IsOk());
  EXPECT_THAT(Approve(Csr(10, "beta"), "beta"),
              IsError(kDenied, "already in use by alpha"));
  EXPECT_THAT(Approve(Csr(10, "beta"), "beta", /*replace=*/true),
              HasCode(kDenied));
}

TEST_F(PkiTest, RevokedSiteIsRefusedUntilReplaced) {
  const auto issued = Approve(Csr(10));
  ASSERT_THAT(pki_->Revoke("alpha"), IsOk());
  EXPECT_THAT(Allowed(issued->info), IsError(kDenied, "revoked on 2024-06-01"));
  const Bytes roster = files_.Content(kPkiRosterFile);
  EXPECT_TRUE(Roster::FromJson(AsText(roster))->keys.empty());
  EXPECT_THAT(pki_->Revoke("alpha"), IsError(kFailed, "already"));
  EXPECT_THAT(Approve(Csr(10)), IsError(kFailed, "was revoked"));
  const auto again = Approve(Csr(10), "alpha", /*replace=*/true);
  ASSERT_THAT(again, IsOk());
  EXPECT_THAT(Allowed(again->info), IsOk());
  EXPECT_THAT(Allowed(issued->info), IsError(kDenied, "revoked certificate"));
}

TEST_F(PkiTest, RevokingBySerialMeansTheOwnerOrOneOldCertificate) {
  const auto old = Approve(Csr(10));
  const auto current = Approve(Csr(10));
  ASSERT_THAT(pki_->Revoke(old->info.serial), IsOk());
  EXPECT_THAT(Allowed(old->info), IsError(kDenied, "revoked certificate"));
  EXPECT_THAT(Allowed(current->info), IsOk());
  EXPECT_THAT(pki_->Revoke(old->info.serial), HasCode(kFailed));
  ASSERT_THAT(pki_->Revoke(current->info.serial), IsOk());
  EXPECT_THAT(Allowed(current->info), IsError(kDenied, "was revoked"));
  EXPECT_THAT(pki_->Revoke("nobody"), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(PkiTest, OperatorsAreIssuedRenewedAndRevoked) {
  const auto eva = pki_->IssueOperator("eva", 30);
  ASSERT_THAT(eva, IsOk());
  const Bytes key = files_.Content("operators/eva.key");
  const auto renewed = pki_->IssueOperator("eva", 30);
  ASSERT_THAT(renewed, IsOk());
  EXPECT_EQ(files_.Content("operators/eva.key"), key);
  EXPECT_THAT(pki_->Revoke("operator/eva"), IsOk());
  const auto list = AllowList::Load(files_);
  EXPECT_THAT((*list)->CheckOperator(renewed->info), HasCode(kDenied));
  EXPECT_THAT((*list)->CheckOperator(InfoOf("operators/olga.pem")), IsOk());
  EXPECT_THAT(pki_->IssueOperator("eva", 30), HasCode(kFailed));
  EXPECT_THAT(pki_->IssueOperator("a/b", 30), HasCode(kInvalid));
}

TEST_F(PkiTest, AggregatorIsRenewedWithItsKey) {
  const CertificateInfo before = InfoOf(kPkiAggregatorFile);
  clock_.now += absl::Hours(24 * 300);
  ASSERT_THAT(pki_->RenewAggregator({"new.example.org"}, 365), IsOk());
  const CertificateInfo after = InfoOf(kPkiAggregatorFile);
  EXPECT_EQ(after.public_key, before.public_key);
  EXPECT_GT(after.not_after, before.not_after);
}

TEST_F(PkiTest, NoCertificateOutlivesTheCa) {
  const auto issued =
      pki_->Approve({.csr_pem = Csr(10), .site = kAlpha, .days = 36500});
  ASSERT_THAT(issued, IsOk());
  EXPECT_EQ(issued->info.not_after, clock_.now + absl::Hours(24 * 3650));
}

TEST_F(PkiTest, FullDiskDuringApprovalAdmitsNobody) {
  const Bytes before = files_.Content(kAllowListFile);
  files_.FailAppends(1);
  EXPECT_THAT(Approve(Csr(10)), HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(files_.Content(kAllowListFile), before);
  EXPECT_THAT(Approve(Csr(10)), IsOk());
}

TEST_F(PkiTest, PowerFailureDuringApprovalLeavesAUsableFolder) {
  bool finished = false;
  for (uint64_t operations = 1; !finished; ++operations) {
    ASSERT_LT(operations, 50u);
    SimFileStore files;
    ASSERT_THAT(Pki::Init(files, clock_, Options()), IsOk());
    auto pki = Pki::Open(files, clock_);
    ASSERT_THAT(pki, IsOk());
    const ApproveRequest request{.csr_pem = Csr(10), .site = kAlpha};
    files.HaltAfter(operations);
    finished = pki->Approve(request).ok();
    files.Crash(operations);
    pki = Pki::Open(files, clock_);
    ASSERT_THAT(pki, IsOk());
    ASSERT_THAT(pki->List(), IsOk());
    EXPECT_TRUE(!finished || pki->List()->sites.contains("alpha"));
    EXPECT_THAT(pki->Approve(request), IsOk());
  }
}

TEST(PkiOnDiskTest, PrivateKeysAreForTheOwnerOnly) {
  const testing::TempFolder folder;
  const auto files = PosixFileStore::Open(folder.File("pki"));
  ASSERT_THAT(files, IsOk());
  const FixedClock clock;
  ASSERT_THAT(Pki::Init(**files, clock, Options()), IsOk());
  for (const char* path : {"ca.key", "aggregator.key", "operators/olga.key"}) {
    struct stat info;
    ASSERT_EQ(stat(folder.File(std::string("pki/") + path).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << path;
  }
  ASSERT_THAT(Pki::Open(**files, clock), IsOk());
}

TEST(CheckHostTest, TakesNamesAndAddressesOnly) {
  for (const char* good : {"localhost", "agg-1.example.org", "10.0.0.1", "::1",
                           "2001:db8::7", "A.org"}) {
    EXPECT_THAT(CheckHost(good), IsOk());
  }
  for (const char* bad : {"", "a b", "a..b", "-a", "a-", "*.org",
                          "a,IP:1.1.1.1", "a/b", "host:8443", "a\n"}) {
    EXPECT_THAT(CheckHost(bad), HasCode(kInvalid)) << bad;
  }
}

}  // namespace
}  // namespace fedgraft
