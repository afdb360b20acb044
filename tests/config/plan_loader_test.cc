#include "common/config/plan_loader.h"

#include <random>
#include <string>

#include "absl/strings/str_replace.h"
#include "common/crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/plan.pb.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

// The minimal plan with `lines` at its end.
absl::StatusOr<Plan> With(const std::string& lines) {
  return ParsePlanYaml(MinimalPlan() + lines, "plan.yaml");
}

absl::StatusOr<Plan> Replacing(const std::string& from, const std::string& to) {
  const std::string text = absl::StrReplaceAll(MinimalPlan(), {{from, to}});
  EXPECT_NE(text, MinimalPlan()) << from;
  return ParsePlanYaml(text, "plan.yaml");
}

pb::Plan Wire(const Plan& plan) {
  pb::Plan wire;
  EXPECT_TRUE(wire.ParseFromArray(plan.bytes.data(),
                                  static_cast<int>(plan.bytes.size())));
  return wire;
}

absl::StatusOr<Plan> FromWire(const pb::Plan& wire) {
  return PlanFromBytes(AsBytes(wire.SerializeAsString()));
}

TEST(PlanLoaderTest, DefaultsAreThoseOfTheSchema) {
  const auto plan = With("");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->expected_sites, 3);
  EXPECT_EQ(plan->round_deadline, absl::Hours(1));
  EXPECT_EQ(plan->progress_timeout, absl::Seconds(60));
  EXPECT_EQ(plan->preprocessing.size, 224);
  EXPECT_EQ(plan->batch_size, 32);
  EXPECT_EQ(plan->optimizer.kind, OptimizerKind::kSgd);
  EXPECT_EQ(plan->optimizer.learning_rate, 0.01);
  EXPECT_EQ(plan->schedule.step_rounds, 10);
  EXPECT_EQ(plan->rule.kind, "fed_avg");
  EXPECT_EQ(plan->update.word_bits, 32);
  EXPECT_EQ(plan->update.weight_cap, 8192);
  EXPECT_EQ(plan->update.rounding, Rounding::kNearest);
  EXPECT_EQ(plan->evaluation.final_split, Split::kTest);
  EXPECT_EQ(plan->backbone.Hex(), std::string(64, 'a'));
}

TEST(PlanLoaderTest, ValuesReachTheirFields) {
  const auto plan = With(
      "seed: 18446744073709551615\n"
      "deadlines: {round: 90m, progress: 500ms}\n"
      "preprocessing: {size: 128, interpolation: area, aspect: pad,\n"
      "  mean: [0.5], std: [0.25, 1, 2], invert: true}\n"
      "local: {epochs: 3, optimizer: {kind: adamw, learning_rate: 1e-3},\n"
      "  augmentation: {horizontal_flip: true}}\n"
      "update: {word_bits: 20, range: 0.5, weighting: uniform}\n"
      "evaluation: {every: -1, split: train}\n");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->seed, UINT64_MAX);
  EXPECT_EQ(plan->round_deadline, absl::Minutes(90));
  EXPECT_EQ(plan->progress_timeout, absl::Milliseconds(500));
  EXPECT_EQ(plan->preprocessing.interpolation, Interpolation::kArea);
  EXPECT_EQ(plan->preprocessing.aspect, AspectPolicy::kPad);
  EXPECT_EQ(plan->preprocessing.std, (std::vector<double>{0.25, 1, 2}));
  EXPECT_TRUE(plan->preprocessing.invert);
  EXPECT_EQ(plan->local_epochs, 3);
  EXPECT_EQ(plan->optimizer.kind, OptimizerKind::kAdamW);
  EXPECT_EQ(plan->optimizer.learning_rate, 1e-3);
  EXPECT_TRUE(plan->augmentation.any());
  EXPECT_EQ(plan->update.weighting, Weighting::kUniform);
  EXPECT_EQ(plan->evaluation.every, -1);
  EXPECT_EQ(plan->evaluation.split, Split::kTrain);
}

TEST(PlanLoaderTest, HashIsThatOfTheBytesAndIgnoresHowThePlanIsWritten) {
  const auto plan = With("");
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->hash, Sha256(plan->bytes));
  const auto same = With("# a comment\nlocal: {batch_size: 32}\nseed: 0\n");
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->bytes, plan->bytes);
  EXPECT_NE(With("seed: 1\n")->hash, plan->hash);
}

