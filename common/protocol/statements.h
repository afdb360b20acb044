#pragma once

#include <string_view>

#include "common/base/bytes.h"
#include "common/protocol/messages.h"

// The canonical bytes under signatures and AAD. Domain-separated: each starts
// with its own tag, so that no signature is valid for another statement.

namespace fedgraft {

// HPKE's `info` of sealed updates.
inline constexpr std::string_view kUpdateSealInfo = "fedgraft update v1";

// Signed by the aggregator's certificate key: this HPKE key is for this run.
Bytes RunKeyStatement(const RunId& run, const Digest& plan_hash,
                      ByteSpan hpke_public_key);

// AAD context of a sealed update: protocol version, run, plan hash, round,
// site, task kind, base model; of a masked update also the attempt.
Bytes UpdateContext(const SiteId& site, const UploadHeader& header);

// Signed by the site's certificate key: UpdateContext, size and sealed digest.
Bytes UploadStatement(const SiteId& site, const UploadHeader& header);

}  // namespace fedgraft
