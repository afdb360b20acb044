#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/data/feature_source.h"
#include "client/data/seeded_random.h"
#include "client/train/path_io.h"
#include "client/train/session.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/numeric/update_payload.h"
#include "common/runtime/system_clock.h"
#include "common/statistics/gathered_statistics.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

// What sites gather before they train, from their records to what training
// makes of the sum; the aggregator's part is the sum of the words.

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

constexpr int kDim = 4;
const std::vector<std::string> kClasses = {"a", "b", "c"};

Plan BasePlan() {
  Plan plan = testing::SmallPlan();
  plan.classes = kClasses;
  plan.architecture = kIdentity;
  plan.feature_dim = kDim;
  plan.rounds = 2;
  plan.batch_size = 8;
  plan.optimizer.learning_rate = 0.1;
  return plan;
}

Plan CountsPlan() {
  Plan plan = BasePlan();
  plan.loss.class_weights = ClassWeights::kFederated;
  return plan;
}

Plan FisherPlan(StrategyKind strategy, FisherKind kind) {
  Plan plan = BasePlan();
  plan.strategy = strategy;
  plan.hidden_dim = strategy == StrategyKind::kLinearProbe ? 0 : 3;
  plan.regularizers.ewc_lambda = 5;
  plan.regularizers.ewc_fisher = kind;
  plan.regularizers.ewc_federated = true;
  return plan;
}

struct Record {
  std::vector<float> features;
  int label = 0;
};

// Few of class b, and only some of the sites have any of class c.
std::vector<Record> Records(uint64_t seed, int count) {
  SeededRandom random({seed});
  std::vector<Record> records(count);
  for (Record& record : records) {
    const double draw = random.Uniform();
    record.label = draw < 0.7 ? 0 : draw < 0.85 ? 1 : 2;
    for (int k = 0; k < kDim; ++k) {
      record.features.push_back(static_cast<float>(
          4 * random.Uniform() - 2 + (k == record.label ? 1 : 0)));
    }
  }
  return records;
}

class GatherTest : public ::testing::Test {
 protected:
  void Start(const Plan& plan) {
    plan_ = plan;
    const SafetensorsFile backbone = *OpenBackbone(plan, "");
    layout_ = *TrainableLayout(plan, backbone);
    values_ = *InitialTrainableSet(plan, layout_, backbone);
    WriteModel(values_);
  }
  void WriteModel(const ParameterVector& values) {
    ASSERT_THAT(WriteFile(model_, EncodeTrainableSet(layout_, values)), IsOk());
  }
  std::unique_ptr<TrainerSession> Open(const Plan& plan,
                                       const std::vector<Record>& records,
                                       const std::string& site) {
    FeatureSet set;
    set.dim = kDim;
    for (const Split split : {Split::kTrain, Split::kVal}) {
      for (size_t i = 0; i < records.size(); ++i) {
        set.samples[split].push_back(
            {records[i].label, "",
             std::to_string(static_cast<int>(split) * 1000 + i)});
        set.Values(split).insert(set.Values(split).end(),
                                 records[i].features.begin(),
                                 records[i].features.end());
      }
    }
    SessionConfig config;
    config.plan = plan;
    config.data = *MakeFeatureSource(std::move(set), "records",
                                     {kClasses, DataUse::kTrain});
    config.compute = {"cpu", 1, "none"};
    config.state_dir = folder_.File(site);
    auto session = TrainerSession::Create(std::move(config), clock_);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }
  StatisticsLayout Statistics() const {
    return StatisticsLayout(plan_, layout_);
  }
  std::vector<double> Gather(TrainerSession& session) {
    const std::string path = folder_.File("sums");
    EXPECT_THAT(session.RunGather({model_, path}, Silent), IsOk());
    const Bytes bytes = *ReadFile(path);
    std::vector<double> sums(bytes.size() / sizeof(double));
    std::memcpy(sums.data(), bytes.data(), bytes.size());
    return sums;
  }
  // The sum over the sites as the aggregator makes it.
  GatheredStatistics Sum(const std::vector<std::vector<double>>& sites) const {
    GatheredStatistics gathered;
    gathered.words.resize(static_cast<size_t>(Statistics().count()));
    for (const auto& sums : sites) {
      const auto words = *PackStatistics(Statistics(), MaxTerms(plan_), sums);
      for (size_t i = 0; i < words.size(); ++i) gathered.words[i] += words[i];
    }
    const Bytes model = *ReadFile(model_);
    gathered.model = Sha256(model);
    if (NeedsModel(Statistics())) gathered.model_bytes = model;
    EXPECT_THAT(WriteFile(statistics_, EncodeGathered(gathered)), IsOk());
    return gathered;
  }
  std::vector<double> Values(const GatheredStatistics& gathered,
                             StatisticKind kind) const {
    const StatisticsLayout layout = Statistics();
    return UnpackStatistics(*layout.Find(kind), gathered.words);
  }
  absl::StatusOr<ParameterVector> TryTrain(TrainerSession& session, int round,
                                           const std::string& statistics) {
    const std::string delta = folder_.File("delta");
    const auto trained =
        session.RunTrain({round, model_, delta, statistics}, Silent);
    if (!trained.ok()) return trained.status();
    return testing::ReadDelta(delta);
  }
  ParameterVector Train(TrainerSession& session, int round) {
    const auto delta = TryTrain(session, round, statistics_);
    EXPECT_THAT(delta, IsOk());
    return delta.value_or(ParameterVector());
  }

