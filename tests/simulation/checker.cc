#include "tests/simulation/checker.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/journal_codec.h"
#include "aggregator/rules/rule_state.h"
#include "aggregator/store/log_reader.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/numeric/update_payload.h"
#include "common/shift/look.h"
#include "common/solve/head_values.h"
#include "common/solve/solve_statistics.h"
#include "common/statistics/gathered_statistics.h"
#include "tests/round/round_world.h"

namespace fedgraft::testing {
namespace {

std::vector<std::string> Names(const std::vector<SiteId>& sites) {
  std::vector<std::string> names;
  for (const SiteId& site : sites) names.push_back(site.value);
  return names;
}

// What a restart must not change of a published round.
bool SameRound(const RoundRecord& a, const RoundRecord& b) {
  return a.round == b.round && a.sites == b.sites &&
         a.saturated == b.saturated && a.elapsed == b.elapsed;
}

}  // namespace

void Checker::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = what;
}

Checker::Key Checker::KeyOf(const SiteId& site, const UploadHeader& header) {
  return {header.run.value, header.round.value, static_cast<int>(header.kind),
          site.value, header.secure_attempt};
}

void Checker::Acknowledged(const SiteId& site, const UploadHeader& header,
                           const UploadReceipt& receipt) {
  const auto [found, is_new] =
      acknowledged_.emplace(KeyOf(site, header), receipt);
  if (!is_new && (found->second.sealed_digest != receipt.sealed_digest ||
                  found->second.sequence != receipt.sequence)) {
    Fail(absl::StrCat("round ", header.round.value, ": site ", site.value,
                      " has two different receipts"));
  }
}

bool Checker::IsMasked(const RunId& run) const {
  const SecureAggregationSpec& secure = plan_->secure_aggregation;
  if (secure.mode != SecureMode::kAuto) return secure.is_on;
  const auto found = masked_.find(run.value);
  return found != masked_.end() && found->second;
}

void Checker::Asked(const SiteId& site, const Task& task) {
  UploadHeader header;
  header.run = task.run;
  header.round = task.round;
  header.kind = task.kind;
  header.secure_attempt = task.secure.attempt;
  const bool masked = task.secure.step != SecureStep::kNone;
  // Mode auto: as the run's first task has it.
  masked_.emplace(task.run.value, masked);
  if (plan_.has_value() && IsMasked(task.run) != masked) {
    Fail("a task with masks in a run without, or the other way round");
  }
  if (!task.secure.AsksUpdate()) return;
  if (acknowledged_.contains(KeyOf(site, header))) {
    Fail(absl::StrCat("round ", task.round.value, ": site ", site.value,
                      " is asked again for what was acknowledged"));
  }
  if (task.kind != TaskKind::kTrain) return;
  const auto given = given_.emplace(task.run.value, task.statistics).first;
  if (given->second != task.statistics) {
    Fail(absl::StrCat("round ", task.round.value, ": site ", site.value,
                      " is given other statistics than before"));
  }
  told_.push_back({site, task});
}

void Checker::CheckTold() {
  for (const auto& [site, task] : told_) {
    if (task.run.value != run_) continue;
    RoundId counted;
    const auto rounds = counted_.find(site);
    if (rounds != counted_.end()) {
      const auto next = rounds->second.lower_bound(task.training_round);
      if (next != rounds->second.begin()) counted = *std::prev(next);
    }
    if (task.counted_round == counted) continue;
    Fail(absl::StrCat("round ", task.round.value, ": site ", site.value,
                      " is told that it was counted last in round ",
                      task.counted_round.value, "; it was in ", counted.value));
  }
  told_.clear();
}

bool Checker::ReadRecords(std::vector<Record>& records) {
  const auto end =
      ReadLog(files_, "log", [&](uint64_t, ByteSpan bytes) -> absl::Status {
        FG_ASSIGN_OR_RETURN(JournalEntry entry, DecodeEntry(bytes));
        records.push_back(std::move(entry.record));
        return absl::OkStatus();
      });
  if (!end.ok() && !absl::IsUnavailable(end.status())) {
    Fail(absl::StrCat("the log cannot be read: ", end.status().ToString()));
  }
  return end.ok();
}

