#include "client/agent/run_setup.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/agent_state.h"
#include "client/agent/retry.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_checks_secure.h"

namespace fedgraft {

RunSetup::RunSetup(AgentPorts ports, const AgentOptions& options,
                   AggregatorKeyOf aggregator_key, Background& background,
                   BlobFetcher& fetcher, ConfiguredTrainer& trainer)
    : ports_(ports),
      options_(options),
      aggregator_key_(std::move(aggregator_key)),
      background_(background),
      fetcher_(fetcher),
      trainer_(trainer) {}

bool RunSetup::IsFinal(const absl::Status& status) {
  return !status.ok() && !IsRetryable(status) &&
         !absl::IsResourceExhausted(status);
}

void RunSetup::Prepare(RunDescriptor descriptor, Reply<PreparedRun> reply) {
  FG_CHECK(reply_ == nullptr);
  descriptor_ = std::move(descriptor);
  reply_ = std::move(reply);
  const absl::Status verified = Verify();
  if (!verified.ok()) {
    return Answer(
        Annotate(verified, absl::StrCat("run ", descriptor_.run.value)));
  }
  FetchBackbone();
}

absl::Status RunSetup::Verify() {
  FG_ASSIGN_OR_RETURN(RunFiles files, RunFiles::Create(descriptor_.run));
  FG_ASSIGN_OR_RETURN(const Bytes key,
                      aggregator_key_(descriptor_.aggregator_certificate_pem));
  FG_ASSIGN_OR_RETURN(Plan plan, VerifyRun(descriptor_, key));
  FG_ASSIGN_OR_RETURN(const bool has_roster, HasRoster());
  FG_RETURN_IF_ERROR(CheckPlan(options_.policy, plan, has_roster));
  SecureAggregationSpec& secure = plan.secure_aggregation;
  const bool demanded = DemandsMasks(options_.policy, has_roster);
  const bool undecided = secure.mode == SecureMode::kAuto && !demanded &&
                         WhyNeverMasked(plan).empty();
  secure.is_on |= demanded;
  if (secure.is_on) FG_RETURN_IF_ERROR(CheckRoster());
  std::string backbone_path =
      HasBackbone(plan) ? BackbonePath(plan.backbone) : "";
  context_ = std::make_shared<RunContext>(
      RunContext{descriptor_, std::move(plan), std::move(files),
                 std::move(backbone_path), nullptr, 0, undecided});
  return absl::OkStatus();
}

absl::StatusOr<bool> RunSetup::HasRoster() const {
  if (!options_.pinned_roster) return false;
  const absl::Status read = options_.pinned_roster().status();
  // One that cannot be read may be one that demands masks.
  if (!read.ok() && !absl::IsNotFound(read)) return read;
  return read.ok();
}

absl::Status RunSetup::CheckRoster() const {
  FG_ASSIGN_OR_RETURN(const bool has_roster, HasRoster());
  if (!has_roster) {
    return absl::FailedPreconditionError(
        "no roster is pinned at this site; expected one "
        "(fedgraft-client enroll --roster, then --confirm)");
  }
  FG_ASSIGN_OR_RETURN(const Roster roster, options_.pinned_roster());
  if (roster.keys.contains(options_.site)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the roster that is pinned here does not have this site, ",
                   options_.site.value,
                   "; expected a newer one (fedgraft-client enroll --roster, "
                   "then --confirm)"));
}

void RunSetup::FetchBackbone() {
  if (!HasBackbone(context_->plan)) return FetchInitialModel();
  BlobRequest blob;
  blob.digest = context_->plan.backbone;
  blob.path = context_->backbone_path;
  blob.size_bytes = descriptor_.backbone_size_bytes;
  blob.size_bytes_max = options_.blob_size_bytes_max;
  fetcher_.Fetch(std::move(blob), guard_([this](absl::StatusOr<Done> fetched) {
                   if (!fetched.ok()) {
                     return Answer(Annotate(fetched.status(), "backbone"));
                   }
                   FetchInitialModel();
                 }));
}

void RunSetup::FetchInitialModel() {
  BlobRequest blob;
  blob.digest = descriptor_.initial_model;
  blob.path = context_->files.InitialModelPath();
  blob.size_bytes_max = options_.blob_size_bytes_max;
  fetcher_.Fetch(std::move(blob), guard_([this](absl::StatusOr<Done> fetched) {
                   if (!fetched.ok()) {
                     return Answer(Annotate(fetched.status(), "initial model"));
                   }
                   ReadLayout();
                 }));
}

void RunSetup::ReadLayout() {
  background_.Run(
      [&files = ports_.files, path = context_->files.InitialModelPath()] {
        return ReadModelLayout(files, path);
      },
      guard_([this](absl::StatusOr<ParameterLayout> layout) {
        if (!layout.ok()) return Answer(std::move(layout).status());
        context_->layout =
            std::make_shared<const ParameterLayout>(*std::move(layout));
        ConfigureTrainer();
      }));
}

void RunSetup::ConfigureTrainer() {
  TrainerSetup setup;
  setup.run = descriptor_.run;
  setup.plan = descriptor_.plan;
  setup.backbone_path = context_->backbone_path;
  setup.state_folder = context_->files.TrainerFolder();
  trainer_.Open(std::move(setup), context_->layout->digest(),
                guard_([this](absl::StatusOr<TrainerReady> ready) {
                  OnReady(std::move(ready));
                }));
}

void RunSetup::OnReady(absl::StatusOr<TrainerReady> ready) {
  if (!ready.ok()) return Answer(Annotate(ready.status(), "trainer"));
  const absl::Status enough =
      CheckSamples(options_.policy, ready->train_samples);
  if (!enough.ok()) return Answer(enough);
  context_->train_samples = ready->train_samples;
  Answer(PreparedRun{context_, *std::move(ready)});
}

void RunSetup::Answer(absl::StatusOr<PreparedRun> answer) {
  context_ = nullptr;
  std::exchange(reply_, nullptr)(std::move(answer));
}

}  // namespace fedgraft
