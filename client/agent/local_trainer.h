#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/config/plan.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

struct TrainerSetup {
  RunId run;
  Bytes plan;                 // serialised Plan
  std::string backbone_path;  // all paths: in the agent's FileStore
  std::string state_folder;   // the trainer's own, kept for the run
};
struct TrainerReady {
  uint64_t train_samples = 0, val_samples = 0, test_samples = 0;
  Digest layout;  // of the trainable set that the trainer derived
  std::string device;
};
struct TrainRequest {
  RoundId round;           // of training: solve rounds do not count
  std::string model_path;  // safetensors: the global trainable set
  std::string delta_path;  // out: raw little-endian F32 in layout order
  // common/statistics/gathered_statistics.h; empty: the plan asks for none.
  std::string statistics_path = {};
  SiteRemedy remedy = SiteRemedy::kNone;
  // The newest round of training that counted an update of this site; 0: none.
  RoundId counted_round = {};
  Digest compared_look = {};  // Task.compared_look
};
struct TrainResult {
  uint64_t samples = 0;
  double loss = 0;
  double seconds = 0;
  std::map<std::string, double> scalars = {};
  bool has_news = false;  // the records are not those that the look compared
};
struct EvaluateRequest {
  RoundId round;  // of training, the last before
  std::string model_path;
  Split split = Split::kVal;
  bool compare_local = false;
  std::string initial_model_path;
};
struct EvaluateResult {
  std::vector<double> sums;  // common/model/evaluation_layout.h
  std::map<std::string, double> scalars;
};

struct SolveRequest {
  std::string point_path;  // common/solve/solve_point.h
  std::string sums_path;   // out: raw little-endian F64
};
struct SolveResult {
  uint64_t samples = 0;
};

struct GatherRequest {
  std::string model_path;  // safetensors: the global trainable set
  std::string sums_path;   // out: raw little-endian F64, the order of
                           // common/statistics/start_statistics.h
};
struct GatherResult {
  uint64_t samples = 0;
};

struct SketchRequest {
  RoundId round;            // of training
  std::string model_path;   // safetensors: the global trainable set
  std::string pooled_path;  // common/shift/look.h; empty: first stage
  std::string sums_path;    // out: raw little-endian F64
};
struct SketchResult {
  uint64_t samples = 0;
  std::map<std::string, double> scalars;
};

// Port: training at the site. One call at a time; answers on the agent's
// strand. UNAVAILABLE: the trainer process died or hung (it is started anew
// for the next call, which must Configure first); other codes are the
// trainer's own error for this task.
class LocalTrainer {
 public:
  using Progress = std::function<void(float fraction)>;
  virtual ~LocalTrainer() = default;
  virtual void Configure(TrainerSetup setup, Reply<TrainerReady> reply) = 0;
  virtual void Train(TrainRequest request, Progress progress,
                     Reply<TrainResult> reply) = 0;
  virtual void Evaluate(EvaluateRequest request, Progress progress,
                        Reply<EvaluateResult> reply) = 0;
  virtual void Solve(SolveRequest request, Progress progress,
                     Reply<SolveResult> reply) = 0;
  virtual void Gather(GatherRequest request, Progress progress,
                      Reply<GatherResult> reply) = 0;
  virtual void Sketch(SketchRequest request, Progress progress,
                      Reply<SketchResult> reply) = 0;
  // Ends the call under way (it answers CANCELLED).
  virtual void Cancel() = 0;
};

}  // namespace fedgraft
