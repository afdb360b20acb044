// Writes the seeds of the binary formats, and of the texts that carry digests,
// from the encoders: after a change of a format, run it again and look at the
// difference. Deterministic.
//
//   make_fuzz_corpus <source>/tests/fuzz/corpus

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "aggregator/admin/allow_list.h"
#include "aggregator/round/journal_codec.h"
#include "aggregator/store/log_format.h"
#include "client/update/update_file.h"
#include "client/update/update_pipeline.h"
#include "common/audit/audit_log.h"
#include "common/base/check.h"
#include "common/config/plan_loader.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/key_wrap.h"
#include "common/crypto/sealed_stream.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/net/roster.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/codec.h"
#include "common/shift/look.h"
#include "common/solve/head_solver.h"
#include "common/solve/solve_statistics.h"
#include "common/statistics/gathered_statistics.h"
#include "tests/fuzz/sealed_stream_key.h"
#include "tests/import/pickle_writer.h"
#include "tests/shift/plain_look.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"

namespace fedgraft {
namespace {

class Corpus {
 public:
  explicit Corpus(std::string folder) : folder_(std::move(folder)) {}

  void Add(const std::string& target, const std::string& name,
           ByteSpan content) const {
    const std::filesystem::path file =
        std::filesystem::path(folder_) / target / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream out(file, std::ios::binary);
    out << AsText(content);
    FG_CHECK(out.flush().good());
  }

 private:
  std::string folder_;
};

Digest Filled(uint8_t byte) {
  Digest digest;
  digest.bytes.fill(byte);
  return digest;
}

Bytes Zeros(size_t size) { return Bytes(size, 0); }

void AddModels(const Corpus& corpus) {
  const Bytes data = Zeros(64);
  const ByteSpan zeros = data;
  const auto two =
      EncodeSafetensors({{"fc.bias", {DType::kF32, {2}, zeros.first(8)}},
                         {"fc.weight", {DType::kF32, {2, 4}, zeros.first(32)}},
                         {"steps", {DType::kI64, {}, zeros.first(8)}}},
                        {{"architecture", "resnet18"}});
  FG_CHECK(two.ok());
  corpus.Add("safetensors", "f32_i64", *two);
  const std::string halves =
      R"({"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[8,16]},)"
      R"("c":{"dtype":"F32","shape":[0,3],"data_offsets":[16,16]}})";
  corpus.Add("safetensors", "halves",
             ByteWriter()
                 .U64(halves.size())
                 .Raw(AsBytes(halves))
                 .Raw(zeros.first(16))
                 .bytes());
}

void AddPickles(const Corpus& corpus) {
  testing::PickleWriter state_dict;
  state_dict.OrderedDict().Op('q').Op(0).Op('(');
  state_dict.Text("w").Tensor("FloatStorage", "0", 6, 0, {2, 3}, {1, 2});
  state_dict.Text("n").Tensor("LongStorage", "1", 1, 0, {}, {}).Op('u');
  state_dict.Op('}').Text("_metadata").OrderedDict().Op('s').Op('b');
  corpus.Add("pickle", "state_dict", state_dict.Finish());
  testing::PickleWriter values;
  values.Op(']').Op('q').Op(1).Op('(').Op('K').Op(7).Op('M').Op(1).Op(2);
  values.Op('J').Raw("abcd").Op('N').Op(0x88).Op('G').Raw("12345678");
  values.Op('h').Op(1).Ints({1, 2}).Text("x").Op('e');
  corpus.Add("pickle", "values", values.Finish());
  // Protocol 4 names by texts and memorises without numbers.
  testing::PickleWriter four;
  four.Op(0x95).Raw("88888888").Op(0x8c).Op(11).Raw("collections").Op(0x94);
  four.Op(0x8c).Op(11).Raw("OrderedDict").Op(0x94).Op(0x93).Op(')').Op('R');
  corpus.Add("pickle", "stack_global", four.Finish());
  testing::PickleWriter system;
  system.Global("posix", "system").Text("true").Op(0x85).Op('R');
  corpus.Add("pickle", "system", system.Finish());
}

void AddUpdates(const Corpus& corpus) {
  for (const int bits : {8, 12, 20, 32, 64}) {
    UpdatePayloadHead head;
    head.ring = {bits, bits / 2};
    head.count = 5;
    head.weight_word = WeightWord(0.5);
    head.saturated = 1;
    head.layout = Filled(7);
    Bytes packed(PackedBytes(bits, head.count));
    const std::vector<uint64_t> words = {0, 1, head.ring.Mask(), 100, 77};
    PackWords(bits, words, absl::MakeSpan(packed));
    corpus.Add("update_payload", "words_" + std::to_string(bits),
               ByteWriter().Raw(EncodeUpdateHead(head)).Raw(packed).bytes());
  }
}

