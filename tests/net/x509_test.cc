#include "common/net/x509.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/net/x509_fixtures.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::FixtureKey;
using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::X509Fixture;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;

absl::Time Day(int year, int month, int day) {
  return absl::FromCivil(absl::CivilDay(year, month, day), absl::UTCTimeZone());
}
const absl::Time kNow = Day(2024, 6, 1);

TEST(ParseCertificateTest, ReadsWhatAnIndependentImplementationWrote) {
  const auto info = ParseCertificate(X509Fixture("site.pem"));
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->role, CertificateRole::kSite);
  EXPECT_EQ(info->federation, "demo");
  EXPECT_EQ(info->id, "alpha");
  EXPECT_EQ(info->serial, "ab12");
  EXPECT_EQ(info->not_before, Day(2024, 2, 1));
  EXPECT_EQ(info->not_after, Day(2025, 2, 1));
  EXPECT_EQ(info->public_key, FixtureKey(10).PublicKey());
  EXPECT_EQ(ParseCertificate(X509Fixture("aggregator.pem"))->role,
            CertificateRole::kAggregator);
  EXPECT_EQ(ParseCertificate(X509Fixture("operator.pem"))->role,
            CertificateRole::kOperator);
}

TEST(ParseCertificateTest, SaysWhatIsWrong) {
  const struct {
    std::string pem, message;
  } cases[] = {
      {"", "empty"},
      {"hello", "not a certificate"},
      {X509Fixture("site.pem").substr(0, 200), "not a certificate"},
      {X509Fixture("good.csr"), "not a certificate"},
      {std::string(kPemBytesMax + 1, 'x'), "at most"},
      {X509Fixture("no_san.pem"), "no FedGraft name"},
      {X509Fixture("foreign_uri.pem"), "no FedGraft name"},
      {X509Fixture("ca.pem"), "no FedGraft name"},
      {X509Fixture("two_names.pem"), "more than one FedGraft name"},
      {X509Fixture("bad_id.pem"), "fedgraft://demo/site/Alpha"},
      {X509Fixture("bad_role.pem"), "fedgraft://demo/root/alpha"},
      {X509Fixture("extra_part.pem"), "is not fedgraft://"},
      {X509Fixture("nul_in_name.pem"), "is not fedgraft://"},
      {X509Fixture("p256_site.pem"), "FedGraft uses Ed25519 only"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(ParseCertificate(test.pem), IsError(kInvalid, test.message));
  }
}

TEST(VerifyCertificateTest, AcceptsWhatTheCaIssued) {
  const std::string ca = X509Fixture("ca.pem");
  EXPECT_THAT(VerifyCertificate(X509Fixture("site.pem"), ca, kNow,
                                CertificateUse::kClient),
              IsOk());
  for (CertificateUse use :
       {CertificateUse::kClient, CertificateUse::kServer}) {
    EXPECT_THAT(VerifyCertificate(X509Fixture("aggregator.pem"), ca, kNow, use),
                IsOk());
  }
}

TEST(VerifyCertificateTest, ExplainsEachRefusal) {
  const struct {
    const char *leaf, *ca;
    absl::Time now;
    CertificateUse use;
    const char* message;
  } cases[] = {
      {"site.pem", "ca.pem", Day(2025, 2, 2), CertificateUse::kClient,
       "expired on 2025-02-01 00:00 UTC"},
      {"site.pem", "ca.pem", Day(2024, 1, 15), CertificateUse::kClient,
       "not valid yet (valid from 2024-02-01"},
      {"site.pem", "other_ca.pem", kNow, CertificateUse::kClient,
       "issued by another CA (\"demo CA\")"},
      {"other_ca_site.pem", "ca.pem", kNow, CertificateUse::kClient,
       "issued by another CA"},
      {"issued_by_site.pem", "ca.pem", kNow, CertificateUse::kClient,
       "issued by another CA (\"alpha\")"},
      {"issued_by_site.pem", "site.pem", kNow, CertificateUse::kClient, ""},
      {"site.pem", "site.pem", kNow, CertificateUse::kClient, ""},
      {"site.pem", "ca.pem", kNow, CertificateUse::kServer,
       "site alpha is not for use as a TLS server"},
      {"server_only_site.pem", "ca.pem", kNow, CertificateUse::kClient,
       "not for use as a TLS client"},
      {"no_usage_site.pem", "ca.pem", kNow, CertificateUse::kClient,
       "not for use as a TLS client"},
      {"site.pem", "ca.pem", Day(2035, 1, 1), CertificateUse::kClient,
       "expired"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(std::string(test.leaf) + " by " + test.ca);
    EXPECT_THAT(VerifyCertificate(X509Fixture(test.leaf), X509Fixture(test.ca),
                                  test.now, test.use),
                IsError(kDenied, test.message));
  }
  EXPECT_THAT(VerifyCertificate(X509Fixture("site.pem"), "junk", kNow,
                                CertificateUse::kClient),
              IsError(kInvalid, "CA: not a certificate"));
}

TEST(VerifyCertificateTest, NoChangedByteOfACertificateIsAccepted) {
  const std::string ca = X509Fixture("ca.pem");
  const std::string good = X509Fixture("site.pem");
  const size_t begin = good.find('\n') + 1;
  for (size_t at = begin; at < good.find("\n-----END"); at += 3) {
    if (good[at] == '\n') continue;
    std::string bad = good;
    bad[at] = good[at] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(VerifyCertificate(bad, ca, kNow, CertificateUse::kClient).ok())
        << at;
  }
}

TEST(CheckRoleTest, WantsRoleAndFederation) {
  const auto info = ParseCertificate(X509Fixture("site.pem"));
  ASSERT_THAT(info, IsOk());
  EXPECT_THAT(CheckRole(*info, CertificateRole::kSite, "demo"), IsOk());
  EXPECT_THAT(CheckRole(*info, CertificateRole::kAggregator, "demo"),
              IsError(kDenied, "role is site (alpha); expected aggregator"));
  EXPECT_THAT(CheckRole(*info, CertificateRole::kSite, "other"),
              IsError(kDenied, "federation \"demo\""));
}

TEST(CheckValidityTest, TellsBothEnds) {
  const auto info = ParseCertificate(X509Fixture("site.pem"));
  ASSERT_THAT(info, IsOk());
  EXPECT_THAT(CheckValidity(*info, kNow), IsOk());
  EXPECT_THAT(CheckValidity(*info, Day(2025, 3, 1)),
              IsError(kDenied, "expired on 2025-02-01"));
  EXPECT_THAT(CheckValidity(*info, Day(2023, 1, 1)),
              IsError(kDenied, "not valid yet"));
}

TEST(CsrTest, OwnRequestParsesAndProvesItsKey) {
  const SigningKey key = FixtureKey(10);
  const auto pem = MakeSiteCsr(key, "demo", SiteId{"alpha"});
  ASSERT_THAT(pem, IsOk());
  const auto info = ParseCsr(*pem);
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->common_name, "alpha");
  EXPECT_EQ(info->organisation, "demo");
  EXPECT_EQ(info->public_key, key.PublicKey());
  EXPECT_THAT(MakeSiteCsr(key, "De mo", SiteId{"alpha"}), HasCode(kInvalid));
  EXPECT_THAT(MakeSiteCsr(key, "demo", SiteId{"a,URI:b"}), HasCode(kInvalid));
}

TEST(CsrTest, ReadsWhatAnIndependentImplementationWrote) {
  const auto info = ParseCsr(X509Fixture("good.csr"));
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->common_name, "alpha");
  EXPECT_EQ(info->public_key, FixtureKey(10).PublicKey());
}

