#include "aggregator/round/journal_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/journal_codec.h"
#include "aggregator/round/round_reducer.h"
#include "aggregator/store/log.h"
#include "aggregator/store/log_reader.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/runtime/blob_store.h"

namespace fedgraft {

absl::StatusOr<RunState> ReadJournal(FileStore& files) {
  RunState state;
  FG_RETURN_IF_ERROR(
      ReadLog(files, Log::Options().folder,
              [&state](uint64_t sequence, ByteSpan record) -> absl::Status {
                FG_ASSIGN_OR_RETURN(JournalEntry entry, DecodeEntry(record));
                return state.Apply(std::move(entry), sequence);
              })
          .status());
  return state;
}

absl::StatusOr<Bytes> ReadModel(FileStore& files, const ModelRef& model) {
  if (model.inline_bytes != nullptr) return *model.inline_bytes;
  FG_ASSIGN_OR_RETURN(const auto blob,
                      BlobStore(files, kBlobFolder).Open(model.digest));
  Bytes bytes(blob->size_bytes());
  FG_RETURN_IF_ERROR(blob->ReadAt(0, absl::MakeSpan(bytes)));
  // A daemon that goes on writes over obsolete models, whoever reads them.
  if (Sha256(bytes) != model.digest) {
    return absl::UnavailableError(absl::StrCat(
        "model ", model.digest.Short(),
        " was replaced while it was read, or is damaged; try again"));
  }
  return bytes;
}

}  // namespace fedgraft
