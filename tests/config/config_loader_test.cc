#include "common/config/config_loader.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

class ConfigLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& text) {
    const std::string path = (folder_ / "c.yaml").string();
    std::ofstream(path) << text;
    return path;
  }
  std::string ClientError(const std::string& lines) {
    const auto config =
        LoadClientConfig(Write("identity_dir: i\nstate_dir: s\n" + lines));
    EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << lines;
    return std::string(config.status().message());
  }

  std::filesystem::path folder_;
};

constexpr char kAggregator[] =
    "federation: demo\nstate_dir: state\npki_dir: pki\n"
    "wrapping_key_file: key\n";

TEST_F(ConfigLoaderTest, AggregatorConfigLoadsWithDefaultsAndAbsolutePaths) {
  const auto config = LoadAggregatorConfig(Write(kAggregator));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen(), "0.0.0.0:8443");
  EXPECT_EQ(config->state_dir(), (folder_ / "state").string());
  EXPECT_EQ(config->update_size_max_mib(), 1024);
}

TEST_F(ConfigLoaderTest, AggregatorErrorsNameFileLineAndKey) {
  const std::string path = Write(std::string(kAggregator) +
                                 "listen: nowhere\nadmin_listen: a:70000\n");
  const auto config = LoadAggregatorConfig(path);
  EXPECT_EQ(config.status().message(),
            path +
                ":5: listen: found \"nowhere\"; expected host:port with a "
                "port from 0 to 65535\n" +
                path +
                ":6: admin_listen: found \"a:70000\"; expected "
                "host:port with a port from 0 to 65535");
}

TEST_F(ConfigLoaderTest, TheStatusPageNeedsNothingMoreOnLoopback) {
  for (const char* listen :
       {"127.0.0.1:8445", "localhost:0", "127.8.9.1:1", "\"[::1]:8445\""}) {
    const auto config = LoadAggregatorConfig(
        Write(std::string(kAggregator) + "web: {listen: " + listen + "}\n"));
    EXPECT_TRUE(config.ok()) << config.status();
  }
}

TEST_F(ConfigLoaderTest, TheStatusPageElsewhereNeedsTlsAndAToken) {
  for (const char* listen :
       {"0.0.0.0:8445", "127.0.0.1.example.org:8445", "centre:8445",
        "\"[::]:8445\"", "127.0.0.1234:1", "localhost.example:1"}) {
    const auto config = LoadAggregatorConfig(
        Write(std::string(kAggregator) + "web: {listen: " + listen + "}\n"));
    const std::string message(config.status().message());
    EXPECT_THAT(message, HasSubstr("web.certificate_file: is missing; "))
        << listen;
    EXPECT_THAT(message, HasSubstr("web.token_file: is missing; "));
    EXPECT_THAT(message, HasSubstr("is not a loopback address"));
  }
  const auto config = LoadAggregatorConfig(
      Write(std::string(kAggregator) +
            "web: {listen: 0.0.0.0:8445, certificate_file: c.pem, "
            "key_file: k.pem, token_file: t}\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->web().token_file(), (folder_ / "t").string());
}

TEST_F(ConfigLoaderTest, TheStatusPagesCertificateAndKeyGoTogether) {
  const auto config = LoadAggregatorConfig(
      Write(std::string(kAggregator) +
            "web: {listen: 127.0.0.1:8445, certificate_file: c.pem}\n"));
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("web.key_file: is missing"));
}

TEST_F(ConfigLoaderTest, WrappingKeyMayNotLieInTheStateFolder) {
  const auto config = LoadAggregatorConfig(
      Write("federation: demo\nstate_dir: state\npki_dir: pki\n"
            "wrapping_key_file: state/../state/key\n"));
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("wrapping_key_file: found a file inside state_dir"));
}

TEST_F(ConfigLoaderTest, FederationIsAnIdentifier) {
  const auto config = LoadAggregatorConfig(
      Write("federation: Big Net\nstate_dir: s\npki_dir: p\n"
            "wrapping_key_file: k\n"));
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("Big Net"));
}

TEST_F(ConfigLoaderTest, AddressesAreHostAndPort) {
  const std::string rest = "data: {kind: phantom}\n";
  for (const char* good :
       {"a:1", "localhost:8443", "10.0.0.1:65535", "[::1]:8443"}) {
    const auto config =
        LoadClientConfig(Write("identity_dir: i\nstate_dir: s\n" + rest +
                               "aggregator: \"" + good + "\""));
    EXPECT_TRUE(config.ok()) << config.status();
  }
  for (const char* bad : {"a", "a:", ":1", "a:0", "a:x", "a:65536", "::1:8",
                          "https://a:1", "[::1:8", "a b:1"}) {
    EXPECT_THAT(ClientError(rest + "aggregator: \"" + bad + "\""),
                HasSubstr("host:port"));
  }
}

