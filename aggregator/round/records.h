#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/shift/remedy_choice.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/model/parameter_layout.h"
#include "common/protocol/messages.h"
#include "common/solve/solve_point.h"

// What the coordinator writes to its log, as domain types. The stored form is
// proto/journal.proto; aggregator/round/journal_codec.h converts.

namespace fedgraft {

struct RunOpened {
  RunId run;
  Bytes plan;         // serialised Plan
  Bytes wrapped_key;  // the run's HPKE private key, common/crypto/key_wrap.h
  Bytes hpke_public_key;
  Bytes hpke_key_signature;
  Digest initial_model;
  uint64_t initial_model_size_bytes = 0;
  Bytes initial_model_inline;  // empty: in the blob store
  uint64_t backbone_size_bytes = 0;
  ParameterLayout layout;
};

// Again if it has pinned another roster meanwhile.
struct SiteJoined {
  SiteId site;
  std::optional<Digest> roster = {};  // of the roster that it has pinned
};

// The same round again: below the quorum at its deadline, it takes in whoever
// has joined meanwhile.
struct RoundOpened {
  RoundId round;
};

struct ContributionAccepted {
  SiteId site;
  UploadHeader header;
  Bytes sealed_inline;     // empty: in `spool_file`
  std::string spool_file;  // empty: inline
};

// What a solve round made beside the model: the solver's memory and, unless it
// is done, the next point.
struct SolveAdvanced {
  Digest state;  // common/solve/head_solver.h
  uint64_t state_size_bytes = 0;
  Bytes state_inline;  // empty: in the blob store
  Digest point;        // common/solve/solve_point.h
  uint64_t point_size_bytes = 0;
  Bytes point_inline;
  SolveStage stage = SolveStage::kMoments;  // of the point
  int candidates = 0;                       // of the point
  bool solved = false;
};

// What the round that gathers made: common/statistics/gathered_statistics.h.
struct StatisticsGathered {
  Digest digest;
  uint64_t size_bytes = 0;
  Bytes content_inline;  // empty: in the blob store
};

// What the rule remembers after a round of training.
struct RuleAdvanced {
  Digest state;  // aggregator/rules/rule_state.h
  uint64_t state_size_bytes = 0;
  Bytes state_inline;  // empty: in the blob store
};

struct RoundReduced {
  RoundId round;
  std::vector<SiteId> sites;  // canonical order
  Digest model;
  uint64_t model_size_bytes = 0;
  Bytes model_inline;  // empty: in the blob store
  uint64_t saturated = 0;
  uint64_t bytes_down = 0;  // sent to sites since the round opened
  absl::Duration elapsed;
  bool opens_next = false;  // as if RoundOpened of the next round followed
  std::optional<SolveAdvanced> solve;  // solve rounds only
  // The gathering round only: its model is the one before.
  std::optional<StatisticsGathered> statistics;
  std::map<std::string, double> metrics;
  std::optional<RuleAdvanced> rule;    // rules with a memory
  std::map<SiteId, double> influence;  // rules on single updates
  uint64_t news = 0;  // sites where anything has changed since the newest look
};

struct EvaluationClosed {
  RoundId round;
  std::vector<SiteId> sites;
  std::map<std::string, double> metrics;
  bool opens_next = false;  // as in RoundReduced
};

// A stage of a look at shift. Without a size: the look ends without result.
struct SketchClosed {
  RoundId round;
  std::vector<SiteId> sites;
  Digest pooled;  // common/shift/look.h
  uint64_t pooled_size_bytes = 0;
  Bytes pooled_inline;                    // empty: in the blob store
  bool open = false;                      // another stage follows
  bool opens_next = false;                // as in RoundReduced
  std::map<std::string, double> metrics;  // last stage
};

// What sites do from the next round on (plan.shift.on_shift apply).
struct RemediesChosen {
  RoundId training_round;  // that was looked at
  std::map<SiteId, RemedyChoice> sites;
};

// Secure aggregation: what a site said in the current step.
struct SecureAnswered {
  SiteId site;
  uint32_t attempt = 0;
  SecureStep step = SecureStep::kAdvertise;
  Bytes payload;
};

// The next step. Or kAdvertise of the next attempt: the sum is abandoned, its
// contributions with it, and begun again with fresh keys.
struct SecureAdvanced {
  uint32_t attempt = 0;
  SecureStep step = SecureStep::kAdvertise;
};

struct RunClosed {
  bool stopped = false;
  std::string reason;
};

struct RunPaused {
  bool paused = false;
};

struct SiteReported {
  SiteId site;
  RoundId round;
  std::map<std::string, double> scalars;
};

using Record =
    std::variant<RunOpened, SiteJoined, RoundOpened, ContributionAccepted,
                 RoundReduced, EvaluationClosed, RunClosed, RunPaused,
                 SiteReported, SketchClosed, RemediesChosen, SecureAnswered,
                 SecureAdvanced>;

struct JournalEntry {
  absl::Time time;  // wall, for people; no decision reads it
  Record record;
};

}  // namespace fedgraft
