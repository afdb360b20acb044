#include "aggregator/round/admission.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/round/memory_file.h"
#include "common/crypto/hpke.h"
#include "common/crypto/sha256.h"
#include "common/model/evaluation_layout.h"
#include "common/numeric/update_payload.h"
#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::FakeDelta;
using ::fedgraft::testing::FakeStatistics;
using ::fedgraft::testing::FakeSums;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::MakeLayout;
using ::fedgraft::testing::MakePlan;
using ::fedgraft::testing::PlanSpec;
using ::fedgraft::testing::SimRandom;
using ::fedgraft::testing::TestSite;
using ::fedgraft::testing::TestUpdate;

// A run without a coordinator around it, and one site's update to it.
class VerifyUpdateTest : public ::testing::Test {
 protected:
  void SetUp() override { Open({}); }

  void Open(const PlanSpec& spec, int64_t extra = 0) {
    auto run = std::make_shared<RunFacts>();
    run->id = {"run1"};
    run->plan = MakePlan(spec);
    run->layout = std::make_shared<const ParameterLayout>(MakeLayout(extra));
    const HpkeKeyPair pair = GenerateHpkeKeyPair(random_);
    descriptor_.hpke_public_key = pair.public_key;
    key_ = std::make_shared<const RunKey>(
        *RunKey::FromPrivate(pair.private_key.span()));
    header_.run = run->id;
    header_.round = {1};
    header_.plan_hash = run->plan.hash;
    run_ = run;
  }
  ParameterVector Delta() const {
    return FakeDelta(1, site_.id(), {1}, Digest(), *run_->layout);
  }
  Bytes Payload(uint64_t samples = 100) const {
    return TestSite::TrainPayload(run_->plan, *run_->layout, Delta(), samples);
  }
  // The payload with another head.
  Bytes WithHead(Bytes payload,
                 const std::function<void(UpdatePayloadHead&)>& change) const {
    UpdatePayloadHead head =
        *DecodeUpdateHead(ByteSpan(payload).first(UpdatePayloadHead::kBytes));
    change(head);
    const Bytes encoded = EncodeUpdateHead(head);
    std::copy(encoded.begin(), encoded.end(), payload.begin());
    return payload;
  }
  absl::Status Verify(const TestUpdate& update) const {
    const UpdateToVerify verify = {
        site_.peer(), update.header, run_,
        *MakeUpdateForm(run_->plan, *run_->layout, update.header.kind), key_};
    return VerifyUpdate(verify, std::make_shared<MemoryFile>(
                                    std::make_shared<Bytes>(update.sealed)))
        .status();
  }
  absl::Status VerifyPayload(const Bytes& payload) {
    return Verify(site_.Seal(descriptor_, header_, payload, random_));
  }
  static RefusalReason ReasonOf(const absl::Status& status) {
    return RefusalOf(status).value_or(RefusalReason{});
  }

  SimRandom random_{5};
  const TestSite site_{"hospital-a"};
  std::shared_ptr<const RunFacts> run_;
  std::shared_ptr<const RunKey> key_;
  RunDescriptor descriptor_;
  UploadHeader header_;
};

TEST_F(VerifyUpdateTest, AcceptsAnHonestUpdate) {
  EXPECT_THAT(VerifyPayload(Payload()), IsOk());
}

