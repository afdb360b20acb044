#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/features/feature_cache.h"
#include "common/base/digest.h"
#include "common/config/plan.h"
#include "common/protocol/messages.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// Told from time to time how far a call is, from 0 to 1. An error ends the
// call with that error (nobody waits for its result any more).
using ProgressSink =
    std::function<absl::Status(double fraction, std::string_view stage)>;

struct ComputeSpec {
  std::string device = "auto";  // auto, cpu, cuda:N
  int threads = 0;              // 0: all cores
  std::string autocast = "none";
};

struct SessionConfig {
  Plan plan;
  std::unique_ptr<DataSource> data;  // opened with the plan's classes
  ComputeSpec compute;
  std::string backbone_path;
  // What of the model stays at the site (BatchNorm layers, a head, a personal
  // model, EWC's start, a control variate), kept between rounds and processes.
  // Empty: nothing is kept.
  std::string state_dir;
  FeatureCacheSpec cache;  // shared by the site's runs
  // The site's policy lets counts of scanners into sketches.
  bool share_devices = false;
};

// Local training and evaluation for one run at one site: the torch-free face
// of everything in this folder. A session remembers nothing that a new one
// with the same config and state_dir would not find again, and train and
// evaluate depend on their arguments (and the site's own state of earlier
// rounds) only: the same call gives the same bytes.
//
// Not thread-safe; sets the process's thread counts.
class TrainerSession {
 public:
  struct Train {
    int round = 1;
    std::string model_path;  // the global trainable set, safetensors
    std::string delta_path;  // out: raw little-endian F32, layout order
    // common/statistics/gathered_statistics.h; empty: the plan asks for none.
    std::string statistics_path = {};
    // What this site does about what it differs in.
    SiteRemedy remedy = SiteRemedy::kNone;
    // The newest round that counted an update of this site; 0: none. Rule
    // scaffold goes on from what this site kept after that one.
    int counted_round = 0;
    // SHA-256, raw, of what the last stage of a look was asked with; empty: do
    // not tell whether anything has changed since.
    std::string compared_look = {};
  };
  struct Trained {
    uint64_t samples = 0;
    double loss = 0;  // mean over the last local epoch
    double seconds = 0;
    std::map<std::string, double> scalars = {};  // RecordWeights::Use
    bool has_news = false;  // the records are not those of that look
  };
  struct Evaluate {
    int round = 1;
    std::string model_path;
    Split split = Split::kVal;
    // Also train alone from `initial_model_path` for as many rounds, and
    // evaluate that: scalars local_*, and transfer.* (transfer_scalars.h); and
    // tell how far the backbone's stages have moved from the initial model:
    // scalars drift_*.
    bool compare_local = false;
    std::string initial_model_path;
  };
  struct Evaluated {
    std::vector<double> sums;
    // SiteMetrics of the shared model; `personal_*` of the site's own, if the
    // plan has any; at the end of a run with EWC, `forgetting_*` and
    // `hessian_trace_*` (ewc_run.h).
    std::map<std::string, double> scalars;
  };

  struct Solve {
    std::string point_path;  // common/solve/solve_point.h
    std::string sums_path;   // out: raw little-endian F64
  };

  struct Gather {
    std::string model_path;
    std::string sums_path;  // out: raw little-endian F64, the order of
                            // common/statistics/start_statistics.h
  };

  struct Sketch {
    int round = 1;  // of training
    std::string model_path;
    std::string pooled_path;  // common/shift/look.h; empty: first stage
    std::string sums_path;  // out: raw little-endian F64, common/shift's order
  };
  struct Sketched {
    uint64_t samples = 0;
    std::map<std::string, double> scalars;  // last stage: what was found
  };

  // Loads the backbone and derives the layout; computes no features yet.
  // INVALID_ARGUMENT or NOT_FOUND: backbone file, plan, data or device.
  // `clock` outlives the session.
  static absl::StatusOr<std::unique_ptr<TrainerSession>> Create(
      SessionConfig config, const Clock& clock);
  ~TrainerSession();

  size_t Count(Split split) const;
  const Digest& layout_digest() const;
  std::string device() const;

  // INVALID_ARGUMENT: the model file does not fit the layout;
  // FAILED_PRECONDITION: no training images, or training diverged (loss or
  // update not finite). Nothing is left behind then.
  absl::StatusOr<Trained> RunTrain(const Train& task,
                                   const ProgressSink& progress);
  // One step of the exact head; returns the number of training images.
  // INVALID_ARGUMENT: not a point of this head; FAILED_PRECONDITION: no
  // training images.
  absl::StatusOr<uint64_t> RunSolve(const Solve& task,
                                    const ProgressSink& progress);
  // This site's sums before training; returns the number of training images.
  // INVALID_ARGUMENT: the plan asks for none, or the model does not fit;
  // FAILED_PRECONDITION: no training images.
  absl::StatusOr<uint64_t> RunGather(const Gather& task,
                                     const ProgressSink& progress);
  // This site's part in a stage of a look at shift. INVALID_ARGUMENT: the plan
  // has none, the model or what was pooled does not fit; FAILED_PRECONDITION:
  // no training images.
  absl::StatusOr<Sketched> RunSketch(const Sketch& task,
                                     const ProgressSink& progress);
  // FAILED_PRECONDITION: the split is empty.
  absl::StatusOr<Evaluated> RunEvaluate(const Evaluate& task,
                                        const ProgressSink& progress);

 private:
  struct State;
  explicit TrainerSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedgraft
