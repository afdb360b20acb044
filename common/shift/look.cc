#include "common/shift/look.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/config/deterministic_bytes.h"
#include "common/config/identity.h"
#include "common/numeric/update_payload.h"
#include "common/shift/devices.h"
#include "common/shift/shift_tests.h"
#include "common/solve/head_values.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/shift.pb.h"

namespace fedgraft {
namespace {

int64_t VerdictWords() { return 1 + static_cast<int64_t>(ShiftTests().size()); }

// Counts of sites: how many there are, then in how many each test differs.
absl::Status CheckVerdicts(absl::Span<const uint64_t> words, int sites_min) {
  if (static_cast<int64_t>(words.size()) != VerdictWords()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verdicts: expected ", VerdictWords(), " words, got ", words.size()));
  }
  const uint64_t sites = words[0];
  if (sites < static_cast<uint64_t>(sites_min)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verdicts: expected at least ", sites_min, " sites, got ", sites));
  }
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] <= sites) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("verdicts: ", std::string(ShiftTests()[i - 1].name),
                     " of ", words[i], " sites; expected at most ", sites));
  }
  return absl::OkStatus();
}

absl::Status Parse(ByteSpan bytes, pb::PooledLook& message) {
  const google::protobuf::LogSilencer silencer;
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("pooled look: the bytes are no message");
}

}  // namespace

absl::StatusOr<Look> Look::Create(const Plan& plan,
                                  const ParameterLayout& layout) {
  SketchSpec spec;
  spec.feature_dim = HeadFeatures(plan, layout);
  if (spec.feature_dim < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("shift.every: the head of ", plan.architecture,
                     " is not linear in its features, which are what sites "
                     "are compared by; expected 0, or another backbone"));
  }
  spec.num_classes = plan.num_classes();
  spec.seed = plan.seed;
  spec.sites_max = MaxTerms(plan);
  spec.has_outputs = true;
  // Feature vectors do not tell how an image was taken.
  spec.has_acquisition = HasBackbone(plan);
  spec.has_devices = plan.shift.devices;
  FG_ASSIGN_OR_RETURN(Sketch sketch, Sketch::Create(spec));
  return Look(std::move(sketch));
}

absl::StatusOr<Look> Look::Decode(const Plan& plan,
                                  const ParameterLayout& layout,
                                  ByteSpan pooled) {
  FG_ASSIGN_OR_RETURN(Look look, Create(plan, layout));
  FG_RETURN_IF_ERROR(look.Follow(pooled).status());
  return look;
}

absl::StatusOr<bool> Look::Follow(ByteSpan pooled) {
  pb::PooledLook message;
  FG_RETURN_IF_ERROR(Parse(pooled, message));
  const int have = static_cast<int>(stages_.size());
  if (message.stages_size() < have) return false;
  for (int i = 0; i < have; ++i) {
    const auto& words = message.stages(i).words();
    if (!std::equal(words.begin(), words.end(), stages_[i].begin(),
                    stages_[i].end())) {
      return false;
    }
  }
  for (int i = have; i < message.stages_size(); ++i) {
    const auto& words = message.stages(i).words();
    if (done()) {
      return absl::InvalidArgumentError("pooled look: stages after the last");
    }
    FG_RETURN_IF_ERROR(Add({words.begin(), words.end()}));
  }
  return true;
}

Bytes Look::Encode() const {
  pb::PooledLook message;
  for (const std::vector<uint64_t>& stage : stages_) {
    message.add_stages()->mutable_words()->Add(stage.begin(), stage.end());
  }
  return DeterministicBytes(message);
}

int64_t Look::words() const {
  return sketch_.done() ? VerdictWords() : sketch_.layout().count();
}

absl::StatusOr<std::vector<uint64_t>> Look::Pack(
    absl::Span<const double> sums) const {
  std::vector<uint64_t> words;
  if (!sketch_.done()) {
    FG_ASSIGN_OR_RETURN(words, PackSketch(sketch_.layout(), sums));
  } else {
    for (const double sum : sums) {
      if (sum != 0 && sum != 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("verdicts: expected 0 or 1, got ", sum));
      }
      words.push_back(static_cast<uint64_t>(sum));
    }
  }
  FG_RETURN_IF_ERROR(Check(words));
  return words;
}

absl::Status Look::Check(absl::Span<const uint64_t> words) const {
  double sites = 0;
  if (sketch_.done()) {
    FG_RETURN_IF_ERROR(CheckVerdicts(words, 1));
    sites = static_cast<double>(words[0]);
  } else {
    const SketchLayout& layout = sketch_.layout();
    FG_ASSIGN_OR_RETURN(const std::vector<double> sums,
                        UnpackSketch(layout, words));
    FG_RETURN_IF_ERROR(CheckSketch(layout, sums));
    sites = SketchValues(layout, sums, "sites")[0];
  }
  if (sites == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("sketch of one site: it counts as ", sites, " sites"));
}

absl::Status Look::Add(std::vector<uint64_t> words) {
  if (sketch_.done()) {
    FG_RETURN_IF_ERROR(CheckVerdicts(words, kSketchSitesMin));
    done_ = true;
  } else {
    FG_ASSIGN_OR_RETURN(const std::vector<double> sums,
                        UnpackSketch(sketch_.layout(), words));
    FG_RETURN_IF_ERROR(sketch_.Add(sums));
  }
  stages_.push_back(std::move(words));
  return absl::OkStatus();
}

std::map<std::string, double> Look::Verdicts() const {
  const std::vector<uint64_t>& words = stages_.back();
  std::map<std::string, double> verdicts = {
      {"shift_sites", static_cast<double>(words[0])}};
  for (size_t i = 0; i < ShiftTests().size(); ++i) {
    verdicts[absl::StrCat("shift_sites_", std::string(ShiftTests()[i].name))] =
        static_cast<double>(words[i + 1]);
  }
  if (sketch_.layout().Has("manufacturer")) {
    verdicts.merge(ScannerMetrics(
        SketchValues(sketch_.layout(), sketch_.summary(), "manufacturer")));
  }
  return verdicts;
}

bool HasFrozenFeatures(const Plan& plan) {
  return plan.strategy == StrategyKind::kLinearProbe;
}

bool TellsNews(const Plan& plan) {
  return plan.shift.every > 0 && HasFrozenFeatures(plan);
}

std::vector<double> VerdictsOf(const std::map<std::string, double>& scalars) {
  std::vector<double> verdicts = {1};
  for (const ShiftTestSpec& test : ShiftTests()) {
    const auto p = scalars.find(ShiftScalar(test.name, "p"));
    const bool differs = p != scalars.end() && p->second <= kVerdictLevel;
    verdicts.push_back(differs ? 1 : 0);
  }
  return verdicts;
}

}  // namespace fedgraft
