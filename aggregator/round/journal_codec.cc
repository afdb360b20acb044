#include "aggregator/round/journal_codec.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/protocol/codec.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "proto/journal.pb.h"

namespace fedgraft {
namespace {

std::string Text(const Bytes& bytes) { return std::string(AsText(bytes)); }
Bytes Raw(const std::string& text) { return ToBytes(AsBytes(text)); }

template <typename Wire>
void AddSites(const std::vector<SiteId>& sites, Wire& wire) {
  for (const SiteId& site : sites) wire.add_sites(site.value);
}

template <typename Wire>
absl::StatusOr<std::vector<SiteId>> Sites(const Wire& wire) {
  std::vector<SiteId> sites;
  for (const std::string& text : wire.sites()) {
    FG_ASSIGN_OR_RETURN(SiteId site, SiteId::Parse(text));
    sites.push_back(std::move(site));
  }
  return sites;
}

// One overload of Encode and Decode per record.

void Encode(const RunOpened& in, pb::JournalRecord& record) {
  pb::RunOpened& out = *record.mutable_run_opened();
  out.set_run_id(in.run.value);
  out.set_plan(Text(in.plan));
  out.set_wrapped_hpke_private_key(Text(in.wrapped_key));
  out.set_hpke_public_key(Text(in.hpke_public_key));
  out.set_hpke_key_signature(Text(in.hpke_key_signature));
  out.set_initial_model(in.initial_model.AsWire());
  out.set_initial_model_size_bytes(in.initial_model_size_bytes);
  out.set_initial_model_inline(Text(in.initial_model_inline));
  out.set_backbone_size_bytes(in.backbone_size_bytes);
  for (const TensorSpec& tensor : in.layout.tensors()) {
    pb::TensorSpec& spec = *out.mutable_layout()->add_tensors();
    spec.set_name(tensor.name);
    for (int64_t size : tensor.shape) spec.add_shape(size);
    spec.set_kind(static_cast<pb::TensorKind>(tensor.kind));
  }
}

absl::StatusOr<ParameterLayout> DecodeLayout(const pb::ParameterLayout& in) {
  std::vector<TensorSpec> tensors;
  for (const pb::TensorSpec& spec : in.tensors()) {
    if (spec.kind() < pb::TENSOR_KIND_WEIGHT ||
        spec.kind() > pb::TENSOR_KIND_BN_VAR) {
      return absl::DataLossError(
          absl::StrCat("tensor ", spec.name(), " has no known kind"));
    }
    tensors.push_back({spec.name(),
                       {spec.shape().begin(), spec.shape().end()},
                       static_cast<TensorKind>(spec.kind())});
  }
  return ParameterLayout::Create(std::move(tensors));
}

absl::StatusOr<Record> Decode(const pb::RunOpened& in) {
  RunOpened out;
  out.run = RunId{in.run_id()};
  out.plan = Raw(in.plan());
  out.wrapped_key = Raw(in.wrapped_hpke_private_key());
  out.hpke_public_key = Raw(in.hpke_public_key());
  out.hpke_key_signature = Raw(in.hpke_key_signature());
  FG_ASSIGN_OR_RETURN(out.initial_model, Digest::FromWire(in.initial_model()));
  out.initial_model_size_bytes = in.initial_model_size_bytes();
  out.initial_model_inline = Raw(in.initial_model_inline());
  out.backbone_size_bytes = in.backbone_size_bytes();
  FG_ASSIGN_OR_RETURN(out.layout, DecodeLayout(in.layout()));
  return out;
}

void Encode(const SiteJoined& in, pb::JournalRecord& record) {
  record.mutable_site_joined()->set_site(in.site.value);
  if (in.roster.has_value()) {
    record.mutable_site_joined()->set_roster(in.roster->AsWire());
  }
}

absl::StatusOr<Record> Decode(const pb::SiteJoined& in) {
  SiteJoined out;
  FG_ASSIGN_OR_RETURN(out.site, SiteId::Parse(in.site()));
  if (!in.roster().empty()) {
    FG_ASSIGN_OR_RETURN(out.roster, Digest::FromWire(in.roster()));
  }
  return out;
}

void Encode(const RoundOpened& in, pb::JournalRecord& record) {
  record.mutable_round_opened()->set_round(in.round.value);
}

absl::StatusOr<Record> Decode(const pb::RoundOpened& in) {
  return RoundOpened{RoundId{in.round()}};
}

void Encode(const ContributionAccepted& in, pb::JournalRecord& record) {
  pb::ContributionAccepted& out = *record.mutable_contribution();
  out.set_site(in.site.value);
  *out.mutable_header() = ToWire(in.header);
  out.set_sealed_inline(Text(in.sealed_inline));
  out.set_spool_file(in.spool_file);
}

absl::StatusOr<Record> Decode(const pb::ContributionAccepted& in) {
  ContributionAccepted out;
  FG_ASSIGN_OR_RETURN(out.site, SiteId::Parse(in.site()));
  FG_ASSIGN_OR_RETURN(out.header, FromWire(in.header()));
  out.sealed_inline = Raw(in.sealed_inline());
  out.spool_file = in.spool_file();
  return out;
}

void Encode(const SolveAdvanced& in, pb::SolveAdvanced& out) {
  out.set_state(in.state.AsWire());
  out.set_state_size_bytes(in.state_size_bytes);
  out.set_state_inline(Text(in.state_inline));
  out.set_solved(in.solved);
  if (in.solved) return;
  out.set_point(in.point.AsWire());
  out.set_point_size_bytes(in.point_size_bytes);
  out.set_point_inline(Text(in.point_inline));
  out.set_stage(static_cast<uint32_t>(in.stage));
  out.set_candidates(static_cast<uint32_t>(in.candidates));
}

absl::StatusOr<SolveAdvanced> DecodeSolve(const pb::SolveAdvanced& in) {
  SolveAdvanced out;
  FG_ASSIGN_OR_RETURN(out.state, Digest::FromWire(in.state()));
  out.state_size_bytes = in.state_size_bytes();
  out.state_inline = Raw(in.state_inline());
  out.solved = in.solved();
  if (out.solved) return out;
  FG_ASSIGN_OR_RETURN(out.point, Digest::FromWire(in.point()));
  out.point_size_bytes = in.point_size_bytes();
  out.point_inline = Raw(in.point_inline());
  if (in.stage() < static_cast<uint32_t>(SolveStage::kMoments) ||
      in.stage() > static_cast<uint32_t>(SolveStage::kValidate)) {
    return absl::DataLossError("a solve stage that this version does not know");
  }
  out.stage = static_cast<SolveStage>(in.stage());
  out.candidates = static_cast<int>(in.candidates());
  return out;
}

void Encode(const StatisticsGathered& in, pb::StatisticsGathered& out) {
  out.set_digest(in.digest.AsWire());
  out.set_size_bytes(in.size_bytes);
  out.set_content_inline(Text(in.content_inline));
}

absl::StatusOr<StatisticsGathered> DecodeStatistics(
    const pb::StatisticsGathered& in) {
  StatisticsGathered out;
  FG_ASSIGN_OR_RETURN(out.digest, Digest::FromWire(in.digest()));
  out.size_bytes = in.size_bytes();
  out.content_inline = Raw(in.content_inline());
  return out;
}

void Encode(const RuleAdvanced& in, pb::RuleAdvanced& out) {
  out.set_state(in.state.AsWire());
  out.set_state_size_bytes(in.state_size_bytes);
  out.set_state_inline(Text(in.state_inline));
}

absl::StatusOr<RuleAdvanced> DecodeRule(const pb::RuleAdvanced& in) {
  RuleAdvanced out;
  FG_ASSIGN_OR_RETURN(out.state, Digest::FromWire(in.state()));
  out.state_size_bytes = in.state_size_bytes();
  out.state_inline = Raw(in.state_inline());
  return out;
}

void Encode(const RoundReduced& in, pb::JournalRecord& record) {
  pb::RoundReduced& out = *record.mutable_round_reduced();
  out.set_round(in.round.value);
  AddSites(in.sites, out);
  out.set_model(in.model.AsWire());
  out.set_model_size_bytes(in.model_size_bytes);
  out.set_model_inline(Text(in.model_inline));
  out.set_saturated(in.saturated);
  out.set_bytes_down(in.bytes_down);
  out.set_elapsed_us(absl::ToInt64Microseconds(in.elapsed));
  out.set_opens_next(in.opens_next);
  if (in.solve.has_value()) Encode(*in.solve, *out.mutable_solve());
  if (in.statistics.has_value()) {
    Encode(*in.statistics, *out.mutable_statistics());
  }
  out.mutable_metrics()->insert(in.metrics.begin(), in.metrics.end());
  if (in.rule.has_value()) Encode(*in.rule, *out.mutable_rule());
  out.set_news(in.news);
  for (const auto& [site, share] : in.influence) {
    (*out.mutable_influence())[site.value] = share;
  }
}

absl::StatusOr<Record> Decode(const pb::RoundReduced& in) {
  RoundReduced out;
  out.round = RoundId{in.round()};
  FG_ASSIGN_OR_RETURN(out.sites, Sites(in));
  FG_ASSIGN_OR_RETURN(out.model, Digest::FromWire(in.model()));
  out.model_size_bytes = in.model_size_bytes();
  out.model_inline = Raw(in.model_inline());
  out.saturated = in.saturated();
  out.bytes_down = in.bytes_down();
  out.elapsed = absl::Microseconds(in.elapsed_us());
  out.opens_next = in.opens_next();
  if (in.has_solve()) {
    FG_ASSIGN_OR_RETURN(out.solve, DecodeSolve(in.solve()));
  }
  if (in.has_statistics()) {
    FG_ASSIGN_OR_RETURN(out.statistics, DecodeStatistics(in.statistics()));
  }
  out.metrics.insert(in.metrics().begin(), in.metrics().end());
  if (in.has_rule()) {
    FG_ASSIGN_OR_RETURN(out.rule, DecodeRule(in.rule()));
  }
  out.news = in.news();
  for (const auto& [text, share] : in.influence()) {
    FG_ASSIGN_OR_RETURN(SiteId site, SiteId::Parse(text));
    out.influence[std::move(site)] = share;
  }
  return out;
}

void Encode(const EvaluationClosed& in, pb::JournalRecord& record) {
  pb::EvaluationClosed& out = *record.mutable_evaluation_closed();
  out.set_round(in.round.value);
  AddSites(in.sites, out);
  out.mutable_metrics()->insert(in.metrics.begin(), in.metrics.end());
  out.set_opens_next(in.opens_next);
}

absl::StatusOr<Record> Decode(const pb::EvaluationClosed& in) {
  EvaluationClosed out;
  out.round = RoundId{in.round()};
  FG_ASSIGN_OR_RETURN(out.sites, Sites(in));
  out.metrics.insert(in.metrics().begin(), in.metrics().end());
  out.opens_next = in.opens_next();
  return out;
}

void Encode(const RunClosed& in, pb::JournalRecord& record) {
  record.mutable_run_closed()->set_stopped(in.stopped);
  record.mutable_run_closed()->set_reason(in.reason);
}

absl::StatusOr<Record> Decode(const pb::RunClosed& in) {
  return RunClosed{in.stopped(), in.reason()};
}

void Encode(const RunPaused& in, pb::JournalRecord& record) {
  record.mutable_paused()->set_paused(in.paused);
}

absl::StatusOr<Record> Decode(const pb::RunPaused& in) {
  return RunPaused{in.paused()};
}

void Encode(const SiteReported& in, pb::JournalRecord& record) {
  pb::SiteReported& out = *record.mutable_site_reported();
  out.set_site(in.site.value);
  out.set_round(in.round.value);
  out.mutable_scalars()->insert(in.scalars.begin(), in.scalars.end());
}

absl::StatusOr<Record> Decode(const pb::SiteReported& in) {
  SiteReported out;
  FG_ASSIGN_OR_RETURN(out.site, SiteId::Parse(in.site()));
  out.round = RoundId{in.round()};
  out.scalars.insert(in.scalars().begin(), in.scalars().end());
  return out;
}

void Encode(const SketchClosed& in, pb::JournalRecord& record) {
  pb::SketchClosed& out = *record.mutable_sketch_closed();
  out.set_round(in.round.value);
  AddSites(in.sites, out);
  out.set_pooled(in.pooled.AsWire());
  out.set_pooled_size_bytes(in.pooled_size_bytes);
  out.set_pooled_inline(Text(in.pooled_inline));
  out.set_open(in.open);
  out.mutable_metrics()->insert(in.metrics.begin(), in.metrics.end());
  out.set_opens_next(in.opens_next);
}

absl::StatusOr<Record> Decode(const pb::SketchClosed& in) {
  SketchClosed out;
  out.round = RoundId{in.round()};
  FG_ASSIGN_OR_RETURN(out.sites, Sites(in));
  FG_ASSIGN_OR_RETURN(out.pooled, Digest::FromWire(in.pooled()));
  out.pooled_size_bytes = in.pooled_size_bytes();
  out.pooled_inline = Raw(in.pooled_inline());
  out.open = in.open();
  out.metrics.insert(in.metrics().begin(), in.metrics().end());
  out.opens_next = in.opens_next();
  return out;
}

void Encode(const RemediesChosen& in, pb::JournalRecord& record) {
  pb::RemediesChosen& out = *record.mutable_remedies_chosen();
  out.set_training_round(in.training_round.value);
  for (const auto& [site, choice] : in.sites) {
    pb::ChosenRemedy& chosen = *out.add_sites();
    chosen.set_site(site.value);
    chosen.set_remedy(static_cast<pb::SiteRemedy>(choice.remedy));
    chosen.set_obstacle(static_cast<uint32_t>(choice.obstacle));
  }
}

absl::StatusOr<Record> Decode(const pb::RemediesChosen& in) {
  RemediesChosen out;
  out.training_round = RoundId{in.training_round()};
  for (const pb::ChosenRemedy& chosen : in.sites()) {
    FG_ASSIGN_OR_RETURN(SiteId site, SiteId::Parse(chosen.site()));
    if (!pb::SiteRemedy_IsValid(chosen.remedy())) {
      return absl::DataLossError("a remedy that this version does not know");
    }
    out.sites[std::move(site)] = {
        static_cast<SiteRemedy>(chosen.remedy()),
        static_cast<RemedyObstacle>(chosen.obstacle())};
  }
  return out;
}

absl::StatusOr<SecureStep> DecodeStep(pb::SecureStep step) {
  if (step < pb::SECURE_STEP_ADVERTISE || step > pb::SECURE_STEP_UNMASK) {
    return absl::DataLossError("a step that this version does not know");
  }
  return static_cast<SecureStep>(step);
}

void Encode(const SecureAnswered& in, pb::JournalRecord& record) {
  pb::SecureAnswered& out = *record.mutable_secure_answered();
  out.set_site(in.site.value);
  out.set_attempt(in.attempt);
  out.set_step(static_cast<pb::SecureStep>(in.step));
  out.set_payload(Text(in.payload));
}

absl::StatusOr<Record> Decode(const pb::SecureAnswered& in) {
  SecureAnswered out;
  FG_ASSIGN_OR_RETURN(out.site, SiteId::Parse(in.site()));
  FG_ASSIGN_OR_RETURN(out.step, DecodeStep(in.step()));
  out.attempt = in.attempt();
  out.payload = Raw(in.payload());
  return out;
}

void Encode(const SecureAdvanced& in, pb::JournalRecord& record) {
  record.mutable_secure_advanced()->set_attempt(in.attempt);
  record.mutable_secure_advanced()->set_step(
      static_cast<pb::SecureStep>(in.step));
}

absl::StatusOr<Record> Decode(const pb::SecureAdvanced& in) {
  SecureAdvanced out;
  FG_ASSIGN_OR_RETURN(out.step, DecodeStep(in.step()));
  out.attempt = in.attempt();
  return out;
}

absl::StatusOr<Record> DecodeRecord(const pb::JournalRecord& in) {
  switch (in.record_case()) {
    case pb::JournalRecord::kRunOpened:
      return Decode(in.run_opened());
    case pb::JournalRecord::kSiteJoined:
      return Decode(in.site_joined());
    case pb::JournalRecord::kRoundOpened:
      return Decode(in.round_opened());
    case pb::JournalRecord::kContribution:
      return Decode(in.contribution());
    case pb::JournalRecord::kRoundReduced:
      return Decode(in.round_reduced());
    case pb::JournalRecord::kSketchClosed:
      return Decode(in.sketch_closed());
    case pb::JournalRecord::kRemediesChosen:
      return Decode(in.remedies_chosen());
    case pb::JournalRecord::kEvaluationClosed:
      return Decode(in.evaluation_closed());
    case pb::JournalRecord::kRunClosed:
      return Decode(in.run_closed());
    case pb::JournalRecord::kPaused:
      return Decode(in.paused());
    case pb::JournalRecord::kSiteReported:
      return Decode(in.site_reported());
    case pb::JournalRecord::kSecureAnswered:
      return Decode(in.secure_answered());
    case pb::JournalRecord::kSecureAdvanced:
      return Decode(in.secure_advanced());
    case pb::JournalRecord::RECORD_NOT_SET:
      break;
  }
  return absl::DataLossError("holds no record that this version knows");
}

}  // namespace

Bytes EncodeEntry(const JournalEntry& entry) {
  pb::JournalRecord wire;
  wire.set_time_unix_ms(absl::ToUnixMillis(entry.time));
  std::visit([&](const auto& record) { Encode(record, wire); }, entry.record);
  Bytes bytes(wire.ByteSizeLong());
  google::protobuf::io::ArrayOutputStream array(bytes.data(),
                                                static_cast<int>(bytes.size()));
  google::protobuf::io::CodedOutputStream out(&array);
  out.SetSerializationDeterministic(true);  // maps in a fixed order
  wire.SerializeWithCachedSizes(&out);
  FG_CHECK(!out.HadError());
  return bytes;
}

absl::StatusOr<JournalEntry> DecodeEntry(ByteSpan bytes) {
  pb::JournalRecord wire;
  if (!wire.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("log entry is not a journal record");
  }
  absl::StatusOr<Record> record = DecodeRecord(wire);
  if (!record.ok()) {
    return absl::DataLossError(
        absl::StrCat("log entry: ", record.status().message()));
  }
  return JournalEntry{absl::FromUnixMillis(wire.time_unix_ms()),
                      *std::move(record)};
}

}  // namespace fedgraft
