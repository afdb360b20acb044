#include "tests/integration/federation.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/check.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/net/grpc/tls.h"
#include "common/net/roster.h"
#include "nlohmann/json.hpp"

namespace fedgraft::testing {
namespace {

constexpr char kFederation[] = "integration";

void WriteFile(const std::string& path, const std::string& text) {
  const std::string part = path + ".new";
  {
    std::ofstream file(part, std::ios::binary);
    file << text;
    FG_CHECK(static_cast<bool>(file.flush()));
  }
  std::filesystem::rename(part, path);
}

// Small values that differ from tensor to tensor.
std::string MakeBackbone(const std::string& architecture) {
  const auto known = FindArchitecture(architecture);
  FG_CHECK(known.ok());
  const auto shapes = BackboneTensors(*known);
  std::map<std::string, Bytes> data;
  std::map<std::string, TensorToWrite> tensors;
  uint32_t state = 1;
  for (const auto& [name, shape] : shapes) {
    size_t count = 1;
    for (const int64_t side : shape) count *= static_cast<size_t>(side);
    Bytes& bytes = data[name];
    bytes.resize(count * sizeof(float));
    for (size_t i = 0; i < count; ++i) {
      state = state * 1664525 + 1013904223;
      const float value = 0.1f + static_cast<float>(state >> 16) * 0x1p-20f;
      std::memcpy(bytes.data() + i * sizeof(float), &value, sizeof(value));
    }
    tensors[name] = {DType::kF32, shape, bytes};
  }
  const auto encoded = EncodeSafetensors(tensors, {});
  FG_CHECK(encoded.ok());
  return std::string(AsText(*encoded));
}

// The lines of a config, one per top-level key; `more` wins.
std::string MergeYaml(std::vector<std::string> lines,
                      const std::vector<std::string>& more) {
  for (const std::string& line : more) {
    const std::string key = line.substr(0, line.find(':') + 1);
    const auto same = [&](const std::string& old) {
      return old.substr(0, key.size()) == key;
    };
    lines.erase(std::remove_if(lines.begin(), lines.end(), same), lines.end());
    lines.push_back(line);
  }
  return absl::StrJoin(lines, "\n") + "\n";
}

// Line `who` of the file that tells where the aggregator listens.
int PortIn(const std::string& text, const std::string& who) {
  const size_t at = text.find(who + " ");
  FG_CHECK(at != std::string::npos);
  return std::stoi(text.substr(text.find(':', at) + 1));
}

void MustSucceed(const CommandResult& result) {
  if (result.exit_code != 0) std::fputs(result.err.c_str(), stderr);
  FG_CHECK(result.exit_code == 0);
}

}  // namespace

std::string PlanText::ToYaml(const std::string& sha256) const {
  std::vector<std::string> names;
  for (int i = 0; i < classes; ++i) names.push_back(absl::StrCat("class", i));
  return absl::StrCat(
      "version: 1\nname: integration\nseed: 7\nrounds: ", rounds,
      "\nsites: {quorum: ", quorum,
      ", expected: ", expected == 0 ? quorum : expected, "}\ndeadlines: {",
      deadlines, "}\ntask: {classes: [", absl::StrJoin(names, ", "),
      "]}\nbackbone: {architecture: ", architecture,
      architecture == kIdentity
          ? ", feature_dim: 4"
          : absl::StrCat(", sha256: ",
                         backbone_sha256.empty() ? sha256 : backbone_sha256),
      "}\npreprocessing: {size: 32}\nstrategy: {", strategy, "}\nupdate: {",
      update, "}\nevaluation: {", evaluation, "}\n", more, "\n");
}

Federation::Federation(int num_sites) : site_processes_(num_sites) {
  SetUpGrpc();
  MustSucceed(Aggregator({"pki", "init", "--dir", Path("pki"), "--federation",
                          kFederation, "--name", "localhost"}));
  WriteFile(Path("key"), std::string(32, 'k'));
  std::filesystem::permissions(Path("key"), std::filesystem::perms::owner_read);
  ConfigureAggregator();
  for (int i = 0; i < num_sites; ++i) {
    sites_.push_back(absl::StrCat("site-", i));
    std::filesystem::create_directory(Path(sites_[i]));
    Enrol(i);
    ConfigureSite(i);
  }
}

Federation::~Federation() = default;

std::string Federation::SitePath(int i, const std::string& name) const {
  return absl::StrCat(Path(sites_[i]), "/", name);
}

void Federation::Enrol(int i) {
  const std::string identity = SitePath(i, "identity");
  MustSucceed(Client({"enroll", "--identity", identity, "--federation",
                      kFederation, "--site", site(i)}));
  MustSucceed(Aggregator({"pki", "approve", "--dir", Path("pki"), "--site",
                          site(i), "--csr", identity + "/site.csr", "--out",
                          SitePath(i, "site.crt")}));
  MustSucceed(Client({"enroll", "--identity", identity, "--certificate",
                      SitePath(i, "site.crt"), "--ca", Path("pki/ca.pem")}));
}

void Federation::PinRoster(int i) {
  const std::string path = Path("pki/roster.json");
  const auto roster = Roster::FromJson(ReadFileOrEmpty(path));
  FG_CHECK(roster.ok());
  MustSucceed(Client({"enroll", "--identity", SitePath(i, "identity"),
                      "--roster", path, "--confirm", roster->Hash().Hex()}));
}

void Federation::PinRosters() {
  for (int i = 0; i < num_sites(); ++i) PinRoster(i);
}

void Federation::ConfigureAggregator(const std::vector<std::string>& lines) {
  WriteFile(AggregatorConfig(),
            MergeYaml({absl::StrCat("federation: ", kFederation),
                       "listen: 127.0.0.1:0", "admin_listen: 127.0.0.1:0",
                       "state_dir: aggregator", "pki_dir: pki",
                       "wrapping_key_file: key"},
                      lines));
}

void Federation::ConfigureSite(int i, const std::vector<std::string>& lines) {
  WriteFile(SiteConfig(i),
            MergeYaml({absl::StrCat("aggregator: 127.0.0.1:", proxy_.port()),
                       "identity_dir: identity", "state_dir: state",
                       "policy: {cohort_min: 2}",
                       absl::StrCat("trainer: {binary: ",
                                    BuiltProgram("fedgraft-null-trainer"), "}"),
                       absl::StrCat("data: {kind: phantom, path: trainer.conf, "
                                    "phantom: {seed: ",
                                    i + 1, ", train: ", 20 + 10 * i,
                                    ", val: 8, test: 8}}")},
                      lines));
}

void Federation::ControlTrainer(
    int i, const std::map<std::string, std::string>& values) {
  std::string text;
  for (const auto& [key, value] : values) {
    absl::StrAppend(&text, key, " ", value, "\n");
  }
  WriteFile(SitePath(i, "trainer.conf"), text);
}

std::vector<TrainerCall> Federation::TrainerCalls(int i) const {
  std::vector<TrainerCall> calls;
  std::istringstream log(ReadFileOrEmpty(SitePath(i, "trainer.conf.log")));
  for (std::string line; std::getline(log, line);) {
    TrainerCall call;
    std::istringstream(line) >> call.pid >> call.kind >> call.round;
    calls.push_back(call);
  }
  return calls;
}

int Federation::CountTrainTasks(int i) const {
  const auto calls = TrainerCalls(i);
  return static_cast<int>(
      std::count_if(calls.begin(), calls.end(),
                    [](const auto& call) { return call.kind == "train"; }));
}

std::vector<uint64_t> Federation::UploadedBytes(int i,
                                                const std::string& kind) const {
  std::vector<uint64_t> sizes;
  std::istringstream log(ReadFileOrEmpty(SitePath(i, "state/audit.log")));
  for (std::string line; std::getline(log, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_discarded() || entry.value("event", "") != "update") continue;
    if (entry.value("detail", "") != kind) continue;
    sizes.push_back(std::stoull(entry.value("bytes", "0")));
  }
  return sizes;
}

bool Federation::StartAggregator() {
  const std::string listening = Path("aggregator/listening");
  std::filesystem::remove(listening);
  aggregator_ = Process::Start({BuiltProgram("fedgraft-aggregator"), "serve",
                                "--config", AggregatorConfig()},
                               Path("aggregator.log"));
  WaitUntil([&] {
    return !aggregator_->Running() || !ReadFileOrEmpty(listening).empty();
  });
  if (!aggregator_->Running()) return false;
  proxy_.SetTarget(SitePort());
  const std::string stem = Path("pki/operators/operator");
  admin_ = AdminClient::Connect(
      absl::StrCat("127.0.0.1:", AdminPort()),
      {stem + ".key", stem + ".pem", Path("pki/ca.pem")}, kFederation);
  return true;
}

void Federation::KillAggregator() {
  proxy_.SetTarget(0);
  aggregator_->Kill();
}

void Federation::StartSite(int i, const std::vector<std::string>& options) {
  std::vector<std::string> argv = {BuiltProgram("fedgraft-client"), "run",
                                   "--config", SiteConfig(i)};
  argv.insert(argv.end(), options.begin(), options.end());
  site_processes_[i] = Process::Start(argv, SitePath(i, "log"));
}

void Federation::StartSites() {
  for (int i = 0; i < num_sites(); ++i) StartSite(i);
}

int Federation::SitePort() const {
  return PortIn(ReadFileOrEmpty(Path("aggregator/listening")), "sites");
}
int Federation::AdminPort() const {
  return PortIn(ReadFileOrEmpty(Path("aggregator/listening")), "admin");
}

CommandResult Federation::Aggregator(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), BuiltProgram("fedgraft-aggregator"));
  return RunCommand(arguments);
}

