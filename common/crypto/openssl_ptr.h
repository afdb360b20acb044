#pragma once

#include <memory>
#include <string>

// Owning pointers to OpenSSL objects without OpenSSL's headers, for the .cc
// files of common/crypto, common/net and aggregator/admin.

struct evp_cipher_ctx_st;
struct evp_md_ctx_st;
struct evp_pkey_ctx_st;
struct evp_pkey_st;
struct bio_st;

namespace fedgraft {

struct OpenSslDeleter {
  void operator()(evp_cipher_ctx_st* object) const;
  void operator()(evp_md_ctx_st* object) const;
  void operator()(evp_pkey_ctx_st* object) const;
  void operator()(evp_pkey_st* object) const;
  void operator()(bio_st* object) const;
};

using CipherCtxPtr = std::unique_ptr<evp_cipher_ctx_st, OpenSslDeleter>;
using MdCtxPtr = std::unique_ptr<evp_md_ctx_st, OpenSslDeleter>;
using PkeyCtxPtr = std::unique_ptr<evp_pkey_ctx_st, OpenSslDeleter>;
using PkeyPtr = std::unique_ptr<evp_pkey_st, OpenSslDeleter>;
using BioPtr = std::unique_ptr<bio_st, OpenSslDeleter>;

// The reason of this thread's newest OpenSSL error, for messages; empties the
// thread's error queue. Never empty.
std::string TakeOpenSslError();

}  // namespace fedgraft
