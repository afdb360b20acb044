#include "common/net/identity.h"

#include <sys/stat.h>

#include <string>

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

constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
const SiteId kAlpha{"alpha"};
const absl::Time kNow =
    absl::FromCivil(absl::CivilDay(2024, 6, 1), absl::UTCTimeZone());

std::string Text(const SimFileStore& files, std::string_view path) {
  const Bytes content = files.Content(path);
  return std::string(AsText(content));
}

// A folder whose key is the one of the fixtures.
class IdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const SecretBytes pem = FixtureKey(10).ToPem();
    files_.SetContent(kIdentityKeyFile, ToBytes(pem.span()));
    ASSERT_THAT(Identity::CreateKeyAndCsr(files_, "demo", kAlpha), IsOk());
  }
  absl::Status Install(const std::string& certificate = "site.pem",
                       const std::string& ca = "ca.pem",
                       absl::Time now = kNow) {
    return Identity::InstallCertificate(files_, X509Fixture(certificate),
                                        X509Fixture(ca), now)
        .status();
  }
  SimFileStore files_;
};

TEST(IdentityKeyTest, KeyIsMadeOnceAndTheRequestProvesIt) {
  SimFileStore files;
  const auto first = Identity::CreateKeyAndCsr(files, "demo", kAlpha);
  ASSERT_THAT(first, IsOk());
  const std::string key = Text(files, kIdentityKeyFile);
  EXPECT_EQ(Text(files, kIdentityCsrFile), *first);
  const auto again = Identity::CreateKeyAndCsr(files, "demo", kAlpha);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(Text(files, kIdentityKeyFile), key);
  EXPECT_EQ(ParseCsr(*again)->public_key,
            SigningKey::FromPem(key)->PublicKey());
}

TEST(IdentityKeyTest, DamagedKeyIsReportedAndNotOverwritten) {
  SimFileStore files;
  files.SetContent(kIdentityKeyFile, ToBytes(AsBytes("damaged")));
  EXPECT_THAT(Identity::CreateKeyAndCsr(files, "demo", kAlpha),
              IsError(absl::StatusCode::kInvalidArgument, "site.key"));
  EXPECT_EQ(Text(files, kIdentityKeyFile), "damaged");
  files.SetContent(kIdentityKeyFile, {});
  EXPECT_FALSE(Identity::CreateKeyAndCsr(files, "demo", kAlpha).ok());
  EXPECT_EQ(Text(files, kIdentityKeyFile), "");
}

TEST(IdentityKeyTest, RefusesBadNamesBeforeMakingAKey) {
  SimFileStore files;
  EXPECT_FALSE(Identity::CreateKeyAndCsr(files, "De mo", kAlpha).ok());
  EXPECT_FALSE(Identity::CreateKeyAndCsr(files, "demo", SiteId{"../x"}).ok());
  EXPECT_TRUE(files.AllPaths().empty());
}

