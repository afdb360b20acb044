// A stand-in for fedgraft-trainer without torch: speaks proto/trainer.proto on
// descriptor 3, derives the trainable set from plan and backbone as the real
// one does, and answers with updates and evaluation sums that depend only on
// the site's data seed, the round and the model's bytes. Solve, gather and
// sketch tasks are answered with the sums of records that the data seed draws.
//
// The config's data.path names a control file with lines "key value", read
// anew for each request:
//   log 0               write no log (default: <control>.log, a line a request)
//   delay_ms N          a train, solve or gather task takes this long
//   evaluate_delay_ms N so does an evaluation
//   hold 1              train tasks wait while this stands there
//   crash_round N       abort in this round's train task, once
//   hang_round N        never answer it, once
//   nan_round N         the update holds a NaN
//   huge_round N        the update is beyond every range
//   delta X             size of the update's values (default 0.01)
//   quick 1             the update is `delta` everywhere, the model is not read

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/bytes.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/evaluation_layout.h"
#include "common/model/trainable_set.h"
#include "common/solve/solve_point.h"
#include "common/statistics/gathered_statistics.h"
#include "proto/trainer.pb.h"
#include "tests/shift/plain_look.h"
#include "tests/support/plain_statistics.h"

namespace fedgraft {
namespace {

constexpr int kSocket = 3;
constexpr int kProgressMs = 20;

// SplitMix64: the same numbers on every machine.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // In [0, 1), with 24 bits: exact as a float.
  float Uniform() { return static_cast<float>(Next() >> 40) * 0x1p-24f; }

 private:
  uint64_t state_;
};

uint64_t SeedOf(uint64_t site_seed, uint32_t round, ByteSpan model) {
  const Digest digest = Sha256(
      ByteWriter().U64(site_seed).U32(round).Raw(Sha256(model).bytes).bytes());
  uint64_t seed = 0;
  for (int i = 0; i < 8; ++i) seed = seed << 8 | digest.bytes[i];
  return seed;
}

absl::StatusOr<Bytes> ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  Bytes content(file ? static_cast<size_t>(file.tellg()) : 0);
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(content.data()),
                 static_cast<std::streamsize>(content.size()))) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path));
  }
  return content;
}

class Control {
 public:
  Control() = default;
  explicit Control(std::string path) : path_(std::move(path)) { Read(); }
  void Read() {
    values_.clear();
    std::ifstream file(path_);
    std::string key, value;
    while (file >> key >> value) values_[key] = value;
  }
  double Get(const std::string& key, double otherwise) const {
    const auto it = values_.find(key);
    return it == values_.end() ? otherwise : std::atof(it->second.c_str());
  }
  bool IsRound(const std::string& key, uint32_t round) const {
    return Get(key, 0) == round;
  }
  // True in one process only, for each key and round.
  bool Once(const std::string& key, uint32_t round) const {
    if (!IsRound(key, round)) return false;
    const std::string marker = absl::StrCat(path_, ".", key, round);
    const int fd = open(marker.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0) return false;
    close(fd);
    return true;
  }
  void Log(const std::string& line) const {
    if (path_.empty() || Get("log", 1) == 0) return;
    std::ofstream(path_ + ".log", std::ios::app)
        << absl::StrCat(getpid(), " ", line, "\n");
  }

 private:
  std::string path_;
  std::map<std::string, std::string> values_;
};

void ReadExactly(uint8_t* out, size_t size) {
  while (size > 0) {
    const ssize_t n = recv(kSocket, out, size, 0);
    if (n <= 0) std::exit(0);  // the daemon is gone
    out += n;
    size -= static_cast<size_t>(n);
  }
}

pb::TrainerRequest ReadRequest() {
  uint8_t header[4];
  ReadExactly(header, sizeof(header));
  std::string payload(header[0] | header[1] << 8 | header[2] << 16 |
                          static_cast<uint32_t>(header[3]) << 24,
                      '\0');
  ReadExactly(reinterpret_cast<uint8_t*>(payload.data()), payload.size());
  pb::TrainerRequest request;
  if (!request.ParseFromString(payload)) std::exit(2);
  return request;
}

