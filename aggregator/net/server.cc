#include "aggregator/net/server.h"

#include <future>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "aggregator/admin/allow_list.h"
#include "aggregator/admin/pki.h"
#include "aggregator/net/admin_service.h"
#include "aggregator/net/federation_service.h"
#include "aggregator/net/refusal_counter.h"
#include "aggregator/net/run_keeper.h"
#include "aggregator/net/run_model_loader.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/web/http_server.h"
#include "aggregator/web/run_archive.h"
#include "aggregator/web/status_page.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/system_random.h"
#include "common/net/grpc/tls.h"
#include "common/runtime/folder_lock.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/strand.h"
#include "common/runtime/system_clock.h"
#include "common/runtime/text_file.h"
#include "common/runtime/thread_pool.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server_builder.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kReloadInterval = absl::Seconds(1);
constexpr absl::Duration kExpiryInterval = absl::Hours(1);
constexpr size_t kGrpcMemoryBytes = 64 << 20;
constexpr int kUploadWindowBytes = 1 << 20;
constexpr size_t kWrappingKeyBytesMax = 4096;
// The status page gives up on a strand that is busy for longer.
constexpr absl::Duration kStatusTimeout = absl::Seconds(5);

// Runs `work` on the strand and waits for it.
void RunOn(Scheduler& strand, const std::function<void()>& work) {
  std::promise<void> done;
  strand.Post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

// The same, for a caller that may give up: `work` outlives it then.
bool RunOnWithin(Scheduler& strand, absl::Duration timeout,
                 std::function<void()> work) {
  auto done = std::make_shared<absl::Notification>();
  strand.Post([done, work = std::move(work)] {
    work();
    done->Notify();
  });
  return done->WaitForNotificationWithTimeout(timeout);
}

absl::StatusOr<std::string> ReadText(FileStore& files, std::string_view path) {
  FG_ASSIGN_OR_RETURN(const Bytes bytes, ReadAll(files, path));
  return std::string(AsText(bytes));
}

std::string HostOf(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}

}  // namespace

class AggregatorServer::Impl {
 public:
  explicit Impl(const pb::AggregatorConfig& config)
      : config_(config), pool_(config.threads()) {}
  ~Impl();

  absl::Status Start();
  int port() const { return port_; }
  int admin_port() const { return admin_port_; }

 private:
  absl::Status OpenFolders();
  absl::Status OpenCoordinator();
  absl::StatusOr<std::unique_ptr<grpc::Server>> Listen(
      const std::string& address, grpc::Service& service, int& port);
  absl::Status OpenStatusPage();
  absl::StatusOr<pb::StatusReply> AskStatus();
  absl::Status TellPorts();
  void ReloadAllowList();
  void WarnOfExpiryEachHour();

  const pb::AggregatorConfig config_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<PosixFileStore> files_;
  std::unique_ptr<PosixFileStore> pki_files_;
  std::unique_ptr<AllowList> allow_list_;
  std::optional<SigningKey> signing_key_;
  std::string certificate_pem_;
  SecretBytes wrapping_key_;
  SystemClock clock_;
  SystemRandom random_;
  ThreadStrand strand_;
  ThreadPool pool_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<PeerAuthenticator> authenticator_;
  RefusalCounter refusals_;
  std::unique_ptr<FederationService> federation_service_;
  std::unique_ptr<AdminService> admin_service_;
  std::unique_ptr<RunArchive> archive_;
  std::unique_ptr<RunKeeper> run_keeper_;
  std::unique_ptr<StatusPage> status_page_;
  std::unique_ptr<HttpServer> web_server_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::Server> admin_server_;
  int port_ = 0;
  int admin_port_ = 0;
  int expiry_warned_days_ = 1 << 30;
};

