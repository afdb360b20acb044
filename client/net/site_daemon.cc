#include "client/net/site_daemon.h"

#include <chrono>
#include <future>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/audit_file.h"
#include "client/agent/feature_cache_setup.h"
#include "client/agent/trainer_process.h"
#include "client/net/grpc_link.h"
#include "client/net/site_channel.h"
#include "client/policy/policy_config.h"
#include "client/policy/site_policy.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/crypto/system_random.h"
#include "common/net/identity.h"
#include "common/net/roster.h"
#include "common/net/x509.h"
#include "common/runtime/folder_lock.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/strand.h"
#include "common/runtime/system_clock.h"
#include "common/runtime/thread_pool.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kExpiryInterval = absl::Hours(1);

void RunOn(Scheduler& strand, const std::function<void()>& work) {
  std::promise<void> done;
  strand.Post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

absl::StatusOr<Roster> ReadPinnedRoster(FileStore& files) {
  FG_ASSIGN_OR_RETURN(
      const PinnedRoster pinned,
      PinnedRoster::Load(files, std::string(kIdentityRosterFile)));
  if (!pinned.pinned()) {
    return absl::NotFoundError(
        "no roster is pinned at this site; secure aggregation takes the keys "
        "of the other sites from it: fedgraft-client enroll --roster");
  }
  return pinned.roster();
}

}  // namespace

class SiteDaemon::Impl {
 public:
  explicit Impl(const SiteDaemonOptions& options)
      : options_(options), pool_(/*workers=*/2) {}
  ~Impl();
  absl::Status Start(std::function<void(absl::Status)> ended);
  AgentSnapshot Snapshot();

 private:
  absl::Status OpenFolders();
  void OpenLink();
  absl::Status OpenTrainer();
  void LogProgress();
  void WarnOfExpiryEachHour();
  const pb::ClientConfig& config() const { return options_.config; }

  const SiteDaemonOptions options_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<PosixFileStore> files_;
  std::unique_ptr<PosixFileStore> identity_files_;
  std::optional<Identity> identity_;
  SystemClock clock_;
  SystemRandom random_;
  ThreadStrand strand_;
  ThreadPool pool_;
  std::unique_ptr<GrpcLink> link_;
  std::unique_ptr<TrainerProcess> trainer_;
  std::unique_ptr<AuditFile> audit_;
  std::unique_ptr<Agent> agent_;
  std::string last_line_;
  int expiry_warned_days_ = 1 << 30;
};

absl::Status SiteDaemon::Impl::OpenFolders() {
  FG_ASSIGN_OR_RETURN(lock_, FolderLock::Acquire(config().state_dir()));
  FG_ASSIGN_OR_RETURN(files_, PosixFileStore::Open(config().state_dir()));
  FG_ASSIGN_OR_RETURN(identity_files_,
                      PosixFileStore::Open(config().identity_dir()));
  FG_ASSIGN_OR_RETURN(Identity identity, Identity::Load(*identity_files_));
  identity_ = std::move(identity);
  const std::string problem = DiagnoseCredentials(
      identity_->certificate_pem(), AsText(identity_->key_pem().span()),
      identity_->ca_pem(), clock_.Wall());
  if (!problem.empty()) return absl::FailedPreconditionError(problem);
  FG_ASSIGN_OR_RETURN(audit_, AuditFile::Open(*files_, clock_));
  return absl::OkStatus();
}

void SiteDaemon::Impl::OpenLink() {
  // Read anew each time: the files may have been replaced since.
  auto diagnose = [this]() -> std::string {
    const absl::StatusOr<Identity> now = Identity::Load(*identity_files_);
    if (!now.ok()) return std::string(now.status().message());
    return DiagnoseCredentials(now->certificate_pem(),
                               AsText(now->key_pem().span()), now->ca_pem(),
                               clock_.Wall());
  };
  link_ = std::make_unique<GrpcLink>(
      OpenSiteChannel(config(), identity_->info().federation), strand_,
      std::move(diagnose));
}

absl::Status SiteDaemon::Impl::OpenTrainer() {
  TrainerProcessOptions options;
  options.binary = config().trainer().binary().empty()
                       ? options_.default_trainer
                       : config().trainer().binary();
  FG_RETURN_IF_ERROR(FillTrainerOptions(config(), options));
  FG_ASSIGN_OR_RETURN(options.cache, SetUpFeatureCache(config(), random_));
  options.files_root = config().state_dir();
  RunOn(strand_, [&] {
    trainer_ = std::make_unique<TrainerProcess>(options, strand_, clock_);
  });
  return absl::OkStatus();
}

