#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/secagg/rounds.h"
#include "aggregator/secagg/unmask_round.h"
#include "client/privacy/budget_ledger.h"
#include "common/base/check.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sealed_stream.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/statements.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_world.h"

// Sites with differential privacy under secure aggregation: three agents, and a
// test that carries what they say from one to the other and adds it up.

namespace fedgraft::testing {
namespace {

constexpr double kClipNorm = 0.5;
constexpr int kParameters = 8;  // of FakeAggregator::Layout
constexpr absl::Duration kLimit = absl::Minutes(1);

class PrivateFederation {
 public:
  PrivateFederation() {
    Roster roster;
    for (const char* name : {"east", "north", "west"}) {
      const SiteId site{name};
      auto world = std::make_unique<AgentWorld>();
      roster.keys[site] = world->site_key.PublicKey();
      world->options.site = site;
      world->random = SimRandom(worlds_.size() + 1);
      world->aggregator.finish = false;
      SetPlan(*world);
      worlds_[site] = std::move(world);
    }
    for (auto& [site, world] : worlds_) {
      world->options.pinned_roster = [roster] {
        return absl::StatusOr<Roster>(roster);
      };
      world->Start();
    }
  }

  // Steps 1 to 3: what the sites send, by site.
  std::map<SiteId, Bytes> MaskedRound(uint32_t round, uint32_t attempt) {
    round_ = round;
    attempt_ = attempt;
    const Task task = first().MakeTask(round, TaskKind::kTrain);
    session_ = {task.run,  task.plan_hash, task.round,
                task.kind, task.model,     attempt};
    advertised_ = AdvertiseRound(session_.Id());
    for (const auto& [site, answer] : Ask(SecureStep::kAdvertise, {})) {
      FG_CHECK(advertised_.Put(site, answer).ok());
    }
    shared_ = ShareRound();
    const Bytes keys = EncodeKeyList(advertised_.keys());
    for (const auto& [site, answer] : Ask(SecureStep::kShare, keys)) {
      FG_CHECK(shared_.Put(site, answer).ok());
    }
    (void)Ask(SecureStep::kMask, EncodeSites(shared_.Sharers()));
    std::map<SiteId, Bytes> opened;
    for (auto& [site, world] : worlds_) opened[site] = Open(site, *world);
    return opened;
  }

  // Steps 4 and 5: the values of the sum of these payloads of all sites.
  std::vector<double> Unmask(const std::map<SiteId, Bytes>& payloads) {
    const std::vector<SiteId> all = shared_.Sharers();
    ConsistencyRound agreed;
    for (const auto& [site, answer] :
         Ask(SecureStep::kAgree, EncodeSites(all))) {
      agreed.Put(site, answer);
    }
    UnmaskRound unmasked;
    for (auto& [site, world] : worlds_) {
      const Bytes proof = EncodeSurvivorProof(
          {all, agreed.signatures(), shared_.SharesFor(site)});
      FG_CHECK(
          unmasked.Put(site, AskOne(*world, SecureStep::kUnmask, proof)).ok());
    }
    const auto removal = unmasked.Reconstruct(
        {advertised_.keys(), session_.Id(), all, all, /*threshold=*/3});
    FG_CHECK(removal.ok());
    std::vector<uint64_t> sums(kParameters);
    RingSpec ring;
    uint64_t weight = 0;
    for (const auto& [site, payload] : payloads) {
      const ByteSpan bytes = payload;
      const auto head =
          DecodeUpdateHead(bytes.first(UpdatePayloadHead::kBytes));
      FG_CHECK(head.ok());
      ring = head->ring;
      weight += head->weight_word;
      std::vector<uint64_t> words(kParameters);
      UnpackWords(ring.word_bits, bytes.subspan(UpdatePayloadHead::kBytes),
                  absl::MakeSpan(words));
      for (size_t i = 0; i < words.size(); ++i) sums[i] += words[i];
    }
    removal->FromWords(ring.word_bits, 0, absl::MakeSpan(sums));
    EXPECT_EQ(WeightOfWord(removal->FromWeight(weight)), 3);
    std::vector<double> values;
    for (const uint64_t sum : sums) {
      values.push_back(Dequantize(ring, sum & ring.Mask()));
    }
    return values;
  }

  // How many updates of this plan each ledger counts; -1 if they differ.
  int Charged() {
    int charged = -2;
    for (auto& [site, world] : worlds_) {
      BudgetLedger ledger(world->files, world->options.policy.budget);
      const double spent = ledger.Spent().value();
      const auto cost =
          CostOfRound(world->aggregator.plan, world->trainer.samples,
                      kParameters, Observer::kAggregator);
      FG_CHECK(cost.ok());
      EXPECT_EQ(cost->sum.contributions, 3);  // it sees sums of the quorum
      int count = 0;
      while (Epsilon(*cost, count) < spent * (1 - 1e-12)) ++count;
      EXPECT_DOUBLE_EQ(Epsilon(*cost, count), spent);
      charged = charged == -2 || charged == count ? count : -1;
    }
    return charged;
  }

 private:
  static double Epsilon(const ReleaseCost& cost, int count) {
    if (count == 0) return 0;
    return TotalEpsilon({{cost, static_cast<double>(count)}}, 1e-5).epsilon;
  }

