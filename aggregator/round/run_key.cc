#include "aggregator/round/run_key.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/hpke.h"
#include "common/crypto/key_wrap.h"
#include "common/protocol/statements.h"

namespace fedgraft {
namespace {

std::string Label(const RunId& run) {
  return absl::StrCat("fedgraft run key ", run.value);
}

}  // namespace

absl::StatusOr<NewRunKey> MakeRunKey(const RunId& run, const Digest& plan_hash,
                                     ByteSpan wrapping_key,
                                     const SigningKey& signing_key,
                                     RandomSource& random) {
  const HpkeKeyPair pair = GenerateHpkeKeyPair(random);
  NewRunKey made;
  FG_ASSIGN_OR_RETURN(
      made.wrapped,
      WrapSecret(wrapping_key, Label(run), pair.private_key.span(), random));
  made.signature =
      signing_key.Sign(RunKeyStatement(run, plan_hash, pair.public_key));
  FG_ASSIGN_OR_RETURN(RunKey key, RunKey::FromPrivate(pair.private_key.span()));
  made.key = std::make_shared<const RunKey>(std::move(key));
  return made;
}

absl::StatusOr<std::shared_ptr<const RunKey>> OpenRunKey(const RunId& run,
                                                         ByteSpan wrapping_key,
                                                         ByteSpan wrapped,
                                                         ByteSpan public_key) {
  absl::StatusOr<SecretBytes> secret =
      UnwrapSecret(wrapping_key, Label(run), wrapped);
  if (!secret.ok()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the wrapping key does not open the key of run ",
                     run.value, ": ", secret.status().message()));
  }
  absl::StatusOr<RunKey> key = RunKey::FromPrivate(secret->span());
  if (!key.ok() || ByteSpan(key->public_key()) != public_key) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the wrapped key of run ", run.value, " is not the one it published"));
  }
  return std::make_shared<const RunKey>(*std::move(key));
}

}  // namespace fedgraft