  testing::TempFolder folder_;
  std::string model_ = folder_.File("model.safetensors");
  std::string statistics_ = folder_.File("statistics");
  SystemClock clock_;
  Plan plan_;
  ParameterLayout layout_;
  ParameterVector values_;
};

// 40 records at once, and at four sites, one of which has a single record.
constexpr int kRecords = 40;
constexpr int kCuts[] = {0, 1, 12, 27, kRecords};
std::vector<Record> Shard(int site) {
  const std::vector<Record> all = Records(5, kRecords);
  return {all.begin() + kCuts[site], all.begin() + kCuts[site + 1]};
}

TEST_F(GatherTest, TheSitesSumsAreThoseOfThePooledRecords) {
  for (const StrategyKind strategy :
       {StrategyKind::kLinearProbe, StrategyKind::kFeatureExtraction}) {
    for (const FisherKind kind : {FisherKind::kExact, FisherKind::kEmpirical}) {
      Plan plan = FisherPlan(strategy, kind);
      plan.loss.class_weights = ClassWeights::kFederated;
      Start(plan);
      std::vector<std::vector<double>> sums;
      for (int site = 0; site < 4; ++site) {
        sums.push_back(Gather(*Open(plan, Shard(site), "site")));
      }
      const GatheredStatistics gathered = Sum(sums);
      const GatheredStatistics pooled =
          Sum({Gather(*Open(plan, Records(5, kRecords), "pool"))});
      EXPECT_EQ(gathered.records(), kRecords);
      EXPECT_EQ(Values(gathered, StatisticKind::kClassCounts),
                Values(pooled, StatisticKind::kClassCounts));
      const auto fisher = Values(gathered, StatisticKind::kFisher);
      const auto expected = Values(pooled, StatisticKind::kFisher);
      for (size_t i = 0; i < fisher.size(); ++i) {
        // Half a step at each of four sites, and one at the pool.
        EXPECT_NEAR(fisher[i], expected[i],
                    5 * std::ldexp(1, -29) + 1e-12 * expected[i])
            << i;
      }
    }
  }
}

// Of the zero head every class has probability 1 / C, so that the Fisher
// information of W_cj is the sum of f_j^2 times (1 - 1 / C) / C.
TEST_F(GatherTest, TheFisherInformationOfAZeroHeadIsTheClosedForm) {
  Start(FisherPlan(StrategyKind::kLinearProbe, FisherKind::kExact));
  values_.assign(values_.size(), 0);
  WriteModel(values_);
  std::vector<std::vector<double>> sums;
  for (int site = 0; site < 4; ++site) {
    sums.push_back(Gather(*Open(plan_, Shard(site), "site")));
  }
  const auto fisher = Values(Sum(sums), StatisticKind::kFisher);
  std::vector<double> squares(kDim);
  for (const Record& record : Records(5, kRecords)) {
    for (int j = 0; j < kDim; ++j) {
      squares[j] += std::pow(double{record.features[j]}, 2);
    }
  }
  const double factor = (1 - 1.0 / 3) / 3;
  // head.bias [3], head.weight [3][4]
  ASSERT_EQ(fisher.size(), 15u);
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(fisher[c], kRecords * factor, 1e-5);
    for (int j = 0; j < kDim; ++j) {
      EXPECT_NEAR(fisher[3 + c * kDim + j], squares[j] * factor, 1e-5);
    }
  }
}

TEST_F(GatherTest, ClassWeightsAreThoseOfThePooledCounts) {
  Plan local = BasePlan();
  local.loss.class_weights = ClassWeights::kLocal;
  Start(CountsPlan());
  // Twice the records of one site: the same weights as that site's own.
  const std::vector<double> sums = Gather(*Open(plan_, Shard(2), "a"));
  Sum({sums, sums});
  const auto session = Open(plan_, Shard(2), "a");
  const auto own = Open(local, Shard(2), "b");
  const auto own_delta = TryTrain(*own, 1, "");
  ASSERT_THAT(own_delta, IsOk());
  EXPECT_EQ(Train(*session, 1), *own_delta);
  // Other sites' counts make other weights.
  Sum({sums, Gather(*Open(plan_, Shard(3), "c"))});
  const auto other = Open(plan_, Shard(2), "d");
  EXPECT_NE(Train(*other, 1), *own_delta);
}