void Send(const pb::TrainerReply& reply) {
  const std::string payload = reply.SerializeAsString();
  const Bytes frame = ByteWriter().Sized(payload).bytes();
  for (size_t done = 0; done < frame.size();) {
    const ssize_t n =
        send(kSocket, frame.data() + done, frame.size() - done, MSG_NOSIGNAL);
    if (n <= 0) std::exit(0);
    done += static_cast<size_t>(n);
  }
}

absl::Status WriteDelta(const std::string& path,
                        const std::vector<float>& delta) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(delta.data()),
             static_cast<std::streamsize>(delta.size() * sizeof(float)));
  if (file.flush()) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path));
}

// Waits, but not longer than the daemon lives.
void Pause(int ms) {
  pollfd socket = {kSocket, POLLRDHUP, 0};
  if (poll(&socket, 1, ms) > 0) std::exit(0);
}

class NullTrainer {
 public:
  [[noreturn]] void Serve();

 private:
  absl::StatusOr<pb::TrainerReply> Answer(const pb::TrainerRequest& request);
  absl::StatusOr<pb::TrainerConfigured> Configure(
      const pb::TrainerConfigure& request);
  absl::StatusOr<pb::TrainerTrained> Train(uint64_t id,
                                           const pb::TrainerTrain& request);
  absl::StatusOr<pb::TrainerEvaluated> Evaluate(
      uint64_t id, const pb::TrainerEvaluate& request);
  absl::StatusOr<pb::TrainerSolved> Solve(uint64_t id,
                                          const pb::TrainerSolve& request);
  absl::StatusOr<pb::TrainerGathered> Gather(uint64_t id,
                                             const pb::TrainerGather& request);
  absl::StatusOr<pb::TrainerSketched> Sketch(const pb::TrainerSketch& request);
  // As many records of each class, features around its number.
  testing::PlainRecords DrawRecords(uint64_t seed, int count,
                                    int64_t dim) const;
  void SendProgress(uint64_t id, float fraction);
  void Delay(uint64_t id, double ms);
  std::vector<float> MakeDelta(uint32_t round, ByteSpan model) const;
  // A name for a file that is written once: the daemon removes only names.
  absl::Status LinkQuickDelta(const std::string& path);

  Control control_;
  std::optional<Plan> plan_;
  ParameterLayout layout_;
  pb::PhantomConfig data_;
  bool share_devices_ = false;
  bool has_quick_delta_ = false;
};

void NullTrainer::Serve() {
  for (;;) {
    const pb::TrainerRequest request = ReadRequest();
    absl::StatusOr<pb::TrainerReply> reply = Answer(request);
    if (!reply.ok()) {
      reply = pb::TrainerReply();
      reply->mutable_error()->set_code(static_cast<int>(reply.status().code()));
      reply->mutable_error()->set_message(
          std::string(reply.status().message()));
    }
    reply->set_id(request.id());
    Send(*reply);
  }
}

absl::StatusOr<pb::TrainerReply> NullTrainer::Answer(
    const pb::TrainerRequest& request) {
  control_.Read();
  pb::TrainerReply reply;
  if (request.has_configure()) {
    FG_ASSIGN_OR_RETURN(*reply.mutable_configured(),
                        Configure(request.configure()));
  } else if (request.has_train()) {
    FG_ASSIGN_OR_RETURN(*reply.mutable_trained(),
                        Train(request.id(), request.train()));
  } else if (request.has_evaluate()) {
    FG_ASSIGN_OR_RETURN(*reply.mutable_evaluated(),
                        Evaluate(request.id(), request.evaluate()));
  } else if (request.has_solve()) {
    FG_ASSIGN_OR_RETURN(*reply.mutable_solved(),
                        Solve(request.id(), request.solve()));
  } else if (request.has_gather()) {
    FG_ASSIGN_OR_RETURN(*reply.mutable_gathered(),
                        Gather(request.id(), request.gather()));
  } else if (request.has_sketch()) {
    FG_ASSIGN_OR_RETURN(*reply.mutable_sketched(), Sketch(request.sketch()));
  } else {
    return absl::InvalidArgumentError("the request asks for nothing");
  }
  return reply;
}