Bytes Checker::ModelBytes(const Digest& digest, const Bytes& inline_bytes) {
  if (!inline_bytes.empty()) return inline_bytes;
  return *ReadAll(files_, absl::StrCat("blobs/", digest.Hex()));
}

void Checker::PerStep(const SiteId& site, ParameterVector& delta,
                      WeightedUpdate& update) const {
  const auto cap = static_cast<uint64_t>(plan_->update.weight_cap);
  const double steps =
      ReferenceSteps(FakeSamples(seed_, site)) / ReferenceSteps(cap);
  // They travel as a word, too, on the grid of the values.
  const RingSpec ring = *TrainRing(*plan_);
  update.steps = std::nearbyint(static_cast<float>(steps) *
                                std::ldexp(update.weight, ring.fraction_bits)) *
                 ring.Step();
  for (size_t t = 0; t < layout_.tensors().size(); ++t) {
    const TensorSpec& tensor = layout_.tensors()[t];
    if (tensor.kind != TensorKind::kWeight) continue;
    const int64_t begin = layout_.Offset(t);
    for (int64_t i = begin; i < begin + tensor.Count(); ++i) {
      float& value = delta[static_cast<size_t>(i)];
      value = static_cast<float>(value / steps);
    }
  }
}

ParameterVector Checker::NextModel(const RoundReduced& reduced) {
  const RingSpec ring = *TrainRing(*plan_);
  const RoundId training_round{reduced.round.value - preparing_rounds_};
  std::vector<WeightedUpdate> updates;
  for (const SiteId& site : reduced.sites) {
    const uint64_t word =
        WeightWord(SiteWeight(*plan_, FakeSamples(seed_, site)));
    const double scale = std::ldexp(WeightOfWord(word), ring.fraction_bits);
    ParameterVector delta =
        FakeDelta(seed_, site, training_round, model_, layout_);
    WeightedUpdate& update = updates.emplace_back();
    update.weight = WeightOfWord(word);
    if (plan_->rule.kind == "fed_nova") PerStep(site, delta, update);
    for (const float value : delta) {
      update.values.push_back(std::nearbyint(value * scale) * ring.Step());
    }
  }
  ParameterVector next = values_;
  ToMoments(layout_, next);
  const std::vector<double> values = rule_->Next(
      layout_, next, updates,
      std::max(static_cast<size_t>(plan_->expected_sites), counted_.size()));
  for (size_t i = 0; i < next.size(); ++i) {
    next[i] = static_cast<float>(values[i]);
  }
  FromMoments(layout_, next);
  return next;
}

void Checker::CheckSolved(const RoundReduced& reduced) {
  ++preparing_rounds_;
  if (!solver_.has_value()) {
    solver_ = InitialSolverState(*plan_, HeadFeatures(*plan_, layout_));
  }
  const SolvePoint point = NextPoint(*plan_, *solver_);
  std::vector<uint64_t> words(SolveLayout(point).words());
  for (const SiteId& site : reduced.sites) {
    const auto packed = PackSolveSums(point, MaxTerms(*plan_),
                                      FakeSolveSums(seed_, site, point));
    for (size_t i = 0; i < words.size(); ++i) words[i] += (*packed)[i];
  }
  solver_ = *Advance(*plan_, *solver_, UnpackSolveSums(point, words));
  if (Sha256(EncodeSolverState(*solver_)) != reduced.solve->state ||
      solver_->done != reduced.solve->solved) {
    Fail(absl::StrCat("round ", reduced.round.value,
                      ": the solver is not where the contributions lead"));
  }
}

void Checker::CheckGathered(const RoundReduced& reduced) {
  ++preparing_rounds_;
  const StatisticsLayout layout(*plan_, layout_);
  GatheredStatistics expected;
  expected.model = model_;
  expected.words.resize(static_cast<size_t>(layout.count()));
  for (const SiteId& site : reduced.sites) {
    const auto packed = PackStatistics(
        layout, MaxTerms(*plan_), FakeStatistics(seed_, site, model_, layout));
    for (size_t i = 0; i < expected.words.size(); ++i) {
      expected.words[i] += (*packed)[i];
    }
  }
  if (NeedsModel(layout)) {
    expected.model_bytes = EncodeTrainableSet(layout_, values_);
  }
  gathered_ = Sha256(EncodeGathered(expected));
  if (reduced.statistics->digest != gathered_ || reduced.model != model_) {
    Fail(absl::StrCat("round ", reduced.round.value,
                      ": the statistics are not the sum of the sites'"));
  }
}