absl::Status SiteDaemon::Impl::Start(std::function<void(absl::Status)> ended) {
  FG_RETURN_IF_ERROR(OpenFolders());
  FG_RETURN_IF_ERROR(OpenTrainer());
  OpenLink();
  AgentOptions options;
  FG_ASSIGN_OR_RETURN(options.site, SiteId::Parse(identity_->info().id));
  options.federation = identity_->info().federation;
  FG_ASSIGN_OR_RETURN(options.policy, PolicyFromConfig(config().policy()));
  options.software_version = kVersion;
  options.exit_when_finished = options_.exit_when_finished;
  options.pinned_roster = [files = identity_files_.get()] {
    return ReadPinnedRoster(*files);
  };
  auto aggregator_key =
      [ca = identity_->ca_pem(), federation = options.federation,
       this](const std::string& pem) -> absl::StatusOr<Bytes> {
    FG_RETURN_IF_ERROR(
        VerifyCertificate(pem, ca, clock_.Wall(), CertificateUse::kServer));
    FG_ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(pem));
    FG_RETURN_IF_ERROR(
        CheckRole(info, CertificateRole::kAggregator, federation));
    return info.public_key;
  };
  RunOn(strand_, [&] {
    agent_ = std::make_unique<Agent>(
        AgentPorts{clock_, strand_, pool_, random_, *files_, *link_, *trainer_,
                   *audit_},
        options, AgentKeys{identity_->key()}, std::move(aggregator_key));
    agent_->SetListener([this] { LogProgress(); });
    agent_->Start(std::move(ended));
    WarnOfExpiryEachHour();
  });
  FG_LOG_INFO("site {} of federation {}, aggregator {}", options.site.value,
              options.federation, config().aggregator());
  return absl::OkStatus();
}

// A line per change of state, round or tenth of a task, not per heartbeat.
void SiteDaemon::Impl::LogProgress() {
  const AgentSnapshot now = agent_->Snapshot();
  std::string line = AgentStateName(now.state);
  if (now.run.has_value()) {
    absl::StrAppend(&line, ", round ", now.round.value, "/", now.rounds);
  }
  if (now.state == AgentState::kTraining ||
      now.state == AgentState::kEvaluating) {
    absl::StrAppend(&line, ", ", static_cast<int>(now.progress * 10) * 10, "%");
  }
  // Asking again whether a run is open is no news, and the agent itself logs
  // errors, each once.
  const bool routine = now.state == AgentState::kJoining && now.connected;
  if (line == last_line_ || routine) return;
  last_line_ = line;
  FG_LOG_INFO("{}", line);
}

void SiteDaemon::Impl::WarnOfExpiryEachHour() {
  const absl::StatusOr<Identity> identity = Identity::Load(*identity_files_);
  if (identity.ok()) {
    const auto warning = WarnOfExpiry(identity->info(), clock_.Wall());
    if (!warning.has_value()) {
      expiry_warned_days_ = 1 << 30;
    } else if (warning->threshold_days < expiry_warned_days_) {
      expiry_warned_days_ = warning->threshold_days;
      FG_LOG_WARNING("{}", warning->text);
    }
  }
  strand_.After(kExpiryInterval, [this] { WarnOfExpiryEachHour(); });
}

AgentSnapshot SiteDaemon::Impl::Snapshot() {
  AgentSnapshot snapshot;
  RunOn(strand_, [&] { snapshot = agent_->Snapshot(); });
  return snapshot;
}

SiteDaemon::Impl::~Impl() {
  if (agent_ != nullptr) {
    std::promise<void> stopped;
    strand_.Post([&] { agent_->Stop([&stopped] { stopped.set_value(); }); });
    stopped.get_future().wait();
  }
  // Before the threads that may have started it: it dies with its thread.
  RunOn(strand_, [this] { trainer_.reset(); });
  // While the strand still runs: the link waits for chunks on it.
  link_.reset();
  pool_.Stop();
  strand_.Stop();
  agent_.reset();
}

absl::StatusOr<std::unique_ptr<SiteDaemon>> SiteDaemon::Start(
    const SiteDaemonOptions& options, std::function<void(absl::Status)> ended) {
  auto impl = std::make_unique<Impl>(options);
  FG_RETURN_IF_ERROR(impl->Start(std::move(ended)));
  return std::unique_ptr<SiteDaemon>(new SiteDaemon(std::move(impl)));
}

SiteDaemon::SiteDaemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SiteDaemon::~SiteDaemon() = default;
AgentSnapshot SiteDaemon::Snapshot() const { return impl_->Snapshot(); }

}  // namespace fedgraft