absl::Status AggregatorServer::Impl::OpenFolders() {
  FG_ASSIGN_OR_RETURN(lock_, FolderLock::Acquire(config_.state_dir()));
  FG_ASSIGN_OR_RETURN(files_, PosixFileStore::Open(config_.state_dir()));
  FG_ASSIGN_OR_RETURN(pki_files_, PosixFileStore::Open(config_.pki_dir()));
  const absl::StatusOr<std::string> key_pem =
      ReadText(*pki_files_, kPkiAggregatorKeyFile);
  if (!key_pem.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no PKI in ", config_.pki_dir(),
        "; make one with: fedgraft-aggregator pki init --dir ",
        config_.pki_dir(), " --federation ", config_.federation()));
  }
  FG_ASSIGN_OR_RETURN(SigningKey key, SigningKey::FromPem(*key_pem));
  signing_key_ = std::move(key);
  FG_ASSIGN_OR_RETURN(certificate_pem_,
                      ReadText(*pki_files_, kPkiAggregatorFile));
  FG_ASSIGN_OR_RETURN(const CertificateInfo info,
                      ParseCertificate(certificate_pem_));
  FG_RETURN_IF_ERROR(Annotate(
      CheckRole(info, CertificateRole::kAggregator, config_.federation()),
      JoinPath(config_.pki_dir(), kPkiAggregatorFile)));
  FG_RETURN_IF_ERROR(CheckValidity(info, clock_.Wall()));
  FG_ASSIGN_OR_RETURN(allow_list_, AllowList::Load(*pki_files_));

  const std::string& path = config_.wrapping_key_file();
  if (absl::StartsWith(path, config_.state_dir() + "/")) {
    return absl::FailedPreconditionError(
        absl::StrCat("wrapping_key_file ", path,
                     " lies inside state_dir: whoever takes the "
                     "disk would have the key; put it elsewhere"));
  }
  FG_ASSIGN_OR_RETURN(wrapping_key_,
                      ReadSecretFile(path, kWrappingKeyBytesMax));
  return absl::OkStatus();
}

absl::Status AggregatorServer::Impl::OpenCoordinator() {
  CoordinatorOptions options;
  options.federation = config_.federation();
  options.upload_size_bytes_max =
      static_cast<uint64_t>(config_.update_size_max_mib()) << 20;
  absl::Status status;
  RunOn(strand_, [&] {
    auto coordinator = Coordinator::Open(
        {clock_, strand_, pool_, random_, *files_},
        {*signing_key_, certificate_pem_, wrapping_key_.span()}, options);
    status = coordinator.status();
    if (coordinator.ok()) coordinator_ = *std::move(coordinator);
  });
  return status;
}

absl::StatusOr<std::unique_ptr<grpc::Server>> AggregatorServer::Impl::Listen(
    const std::string& address, grpc::Service& service, int& port) {
  const TlsFiles tls = {JoinPath(config_.pki_dir(), kPkiAggregatorKeyFile),
                        JoinPath(config_.pki_dir(), kPkiAggregatorFile),
                        JoinPath(config_.pki_dir(), kPkiCaFile)};
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, ServerTls(tls), &port);
  builder.RegisterService(&service);
  builder.SetResourceQuota(
      grpc::ResourceQuota("fedgraft").Resize(kGrpcMemoryBytes));
  // A fixed window per upload: one that follows the line's speed grows until
  // the quota is full, and gRPC then refuses every new call.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES,
                             kUploadWindowBytes);
  // Two daemons on one port would share its connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        ": the port is in use or the address is not this machine's"));
  }
  return server;
}

absl::Status AggregatorServer::Impl::TellPorts() {
  const std::string text =
      absl::StrCat("sites ", HostOf(config_.listen()), ":", port_, "\nadmin ",
                   HostOf(config_.admin_listen()), ":", admin_port_, "\n",
                   web_server_ == nullptr
                       ? ""
                       : absl::StrCat("web ", HostOf(config_.web().listen()),
                                      ":", web_server_->port(), "\n"));
  return WriteAtomically(*files_, "listening", AsBytes(text));
}

absl::StatusOr<pb::StatusReply> AggregatorServer::Impl::AskStatus() {
  auto status = std::make_shared<pb::StatusReply>();
  if (!RunOnWithin(strand_, kStatusTimeout, [this, status] {
        *status = admin_service_->CurrentStatus(/*with_history=*/true);
      })) {
    return absl::UnavailableError(
        absl::StrCat("the aggregator has not answered within ",
                     absl::FormatDuration(kStatusTimeout), "; try again"));
  }
  return std::move(*status);
}

absl::Status AggregatorServer::Impl::OpenStatusPage() {
  archive_ = std::make_unique<RunArchive>(*files_);
  run_keeper_ = std::make_unique<RunKeeper>(
      RunKeeper::Ports{strand_, pool_, clock_, *archive_},
      [this](bool history) { return admin_service_->CurrentStatus(history); });
  if (config_.web().listen().empty()) return absl::OkStatus();
  status_page_ = std::make_unique<StatusPage>(
      config_.federation(), [this] { return AskStatus(); }, *archive_, clock_);
  FG_ASSIGN_OR_RETURN(
      web_server_,
      HttpServer::Start(
          {config_.web().listen(), config_.web().certificate_file(),
           config_.web().key_file(), config_.web().token_file()},
          clock_, [page = status_page_.get()](const WebRequest& request) {
            return page->Answer(request);
          }));
  FG_LOG_INFO("status page on port {}", web_server_->port());
  return absl::OkStatus();
}