TEST(CsrTest, RefusesForgedAndForeignRequests) {
  EXPECT_THAT(ParseCsr(X509Fixture("bad_signature.csr")),
              IsError(kDenied, "not signed by its own key"));
  EXPECT_THAT(ParseCsr(X509Fixture("stolen_key.csr")),
              IsError(kDenied, "not signed by its own key"));
  EXPECT_THAT(ParseCsr(X509Fixture("rsa.csr")),
              IsError(kInvalid, "is RSA; FedGraft uses Ed25519 only"));
  EXPECT_THAT(ParseCsr(X509Fixture("p256.csr")),
              IsError(kInvalid, "FedGraft uses Ed25519 only"));
  EXPECT_THAT(ParseCsr(X509Fixture("site.pem")),
              IsError(kInvalid, "not a certificate request"));
  EXPECT_THAT(ParseCsr(""), HasCode(kInvalid));
}

TEST(DiagnoseCredentialsTest, SaysWhatIsWrongAndWhatToDo) {
  const std::string site = X509Fixture("site.pem"), ca = X509Fixture("ca.pem");
  const SecretBytes key_bytes = FixtureKey(10).ToPem();
  const SecretBytes other_bytes = FixtureKey(12).ToPem();
  const std::string key(AsText(key_bytes.span()));
  const std::string other(AsText(other_bytes.span()));
  const struct {
    std::string certificate, key, ca;
    absl::Time now;
    const char* message;
  } cases[] = {
      {site, key, ca, Day(2025, 6, 1), "renew it: run fedgraft-client enroll"},
      {site, key, ca, Day(2025, 6, 1), "site alpha: the certificate expired"},
      {site, key, X509Fixture("other_ca.pem"), kNow, "another CA"},
      {site, other, ca, kNow, "does not belong to the private key"},
      {site, "", ca, kNow, "private key"},
      {"", key, ca, kNow, "no certificate yet: run fedgraft-client enroll"},
      {X509Fixture("no_san.pem"), key, ca, kNow, "no FedGraft name"},
      {site, key, "", kNow, "CA"},
  };
  EXPECT_EQ(DiagnoseCredentials(site, key, ca, kNow), "");
  for (const auto& test : cases) {
    EXPECT_NE(DiagnoseCredentials(test.certificate, test.key, test.ca, test.now)
                  .find(test.message),
              std::string::npos)
        << test.message;
  }
}