UploadHeader SomeHeader() {
  UploadHeader header;
  header.run = {"0011aabb"};
  header.round = {3};
  header.kind = TaskKind::kEvaluate;
  header.plan_hash = Filled(1);
  header.base_model = Filled(2);
  header.size_bytes = 77;
  header.sealed_digest = Filled(3);
  header.signature = Bytes(64, 9);
  return header;
}

RunDescriptor SomeRun() {
  RunDescriptor run;
  run.run = {"0011aabb"};
  run.plan = {1, 2, 3};
  run.plan_hash = Filled(1);
  run.backbone_size_bytes = 44'000'000;
  run.initial_model = Filled(2);
  run.hpke_public_key = Bytes(32, 3);
  run.hpke_key_signature = Bytes(64, 4);
  run.aggregator_certificate_pem = "-----BEGIN CERTIFICATE-----\n";
  return run;
}

Task SomeTask() {
  Task task;
  task.run = {"0011aabb"};
  task.round = {5};
  task.kind = TaskKind::kEvaluate;
  task.plan_hash = Filled(1);
  task.model = Filled(2);
  task.model_size_bytes = 3;
  task.model_inline = {7, 8, 9};
  task.progress_timeout = absl::Seconds(60);
  task.split = "val";
  task.compare_local = true;
  return task;
}

// `selector`: the message's place in wire_codec_fuzz.cc.
template <typename Wire>
void AddWire(const Corpus& corpus, uint8_t selector, const std::string& name,
             const Wire& wire) {
  corpus.Add(
      "wire_codec", name,
      ByteWriter().U8(selector).Raw(AsBytes(wire.SerializeAsString())).bytes());
}

void AddMessages(const Corpus& corpus) {
  JoinRequest join;
  join.software_version = "0.1.0";
  join.capabilities = {"seal", "resume"};
  AddWire(corpus, 0, "join_request", ToWire(join));
  AddWire(corpus, 1, "run_descriptor", ToWire(SomeRun()));
  AddWire(corpus, 2, "join_reply", ToWire(JoinReply{"cardio", SomeRun()}));
  AddWire(corpus, 3, "task", ToWire(SomeTask()));
  AddWire(corpus, 4, "next_task_request",
          ToWire(NextTaskRequest{{"0011aabb"}, absl::Seconds(30)}));
  RunFinished finished;
  finished.run = {"0011aabb"};
  finished.model = Filled(2);
  finished.model_size_bytes = 99;
  finished.rounds = 5;
  AddWire(corpus, 5, "next_finished", ToWire(NextTaskReply(finished)));
  AddWire(corpus, 5, "next_task", ToWire(NextTaskReply(SomeTask())));
  AddWire(corpus, 6, "heartbeat",
          ToWire(Heartbeat{{"0011aabb"}, {5}, TaskKind::kTrain, 0.25f}));
  AddWire(corpus, 7, "upload_header", ToWire(SomeHeader()));
  const UploadReceipt receipt = {Filled(3), 12};
  AddWire(corpus, 8, "upload_receipt", ToWire(receipt));
  AddWire(corpus, 9, "upload_offset", ToWire(UploadOffset{1000, receipt}));
  AddWire(corpus, 10, "site_report",
          ToWire(SiteReport{{"0011aabb"}, {2}, {{"auc", 0.5}, {"n", 40}}}));
  AddWire(corpus, 11, "refusal",
          *RefusalToWire(RefusalError(RefusalReason::kOverNorm, "too long")));
}

void AddPlans(const Corpus& corpus, const std::filesystem::path& configs) {
  for (const std::string name : {"full", "linear-probe", "partial"}) {
    const auto plan = LoadPlan(configs / ("plan-" + name + ".yaml"));
    FG_CHECK(plan.ok());
    corpus.Add("plan_bytes", name, plan->bytes);
  }
}

std::vector<Record> SomeRecords() {
  RunOpened opened;
  opened.run = {"0011aabb"};
  opened.plan = {1, 2, 3};
  opened.wrapped_key = {4, 5};
  opened.hpke_public_key = Bytes(32, 6);
  opened.hpke_key_signature = Bytes(64, 7);
  opened.initial_model = Filled(8);
  opened.initial_model_size_bytes = 3;
  opened.initial_model_inline = {7, 8, 9};
  opened.backbone_size_bytes = 123456789012;
  opened.layout = *ParameterLayout::Create(
      {{"fc.weight", {2, 5}, TensorKind::kWeight},
       {"bn.running_mean", {3}, TensorKind::kBatchNormMean},
       {"bn.running_var", {3}, TensorKind::kBatchNormVar}});
  RoundReduced reduced;
  reduced.round = {5};
  reduced.sites = {{"a"}, {"b-1"}};
  reduced.model = Filled(4);
  reduced.model_size_bytes = 3;
  reduced.model_inline = {1, 1, 1};
  reduced.elapsed = absl::Microseconds(1234567);
  EvaluationClosed evaluated;
  evaluated.round = {5};
  evaluated.sites = {{"a"}};
  evaluated.metrics = {{"auc", 0.75}, {"n", 40}};
  return {opened,
          SiteJoined{{"site-1"}},
          RoundOpened{{7}},
          ContributionAccepted{{"a"}, SomeHeader(), Bytes(77, 5), ""},
          ContributionAccepted{{"b"}, SomeHeader(), {}, "spool/x"},
          reduced,
          evaluated,
          RunClosed{true, "operator's wish"},
          RunPaused{true},
          SiteReported{{"a"}, {2}, {{"n", 40}, {"auc", 0.5}}}};
}

