#include "client/train/model_card.h"

#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;

const std::string kDigest(64, 'a');

std::string CardWith(const std::string& more) {
  return R"({"architecture": "resnet18", "classes": ["no", "yes"], )"
         R"("sha256": ")" +
         kDigest + R"(", "preprocessing": {"size": 64)" + more + "}}";
}

TEST(ParseModelCardTest, ReadsWhatPredictionNeeds) {
  const auto card =
      ParseModelCard(CardWith(R"(, "interpolation": "area", "aspect": "pad",
                  "mean": [0.5], "std": [0.2, 0.3, 1], "invert": true)"),
                     "card");
  ASSERT_THAT(card, IsOk());
  EXPECT_EQ(card->architecture, "resnet18");
  EXPECT_EQ(card->classes, (std::vector<std::string>{"no", "yes"}));
  EXPECT_EQ(card->sha256.Hex(), kDigest);
  EXPECT_EQ(card->preprocessing.size, 64);
  EXPECT_EQ(card->preprocessing.interpolation, Interpolation::kArea);
  EXPECT_EQ(card->preprocessing.aspect, AspectPolicy::kPad);
  EXPECT_EQ(card->preprocessing.mean, std::vector<double>{0.5});
  EXPECT_EQ(card->preprocessing.std, (std::vector<double>{0.2, 0.3, 1}));
  EXPECT_TRUE(card->preprocessing.invert);
}

TEST(ParseModelCardTest, ReadsTheSharesThatTheModelLearned) {
  const auto card = ParseModelCard(
      CardWith("}, \"training_priors\": [0.75, 0.25], \"more\": {\"a\": 1"),
      "card");
  ASSERT_TRUE(card.ok()) << card.status();
  EXPECT_EQ(card->training_priors, (std::vector<double>{0.75, 0.25}));
}

TEST(ParseModelCardTest, ReadsWhatStandsBesideTorchvisionsModules) {
  auto card =
      ParseModelCard(CardWith("}, \"head\": {\"kind\": \"linear\""), "card");
  ASSERT_THAT(card, IsOk());
  EXPECT_EQ(card->hidden_dim, 0);
  EXPECT_FALSE(card->bottleneck.has_value());
  card = ParseModelCard(
      CardWith(R"(}, "adapter": {"kind": "bottleneck", "reduction": 4,
                   "targets": ["layer4.*"]},
                   "head": {"kind": "residual_mlp", "hidden_dim": 7)"),
      "card");
  ASSERT_THAT(card, IsOk());
  EXPECT_EQ(card->hidden_dim, 7);
  EXPECT_EQ(card->bottleneck->reduction, 4);
  EXPECT_EQ(card->bottleneck->targets, std::vector<std::string>{"layer4.*"});
}

TEST(ParseModelCardTest, NamesTheKeyThatIsWrong) {
  struct Case {
    std::string json, message;
  };
  const Case cases[] = {
      {"{", "card is not JSON"},
      {"[]", "not a JSON object"},
      {"{}", "\"architecture\": expected a text"},
      {R"({"architecture": "x", "sha256": "zz"})", "64 hex"},
      {CardWith(R"(, "aspect": "squash")"),
       "\"aspect\": expected stretch, pad, center_crop"},
      {CardWith(R"(}, "head": {"kind": "tree")"), "\"head.kind\""},
      {CardWith(R"(}, "head": {"kind": "residual_mlp", "hidden_dim": 0)"),
       "\"head.hidden_dim\": expected a whole number from 1"},
      {CardWith(R"(}, "adapter": {"kind": "bottleneck", "reduction": 2)"),
       "\"adapter.targets\": expected a list of globs"},
      {CardWith(R"(, "mean": ["a"])"), "\"mean\": expected a list of numbers"},
      {CardWith(R"(, "mean": 1)"), "\"mean\": expected a list of numbers"},
      {CardWith(R"(, "invert": 1)"), "\"invert\": expected true or false"},
      {R"({"architecture": "x", "sha256": ")" + kDigest +
           R"(", "classes": ["one"]})",
       "\"classes\": expected a list of at least two names"},
      {R"({"architecture": "x", "sha256": ")" + kDigest +
           R"(", "classes": ["a", 2], "preprocessing": {}})",
       "\"classes\": expected a list of names"},
      {R"({"architecture": "x", "sha256": ")" + kDigest +
           R"(", "classes": ["a", "b"], "preprocessing": {"size": 6.5}})",
       "\"preprocessing.size\": expected a whole number"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ParseModelCard(c.json, "card"),
                IsError(absl::StatusCode::kInvalidArgument, c.message))
        << c.json;
  }
}

TEST(PretrainCardTest, IsReadAgain) {
  ModelCard card;
  card.architecture = "squeezenet1_1";
  card.classes = {"a", "b", "c"};
  card.preprocessing.size = 96;
  card.preprocessing.interpolation = Interpolation::kBicubic;
  card.preprocessing.mean = {0.1, 0.2, 0.3};
  card.sha256 = *Digest::FromHex(kDigest);
  const auto read = ParseModelCard(
      PretrainCard(card, {"scratch", 3, 7, 100, {{"auc", 0.9}}}), "card");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->architecture, card.architecture);
  EXPECT_EQ(read->classes, card.classes);
  EXPECT_EQ(read->preprocessing.size, 96);
  EXPECT_EQ(read->preprocessing.interpolation, Interpolation::kBicubic);
  EXPECT_EQ(read->preprocessing.mean, card.preprocessing.mean);
  EXPECT_EQ(read->sha256, card.sha256);
}

}  // namespace
}  // namespace fedgraft