absl::StatusOr<pb::TrainerConfigured> NullTrainer::Configure(
    const pb::TrainerConfigure& request) {
  control_ = Control(request.data().path());
  control_.Log("configure");
  FG_ASSIGN_OR_RETURN(plan_, PlanFromBytes(AsBytes(request.plan())));
  FG_ASSIGN_OR_RETURN(const SafetensorsFile backbone,
                      OpenBackbone(*plan_, request.backbone_path()));
  FG_ASSIGN_OR_RETURN(layout_, TrainableLayout(*plan_, backbone));
  data_ = request.data().phantom();
  share_devices_ = request.share_devices();
  pb::TrainerConfigured configured;
  configured.set_train_samples(data_.train());
  configured.set_val_samples(data_.val());
  configured.set_test_samples(data_.test());
  configured.set_layout_digest(layout_.digest().AsWire());
  configured.set_device("none");
  return configured;
}

void NullTrainer::SendProgress(uint64_t id, float fraction) {
  pb::TrainerReply reply;
  reply.set_id(id);
  reply.mutable_progress()->set_fraction(fraction);
  reply.mutable_progress()->set_stage("train");
  Send(reply);
}

void NullTrainer::Delay(uint64_t id, double ms) {
  const absl::Time start = absl::Now();
  for (;;) {
    const double passed = absl::ToDoubleMilliseconds(absl::Now() - start);
    if (passed >= ms) return;
    SendProgress(id, static_cast<float>(passed / ms));
    Pause(static_cast<int>(std::min<double>(kProgressMs, ms - passed)));
  }
}

std::vector<float> NullTrainer::MakeDelta(uint32_t round,
                                          ByteSpan model) const {
  Numbers numbers(SeedOf(data_.seed(), round, model));
  const auto scale = static_cast<float>(control_.Get("delta", 0.01));
  std::vector<float> delta(static_cast<size_t>(layout_.Count()));
  for (float& value : delta) value = scale * (2 * numbers.Uniform() - 1);
  if (control_.IsRound("nan_round", round)) {
    delta[delta.size() / 2] = std::numeric_limits<float>::quiet_NaN();
  }
  if (control_.IsRound("huge_round", round)) {
    for (float& value : delta) value = 1e30f;
  }
  return delta;
}

absl::Status NullTrainer::LinkQuickDelta(const std::string& path) {
  const std::string prepared = path + ".quick";
  if (!has_quick_delta_) {
    const auto value = static_cast<float>(control_.Get("delta", 0.01));
    FG_RETURN_IF_ERROR(WriteDelta(
        prepared,
        std::vector<float>(static_cast<size_t>(layout_.Count()), value)));
    has_quick_delta_ = true;
  }
  if (link(prepared.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot link ", path));
}

absl::StatusOr<pb::TrainerTrained> NullTrainer::Train(
    uint64_t id, const pb::TrainerTrain& request) {
  const bool quick = control_.Get("quick", 0) != 0;
  Bytes model;
  if (!quick) {
    FG_ASSIGN_OR_RETURN(model, ReadBytes(request.model_path()));
  }
  control_.Log(absl::StrCat("train ", request.round()));
  const StatisticsLayout statistics(*plan_, layout_);
  if (!statistics.empty()) {
    FG_ASSIGN_OR_RETURN(const Bytes gathered,
                        ReadBytes(request.statistics_path()));
    FG_RETURN_IF_ERROR(DecodeGathered(statistics, gathered).status());
  }
  if (control_.Once("crash_round", request.round())) std::abort();
  while (control_.Once("hang_round", request.round())) Pause(-1);
  Delay(id, control_.Get("delay_ms", 0));
  for (int i = 0; control_.Get("hold", 0) != 0; ++i, control_.Read()) {
    SendProgress(id, 0.5f);
    Pause(kProgressMs);
  }
  FG_RETURN_IF_ERROR(quick ? LinkQuickDelta(request.delta_path())
                           : WriteDelta(request.delta_path(),
                                        MakeDelta(request.round(), model)));
  pb::TrainerTrained trained;
  trained.set_samples(data_.train());
  trained.set_loss(1.0 / request.round());
  return trained;
}

testing::PlainRecords NullTrainer::DrawRecords(uint64_t seed, int count,
                                               int64_t dim) const {
  Numbers numbers(seed);
  testing::PlainRecords records;
  for (int i = 0; i < count; ++i) {
    const int label = i % plan_->num_classes();
    std::vector<double> row(static_cast<size_t>(dim));
    for (double& value : row) value = 4 * numbers.Uniform() - 2 + label;
    records.features.push_back(std::move(row));
    records.labels.push_back(label);
  }
  return records;
}

absl::Status WriteSums(const std::string& path,
                       const std::vector<double>& sums) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(sums.data()),
             static_cast<std::streamsize>(sums.size() * sizeof(double)));
  if (file.flush()) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path));
}

