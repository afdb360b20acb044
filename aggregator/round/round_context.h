#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "aggregator/round/admission.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/round/journal.h"
#include "aggregator/round/off_strand.h"
#include "aggregator/round/poll_board.h"
#include "aggregator/round/run_key.h"
#include "aggregator/round/run_state.h"
#include "aggregator/round/site_table.h"
#include "aggregator/store/running_sum.h"
#include "aggregator/store/spool.h"
#include "common/runtime/blob_store.h"

namespace fedgraft {

// What the open run needs beside its journalled facts.
struct RunTools {
  std::shared_ptr<const RunKey> key;
  UpdateForm train;
  UpdateForm evaluate;
  UpdateForm gather;
  // Of the current point, or stage; they change from round to round.
  UpdateForm solve, sketch;

  const UpdateForm& form(TaskKind kind) const {
    switch (kind) {
      case TaskKind::kTrain:
        return train;
      case TaskKind::kEvaluate:
        return evaluate;
      case TaskKind::kGather:
        return gather;
      case TaskKind::kSketch:
        return sketch;
      case TaskKind::kSolve:
        break;
    }
    return solve;
  }
};
// INVALID_ARGUMENT: the plan's ring is impossible.
absl::StatusOr<RunTools> MakeRunTools(const RunFacts& run,
                                      std::shared_ptr<const RunKey> key);

// What the parts of the coordinator share: one strand, one state. Only the
// journal changes `state`; the flags bridge the time from handing a record to
// the log until it is applied.
struct RoundContext {
  CoordinatorPorts ports;
  CoordinatorKeys keys;
  CoordinatorOptions options;

  RunState state;
  std::unique_ptr<Journal> journal;
  std::shared_ptr<BlobStore> blobs;  // shared with work off the strand
  std::shared_ptr<Spool> spool;
  RunTools tools;
  SiteTable sites;
  PollBoard polls;
  OffStrand off_strand;

  // A RunOpened or a RunClosed is on its way to the log.
  bool run_opening = false;
  bool run_ending = false;
  // The phase takes no further contribution: it is being closed.
  bool closing = false;
  // A round is being summed.
  bool reducing = false;
  // What is to be published cannot be made or stored; it is tried again.
  bool cannot_publish = false;
  // Sites whose finished upload is being verified or journalled.
  std::set<SiteId> admitting;
  // What opened the contributions of this phase, as far as this process
  // verified them: the reduce need not agree on their keys again.
  std::map<SiteId, std::shared_ptr<const SealedStreamOpener>> openers;
  // Of this phase's uploads that arrive; null: none has begun, or it is with
  // the reduce.
  std::shared_ptr<RunningSum> sum;
  // Secure aggregation: what is to be taken out of the phase's sum.
  std::shared_ptr<const MaskRemoval> masks;
  // Sent since the round was opened.
  uint64_t bytes_down = 0;

  // Set by the coordinator: looks whether the phase can move on.
  std::function<void()> consider;
  // Set by the coordinator: offers tasks to parked polls.
  std::function<void()> answer_polls;
  // Set by the coordinator: tells the listener.
  std::function<void()> changed;

  RoundContext(CoordinatorPorts the_ports, CoordinatorKeys the_keys,
               CoordinatorOptions the_options);

  // True if sites are asked to do something now.
  bool Asking() const {
    return state.task_kind().has_value() && !state.paused() && !closing &&
           !RunChanging() && journal->failure().ok();
  }
  bool RunChanging() const { return run_opening || run_ending; }
  // True if `site` is to contribute to the current phase, or to answer its step
  // of secure aggregation, and has not.
  bool IsAwaited(const SiteId& site) const;
  // Logs the refusal and remembers it for the site's status.
  absl::Status Refused(const SiteId& site, absl::Status refusal);
};

}  // namespace fedgraft
