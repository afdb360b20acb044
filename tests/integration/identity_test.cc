#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "aggregator/admin/pki.h"
#include "common/net/grpc/tls.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/text_file.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "proto/federation.grpc.pb.h"
#include "tests/integration/federation.h"

// Who may talk to whom, and what the one who may not is told.

namespace fedgraft::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kRefused = 5;  // exit code

// What openssl s_client says when the server ends the connection; gRPC does so
// with or without a TLS alert.
const auto kConnectionEnded =
    AnyOf(HasSubstr("alert"), HasSubstr("unexpected eof"));

class FixedClock : public Clock {
 public:
  explicit FixedClock(absl::Time wall) : wall_(wall) {}
  absl::Time Monotonic() const override { return wall_; }
  absl::Time Wall() const override { return wall_; }

 private:
  absl::Time wall_;
};

std::string MustRead(const std::string& path) {
  std::string text = ReadFileOrEmpty(path);
  EXPECT_FALSE(text.empty()) << path;
  return text;
}

// Puts the files of one identity where another kind of program looks for them.
void CopyCredentials(const std::string& key, const std::string& certificate,
                     const std::string& ca, const std::string& folder,
                     const std::string& name) {
  std::filesystem::create_directories(folder);
  const auto copy = [&](const std::string& from, const std::string& to) {
    std::filesystem::copy_file(
        from, absl::StrCat(folder, "/", to),
        std::filesystem::copy_options::overwrite_existing);
  };
  copy(key, name + ".key");
  copy(certificate, name + ".pem");
  copy(ca, "ca.pem");
}

TEST(SiteIdentityTest, WithoutACertificateTheClientSaysHowToGetOne) {
  Federation federation(1);
  std::filesystem::remove(federation.SitePath(0, "identity/site.pem"));
  const CommandResult run =
      federation.Client({"run", "--config", federation.SiteConfig(0)});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("fedgraft-client enroll"));
}

TEST(SiteIdentityTest, AnExpiredCertificateIsNamedWithItsDate) {
  Federation federation(1);
  const auto files = PosixFileStore::Open(federation.Path("pki"));
  ASSERT_TRUE(files.ok());
  const FixedClock past(absl::Now() - absl::Hours(24 * 10));
  auto pki = Pki::Open(**files, past);
  ASSERT_TRUE(pki.ok());
  ApproveRequest request;
  request.csr_pem = MustRead(federation.SitePath(0, "identity/site.csr"));
  request.site = SiteId{"site-0"};
  request.days = 2;
  const auto issued = pki->Approve(request);
  ASSERT_TRUE(issued.ok()) << issued.status();
  const std::string installed = federation.SitePath(0, "identity/site.pem");
  ASSERT_TRUE(WriteTextFile(installed, issued->certificate_pem).ok());

  const CommandResult run =
      federation.Client({"run", "--config", federation.SiteConfig(0)});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("expired on"));
  EXPECT_THAT(run.err, HasSubstr("renew it"));
  // And the aggregator shuts it out whatever the client does.
  ASSERT_TRUE(federation.StartAggregator());
  const CommandResult tls =
      RunCommand({"/usr/bin/openssl", "s_client", "-connect",
                  absl::StrCat("127.0.0.1:", federation.SitePort()), "-tls1_3",
                  "-alpn", "h2", "-ign_eof", "-cert", installed, "-key",
                  federation.SitePath(0, "identity/site.key"), "-CAfile",
                  federation.Path("pki/ca.pem")});
  EXPECT_NE(tls.exit_code, 0);
  EXPECT_THAT(tls.err, kConnectionEnded);
}

TEST(SiteIdentityTest, ACertificateOfAnotherCaIsRefusedByBothSides) {
  Federation federation(1), other(1);
  ASSERT_TRUE(federation.StartAggregator());
  // The other federation's site, pointed here.
  other.ConfigureSite(
      0, {absl::StrCat("aggregator: 127.0.0.1:", federation.SitePort())});
  const CommandResult check =
      other.Client({"check", "--config", other.SiteConfig(0)});
  EXPECT_EQ(check.exit_code, 4) << check.out << check.err;
  EXPECT_THAT(check.out, HasSubstr("FAIL aggregator"));
  // It trusts this CA now, but its certificate is still the other's.
  std::filesystem::copy_file(federation.Path("pki/ca.pem"),
                             other.SitePath(0, "identity/ca.pem"),
                             std::filesystem::copy_options::overwrite_existing);
  const CommandResult run =
      other.Client({"run", "--config", other.SiteConfig(0)});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("issued by another CA"));
  EXPECT_EQ(federation.Status().sites_size(), 0);
}

