// 1,000 simulated sites, 100 rounds with ten of them each, softmax SGD on
// 784 x 10 in batches of ten: the site's and the aggregator's own code from the
// task's bytes to the next model's, with the bytes of every message in between
// but without sockets, processes and disks. One thread.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "aggregator/round/admission.h"
#include "aggregator/round/memory_file.h"
#include "aggregator/round/round_reducer.h"
#include "client/update/rounding_seed.h"
#include "client/update/update_file.h"
#include "client/update/update_pipeline.h"
#include "common/base/check.h"
#include "common/config/plan_loader.h"
#include "common/crypto/hpke.h"
#include "common/crypto/sealed_stream.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/protocol/codec.h"
#include "tests/bench/softmax_sites.h"
#include "tests/bench/table.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"

namespace fedgraft::bench {
namespace {

constexpr int kSites = 1000, kSitesPerRound = 10, kRounds = 100, kBatch = 10;
constexpr size_t kChunkBytes = 128 * 1024;

constexpr char kPlan[] = R"(version: 1
name: simulated-sites
rounds: 100
sites: {quorum: 10}
task: {classes: [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9]}
backbone: {architecture: identity, feature_dim: 784}
strategy: {kind: linear_probe}
update: {weight_cap: 128}
evaluation: {every: -1}
)";

// Runs work at once, on the caller's thread.
class InlineExecutor : public Executor {
 public:
  void Run(std::function<void()> work) override { work(); }
  int Workers() const override { return 1; }
};

// Through bytes and back, as between two machines.
template <typename Message>
auto ThroughTheWire(const Message& message) {
  auto wire = ToWire(message);
  const std::string bytes = wire.SerializeAsString();
  decltype(wire) parsed;
  FG_CHECK(parsed.ParseFromString(bytes));
  auto back = FromWire(parsed);
  FG_CHECK(back.ok());
  return *std::move(back);
}

struct Upload {
  UploadHeader header;
  std::shared_ptr<const Bytes> sealed;
};

class SimulatedSite {
 public:
  explicit SimulatedSite(int index)
      : id_{"site-" + std::to_string(index)},
        key_(SigningKey::Generate()),
        records_(
            MakeRecords(index, 20 + static_cast<size_t>(index * 37 % 81))) {}

  SitePeer peer() const { return {id_, key_.PublicKey()}; }
  const SiteId& id() const { return id_; }

  // Train, clip, quantise, seal, sign, and send in chunks.
  Upload Work(const Plan& plan, std::shared_ptr<const ParameterLayout> layout,
              const RunDescriptor& run, const Task& task, FileStore& files,
              RandomSource& random) {
    FG_CHECK(Sha256(task.model_inline) == task.model);
    const ParameterVector base =
        *DecodeTrainableSet(*layout, task.model_inline);
    ParameterVector weights = base;
    Train(records_, kBatch, 0.1f, weights);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] -= base[i];
    UploadHeader header;
    header.run = task.run;
    header.round = task.round;
    header.plan_hash = task.plan_hash;
    header.base_model = task.model;
    auto raw = RawUpdate::Create(layout, std::move(weights), records_.size());
    FG_CHECK(raw.ok());
    auto quantized =
        QuantizedUpdate::FromUpdate(*ClippedUpdate::Clip(*std::move(raw), plan),
                                    plan, RoundingSeed(id_, header));
    FG_CHECK(quantized.ok());
    UpdateSealer sealer(id_, key_, random, files);
    const auto sealed = sealer.Seal(*std::move(quantized), header,
                                    run.hpke_public_key, "update");
    FG_CHECK(sealed.ok());
    return Send(*sealed, files);
  }

 private:
  static Upload Send(const SealedUpdate& update, FileStore& files) {
    const auto file = *update.Open(files);
    Upload upload;
    auto received = std::make_shared<Bytes>();
    for (uint64_t offset = 0; offset < file->size_bytes();) {
      pb::SubmitChunk chunk;
      if (offset == 0) *chunk.mutable_header() = ToWire(update.header());
      std::string& data = *chunk.mutable_data();
      data.resize(std::min<uint64_t>(kChunkBytes, file->size_bytes() - offset));
      FG_CHECK(file->ReadAt(offset, absl::MakeSpan(
                                        reinterpret_cast<uint8_t*>(data.data()),
                                        data.size()))
                   .ok());
      pb::SubmitChunk came;
      FG_CHECK(came.ParseFromString(chunk.SerializeAsString()));
      if (offset == 0) upload.header = *FromWire(came.header());
      const ByteSpan bytes = AsBytes(came.data());
      received->insert(received->end(), bytes.begin(), bytes.end());
      offset += data.size();
    }
    upload.sealed = std::move(received);
    return upload;
  }

  SiteId id_;
  SigningKey key_;
  Records records_;
};

// The aggregator's side of one run, without its log.
class Centre {
 public:
  Centre(Plan plan, std::shared_ptr<const ParameterLayout> layout)
      : layout_(layout) {
    const HpkeKeyPair pair = GenerateHpkeKeyPair(random_);
    key_ = std::make_shared<const RunKey>(
        *RunKey::FromPrivate(pair.private_key.span()));
    auto run = std::make_shared<RunFacts>();
    run->id = {"run-1"};
    run->plan = std::move(plan);
    run->layout = std::move(layout);
    run->hpke_public_key = pair.public_key;
    run_ = run;
    form_ = *MakeUpdateForm(run_->plan, *layout_, TaskKind::kTrain);
    Publish(EncodeTrainableSet(*layout_, ParameterVector(kWeights, 0.0f)));
  }