TEST(PlanLoaderTest, BytesRoundTrip) {
  const auto plan = With("preprocessing: {mean: [0.5], std: [0.5]}\n");
  ASSERT_TRUE(plan.ok());
  const auto back = PlanFromBytes(plan->bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->bytes, plan->bytes);
  EXPECT_EQ(back->hash, plan->hash);
  EXPECT_EQ(back->preprocessing.mean, plan->preprocessing.mean);
}

TEST(PlanLoaderTest, RulesBetweenFieldsNameTheLineAndTheKey) {
  struct Case {
    std::string lines;
    std::string where;
    std::string what;
  };
  const Case cases[] = {
      {"privacy: {secure_aggregation: {mode: \"off\", threshold: 5}}\n",
       "plan.yaml:10: privacy.secure_aggregation", "do nothing"},
      {"privacy: {differential_privacy: {noise_multiplier: 2}}\n",
       "plan.yaml:10: privacy.differential_privacy", "do nothing"},
      {"update: {rounding: up}\n", "plan.yaml:10: update.rounding",
       "stochastic"},
      {"preprocessing: {mean: [1, 2]}\n", "plan.yaml:10: preprocessing.mean",
       "found 2 numbers"},
      {"preprocessing:\n  std: [0.5,\n    0, 1]\n",
       "plan.yaml:12: preprocessing.std[1]", "above 0"},
      {"update: {word_bits: 13}\n", "plan.yaml:10: update.word_bits",
       "8, 12, 16, 20, 24, 32 or 64"},
      {"update: {range: 1e-19}\n", "plan.yaml:10: update.range",
       "no word width has a grid"},
      {"evaluation: {every: -1, compare_local: true}\n",
       "plan.yaml:10: evaluation.compare_local", "false"}};
  for (const Case& bad : cases) {
    const auto plan = With(bad.lines);
    ASSERT_TRUE(absl::IsInvalidArgument(plan.status())) << bad.lines;
    EXPECT_THAT(Message(plan.status()), HasSubstr(bad.where));
    EXPECT_THAT(Message(plan.status()), HasSubstr(bad.what));
  }
}

TEST(PlanLoaderTest, SitesMustBeAbleToReachTheQuorum) {
  const auto plan = Replacing("quorum: 3", "quorum: 3, expected: 2");
  EXPECT_EQ(Message(plan.status()),
            "plan.yaml:4: sites.quorum: found 3; expected at most the 2 sites "
            "of sites.expected");
  EXPECT_TRUE(Replacing("quorum: 3", "quorum: 3, expected: 3").ok());
}

TEST(PlanLoaderTest, StrategyAndGlobsMustAgree) {
  EXPECT_THAT(Message(Replacing("linear_probe", "partial").status()),
              HasSubstr("strategy.unfreeze: is missing"));
  EXPECT_THAT(
      Message(Replacing("linear_probe", "full, unfreeze: [a]").status()),
      HasSubstr("only strategy partial"));
  EXPECT_TRUE(Replacing("linear_probe", "partial, unfreeze: [\"a.*\"]").ok());
}

TEST(PlanLoaderTest, GraftsBelongToTheirStrategies) {
  const std::string probe = "strategy: {kind: linear_probe";
  const auto plan =
      Replacing(probe, "strategy: {kind: adapter, adapter: {kind: bottleneck}");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->adapter.kind, AdapterKind::kBottleneck);
  EXPECT_EQ(Replacing(probe, "strategy: {kind: feature_extraction")->hidden_dim,
            256);
  EXPECT_THAT(Message(Replacing(probe, probe + ", hidden_dim: 8").status()),
              HasSubstr("expected 0, or strategy feature_extraction"));
  EXPECT_THAT(
      Message(Replacing(probe, probe + ", adapter: {targets: [a]}").status()),
      HasSubstr("only strategy adapter expects any"));
  EXPECT_THAT(
      Message(Replacing(probe, "strategy: {kind: adapter, batch_norm: pooled")
                  .status()),
      HasSubstr("expected frozen, or adapter kind bn_tune"));
  EXPECT_TRUE(Replacing(probe,
                        "strategy: {kind: adapter, batch_norm: pooled, "
                        "adapter: {kind: bn_tune}")
                  .ok());
}