TEST(IdentityKeyTest, KeyFileOnDiskIsForTheOwnerOnly) {
  const testing::TempFolder folder;
  const auto files = PosixFileStore::Open(folder.File("identity"));
  ASSERT_THAT(files, IsOk());
  ASSERT_THAT(Identity::CreateKeyAndCsr(**files, "demo", kAlpha), IsOk());
  struct stat info;
  ASSERT_EQ(stat(folder.File("identity/site.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(IdentityTest, InstalledIdentityLoadsAndSurvivesAPowerFailure) {
  ASSERT_THAT(Install(), IsOk());
  files_.Crash(3);
  const auto identity = Identity::Load(files_);
  ASSERT_THAT(identity, IsOk());
  EXPECT_EQ(identity->info().id, "alpha");
  EXPECT_EQ(identity->key().PublicKey(), FixtureKey(10).PublicKey());
  EXPECT_EQ(identity->certificate_pem(), X509Fixture("site.pem"));
  EXPECT_EQ(identity->ca_pem(), X509Fixture("ca.pem"));
  EXPECT_EQ(DiagnoseCredentials(identity->certificate_pem(),
                                AsText(identity->key_pem().span()),
                                identity->ca_pem(), kNow),
            "");
}

TEST_F(IdentityTest, LoadNamesTheStepThatIsMissing) {
  SimFileStore empty;
  EXPECT_THAT(Identity::Load(empty), IsError(kFailed, "site.key"));
  EXPECT_THAT(Identity::Load(files_), IsError(kFailed, "approved"));
}

TEST_F(IdentityTest, InstallRefusesWhatDoesNotFitAndLeavesNothingBehind) {
  const absl::Time late = kNow + absl::Hours(24 * 365);
  EXPECT_THAT(Install("site.pem", "other_ca.pem"), IsError(kDenied, "another"));
  EXPECT_THAT(Install("site.pem", "ca.pem", late), IsError(kDenied, "expired"));
  EXPECT_THAT(Install("operator.pem"), IsError(kDenied, "role is operator"));
  EXPECT_THAT(Install("aggregator.pem"), IsError(kDenied, "role is aggreg"));
  EXPECT_THAT(Install("server_only_site.pem"), HasCode(kDenied));
  EXPECT_THAT(Install("good.csr"), HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(files_.Exists(kIdentityCertificateFile));
  EXPECT_FALSE(files_.Exists(kIdentityCaFile));
}

TEST_F(IdentityTest, InstallRefusesACertificateForAnotherKeyOrSite) {
  const SecretBytes other = FixtureKey(12).ToPem();
  SimFileStore files;
  EXPECT_THAT(Identity::InstallCertificate(files, X509Fixture("site.pem"),
                                           X509Fixture("ca.pem"), kNow),
              IsError(kFailed, "no site.key"));
  files.SetContent(kIdentityKeyFile, ToBytes(other.span()));
  EXPECT_THAT(Identity::InstallCertificate(files, X509Fixture("site.pem"),
                                           X509Fixture("ca.pem"), kNow),
              IsError(kFailed, "this site's key is"));
  ASSERT_THAT(Identity::CreateKeyAndCsr(files_, "demo", SiteId{"beta"}),
              IsOk());
  EXPECT_THAT(Install(), IsError(kFailed, "requested was beta"));
}

TEST_F(IdentityTest, InstalledCaAndIdentityAreNotReplacedByOthers) {
  ASSERT_THAT(Install(), IsOk());
  EXPECT_THAT(Install("other_ca_site.pem", "other_ca.pem"),
              IsError(kFailed, "another CA is installed"));
  EXPECT_THAT(Identity::CreateKeyAndCsr(files_, "demo", SiteId{"beta"}),
              IsError(kFailed, "identity of site alpha"));
  EXPECT_EQ(Text(files_, kIdentityCertificateFile), X509Fixture("site.pem"));
}

TEST_F(IdentityTest, ChangedTellsARenewedCertificate) {
  ASSERT_THAT(Install(), IsOk());
  const auto identity = Identity::Load(files_);
  ASSERT_THAT(identity, IsOk());
  ASSERT_THAT(identity->Changed(files_), IsOk());
  EXPECT_FALSE(*identity->Changed(files_));
  files_.SetContent(kIdentityCertificateFile,
                    ToBytes(AsBytes(X509Fixture("no_usage_site.pem"))));
  EXPECT_TRUE(*identity->Changed(files_));
  ASSERT_THAT(files_.Remove(kIdentityCertificateFile), IsOk());
  EXPECT_FALSE(identity->Changed(files_).ok());
}

TEST_F(IdentityTest, LoadRefusesKeyAndCertificateThatDoNotBelongTogether) {
  ASSERT_THAT(Install(), IsOk());
  const SecretBytes other = FixtureKey(12).ToPem();
  files_.SetContent(kIdentityKeyFile, ToBytes(other.span()));
  EXPECT_THAT(Identity::Load(files_), IsError(kFailed, "but site.key is"));
}

}  // namespace
}  // namespace fedgraft