void AddSolver(const Corpus& corpus) {
  Plan plan;
  plan.classes = {"a", "b", "c"};
  plan.solver.kind = SolverKind::kNewton;
  plan.solver.lambdas = {10, 1};
  SolverState state = InitialSolverState(plan, 2);
  for (int round = 1; round <= 3; ++round) {
    const SolvePoint point = NextPoint(plan, state);
    corpus.Add("solver", "point_" + std::to_string(round),
               EncodeSolvePoint(point));
    std::vector<double> sums(SolveLayout(point).count(), 1);
    sums[0] = 8;
    state = *Advance(plan, state, sums);
    corpus.Add("solver", "state_" + std::to_string(round),
               EncodeSolverState(state));
  }
}

void AddStatistics(const Corpus& corpus) {
  for (const auto& [plan, words] :
       std::vector<std::pair<uint8_t, std::vector<uint64_t>>>{
           {0, {5, 2, 3}}, {1, {5, 17, 0}}, {2, {5, 2, 3, 17, 0}}}) {
    GatheredStatistics gathered;
    if (plan > 0) gathered.model_bytes = ToBytes(AsBytes("a model"));
    gathered.model = Sha256(gathered.model_bytes);
    gathered.words = words;
    corpus.Add("statistics", "gathered_" + std::to_string(plan),
               ByteWriter().U8(plan).Raw(EncodeGathered(gathered)).bytes());
  }
}

// A whole look of four sites, and its first stages.
void AddLook(const Corpus& corpus) {
  Plan plan;
  plan.classes = {"a", "b"};
  plan.architecture = "resnet18";
  plan.quorum = plan.expected_sites = 4;
  const ParameterLayout layout =
      *ParameterLayout::Create({{"fc.weight", {2, 5}}, {"fc.bias", {2}}});
  Look look = *Look::Create(plan, layout);
  for (int stage = 0; !look.done(); ++stage) {
    std::vector<uint64_t> words(static_cast<size_t>(look.words()));
    for (uint64_t site = 1; site <= 4; ++site) {
      const auto one =
          *look.Pack(testing::PlainLook(site, plan, layout, look.Encode()));
      for (size_t i = 0; i < words.size(); ++i) words[i] += one[i];
    }
    FG_CHECK(look.Add(std::move(words)).ok());
    corpus.Add("look", "stage_" + std::to_string(stage), look.Encode());
  }
}

void AddLog(const Corpus& corpus) {
  std::vector<Bytes> entries;
  for (const Record& record : SomeRecords()) {
    entries.push_back(
        EncodeEntry({absl::FromUnixMillis(1'700'000'000'123), record}));
    corpus.Add("journal",
               "record_" + std::to_string(record.index()) + "_" +
                   std::to_string(entries.size()),
               entries.back());
  }
  const std::vector<ByteSpan> records = {entries[1], entries[2], entries[8]};
  const Bytes batch = EncodeBatch(99, 1, records);
  corpus.Add("log_format", "segment",
             ByteWriter()
                 .Raw(EncodeSegmentHeader({99, 1, 1}))
                 .Raw(batch)
                 .Raw(EncodeBatch(99, 4, {entries[3]}))
                 .bytes());
  corpus.Add("log_format", "payload",
             ByteWriter().U32(3).Raw(AsBytes("abc")).bytes());
  Bytes three;
  for (int i = 0; i < 3; ++i) three.insert(three.end(), {3, 0, 0, 0, 1, 2, 3});
  corpus.Add("log_format", "payload_of_three", three);
  corpus.Add("log_format", "name", AsBytes(SegmentName(12)));
}