TEST(SiteIdentityTest, ARevokedSiteIsShutOutAndTheRunGoesOn) {
  Federation federation(3);
  for (int i = 0; i < 3; ++i) {
    federation.ControlTrainer(i, {{"delay_ms", "50"}});
  }
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.rounds = 40;
  plan.quorum = 2;
  plan.expected = 3;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return status.sites_size() == 3 && status.sites(2).rounds_contributed() > 1;
  })) << federation.Logs();

  ASSERT_EQ(federation
                .Aggregator({"pki", "revoke", "--dir", federation.Path("pki"),
                             "site-2"})
                .exit_code,
            0);
  const absl::Time revoked = absl::Now();
  ASSERT_TRUE(WaitUntil(
      [&] { return absl::StrContains(federation.SiteLog(2), "revoked"); },
      absl::Seconds(5)))
      << federation.SiteLog(2);
  EXPECT_LT(absl::Now() - revoked, absl::Seconds(2));
  const uint32_t contributed =
      federation.Status().sites(2).rounds_contributed();
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const pb::StatusReply status = federation.Status(true);
  EXPECT_EQ(status.sites(2).rounds_contributed(), contributed);
  EXPECT_LT(contributed, 40u);
  EXPECT_EQ(status.sites(0).rounds_contributed(), 40u);
  EXPECT_EQ(status.history(39).sites_size(), 2);
  const CommandResult check =
      federation.Client({"check", "--config", federation.SiteConfig(2)});
  EXPECT_EQ(check.exit_code, kRefused) << check.out << check.err;
  EXPECT_THAT(check.out, HasSubstr("revoked"));
}

TEST(RoleTest, ASiteMayNotCommandRuns) {
  Federation federation(1);
  ASSERT_TRUE(federation.StartAggregator());
  const std::string identity = federation.SitePath(0, "identity");
  CopyCredentials(identity + "/site.key", identity + "/site.pem",
                  identity + "/ca.pem", federation.Path("stolen"), "operator");
  const CommandResult status = federation.Aggregator(
      {"status", "--admin", absl::StrCat("127.0.0.1:", federation.AdminPort()),
       "--credentials", federation.Path("stolen")});
  EXPECT_EQ(status.exit_code, kRefused) << status.err;
  EXPECT_THAT(status.err, HasSubstr("operator"));
}

TEST(RoleTest, AnOperatorMayNotTakePart) {
  Federation federation(0);
  ASSERT_TRUE(federation.StartAggregator());
  const std::string stem = federation.Path("pki/operators/operator");
  const auto stub = pb::Federation::NewStub(grpc::CreateChannel(
      absl::StrCat("127.0.0.1:", federation.SitePort()),
      ClientTls({stem + ".key", stem + ".pem", federation.Path("pki/ca.pem")},
                [](std::string_view) { return absl::OkStatus(); })));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
  pb::JoinRequest request;
  request.set_protocol_version(1);
  pb::JoinReply reply;
  const grpc::Status status = stub->Join(&context, request, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("site"));
}

TEST(RoleTest, AnOperatorsCommandsWorkFromAnotherMachine) {
  Federation federation(0);
  ASSERT_TRUE(federation.StartAggregator());
  const std::string stem = federation.Path("pki/operators/operator");
  CopyCredentials(stem + ".key", stem + ".pem", federation.Path("pki/ca.pem"),
                  federation.Path("laptop"), "operator");
  const CommandResult status = federation.Aggregator(
      {"status", "--admin", absl::StrCat("127.0.0.1:", federation.AdminPort()),
       "--credentials", federation.Path("laptop")});
  EXPECT_EQ(status.exit_code, 0) << status.err;
  EXPECT_THAT(status.out, HasSubstr("no run yet"));
}