TEST(PlanLoaderTest, SolverAndTrainingMustAgree) {
  const std::string newton = "solver: {kind: newton}\n";
  EXPECT_TRUE(Replacing("rounds: 2", "rounds: 0\n" + newton).ok());
  const auto partial = [](const std::string& rounds, const std::string& rest) {
    return ParsePlanYaml(
        absl::StrReplaceAll(MinimalPlan() + rest,
                            {{"rounds: 2", "rounds: " + rounds},
                             {"linear_probe", "partial, unfreeze_blocks: 1"}}),
        "plan.yaml");
  };
  EXPECT_TRUE(partial("3", newton).ok()) << partial("3", newton).status();
  const std::pair<absl::StatusOr<Plan>, const char*> bad[] = {
      {Replacing("rounds: 2", "rounds: 0"), "without a solver"},
      {With(newton), "nothing left to train"},
      {partial("0", newton), "1 or more to train"},
      {partial("3", "solver: {kind: newton, normalization: per_site}\n"),
       "expected pooled or none"},
      {partial("3", "solver: {kind: newton, site_intercept: true}\n"),
       "linear probe alone"},
      {Replacing("rounds: 2",
                 "rounds: 0\nsolver: {kind: ridge, lambdas: "
                 "[1, 0]}"),
       "numbers above 0"}};
  for (const auto& [plan, what] : bad) {
    EXPECT_THAT(Message(plan.status()), HasSubstr(what));
  }
}

TEST(PlanLoaderTest, OptimisationFitsTheStrategy) {
  const auto full = [](const std::string& rest) {
    return ParsePlanYaml(
        absl::StrReplaceAll(MinimalPlan() + rest, {{"linear_probe", "full"}}),
        "plan.yaml");
  };
  EXPECT_TRUE(full("local:\n  layer_rates: {kind: block_decay, factor: 0.65, "
                   "unfreeze_every: 1}\n"
                   "  loss: {class_weights: local, label_smoothing: 0.1}\n"
                   "  regularizers: {l2_sp_alpha: 0.1, ewc_lambda: 1}\n"
                   "personal: {kind: local_head}\n")
                  .ok());
  const std::pair<absl::StatusOr<Plan>, const char*> bad[] = {
      {full("local: {layer_rates: {kind: groups}}\n"),
       "local.layer_rates.groups: is missing"},
      {full("local: {layer_rates: {groups: [{glob: a, multiplier: 1}]}}\n"),
       "only kind groups"},
      {With("local: {layer_rates: {kind: block_decay}}\n"),
       "local.layer_rates.kind: found rates for blocks"},
      {With("local: {layer_rates: {unfreeze_every: 1}}\n"),
       "no block below the head"},
      {full("local: {layer_rates: {unfreeze_every: 2}}\n"),
       "found 2 with 2 rounds"},
      {full("local: {loss: {class_weights: local, sampling: balanced}}\n"),
       "correct the classes twice"},
      {With("local: {regularizers: {l2_sp_alpha: 1}}\n"),
       "leaves the pretrained values"},
      {With("personal: {kind: local_head}\n"), "nothing would travel"},
      {full("personal: {kind: ditto, ditto_lambda: 0}\n"),
       "personal.ditto_lambda: found 0"}};
  for (const auto& [plan, what] : bad) {
    EXPECT_THAT(Message(plan.status()), HasSubstr(what));
  }
}

TEST(PlanLoaderTest, WhatIsGatheredHasAUse) {
  const auto partial = [](const std::string& rest) {
    return ParsePlanYaml(
        absl::StrReplaceAll(MinimalPlan() + rest,
                            {{"linear_probe", "partial, unfreeze_blocks: 1"}}),
        "plan.yaml");
  };
  const std::string counts = "local: {loss: {class_weights: federated}}\n";
  const std::string fisher =
      "local: {regularizers: {ewc_lambda: 1, ewc_records: federated}}\n";
  EXPECT_TRUE(partial(counts).ok()) << partial(counts).status();
  EXPECT_TRUE(partial(fisher).ok()) << partial(fisher).status();
  EXPECT_TRUE(partial(counts + "personal: {kind: local_head}\n").ok());
  const std::pair<absl::StatusOr<Plan>, const char*> bad[] = {
      {Replacing("rounds: 2", "rounds: 0\nsolver: {kind: newton}\n" + counts),
       "local.loss.class_weights: found federated without a round"},
      {Replacing("rounds: 2", "rounds: 0\nsolver: {kind: newton}\n" + fisher),
       "local.regularizers.ewc_records: found federated without a round"},
      {partial("local: {regularizers: {ewc_records: federated}}\n"),
       "found federated without ewc_lambda"},
      {partial(fisher + "personal: {kind: local_head}\n"), "no common start"},
      {ParsePlanYaml(
           absl::StrReplaceAll(MinimalPlan() + fisher,
                               {{"linear_probe", "full, batch_norm: local"}}),
           "plan.yaml"),
       "no common start"}};
  for (const auto& [plan, what] : bad) {
    EXPECT_THAT(Message(plan.status()), HasSubstr(what));
  }
}