void Checker::CheckSketched(const SketchClosed& closed) {
  ++preparing_rounds_;
  const std::string where = absl::StrCat("round ", closed.round.value, ": ");
  if (closed.pooled_size_bytes == 0) {
    look_.clear();
    return;
  }
  if (closed.sites.size() < static_cast<size_t>(plan_->quorum)) {
    Fail(where + "sketches were pooled below the quorum");
  }
  const bool tells = TellsNews(*plan_) && compared_ != Digest();
  if (look_.empty() && tells && !has_news_) {
    Fail(where + "a look although nothing has changed");
  }
  fedgraft::Look look = *fedgraft::Look::Decode(*plan_, layout_, look_);
  std::vector<uint64_t> words(static_cast<size_t>(look.words()));
  for (const SiteId& site : closed.sites) {
    const auto one = look.Pack(FakeLook(seed_, site, *plan_, layout_, look_));
    for (size_t i = 0; i < words.size(); ++i) words[i] += (*one)[i];
  }
  if (!look.Add(std::move(words)).ok()) return Fail(where + "no such sketch");
  if (look.done()) {
    compared_ = Sha256(look_);
    has_news_ = false;
  }
  look_ = look.Encode();
  if (Sha256(look_) != closed.pooled || closed.open == look.done()) {
    Fail(where + "the look is not where the sites' sums lead");
  }
  if (look.done()) look_.clear();
}

ParameterVector Checker::WithHead() const {
  ParameterVector values = values_;
  SetHead(*plan_, layout_, PublishedHead(*solver_), values);
  return values;
}

void Checker::CheckRuleState(const RoundReduced& reduced) {
  const std::string where = absl::StrCat("round ", reduced.round.value, ": ");
  Bytes bytes = reduced.rule->state_inline;
  if (bytes.empty()) {
    auto blob =
        ReadAll(files_, absl::StrCat("blobs/", reduced.rule->state.Hex()));
    if (!blob.ok() && !is_newest_) return;  // of no use, and removed
    if (!blob.ok()) return Fail(where + "the rule's state is not there");
    bytes = *std::move(blob);
  }
  if (Sha256(bytes) != reduced.rule->state ||
      bytes.size() != reduced.rule->state_size_bytes) {
    return Fail(where + "the rule's state is not its digest's");
  }
  auto& expected = rule_->state();
  auto actual = RuleState::Decode(bytes, static_cast<int>(expected.size()),
                                  values_.size());
  if (!actual.ok()) return Fail(where + actual.status().ToString());
  for (size_t slot = 0; slot < expected.size(); ++slot) {
    const absl::Span<float> values = actual->Slot(static_cast<int>(slot));
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::abs(values[i] - expected[slot][i]) > 1e-6) {
        return Fail(absl::StrCat(
            where, "value ", i, " of slot ", slot, " of the rule's state is ",
            values[i], ", the contributions make ", expected[slot][i]));
      }
      expected[slot][i] = values[i];
    }
  }
}

void Checker::CheckPublished(const RoundReduced& reduced, const Bytes& model) {
  const std::string where = absl::StrCat("round ", reduced.round.value, ": ");
  if (Sha256(model) != reduced.model) {
    return Fail(where + "the model's bytes are not its digest's");
  }
  const auto actual = DecodeTrainableSet(layout_, model);
  if (!actual.ok()) return Fail(where + actual.status().ToString());
  if (reduced.solve.has_value()) CheckSolved(reduced);
  if (reduced.statistics.has_value()) return CheckGathered(reduced);
  uint64_t news = 0;
  for (const SiteId& site : reduced.sites) {
    if (reduced.solve.has_value()) break;
    const RoundId training_round{reduced.round.value - preparing_rounds_};
    counted_[site].insert(training_round);
    news += TellsNews(*plan_) && compared_ != Digest() &&
            FakeNews(seed_, site, training_round);
  }
  if (reduced.news != news) {
    Fail(absl::StrCat(where, "news of ", reduced.news, " sites; ", news,
                      " told of some"));
  }
  has_news_ = has_news_ || news > 0;
  const ParameterVector expected =
      reduced.solve.has_value() ? WithHead() : NextModel(reduced);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::abs((*actual)[i] - expected[i]) >
        2e-6 * (1 + std::abs(expected[i]))) {
      return Fail(absl::StrCat(where, "rule ", plan_->rule.kind, ": parameter ",
                               i, " is ", (*actual)[i],
                               ", the contributions make ", expected[i]));
    }
  }
  if (reduced.rule.has_value()) CheckRuleState(reduced);
  model_ = reduced.model;
  models_.insert(model_);
  values_ = *actual;
}

