#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "client/update/update_pipeline.h"
#include "common/crypto/ed25519.h"
#include "common/protocol/messages.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

// A finished update: sealed to the run's key, signed, and durable in a file of
// the site's FileStore. The only form in which an update leaves.
//
// The file holds the sealed bytes and behind them, as a trailer, the signed
// upload header: one file, so one sync makes an update durable, and a file cut
// off anywhere is recognised as unfinished.
class SealedUpdate {
 public:
  const UploadHeader& header() const { return header_; }
  const std::string& path() const { return path_; }
  // Root mean square of what quantising changed, in units of the update's
  // values; 0 if it was loaded.
  double error_rms() const { return error_rms_; }
  // The sealed bytes alone, size header().size_bytes.
  absl::StatusOr<std::shared_ptr<ReadableFile>> Open(FileStore& files) const;

 private:
  friend class UpdateSealer;
  friend absl::StatusOr<SealedUpdate> LoadSealedUpdate(FileStore& files,
                                                       std::string_view path);
  SealedUpdate(UploadHeader header, std::string path)
      : header_(std::move(header)), path_(std::move(path)) {}
  UploadHeader header_;
  std::string path_;
  double error_rms_ = 0;
};

// Seals for one site. Any thread, but one Seal at a time.
class UpdateSealer {
 public:
  // All referenced outlive the sealer.
  UpdateSealer(SiteId site, const SigningKey& key, RandomSource& random,
               FileStore& files)
      : site_(std::move(site)), key_(key), random_(random), files_(files) {}

  // Seals to `hpke_public_key` under UpdateContext, signs UploadStatement,
  // writes `path` and syncs it. Of `header` run, round, kind, plan_hash,
  // base_model, suite and secure_attempt are taken, the rest is filled in. What
  // was in `path` is written over; on an error (disk full, bad key) it holds no
  // valid update, or the one before. INVALID_ARGUMENT: a bad key.
  absl::StatusOr<SealedUpdate> Seal(QuantizedUpdate&& update,
                                    UploadHeader header,
                                    ByteSpan hpke_public_key,
                                    std::string_view path);
  absl::StatusOr<SealedUpdate> Seal(MaskedUpdate&& update, UploadHeader header,
                                    ByteSpan hpke_public_key,
                                    std::string_view path);

 private:
  absl::StatusOr<SealedUpdate> SealPayload(const PayloadSource& payload,
                                           UploadHeader header,
                                           ByteSpan hpke_public_key,
                                           std::string_view path);

  SiteId site_;
  const SigningKey& key_;
  RandomSource& random_;
  FileStore& files_;
  // Names known to be durable in their folders: rounds reuse files, and a
  // folder's sync is saved each time.
  std::set<std::string, std::less<>> durable_names_;
};

// The update that an earlier Seal finished. NOT_FOUND: no file. DATA_LOSS:
// unfinished or damaged (the trailer is checked, and every sealed byte against
// the header's digest).
absl::StatusOr<SealedUpdate> LoadSealedUpdate(FileStore& files,
                                              std::string_view path);

}  // namespace fedgraft
