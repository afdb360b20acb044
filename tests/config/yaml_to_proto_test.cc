#include "common/config/yaml_to_proto.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/config.pb.h"
#include "proto/plan.pb.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

template <typename Message>
absl::StatusOr<Message> Read(const std::string& text,
                             const std::string& folder = "/etc/fg") {
  Message message;
  ConfigErrors errors("f.yaml");
  YamlToProto(text, folder, message, errors);
  if (!errors.empty()) return errors.ToStatus();
  return message;
}

std::vector<std::string> Lines(const absl::Status& status) {
  return absl::StrSplit(std::string(status.message()), '\n');
}

// The errors of a plan made of the minimal one and these lines; the first of
// them is line 10.
std::vector<std::string> PlanErrors(const std::string& lines) {
  const auto plan = Read<pb::Plan>(MinimalPlan() + lines);
  EXPECT_TRUE(absl::IsInvalidArgument(plan.status())) << lines;
  return Lines(plan.status());
}

TEST(YamlToProtoTest, UnknownKeysSuggestTheRightOne) {
  EXPECT_THAT(PlanErrors("local:\n  optimiser: {}\n"),
              ElementsAre("f.yaml:11: local.optimiser: unknown key; expected "
                          "one of epochs, batch_size, optimizer, schedule, "
                          "augmentation, layer_rates, loss, regularizers, "
                          "gradient_norm_max, accumulate, deterministic, "
                          "importance_weights; did you mean \"optimizer\"?"));
  EXPECT_THAT(PlanErrors("evalution: {every: 1}\n"),
              ElementsAre(HasSubstr("did you mean \"evaluation\"?")));
  // Right key, wrong place.
  EXPECT_THAT(PlanErrors("batch_size: 4\n"),
              ElementsAre(HasSubstr("did you mean \"local.batch_size\"?")));
  EXPECT_THAT(PlanErrors("frobnicate: 4\n"),
              ElementsAre(::testing::Not(HasSubstr("did you mean"))));
}

TEST(YamlToProtoTest, WrongTypesSayWhatIsExpected) {
  struct Case {
    std::string lines;
    std::string error;
  };
  const Case cases[] = {
      {"seed: many\n", "seed: found \"many\"; expected a whole number from 0"},
      {"seed: -1\n", "expected a whole number from 0"},
      {"seed: 1.5\n", "expected a whole number"},
      {"seed: \"5\"\n", "seed: found the text \"5\"; expected a whole number"},
      {"seed: [1]\n", "found a list; expected a whole number"},
      {"seed:\n", "found nothing; expected a whole number"},
      {"local: {batch_size: 3000000000}\n",
       "local.batch_size: found \"3000000000\"; expected a whole number from 1 "
       "to 65536"},
      {"local: 5\n",
       "local: found \"5\"; expected a map with the keys epochs,"},
      {"local: [1]\n", "local: found a list; expected a map"},
      {"preprocessing: {mean: 0.5}\n",
       "preprocessing.mean: found \"0.5\"; expected a list of up to 3 "
       "numbers"},
      {"preprocessing: {mean: [0.5, x]}\n", "preprocessing.mean[1]: found"},
      {"preprocessing: {mean: [nan]}\n", "preprocessing.mean[0]: found"},
      {"preprocessing: {mean: [1, 2, 3, 4]}\n", "found a list of 4"},
      {"preprocessing: {invert: yes}\n",
       "preprocessing.invert: found \"yes\"; expected true or false"},
      {"update: {range: .inf}\n", "update.range: found"},
      {"deadlines: {round: 5}\n",
       "deadlines.round: found \"5\"; expected a duration from 1ms to 720h"},
      {"deadlines: {round: 0s}\n", "expected a duration"},
      {"deadlines: {round: -5s}\n", "expected a duration"},
      {"deadlines: {round: inf}\n", "expected a duration"},
      {"deadlines: {round: 800h}\n", "expected a duration"}};
  for (const Case& bad : cases) {
    EXPECT_THAT(PlanErrors(bad.lines), ElementsAre(HasSubstr(bad.error)))
        << bad.lines;
  }
}

