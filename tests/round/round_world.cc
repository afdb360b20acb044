#include "tests/round/round_world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/config/plan_loader.h"
#include "common/config/rule_facts.h"
#include "common/crypto/sealed_stream.h"
#include "common/crypto/sha256.h"
#include "common/model/control_variates.h"
#include "common/model/evaluation_layout.h"
#include "common/numeric/fed_nova.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/seal_suite.h"
#include "common/protocol/statements.h"
#include "common/shift/look.h"
#include "common/solve/solve_statistics.h"
#include "gtest/gtest.h"
#include "tests/shift/plain_look.h"
#include "tests/support/plain_statistics.h"

namespace fedgraft::testing {
namespace {

constexpr char kCertificate[] = "-----BEGIN CERTIFICATE-----\n";
SigningKey KeyOf(std::string_view name) {
  const Digest seed = Sha256(AsBytes(name));
  return *SigningKey::FromSeed(seed.bytes);
}

Digest Backbone() { return Sha256(AsBytes("backbone")); }

// A seed from everything that the fake training depends on.
uint64_t SeedOf(uint64_t seed, const SiteId& site, uint32_t round,
                const Digest& model) {
  ByteWriter writer;
  writer.U64(seed).Sized(site.value).U32(round).Raw(model.bytes);
  const Digest digest = Sha256(writer.bytes());
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | digest.bytes[i];
  return value;
}

Bytes Payload(UpdatePayloadHead head, const QuantizeResult& quantized) {
  head.count = quantized.words.size();
  head.saturated = quantized.saturated;
  Bytes payload = EncodeUpdateHead(head);
  payload.resize(payload.size() + PackedBytes(head.ring.word_bits, head.count));
  PackWords(head.ring.word_bits, quantized.words,
            absl::MakeSpan(payload).subspan(UpdatePayloadHead::kBytes));
  return payload;
}

std::string DurationText(absl::Duration duration) {
  return std::to_string(absl::ToInt64Milliseconds(duration)) + "ms";
}

}  // namespace

Plan MakePlan(const PlanSpec& spec) {
  const std::string yaml = absl::StrCat(
      "version: 1\nname: test\nrounds: ", spec.rounds,
      "\nsites: {quorum: ", spec.quorum, ", expected: ", spec.expected,
      "}\ndeadlines: {round: ", DurationText(spec.round_deadline),
      ", progress: ", DurationText(spec.progress_timeout),
      ", enrol: ", DurationText(spec.enrol_deadline),
      "}\ntask: {classes: [normal, lesion]}\n"
      "backbone: {architecture: resnet18, sha256: ",
      Backbone().Hex(), "}\nstrategy: ",
      spec.solver ? "{kind: partial, unfreeze_blocks: 1}\n"
                    "solver: {kind: newton, lambdas: [10, 1]}\n"
                  : "{kind: linear_probe}\n",
      spec.rule == kScaffold
          ? absl::StrCat(
                "local: {optimizer: {momentum: 0}, loss: ", "{class_weights: ",
                spec.gathers ? "federated" : "none", "}}\n")
      : spec.gathers
          ? "local: {loss: {class_weights: federated}, regularizers: "
            "{ewc_lambda: 1, ewc_records: federated}}\n"
          : "",
      "update: {range: 4, clip_norm: ", spec.clip_norm,
      ", weight_cap: 1000, weighting: ",
      spec.uniform || spec.rule == kScaffold ? "uniform" : "samples",
      ", rounding: ", spec.stochastic ? "stochastic" : "nearest",
      "}\nevaluation: {every: ", spec.evaluate_every,
      "}\nstopping: {patience: ", spec.patience, "}\nrule: {", spec.rule, "}\n",
      "privacy: {secure_aggregation: {mode: \"",
      !spec.masks.empty() ? spec.masks
      : spec.secure       ? "on"
                          : "off",
      "\"}}\n", "shift: {every: ", spec.looks_every,
      ", on_shift: ", spec.on_shift, "}\n");
  const absl::StatusOr<Plan> plan = ParsePlanYaml(yaml, "test.yaml");
  if (!plan.ok()) ADD_FAILURE() << plan.status();
  FG_CHECK(plan.ok());
  return *plan;
}

ParameterLayout MakeLayout(int64_t extra, const PlanSpec& spec) {
  std::vector<TensorSpec> tensors = {
      {"fc.weight", {2, 5}, TensorKind::kWeight},
      {"fc.bias", {2}, TensorKind::kWeight},
      {"bn.running_mean", {3}, TensorKind::kBatchNormMean},
      {"bn.running_var", {3}, TensorKind::kBatchNormVar}};
  if (extra > 0) {
    tensors.push_back({"layer4.weight", {extra}, TensorKind::kWeight});
  }
  ParameterLayout layout = *ParameterLayout::Create(std::move(tensors));
  return spec.rule == kScaffold ? *AddControlVariates(layout) : layout;
}

RunModel MakeModel(int64_t extra, const PlanSpec& spec) {
  RunModel model;
  model.layout = MakeLayout(extra, spec);
  model.backbone_size_bytes = 8;
  model.initial.resize(static_cast<size_t>(model.layout.Count()));
  for (size_t i = 0; i < model.initial.size(); ++i) {
    model.initial[i] = 0.125f * static_cast<float>(i % 17) + 0.5f;
  }
  const ControlVariates control(model.layout);
  std::fill_n(model.initial.begin() + static_cast<ptrdiff_t>(control.begin()),
              control.count(), 0.0f);
  return model;
}

ParameterVector FakeDelta(uint64_t seed, const SiteId& site, RoundId round,
                          const Digest& model, const ParameterLayout& layout) {
  SimRandom random(SeedOf(seed, site, round.value, model));
  ParameterVector delta(static_cast<size_t>(layout.Count()));
  for (float& value : delta) {
    value = static_cast<float>(random.Below(2'000'001)) * 1e-7f - 0.1f;
  }
  return delta;
}

uint64_t FakeSamples(uint64_t seed, const SiteId& site) {
  return 1 + SeedOf(seed, site, 0, Digest()) % 400;
}

bool FakeNews(uint64_t seed, const SiteId& site, RoundId round) {
  return SeedOf(seed, site, round.value, Sha256({})) % 6 == 0;
}

std::vector<double> FakeSolveSums(uint64_t seed, const SiteId& site,
                                  const SolvePoint& point) {
  SimRandom random(SeedOf(seed, site, 0, Digest()));
  const auto draw = [&](int count) {
    PlainRecords records;
    for (int i = 0; i < count; ++i) {
      const int label = static_cast<int>(random.Below(point.classes));
      std::vector<double> row(static_cast<size_t>(point.feature_dim));
      for (double& value : row) {
        value = static_cast<double>(random.Below(2001)) * 1e-3 - 1 + label;
      }
      records.features.push_back(std::move(row));
      records.labels.push_back(label);
    }
    return records;
  };
  const PlainRecords train = draw(3 + static_cast<int>(random.Below(20)));
  return PlainStatistics(point, train, draw(4));
}

std::vector<double> FakeStatistics(uint64_t seed, const SiteId& site,
                                   const Digest& model,
                                   const StatisticsLayout& layout) {
  SimRandom random(SeedOf(seed, site, 1, model));
  std::vector<double> sums(static_cast<size_t>(layout.count()));
  const uint64_t records = FakeSamples(seed, site);
  sums[0] = static_cast<double>(records);
  for (const StatisticsLayout::Part& part : layout.parts()) {
    for (int64_t i = 0; i < part.count; ++i) {
      sums[part.begin + i] =
          static_cast<double>(random.Below(1'000'000)) * 1e-6;
    }
    if (!part.spec->counts_records) continue;
    const uint64_t first = random.Below(records + 1);
    std::fill_n(sums.begin() + part.begin, part.count, 0);
    sums[part.begin] = static_cast<double>(first);
    sums[part.begin + 1] = static_cast<double>(records - first);
  }
  return sums;
}

std::vector<double> FakeLook(uint64_t seed, const SiteId& site,
                             const Plan& plan, const ParameterLayout& layout,
                             ByteSpan pooled) {
  return PlainLook(SeedOf(seed, site, 1, Digest()), plan, layout, pooled);
}

std::vector<double> FakeSums(uint64_t seed, const SiteId& site,
                             const Digest& model) {
  SimRandom random(SeedOf(seed, site, 0, model));
  const EvaluationLayout layout(2);
  std::vector<double> sums(static_cast<size_t>(layout.Count()));
  for (int i = 0; i < 40; ++i) {
    const int truth = static_cast<int>(random.Below(2));
    const float p = static_cast<float>(random.Below(1000)) / 1000;
    const float probabilities[] = {1 - p, p};
    AddRecord(layout, probabilities, truth, 0.5, absl::MakeSpan(sums));
  }
  return sums;
}

TestSite::TestSite(std::string_view name) : key_(KeyOf(name)) {
  peer_.id = *SiteId::Parse(name);
  peer_.public_key = key_.PublicKey();
}

Bytes TestSite::TrainPayload(const Plan& plan, const ParameterLayout& layout,
                             const ParameterVector& delta, uint64_t samples,
                             bool has_news) {
  UpdatePayloadHead head;
  head.ring = *TrainRing(plan);
  head.weight_word = WeightWord(SiteWeight(plan, samples));
  if (has_news) head.weight_word = WithNews(head.weight_word);
  head.layout = layout.digest();
  ParameterVector values = delta;
  values.resize(delta.size() + static_cast<size_t>(ExtraWords(plan.rule)),
                static_cast<float>(NovaSteps(plan, samples)));
  return Payload(head, *Quantize(head.ring, MaxTerms(plan), values,
                                 WeightOfWord(head.weight_word)));
}

Bytes TestSite::WordsPayload(std::vector<uint64_t> words) {
  UpdatePayloadHead head;
  head.ring = StatisticsRing();
  head.weight_word = WeightWord(1);
  return Payload(head, {std::move(words), 0});
}

Bytes TestSite::EvaluatePayload(const Plan& plan, std::vector<double> sums) {
  UpdatePayloadHead head;
  head.ring = EvaluationRing();
  head.weight_word = WeightWord(1);
  return Payload(head, *QuantizeDoubles(head.ring, MaxTerms(plan), sums));
}

Bytes TestSite::SolvePayload(const Plan& plan, const SolvePoint& point,
                             const std::vector<double>& sums) {
  UpdatePayloadHead head;
  head.ring = SolveRing();
  head.weight_word = WeightWord(1);
  return Payload(head, {*PackSolveSums(point, MaxTerms(plan), sums), 0});
}

Bytes TestSite::GatherPayload(const Plan& plan, const ParameterLayout& layout,
                              const std::vector<double>& sums) {
  return WordsPayload(
      *PackStatistics(StatisticsLayout(plan, layout), MaxTerms(plan), sums));
}

UploadHeader TestSite::HeaderFor(const Task& task) {
  UploadHeader header;
  header.run = task.run;
  header.round = task.round;
  header.kind = task.kind;
  header.plan_hash = task.plan_hash;
  header.base_model = task.model;
  return header;
}

TestUpdate TestSite::Sign(UploadHeader header, Bytes sealed) const {
  header.size_bytes = sealed.size();
  header.sealed_digest = DigestOfSealed(UpdatePayloadHead::kBytes, sealed);
  header.signature = key_.Sign(UploadStatement(peer_.id, header));
  return {std::move(header), std::move(sealed)};
}

TestUpdate TestSite::Seal(const RunDescriptor& run, UploadHeader header,
                          ByteSpan payload, RandomSource& random) const {
  Bytes sealed;
  const Bytes context = UpdateContext(peer_.id, header);
  const absl::Status status =
      SealStream({.recipient_public_key = run.hpke_public_key,
                  .info = AsBytes(kUpdateSealInfo),
                  .context = context,
                  .head_bytes = UpdatePayloadHead::kBytes,
                  .algorithm = AlgorithmOf(header.suite)},
                 payload, random, [&](ByteSpan piece) {
                   sealed.insert(sealed.end(), piece.begin(), piece.end());
                   return absl::OkStatus();
                 });
  FG_CHECK(status.ok());
  return Sign(std::move(header), std::move(sealed));
}

RoundWorld::RoundWorld(uint64_t seed)
    : random(seed), clock_(&loop), signing_key_(KeyOf("aggregator")) {
  options.federation = "test-federation";
  SetUpLogging("error", "text");  // refusals and time-outs are expected here
}

RoundWorld::~RoundWorld() = default;

absl::Status RoundWorld::Open() {
  strand_ = std::make_unique<SimScheduler>(&loop);
  executor_ = std::make_unique<SimExecutor>(&loop, random.Next());
  auto opened =
      Coordinator::Open({clock_, *strand_, *executor_, random, files},
                        {signing_key_, kCertificate, wrapping_key}, options);
  if (!opened.ok()) return opened.status();
  coordinator_ = *std::move(opened);
  Run(absl::Milliseconds(1));
  return absl::OkStatus();
}

void RoundWorld::Kill() {
  strand_->Kill();
  executor_->Kill();
  coordinator_.reset();
  files.KillProcess();
}

void RoundWorld::Crash() {
  Kill();
  files.Crash(random.Next());
}

template <typename T>
absl::StatusOr<T> RoundWorld::Await(const std::function<void(Reply<T>)>& call) {
  // Shared: an answer may come after the test gave up.
  auto answer = std::make_shared<std::optional<absl::StatusOr<T>>>();
  call([answer](absl::StatusOr<T> value) {
    FG_CHECK(!answer->has_value());  // exactly once
    *answer = std::move(value);
  });
  if (!loop.RunUntilTrue([&] { return answer->has_value(); },
                         absl::Minutes(1))) {
    return absl::DeadlineExceededError("no answer within a minute");
  }
  return **std::move(answer);
}

RunId RoundWorld::StartRun(const PlanSpec& spec, int64_t extra) {
  plan_ = MakePlan(spec);
  layout_ = MakeLayout(extra, spec);
  const auto run = Await<RunId>([&](Reply<RunId> reply) {
    coordinator_->StartRun(*plan_, MakeModel(extra, spec), std::move(reply));
  });
  EXPECT_TRUE(run.ok()) << run.status();
  return run.value_or(RunId{});
}

absl::StatusOr<JoinReply> RoundWorld::Join(const TestSite& site) {
  auto reply = Await<JoinReply>([&](Reply<JoinReply> answer) {
    coordinator_->Join(site.peer(), JoinRequest{}, std::move(answer));
  });
  if (reply.ok() && reply->run.has_value()) descriptor_ = reply->run;
  return reply;
}

absl::StatusOr<NextTaskReply> RoundWorld::NextTask(const TestSite& site) {
  NextTaskRequest request;
  if (descriptor_.has_value()) request.run = descriptor_->run;
  request.poll = absl::Milliseconds(1);
  return Await<NextTaskReply>([&](Reply<NextTaskReply> answer) {
    coordinator_->NextTask(site.peer(), request, std::move(answer));
  });
}

Task RoundWorld::TaskOf(const TestSite& site) {
  const auto next = NextTask(site);
  FG_CHECK(next.ok() && std::holds_alternative<Task>(*next));
  return std::get<Task>(*next);
}

absl::StatusOr<UploadOffset> RoundWorld::Query(const TestSite& site,
                                               const UploadHeader& header) {
  return Await<UploadOffset>([&](Reply<UploadOffset> answer) {
    coordinator_->QueryUpload(site.peer(), header, std::move(answer));
  });
}

absl::StatusOr<std::shared_ptr<SpoolUpload>> RoundWorld::Begin(
    const TestSite& site, const UploadHeader& header, uint64_t offset) {
  return Await<std::shared_ptr<SpoolUpload>>(
      [&](Reply<std::shared_ptr<SpoolUpload>> answer) {
        coordinator_->BeginUpload(site.peer(), header, offset,
                                  std::move(answer));
      });
}

absl::StatusOr<UploadReceipt> RoundWorld::Finish(
    const TestSite& site, const UploadHeader& header,
    std::shared_ptr<SpoolUpload> upload) {
  return Await<UploadReceipt>([&](Reply<UploadReceipt> answer) {
    coordinator_->FinishUpload(site.peer(), header, std::move(upload),
                               std::move(answer));
  });
}

absl::StatusOr<UploadReceipt> RoundWorld::Upload(const TestSite& site,
                                                 const TestUpdate& update) {
  auto upload = Begin(site, update.header, 0);
  if (!upload.ok()) return upload.status();
  const absl::Status appended = (*upload)->Append(update.sealed);
  if (!appended.ok()) {
    coordinator_->AbandonUpload(site.peer(), update.header, *upload);
    return appended;
  }
  coordinator_->Moved(site.peer(), update.sealed.size());
  return Finish(site, update.header, *std::move(upload));
}

absl::StatusOr<bool> RoundWorld::Heartbeat(const TestSite& site,
                                           const Task& task) {
  return Await<bool>([&](Reply<bool> answer) {
    coordinator_->Heard(site.peer(), {task.run, task.round, task.kind, 0.5f},
                        std::move(answer));
  });
}

absl::Status RoundWorld::Report(const TestSite& site, RoundId round,
                                std::map<std::string, double> scalars,
                                std::string declined) {
  return Await<Done>([&](Reply<Done> answer) {
           coordinator_->Report(site.peer(),
                                {descriptor_->run, round, scalars, declined},
                                std::move(answer));
         })
      .status();
}

absl::Status RoundWorld::AnswerStep(const TestSite& site, const Task& task,
                                    Bytes payload) {
  const SecureAnswer said{task.run,         task.round,
                          task.kind,        task.secure.attempt,
                          task.secure.step, std::move(payload)};
  return Await<Done>([&](Reply<Done> answer) {
           coordinator_->AnswerStep(site.peer(), said, std::move(answer));
         })
      .status();
}

absl::Status RoundWorld::Stop() {
  return Await<Done>([&](Reply<Done> answer) {
           coordinator_->StopRun(*Snapshot().run, "enough", std::move(answer));
         })
      .status();
}

absl::Status RoundWorld::Pause(bool paused) {
  return Await<Done>([&](Reply<Done> answer) {
           coordinator_->PauseRun(*Snapshot().run, paused, std::move(answer));
         })
      .status();
}

absl::StatusOr<Bytes> RoundWorld::Blob(const TestSite& site,
                                       const Digest& digest) {
  const auto file = Await<std::shared_ptr<ReadableFile>>(
      [&](Reply<std::shared_ptr<ReadableFile>> answer) {
        coordinator_->OpenBlob(site.peer(), digest, std::move(answer));
      });
  if (!file.ok()) return file.status();
  Bytes content((*file)->size_bytes());
  const absl::Status read = (*file)->ReadAt(0, absl::MakeSpan(content));
  if (!read.ok()) return read;
  return content;
}

TestUpdate RoundWorld::Answer(const TestSite& site, const Task& task) {
  const UploadHeader header = TestSite::HeaderFor(task);
  Bytes payload;
  switch (task.kind) {
    case TaskKind::kTrain:
      payload = TestSite::TrainPayload(
          *plan_, *layout_,
          FakeDelta(7, site.id(), task.round, task.model, *layout_),
          FakeSamples(7, site.id()),
          task.compared_look != Digest() && changed.contains(site.id()));
      break;
    case TaskKind::kEvaluate:
      payload =
          TestSite::EvaluatePayload(*plan_, FakeSums(7, site.id(), task.model));
      break;
    case TaskKind::kSolve: {
      const SolvePoint point =
          *DecodeSolvePoint(task.model_inline.empty() ? *Blob(site, task.model)
                                                      : task.model_inline);
      payload = TestSite::SolvePayload(*plan_, point,
                                       FakeSolveSums(7, site.id(), point));
      break;
    }
    case TaskKind::kGather:
      payload = TestSite::GatherPayload(
          *plan_, *layout_,
          FakeStatistics(7, site.id(), task.model,
                         StatisticsLayout(*plan_, *layout_)));
      break;
    case TaskKind::kSketch: {
      const Bytes pooled = task.statistics_size_bytes > 0
                               ? *Blob(site, task.statistics)
                               : Bytes();
      payload = TestSite::WordsPayload(
          *Look::Decode(*plan_, *layout_, pooled)
               ->Pack(FakeLook(7, site.id(), *plan_, *layout_, pooled)));
      break;
    }
  }
  return site.Seal(*descriptor_, header, payload, random);
}

void RoundWorld::JoinAll(const std::vector<const TestSite*>& sites) {
  for (const TestSite* site : sites) {
    const auto joined = Join(*site);
    EXPECT_TRUE(joined.ok()) << joined.status();
  }
  Run(absl::Milliseconds(20));
}

void RoundWorld::Contribute(const std::vector<const TestSite*>& sites) {
  for (const TestSite* site : sites) {
    const auto receipt = Upload(*site, Answer(*site, TaskOf(*site)));
    EXPECT_TRUE(receipt.ok()) << site->id().value << ": " << receipt.status();
  }
  Run(absl::Milliseconds(20));
}

void RoundWorld::Run(absl::Duration duration) { loop.RunFor(duration); }

}  // namespace fedgraft::testing
