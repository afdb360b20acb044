#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "common/config/config_loader.h"
#include "common/config/field_check.h"
#include "common/config/plan_loader.h"
#include "gtest/gtest.h"
#include "proto/plan.pb.h"

// The files that people copy must load, and the annotated ones must mention
// every key there is.

namespace fedgraft {
namespace {

std::string Folder() {
  const char* source = std::getenv("FEDGRAFT_SOURCE_DIR");
  return std::string(source != nullptr ? source : ".") + "/deploy/config/";
}

std::string Text(const std::string& name) {
  std::ifstream stream(Folder() + name);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

void CollectKeys(const google::protobuf::Descriptor* type,
                 std::set<std::string>& keys) {
  for (int i = 0; i < type->field_count(); ++i) {
    keys.insert(type->field(i)->name());
    if (type->field(i)->message_type() != nullptr) {
      CollectKeys(type->field(i)->message_type(), keys);
    }
  }
}

void ExpectEveryKeyShown(const google::protobuf::Descriptor* type,
                         const std::string& text) {
  std::set<std::string> keys;
  CollectKeys(type, keys);
  for (const std::string& key : keys) {
    EXPECT_TRUE(absl::StrContains(text, key + ":")) << key;
  }
}

TEST(ExamplesTest, EveryExampleLoads) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    const std::string name = entry.path().filename().string();
    const std::string path = entry.path().string();
    if (absl::StartsWith(name, "plan-")) {
      const auto plan = LoadPlan(path);
      ASSERT_TRUE(plan.ok()) << plan.status();
      EXPECT_TRUE(PlanFromBytes(plan->bytes).ok());
    } else if (absl::StartsWith(name, "client-")) {
      EXPECT_EQ(LoadClientConfig(path).status(), absl::OkStatus());
    } else if (absl::StartsWith(name, "source-")) {
      EXPECT_EQ(LoadDataConfig(path).status(), absl::OkStatus());
    } else if (name == "aggregator.yaml") {
      EXPECT_EQ(LoadAggregatorConfig(path).status(), absl::OkStatus());
    } else {
      ADD_FAILURE() << name << " is loaded by no test";
    }
    ++files;
  }
  EXPECT_GE(files, 10);
}

TEST(ExamplesTest, AnnotatedExamplesShowEveryKey) {
  ExpectEveryKeyShown(pb::Plan::descriptor(), Text("plan-linear-probe.yaml"));
  ExpectEveryKeyShown(pb::AggregatorConfig::descriptor(),
                      Text("aggregator.yaml"));
  ExpectEveryKeyShown(pb::ClientConfig::descriptor(),
                      Text("client-folder.yaml") + Text("client-npz.yaml") +
                          Text("client-phantom.yaml") +
                          Text("client-table.yaml"));
}

// The text with "# key: value" turned into "key: value" throughout.
std::string Uncomment(const std::string& text) {
  std::stringstream lines(text);
  std::string uncommented, line;
  while (std::getline(lines, line)) {
    const size_t hash = line.find_first_not_of(' ');
    const size_t colon = line.find(':');
    const bool is_key =
        hash != std::string::npos && line.compare(hash, 2, "# ") == 0 &&
        colon != std::string::npos &&
        line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789",
                               hash + 2) == colon &&
        colon + 1 < line.size() && line[colon + 1] == ' ';
    if (is_key) line.erase(hash, 2);
    uncommented += line + "\n";
  }
  EXPECT_NE(uncommented, text);
  return uncommented;
}

// Uncommenting a documented default must change nothing.
TEST(ExamplesTest, CommentedKeysOfThePlanAreTheDefaults) {
  const std::string uncommented = Uncomment(Text("plan-linear-probe.yaml"));
  EXPECT_NE(uncommented.find("\n  round: 1h"), std::string::npos);
  const auto documented = ParsePlanYaml(uncommented, "uncommented");
  ASSERT_TRUE(documented.ok()) << documented.status();
  EXPECT_EQ(documented->hash,
            LoadPlan(Folder() + "plan-linear-probe.yaml")->hash);
}

TEST(ExamplesTest, CommentedKeysOfTheDaemonsAreTheDefaults) {
  const auto folder =
      std::filesystem::path(::testing::TempDir()) / "fedgraft_examples";
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "c.yaml").string();
  const auto write = [&path](const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
    return path;
  };
  for (const char* name :
       {"client-folder.yaml", "client-npz.yaml", "client-phantom.yaml",
        "client-embeddings.yaml", "client-table.yaml"}) {
    const auto plain = LoadClientConfig(write(Text(name)));
    const auto documented = LoadClientConfig(write(Uncomment(Text(name))));
    ASSERT_TRUE(documented.ok()) << documented.status();
    EXPECT_EQ(documented->DebugString(), plain->DebugString()) << name;
  }
  const auto plain = LoadAggregatorConfig(write(Text("aggregator.yaml")));
  const auto documented =
      LoadAggregatorConfig(write(Uncomment(Text("aggregator.yaml"))));
  ASSERT_TRUE(documented.ok()) << documented.status();
  EXPECT_EQ(documented->DebugString(), plain->DebugString());
  std::filesystem::remove_all(folder);
}

// What the schemas fill in must pass the schemas' own checks.
TEST(ExamplesTest, DefaultsPassTheirChecks) {
  for (const char* name :
       {"client-folder.yaml", "client-npz.yaml", "client-phantom.yaml",
        "client-embeddings.yaml", "client-table.yaml"}) {
    const auto config = LoadClientConfig(Folder() + name);
    ASSERT_TRUE(config.ok()) << config.status();
    ConfigErrors errors(name);
    CheckMessage(*config, "", errors);
    EXPECT_EQ(errors.ToStatus(), absl::OkStatus());
  }
}

}  // namespace
}  // namespace fedgraft