void Checker::Said(const SiteId& site, const SecureAnswer& answer) {
  if (answer.step != SecureStep::kUnmask) return;
  const auto shares = DecodeReleasedShares(answer.payload);
  if (!shares.ok()) return Fail(shares.status().ToString());
  for (const auto& [of, share] : *shares) {
    const Key key{answer.run.value, answer.round.value,
                  static_cast<int>(answer.kind), of.value, answer.attempt};
    if (released_.emplace(key, share.kind).first->second != share.kind) {
      Fail(absl::StrCat("round ", answer.round.value, ": site ", site.value,
                        " released another kind of share of ", of.value,
                        " than was released before"));
    }
  }
}

void Checker::CheckUnmasked(const std::vector<SiteId>& sites,
                            const SecureWatch& watch) {
  const size_t threshold = 2 * watch.advertised / 3 + 1;
  if (watch.advertised >= 3 && watch.step == SecureStep::kUnmask &&
      watch.released >= threshold && sites.size() >= threshold) {
    return;
  }
  Fail(absl::StrCat("a sum over ", sites.size(), " of ", watch.advertised,
                    " sites was unmasked in step ", SecureStepName(watch.step),
                    " with ", watch.released, " answers, expected ",
                    threshold));
}

// Nothing is unmasked below the threshold.
void Checker::CheckSecure(const Record& record, SecureWatch& watch) {
  if (const auto* said = std::get_if<SecureAnswered>(&record)) {
    if (said->step == SecureStep::kAdvertise) ++watch.advertised;
    if (said->step == SecureStep::kUnmask) ++watch.released;
  } else if (const auto* advanced = std::get_if<SecureAdvanced>(&record)) {
    if (advanced->step == SecureStep::kAdvertise) watch = SecureWatch();
    watch.step = advanced->step;
  } else if (const auto* reduced = std::get_if<RoundReduced>(&record)) {
    CheckUnmasked(reduced->sites, watch);
    watch = SecureWatch();
  } else if (const auto* closed = std::get_if<EvaluationClosed>(&record)) {
    if (!closed->metrics.empty()) CheckUnmasked(closed->sites, watch);
    watch = SecureWatch();
  } else if (const auto* sketched = std::get_if<SketchClosed>(&record)) {
    if (sketched->pooled_size_bytes > 0) {
      CheckUnmasked(sketched->sites, watch);
    }
    watch = SecureWatch();
  }
}