CommandResult Federation::Client(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), BuiltProgram("fedgraft-client"));
  return RunCommand(arguments);
}

const std::string& Federation::Backbone(const std::string& architecture) {
  if (architecture_ != architecture) {
    architecture_ = architecture;
    backbone_path_ = Path(architecture + ".safetensors");
    const std::string content = MakeBackbone(architecture);
    WriteFile(backbone_path_, content);
    backbone_digest_ = Sha256(AsBytes(content));
  }
  return backbone_path_;
}

CommandResult Federation::RunStart(const PlanText& plan) {
  if (plan.architecture == kIdentity) {
    WriteFile(Path("plan.yaml"), plan.ToYaml(""));
    return Aggregator(
        {"run", "start", "--config", AggregatorConfig(), Path("plan.yaml")});
  }
  const std::string backbone = Backbone(plan.architecture);
  WriteFile(Path("plan.yaml"), plan.ToYaml(backbone_digest_.Hex()));
  return Aggregator({"run", "start", "--config", AggregatorConfig(),
                     "--backbone", backbone, Path("plan.yaml")});
}

pb::StatusReply Federation::Status(bool history) {
  absl::StatusOr<pb::StatusReply> status = admin_->Status(history);
  for (int i = 0; i < 60 && !status.ok(); ++i) {
    absl::SleepFor(absl::Seconds(1));
    status = admin_->Status(history);
  }
  FG_CHECK(status.ok());
  return *status;
}

