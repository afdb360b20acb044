#include "common/crypto/openssl_ptr.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>

namespace fedgraft {

void OpenSslDeleter::operator()(evp_cipher_ctx_st* object) const {
  EVP_CIPHER_CTX_free(object);
}
void OpenSslDeleter::operator()(evp_md_ctx_st* object) const {
  EVP_MD_CTX_free(object);
}
void OpenSslDeleter::operator()(evp_pkey_ctx_st* object) const {
  EVP_PKEY_CTX_free(object);
}
void OpenSslDeleter::operator()(evp_pkey_st* object) const {
  EVP_PKEY_free(object);
}
void OpenSslDeleter::operator()(bio_st* object) const { BIO_free(object); }

std::string TakeOpenSslError() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason given" : reason;
}

}  // namespace fedgraft
