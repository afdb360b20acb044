#include "client/train/feature_rows.h"

#include "common/transfer/product_sums.h"
#include "tests/support/status_matchers.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

PreprocessingSpec Sized(int size) {
  PreprocessingSpec spec;
  spec.size = size;
  return spec;
}

class FeatureRowsTest : public ::testing::Test {
 protected:
  std::unique_ptr<ActivationStore> Store(Network& network, int stage) {
    ActivationStore::Options options;
    options.network = &network;
    options.compute = &compute_;
    options.source = &source_;
    options.preprocessor = &preprocessor_;
    options.stage = stage;
    auto store = ActivationStore::Create(std::move(options), Silent);
    EXPECT_THAT(store, IsOk());
    return *std::move(store);
  }

  FakeSource source_{{.train = 70, .size = 64, .classes = 3}};
  Compute compute_ = *SetUpCompute({"cpu", 1, "none"});
  Preprocessor preprocessor_ = *Preprocessor::Create(Sized(64));
};

TEST_F(FeatureRowsTest, ChannelMeansAverageOverSpaceOnly) {
  const torch::Tensor maps =
      torch::arange(24, torch::kFloat32).view({2, 3, 2, 2});
  const torch::Tensor means = ChannelMeans(maps);
  const MatrixView rows = AsMatrix(means);
  EXPECT_EQ(rows.rows, 2);
  EXPECT_EQ(rows.columns, 3);
  EXPECT_EQ(rows.values,
            absl::MakeConstSpan({1.5, 5.5, 9.5, 13.5, 17.5, 21.5}));
  const torch::Tensor vectors = torch::rand({4, 3});
  EXPECT_TRUE(torch::equal(ChannelMeans(vectors), vectors.to(torch::kFloat64)));
}

// squeezenet1_1's head gets maps, resnet18's vectors.
TEST_F(FeatureRowsTest, HeadMomentsAreTheSumsOfTheHeadsInputs) {
  for (const char* architecture : {"resnet18", "squeezenet1_1"}) {
    SCOPED_TRACE(architecture);
    auto network = testing::SeededNetwork(architecture, 3);
    const auto images = Store(*network, 0);
    std::vector<int64_t> all(70);
    std::iota(all.begin(), all.end(), 0);
    torch::NoGradGuard no_grad;
    torch::Tensor features = network->Features(*images->Batch(all));
    if (features.dim() == 4) features = features.mean({2, 3});
    features = features.to(torch::kFloat64);
    const torch::Tensor products = features.t().mm(features);
    const int64_t dim = features.size(1);
    // From images, and from activations of two depths.
    for (int stage : {0, 3, network->head_stage()}) {
      const auto moments =
          HeadMoments(*Store(*network, stage), *network, compute_, 3, Silent);
      ASSERT_THAT(moments, IsOk());
      EXPECT_EQ(moments->n(), 70);
      EXPECT_EQ(moments->class_count(0), 24);
      EXPECT_EQ(moments->class_count(2), 23);
      const double scale = products.abs().max().item<double>();
      double class_total = 0;
      for (int64_t j = 0; j < dim; ++j) {
        EXPECT_NEAR(moments->Sum()[j], features.sum(0)[j].item<double>(),
                    1e-5 * (1 + features.sum(0).abs().max().item<double>()));
        class_total = moments->ClassSum(0)[j] + moments->ClassSum(1)[j] +
                      moments->ClassSum(2)[j];
        EXPECT_NEAR(class_total, moments->Sum()[j], 1e-9 * (1 + class_total));
      }
      for (int64_t j = 0; j < dim; j += 7) {
        EXPECT_NEAR(moments->Products()[PackedIndex(dim, 2, j)],
                    products[2][j].item<double>(), 1e-5 * scale);
      }
    }
  }
}

TEST_F(FeatureRowsTest, HeadMomentsRefuseALabelOutsideTheClasses) {
  auto network = testing::SeededNetwork("resnet18", 3);
  const auto store = Store(*network, network->head_stage());
  EXPECT_THAT(HeadMoments(*store, *network, compute_, 2, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "label 2"));
}

}  // namespace
}  // namespace fedgraft
