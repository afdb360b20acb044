#include "common/model/control_variates.h"

#include "common/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

// Parameters before and after where control variates come to lie, and BatchNorm
// statistics.
ParameterLayout Parameters() {
  return *ParameterLayout::Create(
      {{"a.weight", {2}, TensorKind::kWeight},
       {"bn.running_mean", {1}, TensorKind::kBatchNormMean},
       {"bn.running_var", {1}, TensorKind::kBatchNormVar},
       {"head.weight", {3}, TensorKind::kWeight}});
}

TEST(ControlVariatesTest, EveryParameterHasOneAndStatisticsHaveNone) {
  const auto layout = AddControlVariates(Parameters());
  ASSERT_THAT(layout, IsOk());
  EXPECT_EQ(layout->tensors().size(), 6u);
  EXPECT_EQ(layout->Count(), Parameters().Count() + 5);
  const ControlVariates place(*layout);
  EXPECT_EQ(place.begin(), 4u);
  EXPECT_EQ(place.count(), 5u);
  EXPECT_EQ(ControlVariateLayout(Parameters())->Count(), 5);
  EXPECT_EQ(ControlVariates(Parameters()).count(), 0u);
  EXPECT_THAT(AddControlVariates(*layout),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(ControlVariatesTest, ValuesComeApartAndTogetherByName) {
  const ParameterLayout layout = *AddControlVariates(Parameters());
  const ControlVariates place(layout);
  const ParameterVector values = {1, 2, 3, 4, 10, 20, 30, 40, 50, 5, 6, 7};
  EXPECT_THAT(place.Of(values), ElementsAre(10, 20, 30, 40, 50));
  EXPECT_THAT(place.Rest(values), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(place.Join(place.Rest(values), place.Of(values)), values);
  // The same by the names in a file.
  const Bytes with = EncodeTrainableSet(layout, values);
  const auto parameters = DecodeParameters(Parameters(), with);
  ASSERT_THAT(parameters, IsOk());
  EXPECT_EQ(*parameters, place.Rest(values));
  const Bytes without = EncodeTrainableSet(Parameters(), *parameters);
  EXPECT_EQ(*DecodeParameters(Parameters(), without), *parameters);
}

TEST(ControlVariatesTest, AFileWithSomeOfThemOrForeignOnesIsRefused) {
  const ParameterLayout layout = *AddControlVariates(Parameters());
  for (const bool is_foreign : {true, false}) {
    std::vector<TensorSpec> tensors = layout.tensors();
    if (is_foreign) {
      tensors[3].name = "control_variate.other";
    } else {
      tensors.erase(tensors.begin() + 3);
    }
    const ParameterLayout wrong = *ParameterLayout::Create(tensors);
    const ParameterVector values(static_cast<size_t>(wrong.Count()), 1.0f);
    EXPECT_THAT(
        DecodeParameters(Parameters(), EncodeTrainableSet(wrong, values)),
        HasCode(absl::StatusCode::kInvalidArgument))
        << is_foreign;
  }
}

}  // namespace
}  // namespace fedgraft