// A site that listens with its own certificate is no aggregator.
TEST(RoleTest, AClientTalksOnlyToAnAggregator) {
  Federation federation(2);
  const std::string identity = federation.SitePath(1, "identity");
  pb::Federation::Service service;  // would answer UNIMPLEMENTED
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(
      "127.0.0.1:0",
      ServerTls({identity + "/site.key", identity + "/site.pem",
                 identity + "/ca.pem"}),
      &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  federation.ConfigureSite(0, {absl::StrCat("aggregator: 127.0.0.1:", port)});
  const CommandResult check =
      federation.Client({"check", "--config", federation.SiteConfig(0)});
  server->Shutdown();
  EXPECT_EQ(check.exit_code, 4) << check.out << check.err;
  EXPECT_THAT(check.out, HasSubstr("FAIL aggregator"));
  EXPECT_THAT(check.out, Not(HasSubstr("UNIMPLEMENTED")));
}

CommandResult Handshake(const Federation& federation,
                        const std::string& version) {
  const std::string identity = federation.SitePath(0, "identity");
  return RunCommand({"/usr/bin/openssl", "s_client", "-connect",
                     absl::StrCat("127.0.0.1:", federation.SitePort()), version,
                     "-alpn", "h2", "-cert", identity + "/site.pem", "-key",
                     identity + "/site.key", "-CAfile", identity + "/ca.pem",
                     "-verify_return_error"});
}

TEST(TlsTest, OnlyVersion13WithAClientCertificateIsSpoken) {
  Federation federation(1);
  ASSERT_TRUE(federation.StartAggregator());
  const CommandResult old = Handshake(federation, "-tls1_2");
  EXPECT_NE(old.exit_code, 0);
  EXPECT_THAT(old.out, HasSubstr("Cipher is (NONE)"));
  const CommandResult now = Handshake(federation, "-tls1_3");
  EXPECT_EQ(now.exit_code, 0) << now.err;
  EXPECT_THAT(now.out, HasSubstr("TLSv1.3"));
  EXPECT_THAT(now.out, HasSubstr("ALPN protocol: h2"));
  EXPECT_THAT(now.out, HasSubstr("Verify return code: 0 (ok)"));
  const CommandResult nobody = RunCommand(
      {"/usr/bin/openssl", "s_client", "-connect",
       absl::StrCat("127.0.0.1:", federation.SitePort()), "-tls1_3", "-alpn",
       "h2", "-ign_eof", "-CAfile", federation.Path("pki/ca.pem")});
  EXPECT_NE(nobody.exit_code, 0);
  EXPECT_THAT(nobody.err, kConnectionEnded);
}

std::string ServerSerial(const Federation& federation) {
  const CommandResult shown = Handshake(federation, "-tls1_3");
  const std::string pem = federation.Path("shown.pem");
  EXPECT_TRUE(WriteTextFile(pem, shown.out).ok());
  return RunCommand(
             {"/usr/bin/openssl", "x509", "-in", pem, "-noout", "-serial"})
      .out;
}

TEST(RenewalTest, RenewedCertificatesOfBothSidesAreUsedWithoutARestart) {
  Federation federation(2);
  for (int i = 0; i < 2; ++i) {
    federation.ControlTrainer(i, {{"delay_ms", "50"}});
  }
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  plan.rounds = 1000;  // not reached
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return status.round() > 1;
  })) << federation.Logs();
  const std::string serial = ServerSerial(federation);
  ASSERT_THAT(serial, HasSubstr("serial="));
  const std::string old_certificate =
      MustRead(federation.SitePath(0, "identity/site.pem"));

  ASSERT_EQ(federation
                .Aggregator({"pki", "renew", "--dir", federation.Path("pki"),
                             "--name", "localhost"})
                .exit_code,
            0);
  federation.Enrol(0);  // the same key, a new certificate
  EXPECT_TRUE(WaitUntil([&] { return ServerSerial(federation) != serial; }))
      << "the aggregator still shows its old certificate";

  // New connections of the site carry its new certificate: the old one is
  // revoked by its serial, and the site goes on after a lost connection.
  const auto old_info = ParseCertificate(old_certificate);
  ASSERT_TRUE(old_info.ok());
  ASSERT_EQ(federation
                .Aggregator({"pki", "revoke", "--dir", federation.Path("pki"),
                             old_info->serial})
                .exit_code,
            0);
  federation.KillAggregator();
  ASSERT_TRUE(federation.StartAggregator());
  const uint32_t round = federation.Status().round();
  EXPECT_TRUE(federation.WaitFor([&](const auto& status) {
    return status.round() > round + 1 &&
           status.sites(0).rounds_contributed() + 1 >= status.round() - 1;
  })) << federation.Logs();
}

}  // namespace
}  // namespace fedgraft::testing
