#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/text_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/data/test_files.h"
#include "tests/integration/federation.h"

// `plan rank` with real trainers, whose sites' images also lie in one place.

namespace fedgraft::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kSites = 3;
constexpr int kSide = 32;

// Random weights that keep activations finite: He's bound for matrices, and
// BatchNorm that does nothing.
void WriteBackbone(const std::string& path, const std::string& architecture,
                   uint64_t seed) {
  const auto known = FindArchitecture(architecture);
  ASSERT_TRUE(known.ok());
  std::mt19937_64 random(seed);
  std::map<std::string, Bytes> data;
  std::map<std::string, TensorToWrite> tensors;
  for (const auto& [name, shape] : BackboneTensors(*known)) {
    size_t count = 1, fan_in = 1;
    for (size_t k = 0; k < shape.size(); ++k) {
      count *= static_cast<size_t>(shape[k]);
      if (k > 0) fan_in *= static_cast<size_t>(shape[k]);
    }
    std::vector<float> values(count, 0.0f);
    std::uniform_real_distribution<float> weight(-std::sqrt(6.0f / fan_in),
                                                 std::sqrt(6.0f / fan_in));
    for (float& value : values) {
      if (shape.size() > 1) value = weight(random);
      if (shape.size() == 1 && !name.ends_with("bias") &&
          !name.ends_with("running_mean")) {
        value = 1;
      }
    }
    data[name] = Raw(values);
    tensors[name] = {DType::kF32, shape, data[name]};
  }
  const auto encoded = EncodeSafetensors(tensors, {});
  ASSERT_TRUE(encoded.ok());
  WriteFile(path, *encoded);
}

// Noise, brighter in class 1, of every site at another mean; with a manifest.
void WriteImages(const std::string& folder) {
  std::filesystem::create_directory(folder);
  std::mt19937_64 random(11);
  std::string manifest = "path,label,site,split\n";
  for (int i = 0; i < 90; ++i) {
    const int label = i % 2, site = i % kSites;
    std::uniform_int_distribution<int> value(0, 120 + 60 * label + 20 * site);
    Bytes pixels(kSide * kSide);
    for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(value(random));
    const std::string name = absl::StrCat(i, ".tif");
    WriteFile(absl::StrCat(folder, "/", name),
              Tiff({.width = kSide, .height = kSide}, pixels));
    absl::StrAppend(&manifest, name, ",", label, ",site-", site, ",",
                    i % 5 == 0 ? "val" : "train", "\n");
  }
  WriteFile(folder + "/labels.csv", manifest);
}

class PlanRankTest : public ::testing::Test {
 protected:
  PlanRankTest() : federation_(kSites) {
    WriteImages(federation_.Path("images"));
    WriteBackbone(Backbone("a"), "resnet18", 1);
    WriteBackbone(Backbone("b"), "resnet18", 2);
    WriteBackbone(Backbone("m"), "mobilenet_v2", 3);
    for (int i = 0; i < kSites; ++i) {
      federation_.ConfigureSite(
          i, {absl::StrCat(
                  "trainer: {binary: ", BuiltProgram("fedgraft-trainer"), "}"),
              "compute: {device: cpu, threads: 1}",
              absl::StrCat("data: {", Data(), ", filter_column: site, ",
                           "filter_value: site-", i, "}")});
    }
    PlanText plan;
    plan.quorum = kSites;
    plan.evaluation = "every: 1, final_split: test";
    plan.architecture = "resnet18";
    plan.backbone_sha256 = std::string(64, 'a');  // does not matter
    WriteFile(federation_.Path("plan.yaml"), plan.ToYaml(""));
  }

  std::string Backbone(const std::string& name) const {
    return federation_.Path(name + ".safetensors");
  }
  std::string Data() const {
    return absl::StrCat(
        "kind: folder, path: ", federation_.Path("images/labels.csv"),
        ", split_column: split");
  }
  CommandResult Rank(const std::vector<std::string>& more) const {
    std::vector<std::string> argv = {BuiltProgram("fedgraft-aggregator"),
                                     "plan",
                                     "rank",
                                     "--config",
                                     federation_.AggregatorConfig(),
                                     federation_.Path("plan.yaml")};
    argv.insert(argv.end(), more.begin(), more.end());
    return RunCommand(argv, absl::Minutes(4));
  }
  // What one place with all images would print, by SHA-256.
  std::map<std::string, json> Pooled() const {
    WriteFile(federation_.Path("pooled.yaml"), "{" + Data() + "}\n");
    const CommandResult rank = RunCommand(
        {BuiltProgram("fedgraft-trainer"), "rank", "--data",
         federation_.Path("pooled.yaml"), "--classes", "class0,class1",
         "--image-size", absl::StrCat(kSide), "--threads", "1", "--device",
         "cpu", "--json", "--backbone", "resnet18=" + Backbone("a"),
         "--backbone", "resnet18=" + Backbone("b"), "--backbone",
         "mobilenet_v2=" + Backbone("m")},
        absl::Minutes(2));
    EXPECT_EQ(rank.exit_code, 0) << rank.err;
    std::map<std::string, json> scores;
    for (const json& score : json::parse(rank.out)) {
      scores[score["sha256"]] = score;
    }
    return scores;
  }