void Checker::CheckRecords(const std::vector<Record>& records) {
  std::map<Key, Digest> contributions;
  std::map<uint32_t, std::vector<SiteId>> sites;  // of train updates, by round
  size_t rounds = 0, sketches = 0;
  SecureWatch watch;
  abandoned_ = 0;
  for (const Record& record : records) {
    if (plan_.has_value() && IsMasked({run_})) {
      CheckSecure(record, watch);
    }
    if (const auto* advanced = std::get_if<SecureAdvanced>(&record);
        advanced != nullptr && advanced->step == SecureStep::kAdvertise) {
      ++abandoned_;
      if (!sites.empty()) sites.rbegin()->second.clear();
    }
    if (const auto* opened = std::get_if<RunOpened>(&record);
        opened != nullptr && run_ != opened->run.value) {
      run_ = opened->run.value;
      plan_ = *PlanFromBytes(opened->plan);
      model_ = opened->initial_model;
      values_ = *DecodeTrainableSet(
          layout_, ModelBytes(model_, opened->initial_model_inline));
      checked_rounds_ = 0;
      solver_.reset();
      preparing_rounds_ = 0;
      checked_sketches_ = 0;
      look_.clear();
      gathered_ = Digest();
      rule_.emplace(*plan_);
      counted_.clear();
    } else if (const auto* one = std::get_if<ContributionAccepted>(&record)) {
      const Key key = KeyOf(one->site, one->header);
      if (!contributions.emplace(key, one->header.sealed_digest).second) {
        Fail(absl::StrCat("site ", one->site.value,
                          " contributed twice to round ",
                          one->header.round.value));
      }
      if (one->site.value == "intruder") Fail("an intruder's update counts");
      if (one->header.kind != TaskKind::kEvaluate) {
        sites[one->header.round.value].push_back(one->site);
      }
    } else if (const auto* closed = std::get_if<SketchClosed>(&record)) {
      if (++sketches > checked_sketches_) {
        checked_sketches_ = sketches;
        CheckSketched(*closed);
      }
    } else if (const auto* reduced = std::get_if<RoundReduced>(&record)) {
      std::vector<SiteId>& expected = sites[reduced->round.value];
      std::sort(expected.begin(), expected.end());
      if (Names(expected) != Names(reduced->sites)) {
        Fail(absl::StrCat("round ", reduced->round.value,
                          " is not over the journalled contributions"));
      }
      if (static_cast<int>(reduced->sites.size()) < plan_->quorum) {
        Fail(absl::StrCat("round ", reduced->round.value,
                          " was published below the quorum"));
      }
      if (++rounds > checked_rounds_) {
        checked_rounds_ = rounds;
        // Nothing that makes its state obsolete has followed.
        is_newest_ =
            std::none_of(&record + 1, records.data() + records.size(),
                         [](const Record& later) {
                           return std::holds_alternative<RoundReduced>(later) ||
                                  std::holds_alternative<SketchClosed>(later) ||
                                  std::holds_alternative<RunClosed>(later);
                         });
        CheckPublished(*reduced,
                       ModelBytes(reduced->model, reduced->model_inline));
      }
    }
  }
  CheckTold();
  if (const auto given = given_.find(run_);
      given != given_.end() && given->second != gathered_) {
    Fail("sites are given other statistics than were gathered");
  }
  for (const auto& [key, receipt] : acknowledged_) {
    const auto found = contributions.find(key);
    if (found == contributions.end() ||
        found->second != receipt.sealed_digest) {
      Fail(absl::StrCat("the update of site ", std::get<3>(key), " to round ",
                        std::get<1>(key), " was acknowledged and is lost"));
    }
  }
}

void Checker::Look(const Coordinator& coordinator) {
  const std::vector<RoundRecord>& history = coordinator.History();
  if (history.size() < published_.size()) {
    return Fail("a published round has gone");
  }
  for (size_t i = 0; i < published_.size(); ++i) {
    if (!SameRound(published_[i], history[i])) {
      Fail(absl::StrCat("published round ", i + 1, " has changed"));
    }
  }
  if (history.size() == published_.size()) return;
  published_ = history;
  std::vector<Record> records;
  if (!ReadRecords(records)) return;
  CheckRecords(records);
  // An early stop goes back to a model of an earlier round.
  const Digest shown = coordinator.Snapshot().model;
  const bool stopped = plan_->stopping.patience > 0 && models_.contains(shown);
  if (ok() && model_ != shown && !stopped) {
    Fail("the model that is shown is not the one in the log");
  }
}

void Checker::LookAtRestart(const Coordinator& coordinator) {
  std::vector<Record> records;
  if (!ReadRecords(records)) return;
  CheckRecords(records);
  RunState replayed;
  uint64_t sequence = 0;
  for (Record& record : records) {
    const absl::Status applied =
        replayed.Apply({absl::UnixEpoch(), std::move(record)}, ++sequence);
    if (!applied.ok()) return Fail(applied.ToString());
  }
  const CoordinatorSnapshot shown = coordinator.Snapshot();
  const bool same_run = replayed.run() == nullptr
                            ? !shown.run.has_value()
                            : shown.run == replayed.run()->id &&
                                  shown.round == replayed.model_round() &&
                                  shown.model == replayed.model().digest;
  bool same =
      same_run && coordinator.History().size() == replayed.history().size();
  for (const SiteId& site : replayed.joined()) {
    const auto found = shown.sites.find(site);
    same = same && found != shown.sites.end() &&
           found->second.rounds_contributed == replayed.RoundsContributed(site);
  }
  if (!same) Fail("the state after a restart is not the replay of the log");
  Look(coordinator);
}

}  // namespace fedgraft::testing