  RunDescriptor Describe() const {
    RunDescriptor descriptor;
    descriptor.run = run_->id;
    descriptor.plan = run_->plan.bytes;
    descriptor.plan_hash = run_->plan.hash;
    descriptor.initial_model = model_.digest;
    descriptor.hpke_public_key = run_->hpke_public_key;
    descriptor.hpke_key_signature = Bytes(64, 1);
    descriptor.aggregator_certificate_pem = "none";
    return descriptor;
  }
  Task TaskOf(uint32_t round) const {
    Task task;
    task.run = run_->id;
    task.round = task.training_round = {round};
    task.plan_hash = run_->plan.hash;
    task.model = model_.digest;
    task.model_size_bytes = model_.size_bytes;
    task.model_inline = *model_.inline_bytes;
    task.progress_timeout = absl::Seconds(60);
    return task;
  }
  void Admit(const SitePeer& site, const Upload& upload) {
    FG_CHECK(DigestOfSealed(UpdatePayloadHead::kBytes, *upload.sealed) ==
             upload.header.sealed_digest);
    auto opener = VerifyUpdate({site, upload.header, run_, form_, key_},
                               std::make_shared<MemoryFile>(upload.sealed));
    FG_CHECK(opener.ok());
    openers_[site.id] = *std::move(opener);
    Contribution& contribution = contributions_[site.id];
    contribution.header = upload.header;
    contribution.sealed_inline = upload.sealed;
  }
  void Reduce() {
    auto job = std::make_shared<PhaseJob>();
    job->run = run_;
    job->key = key_;
    job->form = form_;
    job->base = model_;
    job->contributions = std::move(contributions_);
    job->openers = std::move(openers_);
    job->inline_bytes_max = 1 << 20;
    job->blobs = blobs_;
    contributions_.clear();
    openers_.clear();
    ReduceRound(job, files_, executor_, [this](absl::StatusOr<NewModel> model) {
      FG_CHECK(model.ok());
      Publish(std::move(model->inline_bytes));
    });
  }
  ParameterVector Model() const {
    return *DecodeTrainableSet(*layout_, *model_.inline_bytes);
  }

 private:
  void Publish(Bytes bytes) {
    model_.digest = Sha256(bytes);
    model_.size_bytes = bytes.size();
    model_.inline_bytes = std::make_shared<const Bytes>(std::move(bytes));
  }

  testing::SimRandom random_{1};
  testing::SimFileStore files_;
  std::shared_ptr<BlobStore> blobs_ =
      std::make_shared<BlobStore>(files_, "blobs");
  InlineExecutor executor_;
  std::shared_ptr<const ParameterLayout> layout_;
  std::shared_ptr<const RunFacts> run_;
  std::shared_ptr<const RunKey> key_;
  UpdateForm form_;
  ModelRef model_;
  std::map<SiteId, Contribution> contributions_;
  std::map<SiteId, std::shared_ptr<const SealedStreamOpener>> openers_;
};

void Run() {
  const Plan plan = *ParsePlanYaml(kPlan, "plan");
  const auto layout =
      std::make_shared<const ParameterLayout>(*ParameterLayout::Create(
          {{"head.weight", {kClasses, kFeatures}, TensorKind::kWeight},
           {"head.bias", {kClasses}, TensorKind::kWeight}}));
  std::vector<SimulatedSite> sites;
  for (int i = 0; i < kSites; ++i) sites.emplace_back(i);
  const Records test = MakeRecords(-1, 2000);
  testing::SimRandom random(3);
  testing::SimFileStore files;

  const double wall = WallSeconds(), cpu = ThreadSeconds();
  Centre centre(plan, layout);
  const RunDescriptor run =
      *ThroughTheWire(JoinReply{"bench", centre.Describe()}).run;
  const Plan joined = *PlanFromBytes(run.plan);
  for (uint32_t round = 1; round <= kRounds; ++round) {
    std::set<size_t> chosen;
    while (chosen.size() < kSitesPerRound) chosen.insert(random.Below(kSites));
    for (const size_t i : chosen) {
      const auto next = ThroughTheWire(NextTaskReply(centre.TaskOf(round)));
      const Upload upload = sites[i].Work(joined, layout, run,
                                          std::get<Task>(next), files, random);
      centre.Admit(sites[i].peer(), upload);
    }
    centre.Reduce();
  }
  const double cpu_s = ThreadSeconds() - cpu, wall_s = WallSeconds() - wall;
  PrintRow("1,000 simulated sites, 100 rounds x 10 sites, softmax 784 x 10",
           Format("%.2f s CPU, %.2f s wall, accuracy %.3f", cpu_s, wall_s,
                  Accuracy(test, centre.Model())),
           "5 s", cpu_s / 5, "<= 1");
}

}  // namespace
}  // namespace fedgraft::bench

int main() { fedgraft::bench::Run(); }
