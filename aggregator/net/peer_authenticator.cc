#include "aggregator/net/peer_authenticator.h"

#include <utility>
#include <vector>

#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr size_t kParsedMax = 4096;

}  // namespace

absl::StatusOr<CertificateInfo> PeerAuthenticator::Certificate(
    const grpc::AuthContext& context) const {
  const std::vector<grpc::string_ref> values =
      context.FindPropertyValues("x509_pem_cert");
  if (!context.IsPeerAuthenticated() || values.size() != 1) {
    return absl::UnauthenticatedError("no client certificate");
  }
  const std::string pem(values[0].data(), values[0].size());
  absl::MutexLock lock(&mutex_);
  if (const auto it = parsed_.find(pem); it != parsed_.end()) {
    return it->second;
  }
  absl::StatusOr<CertificateInfo> info = ParseCertificate(pem);
  if (!info.ok()) {
    return absl::UnauthenticatedError(info.status().message());
  }
  if (parsed_.size() >= kParsedMax) parsed_.clear();
  parsed_.emplace(pem, *info);
  return info;
}

absl::StatusOr<SitePeer> PeerAuthenticator::Site(
    const grpc::AuthContext& context) const {
  FG_ASSIGN_OR_RETURN(const CertificateInfo info, Certificate(context));
  FG_RETURN_IF_ERROR(CheckValidity(info, clock_.Wall()));
  FG_RETURN_IF_ERROR(allow_list_.Check(info));
  FG_ASSIGN_OR_RETURN(SiteId id, SiteId::Parse(info.id));
  return SitePeer{std::move(id), info.public_key};
}

absl::StatusOr<std::string> PeerAuthenticator::Operator(
    const grpc::AuthContext& context) const {
  FG_ASSIGN_OR_RETURN(const CertificateInfo info, Certificate(context));
  FG_RETURN_IF_ERROR(CheckValidity(info, clock_.Wall()));
  FG_RETURN_IF_ERROR(allow_list_.CheckOperator(info));
  return info.id;
}

}  // namespace fedgraft
