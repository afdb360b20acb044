#include "common/statistics/gathered_statistics.h"

#include "common/crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsOk;
using ::testing::HasSubstr;

class GatheredTest : public ::testing::Test {
 protected:
  GatheredTest() {
    plan_.classes = {"normal", "lesion"};
    plan_.loss.class_weights = ClassWeights::kFederated;
  }
  StatisticsLayout Layout() const {
    return StatisticsLayout(plan_,
                            *ParameterLayout::Create({{"fc.bias", {2}}}));
  }
  std::string Error(const GatheredStatistics& gathered) const {
    const StatisticsLayout layout = Layout();
    return std::string(
        DecodeGathered(layout, EncodeGathered(gathered)).status().message());
  }

  Plan plan_;
};

TEST_F(GatheredTest, ComesBackAsItWas) {
  plan_.regularizers.ewc_federated = true;
  GatheredStatistics gathered;
  gathered.model_bytes = ToBytes(AsBytes("a model"));
  gathered.model = Sha256(gathered.model_bytes);
  gathered.words = {5, 2, 3, 17, uint64_t{1} << 60};
  const StatisticsLayout layout = Layout();
  const auto back = DecodeGathered(layout, EncodeGathered(gathered));
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->words, gathered.words);
  EXPECT_EQ(back->model, gathered.model);
  EXPECT_EQ(back->model_bytes, gathered.model_bytes);
  EXPECT_EQ(back->records(), 5);

  gathered.model_bytes[0] ^= 1;
  EXPECT_THAT(Error(gathered), HasSubstr("the model beside them is not"));
  gathered.model_bytes.clear();
  EXPECT_THAT(Error(gathered), HasSubstr("expected a model beside them"));
}

TEST_F(GatheredTest, RefusesWhatThePlanDoesNotAskFor) {
  GatheredStatistics gathered;
  gathered.words = {5, 2, 3};
  EXPECT_EQ(Error(gathered), "");
  gathered.words = {5, 2, 4};
  EXPECT_THAT(Error(gathered), HasSubstr("add up to the 5 records"));
  gathered.words = {5, 2, 3, 0};
  EXPECT_THAT(Error(gathered), HasSubstr("expected 3 words, got 4"));
  gathered.words = {5, 2, 3};
  gathered.model_bytes = ToBytes(AsBytes("a model"));
  EXPECT_THAT(Error(gathered), HasSubstr("expected no model beside them"));
  const StatisticsLayout layout = Layout();
  EXPECT_THAT(
      DecodeGathered(layout, AsBytes("\xff\xff\xff")).status().message(),
      HasSubstr("no such message"));
}

}  // namespace
}  // namespace fedgraft
