#include "common/statistics/gathered_statistics.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/deterministic_bytes.h"
#include "common/crypto/sha256.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/statistics.pb.h"

namespace fedgraft {

bool NeedsModel(const StatisticsLayout& layout) {
  return layout.Find(StatisticKind::kFisher) != nullptr;
}

Bytes EncodeGathered(const GatheredStatistics& gathered) {
  pb::GatheredStatistics message;
  message.set_model(gathered.model.AsWire());
  message.mutable_words()->Add(gathered.words.begin(), gathered.words.end());
  message.set_model_bytes(std::string(AsText(gathered.model_bytes)));
  return DeterministicBytes(message);
}

absl::StatusOr<GatheredStatistics> DecodeGathered(
    const StatisticsLayout& layout, ByteSpan bytes) {
  pb::GatheredStatistics message;
  const google::protobuf::LogSilencer silencer;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(
        "gathered statistics: the bytes are no such message");
  }
  GatheredStatistics gathered;
  FG_ASSIGN_OR_RETURN(gathered.model, Digest::FromWire(message.model()));
  if (message.words_size() != layout.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("gathered statistics: expected ", layout.count(),
                     " words, got ", message.words_size()));
  }
  gathered.words.assign(message.words().begin(), message.words().end());
  StatisticsCheck check(layout);
  check.Add(0, gathered.words);
  FG_RETURN_IF_ERROR(check.Finish());
  gathered.model_bytes = ToBytes(AsBytes(message.model_bytes()));
  if (gathered.model_bytes.empty() == NeedsModel(layout)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "gathered statistics: expected ", NeedsModel(layout) ? "a" : "no",
        " model beside them, got ", gathered.model_bytes.size(), " bytes"));
  }
  if (NeedsModel(layout) && Sha256(gathered.model_bytes) != gathered.model) {
    return absl::InvalidArgumentError(
        absl::StrCat("gathered statistics: the model beside them is not ",
                     gathered.model.Short()));
  }
  return gathered;
}

}  // namespace fedgraft