TEST(YamlToProtoTest, OutOfRangeValuesQuoteTheBounds) {
  EXPECT_THAT(PlanErrors("local: {batch_size: 0}\n"),
              ElementsAre("f.yaml:10: local.batch_size: found 0; expected a "
                          "whole number from 1 to 65536"));
  EXPECT_THAT(PlanErrors("local:\n  optimizer:\n    learning_rate: 0\n"),
              ElementsAre("f.yaml:12: local.optimizer.learning_rate: found 0; "
                          "expected a number above 0 to 100"));
  EXPECT_THAT(PlanErrors("local: {optimizer: {kind: sdg}}\n"),
              ElementsAre("f.yaml:10: local.optimizer.kind: found \"sdg\"; "
                          "expected one of sgd, adamw; did you mean \"sgd\"?"));
}

TEST(YamlToProtoTest, MissingRequiredKeysAreAllNamed) {
  const auto plan = Read<pb::Plan>("");
  ASSERT_TRUE(absl::IsInvalidArgument(plan.status()));
  EXPECT_THAT(
      Lines(plan.status()),
      ElementsAre(
          HasSubstr("f.yaml:1: version: is missing"),
          HasSubstr("name: is missing"), HasSubstr("rounds: is missing"),
          HasSubstr("sites: is missing; expected a map with the keys "
                    "quorum, expected"),
          HasSubstr("task: is missing"), HasSubstr("backbone: is missing"),
          HasSubstr("strategy: is missing")));
  EXPECT_THAT(Lines(Read<pb::Plan>("sites: {}\n").status()),
              ::testing::Contains(HasSubstr("f.yaml:1: sites.quorum: is "
                                            "missing; expected a whole number "
                                            "from 1 to 1024")));
}

TEST(YamlToProtoTest, RepeatedKeysAreErrors) {
  EXPECT_THAT(PlanErrors("seed: 1\nseed: 2\n"),
              ElementsAre("f.yaml:11: seed: the key appears twice"));
}

TEST(YamlToProtoTest, ListsOfMapsAreReadAndChecked) {
  const std::string rates = "local:\n  layer_rates:\n    groups:\n";
  const auto plan = Read<pb::Plan>(MinimalPlan() + rates +
                                   "    - {glob: \"a.*\", multiplier: 0.5}\n"
                                   "    - glob: b\n      multiplier: 2\n");
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->local().layer_rates().groups_size(), 2);
  EXPECT_EQ(plan->local().layer_rates().groups(0).multiplier(), 0.5);
  EXPECT_EQ(plan->local().layer_rates().groups(1).glob(), "b");
  EXPECT_THAT(
      PlanErrors(rates + "    - {glob: a}\n    - {glob: b, multiplier: -1}\n"
                         "    - {glb: c, multiplier: 1}\n    - word\n"),
      ElementsAre(
          AllOf(StartsWith("f.yaml:13: local.layer_rates.groups[0].multiplier"),
                HasSubstr("is missing")),
          AllOf(StartsWith("f.yaml:14: local.layer_rates.groups[1].multiplier"),
                HasSubstr("from 0 to 1000")),
          AllOf(StartsWith("f.yaml:15: local.layer_rates.groups[2].glb"),
                HasSubstr("did you mean")),
          AllOf(StartsWith("f.yaml:15: local.layer_rates.groups[2].glob"),
                HasSubstr("is missing")),
          AllOf(StartsWith("f.yaml:16: local.layer_rates.groups[3]"),
                HasSubstr("a list of up to 64 maps with the keys glob, "
                          "multiplier"))));
  EXPECT_THAT(PlanErrors("local: {layer_rates: {groups: {glob: a}}}\n"),
              ElementsAre(HasSubstr("a list of up to 64 maps")));
}

TEST(YamlToProtoTest, AllErrorsComeTogetherInTheFilesOrder) {
  EXPECT_THAT(PlanErrors("seed: x\nlocal:\n  epochs: -1\n  bogus: 1\n"
                         "rule: {kind: mean}\n"),
              ElementsAre(StartsWith("f.yaml:10: seed"),
                          StartsWith("f.yaml:12: local.epochs"),
                          StartsWith("f.yaml:13: local.bogus"),
                          StartsWith("f.yaml:14: rule.kind")));
}

TEST(YamlToProtoTest, OnlyTwentyErrorsAreShown) {
  std::string lines;
  for (int i = 0; i < 50; ++i) absl::StrAppend(&lines, "key", i, ": 1\n");
  const std::vector<std::string> errors = PlanErrors(lines);
  ASSERT_EQ(errors.size(), 21u);
  EXPECT_EQ(errors[20], "and 30 more");
}

