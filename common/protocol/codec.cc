#include "common/protocol/codec.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/protocol/field_check.h"

namespace fedgraft {
namespace {

// At most kRefusalDetailBytesMax bytes of it, without control characters.
std::string Printable(absl::string_view text) {
  std::string printable(text.substr(0, kRefusalDetailBytesMax));
  for (char& c : printable) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return printable;
}

absl::Status CheckScalars(const FieldCheck& check, const pb::SiteReport& wire) {
  if (wire.scalars().size() > kScalarsMax) {
    return check.Wrong("scalars", absl::StrCat("at most ", kScalarsMax),
                       absl::StrCat(wire.scalars().size()));
  }
  for (const auto& [name, value] : wire.scalars()) {
    FG_RETURN_IF_ERROR(check.Text("scalars.key", name, kNameBytesMax));
    if (!std::isfinite(value)) {
      return check.Wrong(absl::StrCat("scalars[", name, "]"), "a finite number",
                         absl::StrCat(value));
    }
  }
  return absl::OkStatus();
}

}  // namespace

pb::JoinRequest ToWire(const JoinRequest& message) {
  pb::JoinRequest wire;
  wire.set_protocol_version(message.protocol_version);
  wire.set_software_version(message.software_version);
  for (const std::string& capability : message.capabilities) {
    wire.add_capabilities(capability);
  }
  return wire;
}

absl::StatusOr<JoinRequest> FromWire(const pb::JoinRequest& wire) {
  const FieldCheck check("JoinRequest");
  // The version is the receiver's decision (a typed refusal), not the codec's.
  FG_RETURN_IF_ERROR(check.Text("software_version", wire.software_version(),
                                kNameBytesMax, /*may_be_empty=*/true));
  FG_RETURN_IF_ERROR(check.Between("capabilities", wire.capabilities_size(), 0,
                                   kCapabilitiesMax));
  JoinRequest message;
  message.protocol_version = wire.protocol_version();
  message.software_version = wire.software_version();
  for (const std::string& capability : wire.capabilities()) {
    FG_RETURN_IF_ERROR(check.Text("capabilities", capability, kNameBytesMax));
    message.capabilities.push_back(capability);
  }
  return message;
}

pb::RunDescriptor ToWire(const RunDescriptor& message) {
  pb::RunDescriptor wire;
  wire.set_run_id(message.run.value);
  wire.set_plan(ToWire(message.plan));
  wire.set_plan_hash(message.plan_hash.AsWire());
  wire.set_backbone_size_bytes(message.backbone_size_bytes);
  wire.set_initial_model(message.initial_model.AsWire());
  wire.set_hpke_public_key(ToWire(message.hpke_public_key));
  wire.set_hpke_key_signature(ToWire(message.hpke_key_signature));
  wire.set_aggregator_certificate_pem(message.aggregator_certificate_pem);
  wire.set_takes_chacha20_poly1305(message.takes_chacha20_poly1305);
  return wire;
}

absl::StatusOr<RunDescriptor> FromWire(const pb::RunDescriptor& wire) {
  const FieldCheck check("RunDescriptor");
  RunDescriptor message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_RETURN_IF_ERROR(check.Size("plan", wire.plan().size(), 1, kPlanBytesMax));
  FG_ASSIGN_OR_RETURN(message.plan_hash,
                      check.Sha256("plan_hash", wire.plan_hash()));
  FG_RETURN_IF_ERROR(check.Between(
      "backbone_size_bytes", wire.backbone_size_bytes(), 0, kBlobBytesMax));
  FG_ASSIGN_OR_RETURN(message.initial_model,
                      check.Sha256("initial_model", wire.initial_model()));
  FG_RETURN_IF_ERROR(
      check.Size("hpke_public_key", wire.hpke_public_key().size(), 32, 32));
  FG_RETURN_IF_ERROR(check.Size("hpke_key_signature",
                                wire.hpke_key_signature().size(), 64, 64));
  FG_RETURN_IF_ERROR(check.Size("aggregator_certificate_pem",
                                wire.aggregator_certificate_pem().size(), 1,
                                kCertificateBytesMax));
  message.plan = ToBytes(AsBytes(wire.plan()));
  message.backbone_size_bytes = wire.backbone_size_bytes();
  message.hpke_public_key = ToBytes(AsBytes(wire.hpke_public_key()));
  message.hpke_key_signature = ToBytes(AsBytes(wire.hpke_key_signature()));
  message.aggregator_certificate_pem = wire.aggregator_certificate_pem();
  message.takes_chacha20_poly1305 = wire.takes_chacha20_poly1305();
  return message;
}

pb::JoinReply ToWire(const JoinReply& message) {
  pb::JoinReply wire;
  wire.set_protocol_version(kProtocolVersion);
  wire.set_federation(message.federation);
  if (message.run.has_value()) *wire.mutable_run() = ToWire(*message.run);
  return wire;
}

absl::StatusOr<JoinReply> FromWire(const pb::JoinReply& wire) {
  const FieldCheck check("JoinReply");
  FG_RETURN_IF_ERROR(check.Between("protocol_version", wire.protocol_version(),
                                   kProtocolVersion, kProtocolVersion));
  FG_RETURN_IF_ERROR(check.Text("federation", wire.federation(), 63));
  JoinReply message;
  message.federation = wire.federation();
  if (wire.has_run()) {
    FG_ASSIGN_OR_RETURN(message.run, FromWire(wire.run()));
  }
  return message;
}

pb::UploadHeader ToWire(const UploadHeader& message) {
  pb::UploadHeader wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  wire.set_kind(ToWire(message.kind));
  wire.set_plan_hash(message.plan_hash.AsWire());
  wire.set_base_model(message.base_model.AsWire());
  wire.set_size_bytes(message.size_bytes);
  wire.set_sealed_digest(message.sealed_digest.AsWire());
  wire.set_signature(ToWire(message.signature));
  wire.set_secure_attempt(message.secure_attempt);
  wire.set_suite(static_cast<pb::SealSuite>(message.suite));
  return wire;
}

absl::StatusOr<UploadHeader> FromWire(const pb::UploadHeader& wire) {
  const FieldCheck check("UploadHeader");
  UploadHeader message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_ASSIGN_OR_RETURN(message.kind, check.Kind(wire.kind()));
  FG_ASSIGN_OR_RETURN(message.plan_hash,
                      check.Sha256("plan_hash", wire.plan_hash()));
  FG_ASSIGN_OR_RETURN(message.base_model,
                      check.Sha256("base_model", wire.base_model()));
  FG_RETURN_IF_ERROR(
      check.Between("size_bytes", wire.size_bytes(), 1, kBlobBytesMax));
  FG_ASSIGN_OR_RETURN(message.sealed_digest,
                      check.Sha256("sealed_digest", wire.sealed_digest()));
  FG_RETURN_IF_ERROR(check.Size("signature", wire.signature().size(), 64, 64));
  FG_RETURN_IF_ERROR(check.Between("secure_attempt", wire.secure_attempt(), 0,
                                   kSecureAttemptMax));
  message.secure_attempt = wire.secure_attempt();
  FG_RETURN_IF_ERROR(
      check.Between("suite", static_cast<uint64_t>(wire.suite()), 0, 1));
  message.suite = static_cast<SealSuite>(wire.suite());
  message.size_bytes = wire.size_bytes();
  message.signature = ToBytes(AsBytes(wire.signature()));
  return message;
}

pb::UploadReceipt ToWire(const UploadReceipt& message) {
  pb::UploadReceipt wire;
  wire.set_sealed_digest(message.sealed_digest.AsWire());
  wire.set_sequence(message.sequence);
  return wire;
}

absl::StatusOr<UploadReceipt> FromWire(const pb::UploadReceipt& wire) {
  UploadReceipt message;
  FG_ASSIGN_OR_RETURN(message.sealed_digest,
                      FieldCheck("UploadReceipt")
                          .Sha256("sealed_digest", wire.sealed_digest()));
  message.sequence = wire.sequence();
  return message;
}

pb::UploadOffsetReply ToWire(const UploadOffset& message) {
  pb::UploadOffsetReply wire;
  wire.set_offset(message.offset);
  if (message.receipt.has_value()) {
    *wire.mutable_receipt() = ToWire(*message.receipt);
  }
  return wire;
}

absl::StatusOr<UploadOffset> FromWire(const pb::UploadOffsetReply& wire) {
  FG_RETURN_IF_ERROR(FieldCheck("UploadOffsetReply")
                         .Between("offset", wire.offset(), 0, kBlobBytesMax));
  UploadOffset message;
  message.offset = wire.offset();
  if (wire.has_receipt()) {
    FG_ASSIGN_OR_RETURN(message.receipt, FromWire(wire.receipt()));
  }
  return message;
}

pb::SecureAnswer ToWire(const SecureAnswer& message) {
  pb::SecureAnswer wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  wire.set_kind(ToWire(message.kind));
  wire.set_attempt(message.attempt);
  wire.set_step(static_cast<pb::SecureStep>(message.step));
  wire.set_payload(ToWire(message.payload));
  return wire;
}

absl::StatusOr<SecureAnswer> FromWire(const pb::SecureAnswer& wire) {
  const FieldCheck check("SecureAnswer");
  SecureAnswer message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_ASSIGN_OR_RETURN(message.kind, check.Kind(wire.kind()));
  FG_RETURN_IF_ERROR(
      check.Between("attempt", wire.attempt(), 1, kSecureAttemptMax));
  FG_RETURN_IF_ERROR(check.Between("step", static_cast<uint64_t>(wire.step()),
                                   1,
                                   static_cast<uint64_t>(SecureStep::kUnmask)));
  message.step = static_cast<SecureStep>(wire.step());
  if (message.step == SecureStep::kMask) {
    return check.Wrong("step", "a step that is no update", "mask");
  }
  FG_RETURN_IF_ERROR(
      check.Size("payload", wire.payload().size(), 1, kSecurePayloadBytesMax));
  message.attempt = wire.attempt();
  message.payload = ToBytes(AsBytes(wire.payload()));
  return message;
}

pb::SiteReport ToWire(const SiteReport& message) {
  pb::SiteReport wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  for (const auto& [name, value] : message.scalars) {
    (*wire.mutable_scalars())[name] = value;
  }
  wire.set_declined(Printable(message.declined));
  return wire;
}

absl::StatusOr<SiteReport> FromWire(const pb::SiteReport& wire) {
  const FieldCheck check("SiteReport");
  SiteReport message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_RETURN_IF_ERROR(CheckScalars(check, wire));
  message.scalars.insert(wire.scalars().begin(), wire.scalars().end());
  FG_RETURN_IF_ERROR(check.Text("declined", wire.declined(),
                                kRefusalDetailBytesMax, /*may_be_empty=*/true));
  message.declined = wire.declined();
  return message;
}

std::optional<pb::Refusal> RefusalToWire(const absl::Status& status) {
  const std::optional<RefusalReason> reason = RefusalOf(status);
  if (!reason.has_value()) return std::nullopt;
  const std::string detail = Printable(status.message());
  pb::Refusal wire;
  wire.set_reason(static_cast<pb::RefusalReason>(*reason));
  wire.set_detail(std::move(detail));
  return wire;
}

absl::Status RefusalFromWire(const pb::Refusal& wire) {
  const FieldCheck check("Refusal");
  if (wire.reason() == pb::REFUSAL_REASON_UNSPECIFIED ||
      !pb::RefusalReason_IsValid(wire.reason())) {
    return check.Wrong("reason", "a known reason",
                       absl::StrCat(static_cast<int>(wire.reason())));
  }
  FG_RETURN_IF_ERROR(check.Text("detail", wire.detail(), kRefusalDetailBytesMax,
                                /*may_be_empty=*/true));
  return RefusalError(static_cast<RefusalReason>(wire.reason()), wire.detail());
}

}  // namespace fedgraft