void AddSealed(const Corpus& corpus) {
  for (const auto& [head, total] :
       {std::pair<uint64_t, size_t>{72, 72}, {72, 200}, {8, 300}}) {
    testing::SimRandom random(head + total);
    Bytes input = {static_cast<uint8_t>(head)};
    FG_CHECK(SealStream(fuzz::SealedStreamPair().public_key,
                        AsBytes(fuzz::kSealedInfo),
                        AsBytes(fuzz::kSealedContext), head, Zeros(total),
                        random,
                        [&](ByteSpan part) {
                          input.insert(input.end(), part.begin(), part.end());
                          return absl::OkStatus();
                        })
                 .ok());
    corpus.Add("sealed_stream",
               std::to_string(head) + "_of_" + std::to_string(total), input);
  }
}

void AddKeys(const Corpus& corpus) {
  testing::SimRandom random(4);
  const auto wrapped = WrapSecret(Bytes(32, 1), "fuzz", Bytes(32, 2), random);
  FG_CHECK(wrapped.ok());
  corpus.Add("wrapped_key", "secret_of_32", *wrapped);
  const auto key = SigningKey::FromSeed(Bytes(32, 3));
  FG_CHECK(key.ok());
  corpus.Add("signing_key", "pkcs8.pem", key->ToPem().span());
}

void AddUpdateFile(const Corpus& corpus) {
  Plan plan;
  plan.classes = {"a", "b"};
  auto layout = ParameterLayout::Create({{"w", {4}, TensorKind::kWeight}});
  FG_CHECK(layout.ok());
  auto raw = RawUpdate::Create(
      std::make_shared<const ParameterLayout>(*std::move(layout)), {1, 2, 3, 4},
      5);
  FG_CHECK(raw.ok());
  auto quantized = QuantizedUpdate::FromUpdate(
      *ClippedUpdate::Clip(*std::move(raw), plan), plan, 0);
  FG_CHECK(quantized.ok());
  testing::SimFileStore files;
  testing::SimRandom random(5);
  const auto key = SigningKey::FromSeed(Bytes(32, 3));
  FG_CHECK(key.ok());
  UploadHeader header;
  header.run = {"run-1"};
  header.round = {2};
  UpdateSealer sealer(SiteId{"alpha"}, *key, random, files);
  FG_CHECK(sealer
               .Seal(*std::move(quantized), header,
                     fuzz::SealedStreamPair().public_key, "update")
               .ok());
  corpus.Add("update_file", "four_words", files.Content("update"));
}

void AddJson(const Corpus& corpus) {
  const Roster roster = {.federation = "demo",
                         .keys = {{SiteId{"alpha"}, Bytes(32, 1)},
                                  {SiteId{"beta"}, Bytes(32, 2)}}};
  corpus.Add("roster", "two_sites.json", AsBytes(roster.ToJson()));
  AllowListContent list;
  list.federation = "demo";
  AllowListEntry entry;
  entry.id = "alpha";
  entry.public_key = Bytes(32, 1);
  entry.serials = {"01ab", "02cd"};
  entry.not_before = absl::FromUnixSeconds(1'700'000'000);
  entry.not_after = absl::FromUnixSeconds(1'800'000'000);
  entry.approved = entry.not_before;
  entry.revoked = absl::InfinitePast();
  list.sites["alpha"] = entry;
  entry.id = "ops";
  entry.public_key = Bytes(32, 2);
  list.operators["ops"] = entry;
  entry.id = "beta";
  entry.public_key = Bytes(32, 3);
  entry.active = false;
  entry.revoked = absl::FromUnixSeconds(1'710'000'000);
  list.sites["beta"] = entry;
  list.revoked_serials = {"01ab"};
  corpus.Add("allow_list", "sites.json", AsBytes(list.ToJson()));
  testing::SimFileStore files;
  const absl::Time now = absl::FromUnixMillis(1'700'000'000'123);
  auto log = AuditLog::Open(files, "audit.log", now);
  FG_CHECK(log.ok());
  for (const std::string event : {"joined", "update", "update"}) {
    FG_CHECK((*log)->Append(now, event, {{"round", "1"}}).ok());
  }
  const auto text = ReadAll(files, "audit.log");
  FG_CHECK(text.ok());
  corpus.Add("audit_log", "three_lines.log", *text);
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s <source>/tests/fuzz/corpus\n", argv[0]);
    return 2;
  }
  const std::filesystem::path folder(argv[1]);
  const fedgraft::Corpus corpus(folder);
  fedgraft::AddModels(corpus);
  fedgraft::AddPickles(corpus);
  fedgraft::AddUpdates(corpus);
  fedgraft::AddMessages(corpus);
  fedgraft::AddPlans(corpus, folder / "../../../deploy/config");
  fedgraft::AddSolver(corpus);
  fedgraft::AddStatistics(corpus);
  fedgraft::AddLook(corpus);
  fedgraft::AddLog(corpus);
  fedgraft::AddSealed(corpus);
  fedgraft::AddKeys(corpus);
  fedgraft::AddUpdateFile(corpus);
  fedgraft::AddJson(corpus);
  return 0;
}