TEST_F(GatherTest, TrainingWithoutThemIsRefused) {
  Start(CountsPlan());
  const auto session = Open(plan_, Shard(2), "site");
  EXPECT_THAT(TryTrain(*session, 1, ""),
              IsError(absl::StatusCode::kInvalidArgument, "class_counts"));
  ASSERT_THAT(WriteFile(statistics_, AsBytes("nonsense")), IsOk());
  EXPECT_THAT(TryTrain(*session, 1, statistics_),
              IsError(absl::StatusCode::kInvalidArgument, "statistics"));
  Start(BasePlan());
  const auto plain = Open(plan_, Shard(2), "plain");
  EXPECT_THAT(plain->RunGather({model_, folder_.File("sums")}, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "gathers no"));
}

std::map<std::string, std::vector<float>> EwcFile(const std::string& folder) {
  std::map<std::string, std::vector<float>> parts;
  const auto file = SafetensorsFile::Open(folder + "/ewc.safetensors");
  EXPECT_THAT(file, IsOk());
  for (const auto& [name, view] : file->tensors()) {
    std::vector<float> values(view.data.size() / sizeof(float));
    std::memcpy(values.data(), view.data.data(), view.data.size());
    parts[name] = std::move(values);
  }
  return parts;
}

TEST_F(GatherTest, EwcPullsToTheCommonStartByTheCommonFisherInformation) {
  const Plan plan = FisherPlan(StrategyKind::kLinearProbe, FisherKind::kExact);
  Start(plan);
  const auto early = Open(plan, Shard(2), "early");
  const GatheredStatistics gathered =
      Sum({Gather(*early), Gather(*Open(plan, Shard(3), "other"))});
  Train(*early, 1);
  const auto kept = EwcFile(folder_.File("early"));
  const auto fisher = Values(gathered, StatisticKind::kFisher);
  const auto& bias = kept.at("fisher/head.bias");
  for (size_t c = 0; c < bias.size(); ++c) {
    EXPECT_FLOAT_EQ(bias[c], fisher[c] / gathered.records());
  }
  EXPECT_THAT(kept.at("start/head.bias"),
              ElementsAre(values_[0], values_[1], values_[2]));
  // A site that joins when the model has moved on has the same.
  ParameterVector moved = values_;
  for (float& value : moved) value += 0.25f;
  WriteModel(moved);
  const auto late = Open(plan, Shard(1), "late");
  Train(*late, 2);
  EXPECT_EQ(EwcFile(folder_.File("late")), kept);
}

// Alone a site has nobody's records but its own.
TEST_F(GatherTest, ComparingWithTrainingAloneLeavesWhatWasGatheredAlone) {
  Plan plan = FisherPlan(StrategyKind::kLinearProbe, FisherKind::kExact);
  plan.loss.class_weights = ClassWeights::kFederated;
  Start(plan);
  Sum({Gather(*Open(plan, Shard(2), "a")), Gather(*Open(plan, Shard(3), "b"))});
  const auto session = Open(plan, Shard(2), "site");
  const ParameterVector first = Train(*session, 1);
  const auto evaluated =
      session->RunEvaluate({2, model_, Split::kVal, true, model_}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  EXPECT_EQ(Train(*session, 1), first);
  // What it reports of training alone is what a federation of one would give.
  Plan own = plan;
  own.regularizers.ewc_federated = false;
  own.loss.class_weights = ClassWeights::kLocal;
  const auto alone =
      Open(own, Shard(2), "alone")
          ->RunEvaluate({2, model_, Split::kVal, true, model_}, Silent);
  ASSERT_THAT(alone, IsOk());
  EXPECT_EQ(evaluated->scalars.at("local_loss"),
            alone->scalars.at("local_loss"));
}

// A site that solves a head of its own to compare with: that head is no start
// of the run, and what the others solved is no start of its own.
TEST_F(GatherTest, TrainingAloneAfterASolverHasAStartOfItsOwn) {
  Plan plan = FisherPlan(StrategyKind::kFeatureExtraction, FisherKind::kExact);
  plan.regularizers.ewc_federated = false;
  plan.solver.kind = SolverKind::kNewton;
  plan.solver.lambdas = {1};
  Start(plan);
  const TrainerSession::Evaluate compare{2, model_, Split::kVal, true, model_};
  const auto fresh = Open(plan, Shard(2), "fresh");
  const auto alone = fresh->RunEvaluate(compare, Silent);
  ASSERT_THAT(alone, IsOk());
  const auto trained = Open(plan, Shard(2), "trained");
  const ParameterVector first = Train(*trained, 1);
  EXPECT_EQ(Train(*fresh, 1), first);
  const auto after = trained->RunEvaluate(compare, Silent);
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->scalars.at("local_loss"), alone->scalars.at("local_loss"));
  EXPECT_EQ(Train(*trained, 1), first);
}

}  // namespace
}  // namespace fedgraft