absl::Status AggregatorServer::Impl::Start() {
  FG_RETURN_IF_ERROR(OpenFolders());
  FG_RETURN_IF_ERROR(OpenCoordinator());
  authenticator_ = std::make_unique<PeerAuthenticator>(*allow_list_, clock_);
  federation_service_ = std::make_unique<FederationService>(
      *coordinator_, strand_, *authenticator_, refusals_);
  admin_service_ = std::make_unique<AdminService>(
      AdminPorts{*coordinator_, strand_, pool_, clock_, *authenticator_,
                 refusals_},
      config_.federation(), MakeRunModelLoader(*files_));
  FG_ASSIGN_OR_RETURN(server_,
                      Listen(config_.listen(), *federation_service_, port_));
  FG_ASSIGN_OR_RETURN(admin_server_, Listen(config_.admin_listen(),
                                            *admin_service_, admin_port_));
  FG_RETURN_IF_ERROR(OpenStatusPage());
  FG_RETURN_IF_ERROR(TellPorts());
  strand_.Post([this] {
    coordinator_->SetListener([this] {
      admin_service_->Changed();
      run_keeper_->Changed();
    });
    run_keeper_->Changed();
    ReloadAllowList();
    WarnOfExpiryEachHour();
  });
  FG_LOG_INFO("listening: sites on port {}, operators on port {}", port_,
              admin_port_);
  return absl::OkStatus();
}

void AggregatorServer::Impl::ReloadAllowList() {
  const absl::StatusOr<bool> changed = allow_list_->Reload();
  if (!changed.ok()) {
    FG_LOG_WARNING("allow-list not read again, the old one stays: {}",
                   std::string(changed.status().message()));
  } else if (*changed) {
    FG_LOG_INFO("allow-list read again");
    for (const auto& [id, entry] : allow_list_->Content().sites) {
      if (!entry.active) coordinator_->Revoked(SiteId{id});
    }
  }
  strand_.After(kReloadInterval, [this] { ReloadAllowList(); });
}

void AggregatorServer::Impl::WarnOfExpiryEachHour() {
  const absl::StatusOr<std::string> pem =
      ReadText(*pki_files_, kPkiAggregatorFile);
  const absl::StatusOr<CertificateInfo> info =
      pem.ok() ? ParseCertificate(*pem) : pem.status();
  if (info.ok()) {
    const auto warning = WarnOfExpiry(*info, clock_.Wall());
    if (warning.has_value() && warning->threshold_days < expiry_warned_days_) {
      expiry_warned_days_ = warning->threshold_days;
      FG_LOG_WARNING("{}", warning->text);
    } else if (!warning.has_value()) {
      expiry_warned_days_ = 1 << 30;
    }
  }
  strand_.After(kExpiryInterval, [this] { WarnOfExpiryEachHour(); });
}

AggregatorServer::Impl::~Impl() {
  web_server_.reset();
  // Parked polls would hold the server: it cancels them after a moment.
  if (admin_service_ != nullptr) admin_service_->Close();
  const auto deadline =
      std::chrono::system_clock::now() + std::chrono::milliseconds(300);
  if (server_ != nullptr) server_->Shutdown(deadline);
  if (admin_server_ != nullptr) admin_server_->Shutdown(deadline);
  // The coordinator answers what is parked while the strand still runs.
  RunOn(strand_, [this] {
    if (run_keeper_ != nullptr) run_keeper_->Close();
    coordinator_.reset();
  });
  server_.reset();
  admin_server_.reset();
  pool_.Stop();
  strand_.Stop();
}

absl::StatusOr<std::unique_ptr<AggregatorServer>> AggregatorServer::Start(
    const pb::AggregatorConfig& config) {
  auto impl = std::make_unique<Impl>(config);
  FG_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<AggregatorServer>(
      new AggregatorServer(std::move(impl)));
}

AggregatorServer::AggregatorServer(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
AggregatorServer::~AggregatorServer() = default;
int AggregatorServer::port() const { return impl_->port(); }
int AggregatorServer::admin_port() const { return impl_->admin_port(); }

}  // namespace fedgraft