  static void SetPlan(AgentWorld& world) {
    auto plan = ParsePlanYaml(
        "version: 1\nname: test\nrounds: 1000\nsites: {quorum: 3}\n"
        "task: {classes: [normal, abnormal]}\n"
        "backbone: {architecture: resnet18, sha256: " +
            world.aggregator.plan.backbone.Hex() +
            "}\nstrategy: {kind: linear_probe}\n"
            "privacy: {secure_aggregation: {mode: \"on\"}, "
            "differential_privacy: {kind: site, noise_multiplier: 1}}\n"
            "update: {weighting: uniform, clip_norm: 0.5, range: 4}\n",
        "plan.yaml");
    FG_CHECK(plan.ok());
    world.aggregator.plan = *std::move(plan);
    world.aggregator.Sign();
  }

  FakeAggregator& first() { return worlds_.begin()->second->aggregator; }

  Bytes AskOne(AgentWorld& world, SecureStep step, const Bytes& payload) {
    FakeAggregator& aggregator = world.aggregator;
    Task task = aggregator.MakeTask(round_, TaskKind::kTrain);
    task.secure = {step, attempt_, payload};
    aggregator.Offer(task);
    FG_CHECK(world.loop.RunUntilTrue([&] { return aggregator.tasks.empty(); },
                                     kLimit));
    return step == SecureStep::kMask ? Bytes()
                                     : aggregator.answers.back().payload;
  }
  std::map<SiteId, Bytes> Ask(SecureStep step, const Bytes& payload) {
    std::map<SiteId, Bytes> answers;
    for (auto& [site, world] : worlds_) {
      answers[site] = AskOne(*world, step, payload);
    }
    return answers;
  }

  // The newest upload of a site, as the aggregator opens it.
  static Bytes Open(const SiteId& site, AgentWorld& world) {
    const UploadHeader& header = world.aggregator.acknowledged.back();
    const ByteSpan sealed = world.aggregator.received.at(header.sealed_digest);
    const SealedStreamShape shape{
        UpdatePayloadHead::kBytes,
        UpdatePayloadHead::kBytes + PackedBytes(32, kParameters)};
    const auto opener = SealedStreamOpener::Create(
        sealed.subspan(0, kSealedEncBytes),
        world.aggregator.hpke.private_key.span(), AsBytes(kUpdateSealInfo),
        UpdateContext(site, header), shape,
        header.suite == SealSuite::kAes256Gcm
            ? AeadAlgorithm::kAes256Gcm
            : AeadAlgorithm::kChaCha20Poly1305);
    FG_CHECK(opener.ok());
    Bytes opened(shape.total_bytes);
    for (uint64_t chunk = 0; chunk < shape.ChunkCount(); ++chunk) {
      FG_CHECK(opener
                   ->Open(chunk,
                          sealed.subspan(shape.SealedOffset(chunk),
                                         shape.SealedSize(chunk)),
                          absl::MakeSpan(opened).subspan(
                              shape.PlainOffset(chunk), shape.PlainSize(chunk)))
                   .ok());
    }
    return opened;
  }

  std::map<SiteId, std::unique_ptr<AgentWorld>> worlds_;
  uint32_t round_ = 0, attempt_ = 0;
  SecureSession session_;
  AdvertiseRound advertised_;
  ShareRound shared_;
};

// 100 rounds of 8 values, noise of deviation 1 * 0.5 in each sum. Bounds of 5
// standard errors: one seed in 1.7 million fails by chance. Noise of one site,
// or of three without the quorum's share, is 42 % less or 73 % more.
TEST(PrivateSumTest, ASumHoldsTheClippedUpdatesAndTheNoiseOfTheQuorum) {
  constexpr int kRounds = 100;
  constexpr int kValues = kRounds * kParameters;
  PrivateFederation federation;
  double sum = 0, squares = 0;
  // The trainer's update is longer than the clip norm.
  const double expected = 3 * kClipNorm / std::sqrt(kParameters);
  for (uint32_t round = 1; round <= kRounds; ++round) {
    for (const double value :
         federation.Unmask(federation.MaskedRound(round, 1))) {
      sum += value - expected;
      squares += (value - expected) * (value - expected);
    }
  }
  const double sigma = kClipNorm;
  EXPECT_NEAR(sum / kValues, 0, 5 * sigma / std::sqrt(kValues));
  EXPECT_NEAR(std::sqrt(squares / kValues), sigma,
              5 * sigma / std::sqrt(2.0 * kValues));
  EXPECT_EQ(federation.Charged(), kRounds);
}

// Its noise is new: an aggregator that repeats attempts uses up the budget.
TEST(PrivateSumTest, EachAttemptOfARoundIsCharged) {
  PrivateFederation federation;
  const auto first = federation.MaskedRound(1, 1);
  EXPECT_EQ(federation.Charged(), 1);
  const auto second = federation.MaskedRound(1, 2);
  EXPECT_EQ(federation.Charged(), 2);
  EXPECT_NE(first, second);
  EXPECT_EQ(federation.Unmask(second).size(), size_t{kParameters});
  EXPECT_EQ(federation.Charged(), 2);
}

}  // namespace
}  // namespace fedgraft::testing
