#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/net/admin_client.h"
#include "common/base/digest.h"
#include "proto/admin.pb.h"
#include "tests/integration/process.h"
#include "tests/integration/tcp_proxy.h"
#include "tests/support/temp_folder.h"

namespace fedgraft::testing {

// The fields of a plan in which tests differ; written as YAML.
struct PlanText {
  int rounds = 3;
  int quorum = 3;
  int expected = 0;  // 0: quorum
  int classes = 2;
  std::string architecture = "squeezenet1_1";  // identity: of 4 features
  std::string strategy = "kind: linear_probe";
  std::string update = "range: 4";
  std::string evaluation = "every: -1";
  std::string deadlines = "round: 1h, progress: 30s, enrol: 1h";
  std::string backbone_sha256;  // empty: that of the federation's backbone
  std::string more;             // further lines
  std::string ToYaml(const std::string& sha256) const;
};

// One line of the null trainer's log.
struct TrainerCall {
  pid_t pid = 0;
  std::string kind;  // configure, train, evaluate
  int round = 0;
};

// An aggregator and its sites as real processes on loopback, with certificates
// made by the real commands and the null trainer in place of torch, in a
// temporary folder. Sites reach the aggregator through a proxy, so it may come
// back on another port.
//
// Used from one thread. What must not fail in the set-up aborts; what a test is
// about is returned.
class Federation {
 public:
  explicit Federation(int num_sites);
  ~Federation();

  const TempFolder& folder() const { return folder_; }
  std::string Path(const std::string& name) const { return folder_.File(name); }
  int num_sites() const { return static_cast<int>(sites_.size()); }
  const std::string& site(int i) const { return sites_[i]; }
  std::string SitePath(int i, const std::string& name) const;
  std::string AggregatorConfig() const { return Path("aggregator.yaml"); }
  std::string SiteConfig(int i) const { return SitePath(i, "client.yaml"); }
  TcpProxy& proxy() { return proxy_; }

  // Makes key and certificate and installs them.
  void Enrol(int i);
  // A site, or every one, confirms and pins the roster of all.
  void PinRoster(int i);
  void PinRosters();
  // Writes the configs anew, with `lines` appended or in place of lines that
  // begin with the same key.
  void ConfigureAggregator(const std::vector<std::string>& lines = {});
  void ConfigureSite(int i, const std::vector<std::string>& lines = {});
  // The null trainer's control file.
  void ControlTrainer(int i, const std::map<std::string, std::string>& values);
  std::vector<TrainerCall> TrainerCalls(int i) const;
  int CountTrainTasks(int i) const;
  // Bytes of each upload of this kind ("train", "evaluate") that the site's
  // audit log records as begun, whole or from where an earlier one stopped.
  std::vector<uint64_t> UploadedBytes(int i, const std::string& kind) const;

  // Whether it listens within the deadline.
  bool StartAggregator();
  void KillAggregator();  // kill -9
  void StartSite(int i, const std::vector<std::string>& options = {});
  void StartSites();
  Process* aggregator() { return aggregator_.get(); }
  Process* site_process(int i) { return site_processes_[i].get(); }
  int SitePort() const;
  int AdminPort() const;

  CommandResult Aggregator(std::vector<std::string> arguments) const;
  CommandResult Client(std::vector<std::string> arguments) const;

  // squeezenet1_1 unless another architecture was asked for first.
  const std::string& Backbone(
      const std::string& architecture = "squeezenet1_1");
  // Writes the plan and starts a run by the real command, for architecture
  // identity without a backbone.
  CommandResult RunStart(const PlanText& plan);

  // By the Admin service, without the cost of a process. Aborts after a minute
  // without an answer.
  pb::StatusReply Status(bool history = false);
  // Asks until `condition` holds.
  bool WaitFor(const std::function<bool(const pb::StatusReply&)>& condition,
               absl::Duration timeout = absl::Seconds(20));
  bool WaitFinished(absl::Duration timeout = absl::Seconds(20));
  // SHA-256 of the newest model.
  std::string Model();
  // Of what a site keeps of the finished run; empty if nothing.
  std::string FinalModelOf(int i);

  std::string AggregatorLog() const {
    return ReadFileOrEmpty(Path("aggregator.log"));
  }
  std::string SiteLog(int i) const {
    return ReadFileOrEmpty(SitePath(i, "log"));
  }
  // Last log lines of every process, for a failed test's message.
  std::string Logs() const;

 private:
  TempFolder folder_;
  TcpProxy proxy_;
  std::vector<std::string> sites_;
  std::string backbone_path_, architecture_;
  Digest backbone_digest_;
  std::unique_ptr<Process> aggregator_;
  std::vector<std::unique_ptr<Process>> site_processes_;
  std::unique_ptr<AdminClient> admin_;
};

}  // namespace fedgraft::testing