TEST_F(VerifyUpdateTest, StatisticsAreOfRecordsAndNotNegative) {
  PlanSpec spec;
  spec.gathers = true;
  Open(spec, /*extra=*/100'000);  // several chunks
  header_.kind = TaskKind::kGather;
  const StatisticsLayout layout(run_->plan, *run_->layout);
  const std::vector<double> good =
      FakeStatistics(1, site_.id(), Digest(), layout);
  const auto verify = [&](const std::vector<double>& sums) {
    return VerifyPayload(
        TestSite::GatherPayload(run_->plan, *run_->layout, sums));
  };
  EXPECT_THAT(verify(good), IsOk());
  for (const auto& [index, value] : std::vector<std::pair<size_t, double>>{
           {0, 0}, {0, -1}, {0, good[0] + 1}, {1, -5}, {100'000, -1e-6}}) {
    std::vector<double> bad = good;
    bad[index] = value;
    EXPECT_EQ(ReasonOf(verify(bad)), RefusalReason::kBadLayout)
        << index << ": " << value;
  }
  // So large that the sum could wrap.
  Bytes payload = TestSite::GatherPayload(run_->plan, *run_->layout, good);
  payload[UpdatePayloadHead::kBytes + 8 * 50 + 7] = 0x7f;
  EXPECT_EQ(ReasonOf(VerifyPayload(payload)), RefusalReason::kOverNorm);
}

TEST_F(VerifyUpdateTest, AcceptsAnUpdateOfManyChunks) {
  Open({}, /*extra=*/100'000);
  EXPECT_THAT(VerifyPayload(Payload()), IsOk());
}

// fed_nova: the steps travel behind the parameters. They are no part of the
// norm, and a factor of everybody's update.
TEST_F(VerifyUpdateTest, StepsHaveNoPartInTheNorm) {
  PlanSpec spec;
  spec.rule = "kind: fed_nova";
  double squares = 0;
  for (const float value : Delta()) squares += value * value;
  spec.clip_norm = std::sqrt(squares) * (1 + 1e-6);
  Open(spec);
  EXPECT_THAT(VerifyPayload(Payload(1000)), IsOk());
  spec.clip_norm *= 0.99;
  Open(spec);
  EXPECT_EQ(ReasonOf(VerifyPayload(Payload(1000))), RefusalReason::kOverNorm);
}

TEST_F(VerifyUpdateTest, RefusesStepsThatAreNone) {
  PlanSpec spec;
  spec.rule = "kind: fed_nova";
  Open(spec);
  Bytes payload = Payload(1000);
  std::fill(payload.end() - 4, payload.end(), uint8_t{0});
  EXPECT_EQ(ReasonOf(VerifyPayload(payload)), RefusalReason::kBadWeight);
  std::fill(payload.end() - 4, payload.end(), uint8_t{0xff});  // below 0
  EXPECT_EQ(ReasonOf(VerifyPayload(payload)), RefusalReason::kBadWeight);
}

// The steps lengthen everybody's update and are no part of the norm.
TEST_F(VerifyUpdateTest, RefusesStepsThatAreNotThoseOfTheWeight) {
  PlanSpec spec;
  spec.rule = "kind: fed_nova";
  Open(spec);
  const Bytes honest = Payload(500);
  const auto with = [&](uint32_t word) {
    Bytes payload = honest;
    std::memcpy(payload.data() + payload.size() - 4, &word, 4);
    return VerifyPayload(payload);
  };
  uint32_t word = 0;
  std::memcpy(&word, honest.data() + honest.size() - 4, 4);
  EXPECT_THAT(with(word), IsOk());
  EXPECT_EQ(ReasonOf(with(word + word / 50)), RefusalReason::kBadWeight);
  EXPECT_EQ(ReasonOf(with(word - word / 50)), RefusalReason::kBadWeight);
  EXPECT_EQ(ReasonOf(with(uint32_t{1} << 25)), RefusalReason::kBadWeight);
}

// Half a step a word to nearest, less than a whole one at random.
TEST_F(VerifyUpdateTest, TheNormMayExceedTheClipByRounding) {
  for (const bool stochastic : {false, true}) {
    PlanSpec spec;
    spec.uniform = true;
    spec.clip_norm = 1e-9;  // far below a step
    spec.stochastic = stochastic;
    Open(spec);
    const auto count = static_cast<size_t>(run_->layout->Count());
    ASSERT_GE(count, 4);
    const auto step = static_cast<float>(TrainRing(run_->plan)->Step());
    const auto verify = [&](size_t words, float steps) {
      ParameterVector delta(count, 0);
      std::fill_n(delta.begin(), words, steps * step);
      return VerifyPayload(
          TestSite::TrainPayload(run_->plan, *run_->layout, delta, 100));
    };
    EXPECT_THAT(verify(count / 4, 1), IsOk());
    const absl::Status all_up = verify(count, 1);
    EXPECT_EQ(all_up.ok(), stochastic) << all_up;
    EXPECT_EQ(ReasonOf(verify(count, 2)), RefusalReason::kOverNorm);
  }
}

TEST_F(VerifyUpdateTest, OpensWithTheSuiteThatTheHeaderNames) {
  header_.suite = SealSuite::kChaCha20Poly1305;
  TestUpdate update = site_.Seal(descriptor_, header_, Payload(), random_);
  EXPECT_THAT(Verify(update), IsOk());
  update.header.suite = SealSuite::kAes256Gcm;
  EXPECT_EQ(ReasonOf(Verify(update)), RefusalReason::kBadSeal);
}

TEST_F(VerifyUpdateTest, RefusesAnotherSitesSignature) {
  const TestSite other("hospital-b");
  const TestUpdate update =
      other.Seal(descriptor_, header_, Payload(), random_);
  EXPECT_EQ(ReasonOf(Verify(update)), RefusalReason::kBadSignature);
}

TEST_F(VerifyUpdateTest, RefusesAHeaderChangedAfterSigning) {
  TestUpdate update = site_.Seal(descriptor_, header_, Payload(), random_);
  ++update.header.round.value;
  EXPECT_EQ(ReasonOf(Verify(update)), RefusalReason::kBadSignature);
}

TEST_F(VerifyUpdateTest, RefusesAnyFlippedByteAsABadSeal) {
  const TestUpdate good = site_.Seal(descriptor_, header_, Payload(), random_);
  for (size_t i = 0; i < good.sealed.size(); ++i) {
    Bytes sealed = good.sealed;
    sealed[i] ^= 0x10;
    const absl::Status status = Verify(site_.Sign(header_, sealed));
    // X25519 ignores the top bit of the last byte of a point, not this one.
    EXPECT_EQ(ReasonOf(status), RefusalReason::kBadSeal) << "byte " << i;
  }
}

TEST_F(VerifyUpdateTest, RefusesASealForAnotherRoundOrSite) {
  UploadHeader next_round = header_;
  next_round.round = {2};
  const Bytes sealed =
      site_.Seal(descriptor_, next_round, Payload(), random_).sealed;
  EXPECT_EQ(ReasonOf(Verify(site_.Sign(header_, sealed))),
            RefusalReason::kBadSeal);
  const TestSite other("hospital-b");
  const Bytes stolen =
      other.Seal(descriptor_, header_, Payload(), random_).sealed;
  EXPECT_EQ(ReasonOf(Verify(site_.Sign(header_, stolen))),
            RefusalReason::kBadSeal);
}

TEST_F(VerifyUpdateTest, RefusesAHeadThatIsNotThePlans) {
  struct Case {
    const char* what;
    std::function<void(UpdatePayloadHead&)> change;
    RefusalReason reason;
  };
  const std::vector<Case> cases = {
      {"layout", [](auto& head) { head.layout.bytes[0] ^= 1; },
       RefusalReason::kBadLayout},
      {"count", [](auto& head) { --head.count; }, RefusalReason::kBadLayout},
      {"width", [](auto& head) { head.ring.word_bits = 24; },
       RefusalReason::kBadLayout},
      {"fraction", [](auto& head) { ++head.ring.fraction_bits; },
       RefusalReason::kBadLayout},
      {"no weight", [](auto& head) { head.weight_word = 0; },
       RefusalReason::kBadWeight},
      {"below one image", [](auto& head) { head.weight_word = 1; },
       RefusalReason::kBadWeight},
      {"above the cap", [](auto& head) { head.weight_word = (1ull << 32) + 1; },
       RefusalReason::kBadWeight},
      {"wrapped weight", [](auto& head) { head.weight_word = ~0ull; },
       RefusalReason::kBadWeight}};
  for (const Case& c : cases) {
    EXPECT_EQ(ReasonOf(VerifyPayload(WithHead(Payload(), c.change))), c.reason)
        << c.what;
  }
}

TEST_F(VerifyUpdateTest, RefusesAWeightBelowOneIfWeightsAreUniform) {
  PlanSpec spec;
  spec.uniform = true;
  Open(spec);
  EXPECT_THAT(VerifyPayload(Payload()), IsOk());
  EXPECT_EQ(ReasonOf(VerifyPayload(WithHead(
                Payload(), [](auto& head) { head.weight_word = 1u << 31; }))),
            RefusalReason::kBadWeight);
}

TEST_F(VerifyUpdateTest, RefusesAWordThatCouldWrapTheSum) {
  for (const uint32_t word : {0x7fffffffu, 0x80000000u}) {
    Bytes payload = Payload();
    for (int i = 0; i < 4; ++i) {
      payload[UpdatePayloadHead::kBytes + i] =
          static_cast<uint8_t>(word >> (8 * i));
    }
    EXPECT_EQ(ReasonOf(VerifyPayload(payload)), RefusalReason::kOverNorm);
  }
}

TEST_F(VerifyUpdateTest, ChecksTheOpenedNormIfThePlanClips) {
  double squares = 0;
  for (float v : Delta()) squares += double{v} * double{v};
  const double norm = std::sqrt(squares);
  for (const uint64_t samples : {uint64_t{1}, uint64_t{40}, uint64_t{5000}}) {
    PlanSpec spec;
    spec.clip_norm = norm * (1 + 1e-6);
    Open(spec);
    EXPECT_THAT(VerifyPayload(Payload(samples)), IsOk()) << samples;
    spec.clip_norm = norm * 0.99;
    Open(spec);
    EXPECT_EQ(ReasonOf(VerifyPayload(Payload(samples))),
              RefusalReason::kOverNorm)
        << samples;
  }
}

TEST_F(VerifyUpdateTest, ChecksTheSumsOfAnEvaluation) {
  header_.kind = TaskKind::kEvaluate;
  const std::vector<double> good = FakeSums(1, site_.id(), Digest());
  const auto verify = [&](const std::vector<double>& sums) {
    return VerifyPayload(TestSite::EvaluatePayload(run_->plan, sums));
  };
  EXPECT_THAT(verify(good), IsOk());
  // A site without an image in the split sends zeros.
  EXPECT_THAT(verify(std::vector<double>(good.size())), IsOk());
  std::vector<double> negative = good;
  negative[5] = -1;
  EXPECT_EQ(ReasonOf(verify(negative)), RefusalReason::kBadLayout);
  for (const size_t index : {size_t{0}, size_t{3}, size_t{500}}) {
    std::vector<double> invented = good;
    invented[index] += 100;
    EXPECT_EQ(ReasonOf(verify(invented)), RefusalReason::kBadLayout) << index;
  }
  EXPECT_EQ(ReasonOf(VerifyPayload(Payload())), RefusalReason::kBadLayout);
}

TEST_F(VerifyUpdateTest, RefusesHeadsAndLengthsOfEveryKindOfGarbage) {
  // Sealed and signed by a member, but not what the shape says.
  for (const size_t cut : {size_t{1}, size_t{30}, size_t{72}}) {
    Bytes payload = Payload();
    payload.resize(payload.size() - cut + (cut == 72 ? 40 : 0));
    const absl::Status status = VerifyPayload(payload);
    EXPECT_FALSE(status.ok()) << cut;
  }
  Bytes garbage(Payload().size());
  random_.Fill(absl::MakeSpan(garbage));
  EXPECT_EQ(ReasonOf(VerifyPayload(garbage)), RefusalReason::kBadLayout);
}

// A reduce would have to sum this; headers are refused before any byte.
class CheckHeaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RunOpened opened;
    opened.run = {"run1"};
    opened.plan = MakePlan({}).bytes;
    opened.initial_model.bytes.fill(1);
    opened.layout = MakeLayout();
    Apply(opened);
    Apply(SiteJoined{{"a"}});
    Apply(SiteJoined{{"b"}});
    Apply(RoundOpened{{1}});
    form_ = *MakeUpdateForm(state_.run()->plan, *state_.run()->layout,
                            TaskKind::kTrain);
    header_.run = {"run1"};
    header_.round = {1};
    header_.plan_hash = state_.run()->plan.hash;
    header_.base_model = state_.model().digest;
    header_.size_bytes = form_.shape.SealedTotal();
  }
  void Apply(Record record) {
    ASSERT_THAT(
        state_.Apply({absl::UnixEpoch(), std::move(record)}, ++sequence_),
        IsOk());
  }
  std::optional<RefusalReason> Reason(const SiteId& site = {"a"},
                                      uint64_t limit = 1 << 30) const {
    return RefusalOf(CheckHeader(state_, form_, site, header_, limit));
  }

  RunState state_;
  uint64_t sequence_ = 0;
  UpdateForm form_;
  UploadHeader header_;
};

TEST_F(CheckHeaderTest, AcceptsTheHeaderOfTheCurrentTask) {
  EXPECT_THAT(CheckHeader(state_, form_, {"a"}, header_, 1 << 30), IsOk());
}

TEST_F(CheckHeaderTest, RefusesEveryWrongFieldByItsOwnReason) {
  struct Case {
    std::function<void(UploadHeader&)> change;
    RefusalReason reason;
  };
  const std::vector<Case> cases = {
      {[](auto& h) { h.run = {"run2"}; }, RefusalReason::kUnknownRun},
      {[](auto& h) { h.plan_hash.bytes[3] ^= 1; }, RefusalReason::kWrongPlan},
      {[](auto& h) { h.round = {0}; }, RefusalReason::kWrongRound},
      {[](auto& h) { h.round = {2}; }, RefusalReason::kWrongRound},
      {[](auto& h) { h.kind = TaskKind::kEvaluate; },
       RefusalReason::kWrongRound},
      {[](auto& h) { h.base_model.bytes[0] ^= 1; },
       RefusalReason::kWrongBaseModel},
      {[](auto& h) { ++h.size_bytes; }, RefusalReason::kBadSize},
      {[](auto& h) { --h.size_bytes; }, RefusalReason::kBadSize}};
  const UploadHeader good = header_;
  for (size_t i = 0; i < cases.size(); ++i) {
    header_ = good;
    cases[i].change(header_);
    EXPECT_EQ(Reason(), cases[i].reason) << "case " << i;
  }
  header_ = good;
  EXPECT_EQ(Reason({"a"}, 10), RefusalReason::kBadSize);
  EXPECT_EQ(Reason({"stranger"}), RefusalReason::kNoTask);
}

TEST_F(CheckHeaderTest, AContributionStandsAgainstAnotherDigest) {
  ContributionAccepted accepted{{"a"}, header_, Bytes(3, 1), ""};
  Apply(accepted);
  header_.sealed_digest.bytes.fill(9);
  EXPECT_EQ(Reason(), RefusalReason::kAlreadyContributed);
  EXPECT_EQ(Reason({"b"}), std::nullopt);
}

TEST_F(CheckHeaderTest, NothingIsWantedAfterTheRun) {
  Apply(RunClosed{});
  EXPECT_EQ(Reason(), RefusalReason::kUnknownRun);
}

}  // namespace
}  // namespace fedgraft