TEST(YamlToProtoTest, DefaultsAreFilledInAtEveryLevel) {
  const auto config = Read<pb::ClientConfig>(
      "aggregator: a:1\nidentity_dir: i\nstate_dir: s\n"
      "data: {kind: phantom}\nlog:\n  # level: debug\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->data().phantom().size(), 64);
  EXPECT_EQ(config->data().phantom().photons(), 2000);
  EXPECT_EQ(config->trainer().progress_timeout(), "10m");
  EXPECT_EQ(config->policy().cohort_min(), 3);
  EXPECT_EQ(config->log().level(), "info");
}

TEST(YamlToProtoTest, PathsAreResolvedAgainstTheFile) {
  const auto config = Read<pb::AggregatorConfig>(
      "federation: f\nstate_dir: ../state/./x\npki_dir: /abs/pki\n"
      "wrapping_key_file: key\n",
      "/etc/fg");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir(), "/etc/state/x");
  EXPECT_EQ(config->pki_dir(), "/abs/pki");
  EXPECT_EQ(config->wrapping_key_file(), "/etc/fg/key");
  const auto client = Read<pb::ClientConfig>(
      "aggregator: a:1\nidentity_dir: i\nstate_dir: s\ndata: {kind: npz}\n");
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(client->data().path(), "");  // absent stays absent
}

TEST(YamlToProtoTest, TextStaysTextAndDigestsBecomeLowerCase) {
  const auto plan = Read<pb::Plan>(
      "version: 1\nname: 2024\nrounds: 1\nsites: {quorum: 1}\n"
      "task: {classes: [no, 1, ~x, \"true\"]}\n"
      "backbone: {architecture: resnet18, sha256: " +
      std::string(64, 'A') + "}\nstrategy: {kind: full}\n");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->name(), "2024");
  EXPECT_THAT(plan->task().classes(), ElementsAre("no", "1", "~x", "true"));
  EXPECT_EQ(plan->backbone().sha256(), std::string(64, 'a'));
}

TEST(YamlToProtoTest, HostileTextIsRefused) {
  const std::string plan = MinimalPlan();
  struct Case {
    std::string text;
    std::string error;
  };
  std::string bomb = "a: &a [x, x]\n";
  for (char c = 'b'; c < 'z'; ++c) {
    const std::string previous(1, static_cast<char>(c - 1));
    absl::StrAppend(&bomb, std::string(1, c), ": &", std::string(1, c), " [*",
                    previous, ", *", previous, "]\n");
  }
  const Case cases[] = {
      {bomb, "f.yaml:1: anchors"},
      {plan + "local: *x\n", "not valid YAML"},
      {plan + "name: !!python/object x\n", "tags"},
      {plan + "---\nversion: 1\n", "more than one YAML document"},
      {std::string((1 << 20) + 1, ' '), "1 MiB"},
      {"a: " + std::string(100, '[') + std::string(100, ']'), "deeper than 16"},
      {std::string(100'000, '['), "not valid YAML"},
      {"a: [1\nb: 2", "not valid YAML"},
      {"\tb: 2", "not valid YAML"},
      {"just text", "expected keys and values"},
      {"[a, b]", "expected keys and values"},
      {"? [a]\n: b\n", "where a key belongs"},
      {"<<: {version: 1}\n", "unknown key"},
      {"name: \"a\\u0000b\"\n", "control characters"},
      {"name: \"\\x1b[31m\"\n", "control characters"},
      {"name: \xff\xfe\x80\n", "f.yaml"},
      {std::string(500, 'k') + ": 1\n", "unknown key"}};
  for (const Case& bad : cases) {
    const auto message = Read<pb::Plan>(bad.text);
    ASSERT_TRUE(absl::IsInvalidArgument(message.status()))
        << bad.text.substr(0, 80);
    EXPECT_THAT(std::string(message.status().message()), HasSubstr(bad.error));
  }
}

TEST(YamlToProtoTest, ErrorsQuoteHostileTextSafely) {
  const std::vector<std::string> errors =
      PlanErrors("rule: {kind: \"\\x1b]0;x\\x07\"}\n\"\\x1b[2J\": 1\n");
  for (const std::string& line : errors) {
    EXPECT_EQ(line.find('\x1b'), std::string::npos);
    EXPECT_EQ(line.find('\x07'), std::string::npos);
  }
  EXPECT_EQ(errors.size(), 2u);
}

}  // namespace
}  // namespace fedgraft