TEST(PlanLoaderTest, ClassNamesMustDiffer) {
  EXPECT_THAT(Message(Replacing("[no, yes]", "[no, yes, no]").status()),
              HasSubstr("plan.yaml:5: task.classes[2]: found \"no\" twice"));
  EXPECT_FALSE(Replacing("[no, yes]", "[no]").ok());
  EXPECT_FALSE(Replacing("[no, yes]", "[no, \"\"]").ok());
  EXPECT_FALSE(Replacing("[no, yes]", "[no, \"a\\nb\"]").ok());
  EXPECT_FALSE(
      Replacing("[no, yes]", "[no, " + std::string(200, 'x') + "]").ok());
}

TEST(PlanLoaderTest, NarrowWordsNeedFewSites) {
  EXPECT_TRUE(With("update: {word_bits: 8}\n").ok());
  const std::string many =
      absl::StrReplaceAll(MinimalPlan(), {{"quorum: 3", "quorum: 200"}});
  const auto plan =
      ParsePlanYaml(many + "update: {word_bits: 8}\n", "plan.yaml");
  EXPECT_THAT(Message(plan.status()), HasSubstr("expected 16 or more"));
  EXPECT_TRUE(ParsePlanYaml(many + "update: {word_bits: 16}\n", "p").ok());
}

TEST(PlanLoaderTest, MissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(LoadPlan("/no/such/plan.yaml").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(LoadPlan("/").status()));
}

TEST(PlanFromBytesTest, HostileValuesMeetTheSameChecks) {
  const pb::Plan good = Wire(*With(""));
  ASSERT_TRUE(FromWire(good).ok()) << FromWire(good).status();
  struct Case {
    std::string key;
    std::function<void(pb::Plan&)> change;
  };
  const Case cases[] = {
      {"version", [](pb::Plan& p) { p.set_version(2); }},
      {"name", [](pb::Plan& p) { p.clear_name(); }},
      {"name", [](pb::Plan& p) { p.set_name("a\x1b[2J"); }},
      {"rounds", [](pb::Plan& p) { p.set_rounds(0); }},
      {"rounds", [](pb::Plan& p) { p.set_rounds(-1); }},
      {"sites", [](pb::Plan& p) { p.clear_sites(); }},
      {"sites.quorum", [](pb::Plan& p) { p.mutable_sites()->set_quorum(0); }},
      {"deadlines.round",
       [](pb::Plan& p) { p.mutable_deadlines()->set_round("inf"); }},
      {"deadlines.round",
       [](pb::Plan& p) { p.mutable_deadlines()->set_round("-1s"); }},
      {"deadlines.round",
       [](pb::Plan& p) { p.mutable_deadlines()->set_round("721h"); }},
      {"deadlines.progress", [](pb::Plan& p) { p.clear_deadlines(); }},
      {"task.classes", [](pb::Plan& p) { p.mutable_task()->clear_classes(); }},
      {"backbone.architecture",
       [](pb::Plan& p) { p.mutable_backbone()->set_architecture("vgg"); }},
      {"backbone.sha256",
       [](pb::Plan& p) { p.mutable_backbone()->set_sha256("../../x"); }},
      {"preprocessing.size",
       [](pb::Plan& p) { p.mutable_preprocessing()->set_size(1 << 30); }},
      {"preprocessing.mean",
       [](pb::Plan& p) {
         p.mutable_preprocessing()->add_mean(
             std::numeric_limits<double>::quiet_NaN());
       }},
      {"strategy.kind",
       [](pb::Plan& p) { p.mutable_strategy()->set_kind("all"); }},
      {"local.batch_size", [](pb::Plan& p) { p.clear_local(); }},
      {"local.optimizer.learning_rate",
       [](pb::Plan& p) {
         p.mutable_local()->mutable_optimizer()->set_learning_rate(
             std::numeric_limits<double>::infinity());
       }},
      {"rule.kind", [](pb::Plan& p) { p.mutable_rule()->clear_kind(); }},
      {"update.word_bits",
       [](pb::Plan& p) { p.mutable_update()->set_word_bits(33); }},
      {"update.range", [](pb::Plan& p) { p.mutable_update()->set_range(0); }},
      {"evaluation.split",
       [](pb::Plan& p) { p.mutable_evaluation()->set_split("all"); }}};
  for (const Case& bad : cases) {
    pb::Plan wire = good;
    bad.change(wire);
    const auto plan = FromWire(wire);
    ASSERT_TRUE(absl::IsInvalidArgument(plan.status())) << bad.key;
    EXPECT_THAT(Message(plan.status()), HasSubstr("plan: " + bad.key));
  }
}