TEST(WarnOfExpiryTest, WarnsAt30And7And1DaysAndAfter) {
  const auto info = ParseCertificate(X509Fixture("site.pem"));
  ASSERT_THAT(info, IsOk());
  const auto threshold = [&](absl::Duration before_end) {
    const auto warning = WarnOfExpiry(*info, info->not_after - before_end);
    return warning.has_value() ? warning->threshold_days : -1;
  };
  EXPECT_EQ(threshold(absl::Hours(24 * 30 + 1)), -1);
  EXPECT_EQ(threshold(absl::Hours(24 * 30)), 30);
  EXPECT_EQ(threshold(absl::Hours(24 * 7 + 1)), 30);
  EXPECT_EQ(threshold(absl::Hours(24 * 7)), 7);
  EXPECT_EQ(threshold(absl::Hours(24)), 1);
  EXPECT_EQ(threshold(-absl::Seconds(1)), 0);
  const auto text =
      WarnOfExpiry(*info, info->not_after - absl::Hours(24 * 5))->text;
  EXPECT_NE(text.find("site alpha expires on 2025-02-01 00:00 UTC, in 5 days"),
            std::string::npos)
      << text;
}

TEST(KeyFingerprintTest, IsSha256InGroupsOfFour) {
  // sha256sum of 32 zero bytes.
  EXPECT_EQ(KeyFingerprint(Bytes(32, 0)),
            "6668 7aad f862 bd77 6c8f c18b 8e9f 8e20 0897 1485 6ee2 33b3 902a "
            "591d 0d5f 2925");
}

}  // namespace
}  // namespace fedgraft