absl::StatusOr<pb::TrainerSolved> NullTrainer::Solve(
    uint64_t id, const pb::TrainerSolve& request) {
  control_.Log("solve 0");
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadBytes(request.point_path()));
  FG_ASSIGN_OR_RETURN(const SolvePoint point, DecodeSolvePoint(content));
  Delay(id, control_.Get("delay_ms", 0));
  FG_RETURN_IF_ERROR(WriteSums(
      request.sums_path(),
      testing::PlainStatistics(
          point, DrawRecords(data_.seed(), data_.train(), point.feature_dim),
          DrawRecords(data_.seed() + 1, data_.val(), point.feature_dim))));
  pb::TrainerSolved solved;
  solved.set_samples(data_.train());
  return solved;
}

absl::StatusOr<pb::TrainerGathered> NullTrainer::Gather(
    uint64_t id, const pb::TrainerGather& request) {
  control_.Log("gather 0");
  FG_ASSIGN_OR_RETURN(const Bytes model, ReadBytes(request.model_path()));
  Delay(id, control_.Get("delay_ms", 0));
  const StatisticsLayout layout(*plan_, layout_);
  std::vector<double> sums(static_cast<size_t>(layout.count()));
  Numbers numbers(SeedOf(data_.seed(), 0, model));
  for (double& sum : sums) sum = numbers.Uniform();
  sums[0] = data_.train();
  if (const auto* part = layout.Find(StatisticKind::kClassCounts)) {
    std::fill_n(sums.begin() + part->begin, part->count, 0);
    for (int i = 0; i < data_.train(); ++i) {
      sums[part->begin + i % plan_->num_classes()] += 1;
    }
  }
  FG_RETURN_IF_ERROR(WriteSums(request.sums_path(), sums));
  pb::TrainerGathered gathered;
  gathered.set_samples(data_.train());
  return gathered;
}

absl::StatusOr<pb::TrainerSketched> NullTrainer::Sketch(
    const pb::TrainerSketch& request) {
  control_.Log("sketch 0");
  Bytes pooled;
  if (!request.pooled_path().empty()) {
    FG_ASSIGN_OR_RETURN(pooled, ReadBytes(request.pooled_path()));
  }
  FG_RETURN_IF_ERROR(WriteSums(request.sums_path(),
                               testing::PlainLook(data_.seed(), *plan_, layout_,
                                                  pooled, share_devices_)));
  pb::TrainerSketched sketched;
  sketched.set_samples(data_.train());
  (*sketched.mutable_scalars())["shift.covariate_mmd.p"] = 0.5;
  return sketched;
}

absl::StatusOr<pb::TrainerEvaluated> NullTrainer::Evaluate(
    uint64_t id, const pb::TrainerEvaluate& request) {
  FG_ASSIGN_OR_RETURN(const Bytes model, ReadBytes(request.model_path()));
  control_.Log(
      absl::StrCat("evaluate ", request.round(), " ", request.split()));
  Delay(id, control_.Get("evaluate_delay_ms", 0));
  Numbers numbers(SeedOf(data_.seed() + 1, request.round(), model));
  const int classes = plan_->num_classes();
  const EvaluationLayout layout(classes);
  std::vector<double> sums(static_cast<size_t>(layout.Count()));
  const int count = request.split() == "test" ? data_.test() : data_.val();
  for (int i = 0; i < count; ++i) {
    std::vector<float> scores(static_cast<size_t>(classes));
    float total = 0;
    for (float& score : scores) total += score = 0.01f + numbers.Uniform();
    for (float& score : scores) score /= total;
    AddRecord(layout, scores, i % classes, 0.5, absl::MakeSpan(sums));
  }
  pb::TrainerEvaluated evaluated;
  evaluated.mutable_sums()->Add(sums.begin(), sums.end());
  (*evaluated.mutable_scalars())["n"] = count;
  return evaluated;
}

}  // namespace
}  // namespace fedgraft

int main() { fedgraft::NullTrainer().Serve(); }