TEST_F(ConfigLoaderTest, DataKindsNeedWhatTheyRead) {
  const std::string start = "aggregator: a:1\n";
  struct Case {
    std::string lines;
    std::string error;
  };
  const Case cases[] = {
      {"data: {kind: npz}", "data.path: is missing; kind npz"},
      {"data: {kind: folder}", "the CSV manifest"},
      {"data: {kind: dicom}", "expected one of npz, folder, phantom"},
      {"data: {kind: table}",
       "data.path: is missing; kind table expects the "
       "CSV file"},
      {"data: {kind: embeddings_npz}", "expects the .npz file"},
      {"data: {kind: embeddings_npz, path: x, shard_count: 2}",
       "data.shard_count: found 2; only kind npz"},
      {"data: {kind: table, path: x}",
       "data.table: is missing; kind table expects the columns"},
      {"data: {kind: folder, path: x, table: {numeric: [a]}}",
       "data.table: found columns; kind folder expects none"},
      {"data: {kind: table, path: x, table: {numeric: [a, label]}}",
       "data.table.numeric[1]: found \"label\"; expected columns that are "
       "named once and are not label, patient or split"},
      {"data: {kind: table, path: x, table: {numeric: [a], categories: "
       "[{column: a, values: [x]}]}}",
       "data.table.categories[0].column: found \"a\""},
      {"data: {kind: table, path: x, table: {categories: [{column: a, values: "
       "[x, y, x]}]}}",
       "data.table.categories[0].values: found a value twice"},
      {"data: {kind: table, path: x, table: {numeric: [a], missing: guess}}",
       "data.table.missing: found \"guess\"; expected one of error, mean, "
       "zero, indicator"},
      {"data: {kind: folder, path: x, filter_column: a}",
       "data.filter_value: is missing"},
      {"data: {kind: npz, path: x, shard_index: 3, shard_count: 3}",
       "data.shard_index: found 3"},
      {"data: {kind: folder, path: x, val_fraction: 0.5, test_fraction: 0.5}",
       "data.test_fraction"},
      {"data: {kind: phantom, phantom: {lesion_radius_min: 9}}",
       "data.phantom.lesion_radius_min"}};
  for (const Case& bad : cases) {
    const std::string error = ClientError(start + bad.lines);
    EXPECT_THAT(error, HasSubstr(bad.error));
    EXPECT_THAT(error, HasSubstr("c.yaml:4"));
  }
}

TEST_F(ConfigLoaderTest, DeviceAndPolicyWordsAreChecked) {
  const std::string start = "aggregator: a:1\ndata: {kind: phantom}\n";
  EXPECT_THAT(ClientError(start + "compute: {device: gpu}"),
              HasSubstr("c.yaml:5: compute.device: found \"gpu\"; expected "
                        "auto, cpu, cuda or cuda:N"));
  EXPECT_THAT(ClientError(start + "compute: {device: \"cuda:-1\"}"),
              HasSubstr("compute.device"));
  EXPECT_THAT(ClientError(start + "policy: {strategies: [full, half]}"),
              HasSubstr("policy.strategies[1]"));
  EXPECT_THAT(ClientError(start + "policy: {plans: [abc]}"),
              HasSubstr("policy.plans[0]"));
}

TEST_F(ConfigLoaderTest, DataConfigLoadsAlone) {
  const auto data =
      LoadDataConfig(Write("kind: npz\npath: a.npz\nshard_count: 2\n"));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->path(), (folder_ / "a.npz").string());
  EXPECT_FALSE(LoadDataConfig(Write("kind: npz\n")).ok());
}

TEST_F(ConfigLoaderTest, UnreadableFilesSaySo) {
  EXPECT_TRUE(absl::IsNotFound(
      LoadClientConfig((folder_ / "none.yaml").string()).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(LoadClientConfig(folder_.string()).status()));
  EXPECT_THAT(std::string(LoadClientConfig(Write(std::string(2 << 20, '#')))
                              .status()
                              .message()),
              HasSubstr("at most 1 MiB"));
}

}  // namespace
}  // namespace fedgraft