  Federation federation_;
};

TEST_F(PlanRankTest, RanksAsOnePlaceWithAllImagesWouldAndRepeatsNoRun) {
  ASSERT_TRUE(federation_.StartAggregator());
  federation_.StartSites();
  // A call that got no further than the first candidate.
  const CommandResult first =
      Rank({"--json", "--backbone", "resnet18=" + Backbone("a")});
  ASSERT_EQ(first.exit_code, 0) << first.err << federation_.Logs();
  const json known = json::parse(first.out)[0];

  const std::vector<std::string> all = {
      "--backbone", Backbone("a"),  // of the plan's architecture
      "--backbone", "resnet18=" + Backbone("b"),
      "--backbone", "mobilenet_v2=" + Backbone("m")};
  std::vector<std::string> with_json = all;
  with_json.push_back("--json");
  const CommandResult rank = Rank(with_json);
  ASSERT_EQ(rank.exit_code, 0) << rank.err << federation_.Logs();
  const json ranked = json::parse(rank.out);
  const auto pooled = Pooled();
  ASSERT_EQ(pooled.size(), 3u);
  ASSERT_EQ(ranked.size(), 3u);
  double last = HUGE_VAL;
  for (const json& result : ranked) {
    SCOPED_TRACE(result.dump());
    const json& expected = pooled.at(result["sha256"]);
    EXPECT_EQ(result["architecture"], expected["architecture"]);
    EXPECT_EQ(result["records"], 72);
    EXPECT_EQ(result["records"], expected["images"]);
    EXPECT_EQ(result["features"], expected["feature_dim"]);
    const double log_me = expected["log_me"], h_score = expected["h_score"];
    // The sums agree to 1e-8 (tests/solve). The features differ in their last
    // bits: a session's network is channels-last, that of `rank` is not.
    EXPECT_NEAR(result["log_me"], log_me, 1e-6 * std::abs(log_me));
    EXPECT_NEAR(result["h_score"], h_score, 1e-6 * h_score);
    EXPECT_GE(result["effective_dimension"], 1);
    EXPECT_GT(result["ridge_validation_loss"], 0);
    EXPECT_LE(result["validation_auc"], 1);
    EXPECT_LE(result["log_me"], last);
    last = result["log_me"];
    if (result["sha256"] == known["sha256"]) {
      EXPECT_EQ(result["run"], known["run"]);
    }
  }
  EXPECT_THAT(rank.err,
              HasSubstr("known from run " + known["run"].get<std::string>()));

  const std::string run = federation_.Status().run_id();
  const CommandResult again = Rank(all);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("not normalised"));
  EXPECT_THAT(again.out, ::testing::ContainsRegex("mobilenet_v2 +[123] "));
  EXPECT_EQ(federation_.Status().run_id(), run);

  const CommandResult report = federation_.Aggregator(
      {"report", "--config", federation_.AggregatorConfig()});
  EXPECT_THAT(report.out, HasSubstr("LogME"));
  EXPECT_THAT(report.out, HasSubstr("Main directions"));
}

TEST_F(PlanRankTest, SaysWhatIsWrongBeforeAnyRun) {
  ASSERT_TRUE(federation_.StartAggregator());
  const auto refused = [&](const std::vector<std::string>& arguments) {
    const CommandResult result = Rank(arguments);
    EXPECT_NE(result.exit_code, 0);
    return result.err;
  };
  EXPECT_THAT(refused({"--backbone", "resnet34=" + Backbone("a")}),
              HasSubstr("--backbone resnet34="));
  EXPECT_THAT(refused({"--backbone", Backbone("none")}),
              HasSubstr("none.safetensors"));
  EXPECT_THAT(refused({"--backbone", Backbone("a"), "--backbone",
                       "resnet18=" + Backbone("a")}),
              HasSubstr("expected each once"));
  WriteFile(federation_.Path("plan.yaml.rank.json"), "{}");
  EXPECT_THAT(refused({"--backbone", Backbone("a")}),
              HasSubstr("holds no results of plan rank"));
  EXPECT_TRUE(federation_.Status().run_id().empty());
}

}  // namespace
}  // namespace fedgraft::testing
