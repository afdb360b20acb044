#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/round/admission.h"
#include "aggregator/store/running_sum.h"
#include "aggregator/store/spool.h"
#include "aggregator/store/verify_update.h"
#include "common/base/bytes.h"
#include "common/crypto/sealed_stream.h"

namespace fedgraft {

// Opens the chunks of an upload as they arrive and looks at what is in them,
// as VerifySealedUpdate does with a file: then nobody has to read them again.
// It knows neither digest nor signature, so what it finds is no answer to the
// site yet. Holds one chunk. Not thread-safe.
class ArrivalCheck final : public ArrivalObserver {
 public:
  // `sum`: what the opened words are added to; null: to nothing.
  explicit ArrivalCheck(UpdateToVerify update,
                        std::shared_ptr<RunningSum> sum = nullptr);

  void See(ByteSpan bytes) override;

  // Whether the chunks were opened as they have to be for this header: the
  // upload may have been begun with another one of the same digest.
  bool IsFor(const UpdateToVerify& update) const;
  // REQUIRES: all bytes were seen. Errors: refusals, as of VerifyUpdate.
  absl::StatusOr<VerifiedUpdate> Finish() &&;
  // What opened the chunks; null after some errors.
  const std::shared_ptr<const SealedStreamOpener>& opener() const {
    return opener_;
  }
  // The update is sound in every way: it is part of the sum.
  void Count();

 private:
  // Bytes of the part that comes next: enc, then a chunk each.
  uint64_t PartBytes() const;
  absl::Status TakePart(ByteSpan part);

  const UpdateToVerify update_;
  const std::shared_ptr<RunningSum> sum_;
  UpdateVerifier verifier_;
  std::shared_ptr<const SealedStreamOpener> opener_;
  absl::Status status_;  // the first error; nothing is opened after it
  uint64_t next_chunk_ = 0;
  Bytes begun_;  // of a part that came in pieces
  Bytes plain_;
};

}  // namespace fedgraft
