#include "aggregator/round/coordinator.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/reply_guard.h"
#include "aggregator/round/round_context.h"
#include "aggregator/round/round_flow.h"
#include "aggregator/round/round_reducer.h"
#include "aggregator/round/run_desk.h"
#include "aggregator/round/secure_desk.h"
#include "aggregator/round/snapshot.h"
#include "aggregator/round/task_desk.h"
#include "aggregator/round/upload_desk.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {

// Wires the parts: what one of them needs of another goes through the context's
// callbacks.
class Coordinator::Impl {
 public:
  Impl(CoordinatorPorts ports, CoordinatorKeys keys, CoordinatorOptions options)
      : context(ports, std::move(keys), std::move(options)),
        tasks(context),
        uploads(context),
        secure(context),
        flow(context, [this] { PhaseBegan(); }),
        runs(context, flow) {
    context.consider = [this] { flow.Consider(); };
    context.answer_polls = [this] { tasks.AnswerPolls(); };
    context.changed = [this] {
      if (listener) listener();
    };
  }

  // Replays the log and goes on where it ends.
  absl::Status Open();
  void OpenBlob(const SitePeer& site, const Digest& digest,
                Reply<std::shared_ptr<ReadableFile>> reply);

  RoundContext context;
  TaskDesk tasks;
  UploadDesk uploads;
  SecureDesk secure;
  RoundFlow flow;
  RunDesk runs;
  std::function<void()> listener;

 private:
  absl::Status OpenRun();
  absl::Status RemoveOrphans();
  void PhaseBegan();
};

absl::Status Coordinator::Impl::Open() {
  const CoordinatorPorts& ports = context.ports;
  Spool::Options spool;
  spool.upload_bytes_max = context.options.upload_size_bytes_max;
  spool.inline_bytes_max = context.options.upload_inline_bytes_max;
  context.spool = std::make_shared<Spool>(ports.files, spool);
  context.blobs = std::make_shared<BlobStore>(ports.files, kBlobFolder);
  FG_ASSIGN_OR_RETURN(context.journal, Journal::Open(ports, context.state));
  if (context.state.run() != nullptr) FG_RETURN_IF_ERROR(OpenRun());
  FG_RETURN_IF_ERROR(RemoveOrphans());
  flow.Restart();
  return absl::OkStatus();
}

absl::Status Coordinator::Impl::OpenRun() {
  const RunFacts& run = *context.state.run();
  for (const SiteId& site : context.state.joined()) {
    context.sites.Remember(site);
  }
  if (!context.state.open()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(
      auto key, OpenRunKey(run.id, context.keys.wrapping_key, run.wrapped_key,
                           run.hpke_public_key));
  FG_ASSIGN_OR_RETURN(context.tools, MakeRunTools(run, std::move(key)));
  FG_LOG_INFO("run {}: found {} in round {} with {} contributions",
              run.id.value, std::string(PhaseName(context.state.phase())),
              context.state.round().value,
              context.state.contributions().size());
  return absl::OkStatus();
}

// What a crash left in the spool without a record, and in the blob store of a
// run that has ended. Uploads of the round that
// goes on stay: their sites resume them.
absl::Status Coordinator::Impl::RemoveOrphans() {
  const RunState& state = context.state;
  context.blobs->DropSpare();
  if (state.phase() == Phase::kClosed) {
    for (const Digest& digest : StatesOfRun(state)) {
      const absl::Status removed = context.blobs->Remove(digest);
      if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    }
  }
  std::set<std::string> keep;
  for (const auto& [site, contribution] : state.contributions()) {
    if (contribution.sealed_inline == nullptr) {
      keep.insert(contribution.spool_file);
    }
  }
  if (state.task_kind().has_value()) {
    const std::string folder = Spool::Options().folder;
    const std::string prefix =
        absl::StrCat(state.run()->id.value, ".", state.round().value, ".");
    FG_ASSIGN_OR_RETURN(const auto names, context.ports.files.List(folder));
    for (const std::string& name : names) {
      if (name.rfind(prefix, 0) == 0)
        keep.insert(absl::StrCat(folder, "/", name));
    }
  }
  return context.spool->RemoveExcept(keep);
}

void Coordinator::Impl::PhaseBegan() {
  uploads.DropStale();
  tasks.AnswerPolls();
}

void Coordinator::Impl::OpenBlob(const SitePeer& site, const Digest& digest,
                                 Reply<std::shared_ptr<ReadableFile>> reply) {
  context.sites.Heard(site.id);
  const RunState& state = context.state;
  const RunFacts* run = state.run();
  ModelRef wanted;
  wanted.digest = digest;
  bool known = false;
  if (run != nullptr) {
    known = digest == run->plan.backbone;
    for (const ModelRef* model :
         {&run->initial_model, &state.model(), &state.solve().point,
          &state.statistics().gathered, &state.look().pooled}) {
      if (model->digest != digest) continue;
      wanted = *model;
      known = true;
    }
  }
  if (!known || !state.joined().contains(site.id)) {
    reply(absl::NotFoundError(absl::StrCat(
        digest.Short(),
        " is neither backbone, model nor statistics of the current run")));
    return;
  }
  using File = absl::StatusOr<std::shared_ptr<ReadableFile>>;
  context.off_strand.Run<File>(
      [wanted, &files = context.ports.files, blobs = context.blobs]() -> File {
        if (wanted.inline_bytes != nullptr) return OpenModel(files, wanted);
        // By this store, which does not write over what is open.
        return blobs->Open(wanted.digest);
      },
      [reply = std::move(reply)](File file) { reply(std::move(file)); });
}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Open(
    CoordinatorPorts ports, CoordinatorKeys keys, CoordinatorOptions options) {
  auto impl =
      std::make_unique<Impl>(ports, std::move(keys), std::move(options));
  FG_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(impl)));
}

