// Certificates and certificate requests in PEM, from peers and from mail.

#include "common/net/x509.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const std::string_view pem = AsText(ByteSpan(data, size));
  const auto certificate = ParseCertificate(pem);
  if (certificate.ok()) {
    ++fuzz::accepted;
    FG_CHECK(certificate->public_key.size() == 32);
    FG_CHECK(CheckName("federation", certificate->federation).ok());
    FG_CHECK(CheckName("id", certificate->id).ok());
    (void)WarnOfExpiry(*certificate, absl::UnixEpoch());
  } else {
    fuzz::CheckRefusal(certificate.status(),
                       absl::StatusCode::kInvalidArgument);
  }
  const auto request = ParseCsr(pem);
  if (request.ok()) {
    ++fuzz::accepted;
    FG_CHECK(request->public_key.size() == 32);
  } else {
    fuzz::CheckRefusal(request.status(), absl::StatusCode::kInvalidArgument,
                       absl::StatusCode::kPermissionDenied);
  }
  fuzz::CheckRefusal(
      VerifyCertificate(pem, pem, absl::UnixEpoch(), CertificateUse::kClient),
      absl::StatusCode::kInvalidArgument, absl::StatusCode::kPermissionDenied);
  (void)DiagnoseCredentials(pem, pem, pem, absl::UnixEpoch());
  return 0;
}
