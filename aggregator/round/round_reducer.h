#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "aggregator/round/admission.h"
#include "aggregator/round/records.h"
#include "aggregator/round/run_key.h"
#include "aggregator/round/run_state.h"
#include "aggregator/rules/rule_pass.h"
#include "aggregator/secagg/mask_removal.h"
#include "aggregator/store/running_sum.h"
#include "common/base/digest.h"
#include "common/runtime/blob_store.h"
#include "common/runtime/executor.h"
#include "common/runtime/file_store.h"
#include "common/shift/look.h"

// The heavy end of a round, for the executor: opens the contributions of a
// phase shard by shard, sums them exactly and makes something of the sum. Pure
// functions of the job: any process that runs one gets the same bytes.

namespace fedgraft {

struct PhaseJob {
  std::shared_ptr<const RunFacts> run;
  RoundId round;
  std::shared_ptr<const RunKey> key;
  UpdateForm form;
  ModelRef base;
  ModelRef solver_state;  // no size: the solver has not begun
  ModelRef rule_state;    // no size: no round of training before
  RuleSites sites;
  std::map<SiteId, Contribution> contributions;
  // Of contributions that this process verified; the rest are opened with
  // `key` again.
  std::map<SiteId, std::shared_ptr<const SealedStreamOpener>> openers;
  // What the words came to as they arrived; null: nobody added them.
  std::shared_ptr<RunningSum> sum;
  // Secure aggregation: taken out of the sums. Null: they are not masked.
  std::shared_ptr<const MaskRemoval> masks;
  uint64_t inline_bytes_max = 0;
  std::shared_ptr<BlobStore> blobs;  // for what is larger
};

// What a look at shift has come to (common/shift/look.h).
struct NewSketch {
  Digest digest;
  uint64_t size_bytes = 0;
  Bytes inline_bytes;  // empty: in the blob store
  std::shared_ptr<const Look> look;
};

// A model that is ready to be published: durable in the blob store, or small
// enough for the log.
struct NewModel {
  Digest digest;
  uint64_t size_bytes = 0;
  Bytes inline_bytes;  // empty: in the blob store
  uint64_t saturated = 0;
  std::optional<SolveAdvanced> solve;            // solve rounds
  std::optional<StatisticsGathered> statistics;  // the gathering round
  std::optional<RuleAdvanced> rule;              // rules with a memory
  std::map<SiteId, double> influence;            // rules on single updates
  uint64_t news = 0;  // at how many sites (common/numeric/update_payload.h)
  std::map<std::string, double> metrics;
};

// The base model plus the rule's delta, as safetensors bytes. Begins on the
// calling worker, reduces on all, and calls `done` on the last. Takes the sum
// that was kept up on arrival if it is that of the contributions, else reads
// them; the model's bits are the same. Peak memory:
// one copy of the trainable set, and twice the rule's memory; for rules on
// single updates also one shard of each update and worker. UNAVAILABLE,
// RESOURCE_EXHAUSTED: the disk failed; DATA_LOSS: what was accepted does not
// open any more.
void ReduceRound(std::shared_ptr<const PhaseJob> job, FileStore& files,
                 Executor& executor,
                 std::function<void(absl::StatusOr<NewModel>)> done);

// A solve round: the solver takes in the exact sums; the base model with the
// head that it has reached. On the calling worker alone.
absl::StatusOr<NewModel> AdvanceSolve(const PhaseJob& job, FileStore& files);

// The gathering round: the exact sums, beside the base model as it is. On the
// calling worker alone; peak memory: the sums twice, and the model.
absl::StatusOr<NewModel> GatherStatistics(const PhaseJob& job,
                                          FileStore& files);

// A stage of a look at shift, from the exact sums. On the calling worker alone.
// Errors as of Look::Add.
absl::StatusOr<NewSketch> AdvanceSketch(const PhaseJob& job, FileStore& files);
// From what its stages have come to; no size: none. INVALID_ARGUMENT: other
// bytes.
absl::StatusOr<Look> LoadLook(const RunFacts& run, const ModelRef& pooled,
                              FileStore& files);

// Pooled metrics from the exact sums of an evaluation; none if no site
// evaluated a record. On the calling worker alone.
absl::StatusOr<std::map<std::string, double>> PoolEvaluation(
    const PhaseJob& job, FileStore& files);

// Where contributions are read from, and models.
inline constexpr char kBlobFolder[] = "blobs";
absl::StatusOr<std::shared_ptr<ReadableFile>> OpenModel(FileStore& files,
                                                        const ModelRef& model);
absl::StatusOr<std::shared_ptr<ReadableFile>> OpenContribution(
    FileStore& files, const Contribution& contribution);

}  // namespace fedgraft