bool Federation::WaitFor(
    const std::function<bool(const pb::StatusReply&)>& condition,
    absl::Duration timeout) {
  return WaitUntil([&] { return condition(Status()); }, timeout);
}

bool Federation::WaitFinished(absl::Duration timeout) {
  return WaitFor(
      [](const auto& status) { return status.state() == "finished"; }, timeout);
}

std::string Federation::Model() { return ToHex(AsBytes(Status().model())); }

std::string Federation::FinalModelOf(int i) {
  const std::string run = Status().run_id();
  const std::string path =
      SitePath(i, absl::StrCat("state/runs/", run, "/final.safetensors"));
  WaitUntil([&] { return std::filesystem::exists(path); }, absl::Seconds(5));
  const std::string content = ReadFileOrEmpty(path);
  return content.empty() ? "" : Sha256(AsBytes(content)).Hex();
}

std::string Federation::Logs() const {
  static constexpr size_t kTail = 4000;
  const auto tail = [](const std::string& log) {
    return log.substr(log.size() - std::min(log.size(), kTail));
  };
  std::string text = absl::StrCat("--- aggregator\n", tail(AggregatorLog()));
  for (int i = 0; i < num_sites(); ++i) {
    absl::StrAppend(&text, "--- ", site(i), "\n", tail(SiteLog(i)));
  }
  return text;
}

}  // namespace fedgraft::testing
