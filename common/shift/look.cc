#include "common/shift/look.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/config/deterministic_bytes.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/numeric/update_payload.h"
#include "common/shift/devices.h"
#include "common/shift/shift_tests.h"
#include "common/solve/head_values.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/shift.pb.h"

namespace fedgraft {
namespace {

int64_t VerdictWords() { return 1 + static_cast<int64_t>(ShiftTests().size()); }

constexpr int64_t kNewsWords = 2;

// Counts of sites: how many there are, then how many say so of what `name`
// names.
absl::Status CheckCounts(absl::string_view stage,
                         absl::Span<const uint64_t> words, int64_t count,
                         int sites_min,
                         const std::function<std::string(size_t)>& name) {
  if (static_cast<int64_t>(words.size()) != count) {
    return absl::InvalidArgumentError(absl::StrCat(
        stage, ": expected ", count, " words, got ", words.size()));
  }
  const uint64_t sites = words[0];
  if (sites < static_cast<uint64_t>(sites_min)) {
    return absl::InvalidArgumentError(absl::StrCat(
        stage, ": expected at least ", sites_min, " sites, got ", sites));
  }
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] <= sites) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(stage, ": ", name(i), " of ", words[i],
                     " sites; expected at most ", sites));
  }
  return absl::OkStatus();
}

absl::Status CheckVerdicts(absl::Span<const uint64_t> words, int sites_min) {
  return CheckCounts(
      "verdicts", words, VerdictWords(), sites_min,
      [](size_t i) { return std::string(ShiftTests()[i - 1].name); });
}

absl::Status CheckNews(absl::Span<const uint64_t> words, int sites_min) {
  return CheckCounts("news", words, kNewsWords, sites_min,
                     [](size_t) { return std::string("changes"); });
}

absl::Status Parse(ByteSpan bytes, pb::PooledLook& message) {
  const google::protobuf::LogSilencer silencer;
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("pooled look: the bytes are no message");
}

absl::StatusOr<Digest> PreviousOf(const pb::PooledLook& message) {
  if (message.previous().empty()) return Digest();
  absl::StatusOr<Digest> previous = Digest::FromWire(message.previous());
  if (previous.ok() && *previous != Digest()) return previous;
  return absl::InvalidArgumentError(
      "pooled look: the look before is no SHA-256");
}

}  // namespace

absl::StatusOr<Look> Look::Create(const Plan& plan,
                                  const ParameterLayout& layout,
                                  const Digest& previous) {
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
  return Look(std::move(sketch), previous);
}

absl::StatusOr<Look> Look::Decode(const Plan& plan,
                                  const ParameterLayout& layout,
                                  ByteSpan pooled) {
  pb::PooledLook message;
  FG_RETURN_IF_ERROR(Parse(pooled, message));
  FG_ASSIGN_OR_RETURN(const Digest previous, PreviousOf(message));
  FG_ASSIGN_OR_RETURN(Look look, Create(plan, layout, previous));
  FG_RETURN_IF_ERROR(look.Follow(pooled).status());
  return look;
}

absl::StatusOr<bool> Look::Follow(ByteSpan pooled) {
  pb::PooledLook message;
  FG_RETURN_IF_ERROR(Parse(pooled, message));
  FG_ASSIGN_OR_RETURN(const Digest previous, PreviousOf(message));
  const int have = static_cast<int>(stages_.size());
  if (previous != previous_ || message.stages_size() < have) return false;
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
  if (has_news()) message.set_previous(previous_.AsWire());
  return DeterministicBytes(message);
}

Digest Look::SumsDigest() const {
  pb::PooledLook message;
  for (size_t i = has_news() ? 1 : 0; i < stages_.size(); ++i) {
    message.add_stages()->mutable_words()->Add(stages_[i].begin(),
                                               stages_[i].end());
  }
  return Sha256(DeterministicBytes(message));
}

int64_t Look::words() const {
  if (asks_news()) return kNewsWords;
  return sketch_.done() ? VerdictWords() : sketch_.layout().count();
}

absl::StatusOr<std::vector<uint64_t>> Look::Pack(
    absl::Span<const double> sums) const {
  std::vector<uint64_t> words;
  if (!asks_news() && !sketch_.done()) {
    FG_ASSIGN_OR_RETURN(words, PackSketch(sketch_.layout(), sums));
  } else {
    for (const double sum : sums) {
      if (sum != 0 && sum != 1) {
        return absl::InvalidArgumentError(absl::StrCat(
            asks_news() ? "news" : "verdicts", ": expected 0 or 1, got ", sum));
      }
      words.push_back(static_cast<uint64_t>(sum));
    }
  }
  FG_RETURN_IF_ERROR(Check(words));
  return words;
}

absl::Status Look::Check(absl::Span<const uint64_t> words) const {
  double sites = 0;
  if (asks_news() || sketch_.done()) {
    FG_RETURN_IF_ERROR(asks_news() ? CheckNews(words, 1)
                                   : CheckVerdicts(words, 1));
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
  if (asks_news()) {
    FG_RETURN_IF_ERROR(CheckNews(words, kSketchSitesMin));
    done_ = words[1] == 0;
  } else if (sketch_.done()) {
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
  if (unchanged()) return {{kLookUnchanged, 1}};
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

Bytes LookSince(const Digest& previous) {
  pb::PooledLook message;
  message.set_previous(previous.AsWire());
  return DeterministicBytes(message);
}

bool HasFrozenFeatures(const Plan& plan) {
  return plan.strategy == StrategyKind::kLinearProbe;
}

std::vector<double> NewsOf(bool changed) { return {1, changed ? 1.0 : 0.0}; }

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