Coordinator::Coordinator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Coordinator::~Coordinator() = default;

void Coordinator::Join(const SitePeer& site, const JoinRequest& request,
                       Reply<JoinReply> reply) {
  impl_->tasks.Join(site, request, AnswerAlways(std::move(reply)));
}

void Coordinator::NextTask(const SitePeer& site, const NextTaskRequest& request,
                           Reply<NextTaskReply> reply) {
  impl_->tasks.NextTask(site, request, AnswerAlways(std::move(reply)));
}

void Coordinator::Heard(const SitePeer& site, const Heartbeat& heartbeat,
                        Reply<bool> cancel) {
  impl_->tasks.Heard(site, heartbeat, AnswerAlways(std::move(cancel)));
}

void Coordinator::QueryUpload(const SitePeer& site, const UploadHeader& header,
                              Reply<UploadOffset> reply) {
  impl_->uploads.Query(site, header, AnswerAlways(std::move(reply)));
}

void Coordinator::BeginUpload(const SitePeer& site, const UploadHeader& header,
                              uint64_t offset,
                              Reply<std::shared_ptr<SpoolUpload>> reply) {
  impl_->uploads.Begin(site, header, offset, AnswerAlways(std::move(reply)));
}

void Coordinator::Moved(const SitePeer& site, uint64_t bytes) {
  impl_->uploads.Moved(site, bytes);
}

void Coordinator::FinishUpload(const SitePeer& site, const UploadHeader& header,
                               std::shared_ptr<SpoolUpload> upload,
                               Reply<UploadReceipt> reply) {
  impl_->uploads.Finish(site, header, std::move(upload),
                        AnswerAlways(std::move(reply)));
}

void Coordinator::AbandonUpload(const SitePeer& site,
                                const UploadHeader& header,
                                std::shared_ptr<SpoolUpload> upload) {
  impl_->uploads.Abandon(site, header, upload);
}

void Coordinator::OpenBlob(const SitePeer& site, const Digest& digest,
                           Reply<std::shared_ptr<ReadableFile>> reply) {
  impl_->OpenBlob(site, digest, AnswerAlways(std::move(reply)));
}

void Coordinator::Sent(const SitePeer& site, uint64_t bytes) {
  if (impl_->context.sites.Find(site.id) == nullptr) return;
  impl_->context.sites.Heard(site.id).bytes_sent += bytes;
  impl_->context.bytes_down += bytes;
  impl_->context.changed();
}

void Coordinator::Report(const SitePeer& site, const SiteReport& report,
                         Reply<Done> reply) {
  impl_->tasks.Report(site, report, AnswerAlways(std::move(reply)));
}

void Coordinator::AnswerStep(const SitePeer& site, const SecureAnswer& answer,
                             Reply<Done> reply) {
  impl_->secure.Take(site, answer, AnswerAlways(std::move(reply)));
}

void Coordinator::Revoked(const SiteId& site) {
  RoundContext& context = impl_->context;
  if (context.sites.Find(site) == nullptr) return;
  FG_LOG_WARNING("site {}: certificate revoked", site.value);
  context.sites.Silence(site);
  impl_->uploads.Drop(site);
  context.polls.Answer(site, RefusalError(RefusalReason::kNotAllowed,
                                          "the certificate was revoked"));
  impl_->flow.Consider();
  context.changed();
}

void Coordinator::StartRun(const Plan& plan, RunModel model,
                           Reply<RunId> reply) {
  impl_->runs.Start(plan, std::move(model), AnswerAlways(std::move(reply)));
}

void Coordinator::StopRun(const RunId& run, std::string_view reason,
                          Reply<Done> reply) {
  impl_->runs.Stop(run, std::string(reason), AnswerAlways(std::move(reply)));
}

void Coordinator::PauseRun(const RunId& run, bool paused, Reply<Done> reply) {
  impl_->runs.Pause(run, paused, AnswerAlways(std::move(reply)));
}

CoordinatorSnapshot Coordinator::Snapshot() const {
  return MakeSnapshot(impl_->context, [this](const SiteId& site) {
    return impl_->uploads.IsUploading(site);
  });
}

const std::vector<RoundRecord>& Coordinator::History() const {
  return impl_->context.state.history();
}

ShiftFindings Coordinator::Findings(const RunId& known,
                                    uint64_t version) const {
  const RunState& state = impl_->context.state;
  ShiftFindings findings;
  if (state.run() == nullptr) return findings;
  const Plan& plan = state.run()->plan;
  findings.run = state.run()->id;
  findings.version = state.findings_version();
  if (findings.run == known && findings.version == version) return findings;
  findings.every = static_cast<uint32_t>(plan.shift.every);
  findings.false_alarm_rate = plan.shift.false_alarm_rate;
  findings.classes = plan.classes;
  if (plan.shift.every > 0) {
    // One after the last round, whether it is a multiple or not.
    findings.looks = static_cast<uint32_t>(
        std::max(1, (plan.rounds + plan.shift.every - 1) / plan.shift.every));
  }
  for (const auto& [round, sites] : state.findings()) {
    for (const auto& [site, values] : sites) {
      findings.values[round.value][site.value] = values;
    }
  }
  return findings;
}

void Coordinator::SetListener(std::function<void()> changed) {
  impl_->listener = std::move(changed);
}

}  // namespace fedgraft
