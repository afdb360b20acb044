#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/openssl_ptr.h"
#include "common/net/x509.h"

// OpenSSL's certificate objects, for the .cc files of common/net and
// aggregator/admin/pki* only.

namespace fedgraft::internal {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

// OpenSSL's certificate functions fail on well-formed input only when memory
// runs out: these abort then.
absl::StatusOr<X509Ptr> ReadCertificate(std::string_view pem);
absl::StatusOr<X509ReqPtr> ReadCsr(std::string_view pem);
std::string WriteCertificate(X509* certificate);
std::string WriteCsr(X509_REQ* csr);
// The OpenSSL twins of our keys.
PkeyPtr PrivateKey(const SigningKey& key);
PkeyPtr PublicKey(ByteSpan public_key);

// The 32 bytes. INVALID_ARGUMENT, naming the type, unless Ed25519.
absl::StatusOr<Bytes> Ed25519PublicKey(EVP_PKEY* key, std::string_view owner);

void AddNameEntry(X509_NAME* name, const char* field, std::string_view value);
// `value` in the syntax of x509v3_config(5); built from checked names only.
ExtensionPtr MakeExtension(X509* issuer, X509* subject, int nid,
                           const std::string& value);

}  // namespace fedgraft::internal
