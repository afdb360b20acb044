#include "aggregator/round/run_desk.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/model_file.h"
#include "aggregator/rules/rule.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/shift/look.h"
#include "common/solve/head_values.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

RunId NewRunId(RandomSource& random) {
  std::array<uint8_t, 8> bytes;
  random.Fill(absl::MakeSpan(bytes));
  return RunId{ToHex(bytes)};
}

// What would fail in the middle of a run fails here.
absl::Status CheckRun(const Plan& plan, const RunModel& model,
                      uint64_t upload_size_bytes_max) {
  if (plan.hash != Sha256(plan.bytes)) {
    return absl::InvalidArgumentError("the plan's hash is not its bytes'");
  }
  if (static_cast<int64_t>(model.initial.size()) != model.layout.Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the initial model has ", model.initial.size(),
                     " values, the trainable set has ", model.layout.Count()));
  }
  FG_RETURN_IF_ERROR(
      MakeUpdateForm(plan, model.layout, TaskKind::kTrain).status());
  FG_ASSIGN_OR_RETURN(const UpdateForm gather,
                      MakeUpdateForm(plan, model.layout, TaskKind::kGather));
  if (gather.count > 0 && gather.shape.SealedTotal() > upload_size_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the statistics that the plan gathers (", AskedStatistics(plan),
        ") have ", gather.shape.SealedTotal(),
        " bytes a site, this aggregator takes at most ",
        upload_size_bytes_max));
  }
  if (const int64_t sums = StatisticsLayout(plan, model.layout).count();
      sums > kStatisticsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the plan gathers ", sums, " sums (", AskedStatistics(plan),
        "); expected at most ", kStatisticsMax,
        ": train fewer parameters, or keep ewc_records local"));
  }
  if (plan.solver.kind != SolverKind::kNone &&
      HeadFeatures(plan, model.layout) < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("solver.kind: the head of ", plan.architecture,
                     " is not linear in its features and cannot be solved "
                     "exactly; expected none, or another backbone"));
  }
  if (plan.shift.every > 0) {
    FG_RETURN_IF_ERROR(Look::Create(plan, model.layout).status());
  }
  return MakeRule(plan).status();
}

}  // namespace

void RunDesk::Start(const Plan& plan, RunModel model, Reply<RunId> reply) {
  if (context_.state.open() || context_.RunChanging()) {
    reply(absl::FailedPreconditionError(absl::StrCat(
        "run ", context_.state.open() ? context_.state.run()->id.value : "",
        " is open; stop it first")));
    return;
  }
  absl::Status valid = context_.journal->failure();
  if (valid.ok()) {
    valid = CheckRun(plan, model, context_.options.upload_size_bytes_max);
  }
  if (!valid.ok()) {
    reply(valid);
    return;
  }
  context_.run_opening = true;
  auto shared = std::make_shared<RunModel>(std::move(model));
  context_.off_strand.Run<absl::StatusOr<Prepared>>(
      [plan, shared, run = NewRunId(context_.ports.random),
       wrapping_key = context_.keys.wrapping_key,
       &signing_key = context_.keys.signing_key,
       inline_bytes_max = context_.options.inline_bytes_max,
       &random = context_.ports.random, blobs = context_.blobs] {
        return Prepare(plan, std::move(*shared), run, wrapping_key, signing_key,
                       inline_bytes_max, random, *blobs);
      },
      [this, reply = std::move(reply)](absl::StatusOr<Prepared> prepared) {
        Open(std::move(prepared), reply);
      });
}

absl::StatusOr<RunDesk::Prepared> RunDesk::Prepare(
    const Plan& plan, RunModel model, RunId run, ByteSpan wrapping_key,
    const SigningKey& signing_key, uint64_t inline_bytes_max,
    RandomSource& random, BlobStore& blobs) {
  Prepared prepared;
  RunOpened& record = prepared.record;
  FG_ASSIGN_OR_RETURN(NewRunKey key, MakeRunKey(run, plan.hash, wrapping_key,
                                                signing_key, random));
  FG_ASSIGN_OR_RETURN(
      KeptModel initial,
      KeepTrainableSet(model.layout, model.initial, inline_bytes_max, blobs));
  record.initial_model = initial.digest;
  record.initial_model_size_bytes = initial.size_bytes;
  record.initial_model_inline = std::move(initial.inline_bytes);
  record.run = std::move(run);
  record.plan = plan.bytes;
  record.wrapped_key = std::move(key.wrapped);
  record.hpke_public_key = key.key->public_key();
  record.hpke_key_signature = std::move(key.signature);
  record.backbone_size_bytes = model.backbone_size_bytes;
  record.layout = std::move(model.layout);
  prepared.key = std::move(key.key);
  return prepared;
}

void RunDesk::Open(absl::StatusOr<Prepared> prepared, Reply<RunId> reply) {
  if (!prepared.ok()) {
    context_.run_opening = false;
    reply(prepared.status());
    return;
  }
  context_.journal->Append(
      std::move(prepared->record),
      [this, key = prepared->key,
       reply = std::move(reply)](absl::StatusOr<uint64_t> sequence) {
        context_.run_opening = false;
        if (!sequence.ok()) {
          reply(sequence.status());
          return;
        }
        const RunFacts& run = *context_.state.run();
        absl::StatusOr<RunTools> tools = MakeRunTools(run, key);
        FG_CHECK(tools.ok());  // CheckRun made the same
        context_.tools = *std::move(tools);
        context_.bytes_down = 0;
        FG_LOG_INFO("run {}: opened, plan {} ({}), {} parameters, {} rounds",
                    run.id.value, run.plan.name, run.plan.hash.Short(),
                    run.layout->Count(), run.plan.rounds);
        reply(run.id);
        flow_.Restart();
        context_.changed();
      });
}

absl::Status RunDesk::CheckOpen(const RunId& run) const {
  if (context_.state.run() == nullptr || context_.state.run()->id != run) {
    return absl::NotFoundError(absl::StrCat("there is no run ", run.value));
  }
  if (!context_.state.open() || context_.run_ending) {
    return absl::FailedPreconditionError(
        absl::StrCat("run ", run.value, " has ended"));
  }
  return context_.journal->failure();
}

void RunDesk::Stop(const RunId& run, std::string reason, Reply<Done> reply) {
  if (const absl::Status open = CheckOpen(run); !open.ok()) {
    reply(open);
    return;
  }
  flow_.Close(/*stopped=*/true, std::move(reason),
              [reply = std::move(reply)](absl::Status status) {
                if (status.ok()) {
                  reply(Done{});
                } else {
                  reply(status);
                }
              });
}

void RunDesk::Pause(const RunId& run, bool paused, Reply<Done> reply) {
  if (const absl::Status open = CheckOpen(run); !open.ok()) {
    reply(open);
    return;
  }
  context_.journal->Append(
      RunPaused{paused}, [this, paused, reply = std::move(reply)](
                             absl::StatusOr<uint64_t> sequence) {
        if (!sequence.ok()) {
          reply(sequence.status());
          return;
        }
        FG_LOG_INFO("run {}: {}", context_.state.run()->id.value,
                    paused ? "paused" : "resumed");
        reply(Done{});
        flow_.Restart();
        context_.changed();
      });
}

}  // namespace fedgraft
