#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/config/plan.h"
#include "common/model/safetensors.h"

namespace fedgraft {

struct ExportedModel {
  Bytes safetensors;      // backbone and trained tensors, torchvision's names
  std::string card_json;  // the model card, see README
};

struct ExportFacts {
  RunId run;
  uint32_t rounds = 0;
  std::vector<SiteId> sites;              // that contributed
  std::map<std::string, double> metrics;  // pooled, of the last evaluation
  // Training records of all sites by class; empty: nothing told them. The card
  // says by "training_priors" which shares the model learned: theirs, or equal
  // ones under class weights.
  std::vector<double> class_counts = {};
};

// Lays the trainable set (safetensors bytes) over the backbone: every tensor of
// the set replaces the backbone's of that name, head included; low-rank
// adapters are merged into the weights; F16 and BF16 widen to F32. A hidden
// branch of the head and bottleneck adapters have tensors of their own, which
// torchvision does not know: the card says so under "head" and "adapter", and
// `predict` reads it. INVALID_ARGUMENT: `trained` is not a trainable set, or
// the backbone is not the plan's.
// FAILED_PRECONDITION: a head for features that each site normalises itself.
absl::StatusOr<ExportedModel> ExportModel(const Plan& plan,
                                          const ExportFacts& facts,
                                          const SafetensorsFile& backbone,
                                          ByteSpan trained);

}  // namespace fedgraft
