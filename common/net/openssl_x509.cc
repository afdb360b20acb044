#include "common/net/openssl_x509.h"

#include <openssl/pem.h>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace fedgraft::internal {
namespace {

// Without it OpenSSL would ask for a passphrase on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

absl::StatusOr<BioPtr> OpenPem(std::string_view pem) {
  if (pem.size() > kPemBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "PEM text of ", pem.size(), " bytes; at most ", kPemBytesMax));
  }
  if (pem.empty()) return absl::InvalidArgumentError("the PEM text is empty");
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  FG_CHECK(bio != nullptr);
  return bio;
}

std::string Written(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  FG_CHECK(data != nullptr && size > 0);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

absl::StatusOr<X509Ptr> ReadCertificate(std::string_view pem) {
  auto bio = OpenPem(pem);
  if (!bio.ok()) return bio.status();
  X509Ptr certificate(
      PEM_read_bio_X509(bio->get(), nullptr, &NoPassphrase, nullptr));
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a certificate in PEM: ", TakeOpenSslError()));
  }
  return certificate;
}

absl::StatusOr<X509ReqPtr> ReadCsr(std::string_view pem) {
  auto bio = OpenPem(pem);
  if (!bio.ok()) return bio.status();
  X509ReqPtr csr(
      PEM_read_bio_X509_REQ(bio->get(), nullptr, &NoPassphrase, nullptr));
  if (csr == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a certificate request in PEM: ", TakeOpenSslError()));
  }
  return csr;
}

std::string WriteCertificate(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  FG_CHECK(bio != nullptr);
  FG_CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return Written(bio.get());
}

std::string WriteCsr(X509_REQ* csr) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  FG_CHECK(bio != nullptr);
  FG_CHECK(PEM_write_bio_X509_REQ(bio.get(), csr) == 1);
  return Written(bio.get());
}

PkeyPtr PrivateKey(const SigningKey& key) {
  const SecretBytes pem = key.ToPem();
  const BioPtr bio(
      BIO_new_mem_buf(pem.span().data(), static_cast<int>(pem.size())));
  FG_CHECK(bio != nullptr);
  PkeyPtr twin(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  FG_CHECK(twin != nullptr);
  return twin;
}

PkeyPtr PublicKey(ByteSpan public_key) {
  PkeyPtr twin(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_ED25519, nullptr, public_key.data(), public_key.size()));
  FG_CHECK(twin != nullptr);
  return twin;
}

absl::StatusOr<Bytes> Ed25519PublicKey(EVP_PKEY* key, std::string_view owner) {
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    TakeOpenSslError();
    const char* type = key == nullptr ? nullptr : EVP_PKEY_get0_type_name(key);
    return absl::InvalidArgumentError(absl::StrCat(
        "the key of the ", absl::string_view(owner.data(), owner.size()),
        " is ", type == nullptr ? "of an unknown type" : type,
        "; FedGraft uses Ed25519 only"));
  }
  Bytes bytes(32);
  size_t size = bytes.size();
  FG_CHECK(EVP_PKEY_get_raw_public_key(key, bytes.data(), &size) == 1);
  FG_CHECK(size == bytes.size());
  return bytes;
}

void AddNameEntry(X509_NAME* name, const char* field, std::string_view value) {
  FG_CHECK(X509_NAME_add_entry_by_txt(
               name, field, MBSTRING_UTF8,
               reinterpret_cast<const unsigned char*>(value.data()),
               static_cast<int>(value.size()), -1, 0) == 1);
}

ExtensionPtr MakeExtension(X509* issuer, X509* subject, int nid,
                           const std::string& value) {
  X509V3_CTX ctx;
  X509V3_set_ctx_nodb(&ctx);
  X509V3_set_ctx(&ctx, issuer, subject, nullptr, nullptr, 0);
  ExtensionPtr extension(
      X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str()));
  FG_CHECK(extension != nullptr);
  return extension;
}

}  // namespace fedgraft::internal