TEST(PlanFromBytesTest, RefusesBytesThatAreNotCanonical) {
  Bytes bytes = With("")->bytes;
  Bytes unknown = bytes;  // field 99, varint 1
  unknown.insert(unknown.end(), {0x98, 0x06, 0x01});
  EXPECT_THAT(Message(PlanFromBytes(unknown).status()),
              HasSubstr("does not know"));
  Bytes repeated = bytes;  // version again
  repeated.insert(repeated.end(), {0x08, 0x01});
  EXPECT_THAT(Message(PlanFromBytes(repeated).status()),
              HasSubstr("canonical"));
  EXPECT_FALSE(PlanFromBytes({}).ok());
  EXPECT_FALSE(PlanFromBytes(Bytes((1 << 20) + 1, 0)).ok());
}

TEST(PlanFromBytesTest, MutatedBytesNeverCrashAndNeverKeepTheHash) {
  const Plan plan = *With("preprocessing: {mean: [0.5], std: [0.5]}\n");
  std::mt19937 random(20240603);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes = plan.bytes;
    for (unsigned n = 1 + random() % 3; n > 0; --n) {
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    const auto changed = PlanFromBytes(bytes);
    if (!changed.ok()) continue;
    ++accepted;
    EXPECT_EQ(changed->bytes, bytes);
    EXPECT_EQ(changed->hash == plan.hash, bytes == plan.bytes);
  }
  EXPECT_GT(accepted, 100);
}

// The minimal plan on feature vectors, with another line of `backbone`.
absl::StatusOr<Plan> Identity(const std::string& backbone,
                              const std::string& strategy = "linear_probe",
                              const std::string& lines = "") {
  return ParsePlanYaml(
      "version: 1\nname: small\nrounds: 2\nsites: {quorum: 3}\n"
      "task: {classes: [no, yes]}\nbackbone: {architecture: identity" +
          backbone + "}\nstrategy: {kind: " + strategy + "}\n" + lines,
      "plan.yaml");
}

TEST(PlanLoaderTest, FeatureVectorsNeedTheirLengthAndNoFile) {
  const auto plan = Identity(", feature_dim: 768");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->feature_dim, 768);
  EXPECT_EQ(plan->backbone, Digest());
  EXPECT_TRUE(PlanFromBytes(plan->bytes).ok());
  EXPECT_TRUE(Identity(", feature_dim: 8", "feature_extraction").ok());
  EXPECT_THAT(Message(Identity("").status()),
              HasSubstr("backbone.feature_dim: is missing"));
  EXPECT_THAT(
      Message(Identity(", feature_dim: 8, sha256: " + std::string(64, 'a'))
                  .status()),
      HasSubstr("backbone.sha256: found one; architecture identity"));
}

TEST(PlanLoaderTest, FeatureVectorsHaveNoLayersToTrainAndNoViews) {
  for (const char* kind : {"full", "partial", "adapter"}) {
    EXPECT_THAT(Message(Identity(", feature_dim: 8", kind).status()),
                HasSubstr("strategy.kind: found a strategy that trains a "
                          "backbone; architecture identity has none and "
                          "expects linear_probe or feature_extraction"));
  }
  EXPECT_THAT(Message(Identity(", feature_dim: 8", "linear_probe",
                               "local: {augmentation: {horizontal_flip: "
                               "true}}\n")
                          .status()),
              HasSubstr("local.augmentation: found random views"));
}

TEST(PlanLoaderTest, KeptViewsNeedSomethingThatDiffers) {
  const auto none = With("local: {augmentation: {views: 4}}\n");
  EXPECT_THAT(std::string(none.status().message()),
              HasSubstr("local.augmentation.views: found 4; expected 0"));
  const auto some =
      With("local: {augmentation: {views: 4, rotate_degrees: 5}}\n");
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ(some->augmentation.views, 4);
}

}  // namespace
}  // namespace fedgraft
