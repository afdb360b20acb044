#include "aggregator/round/journal_reader.h"

#include <utility>

#include "aggregator/round/journal_codec.h"
#include "aggregator/round/round_reducer.h"
#include "aggregator/store/log.h"
#include "aggregator/store/log_reader.h"
#include "common/base/status_macros.h"
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
  return bytes;
}

}  // namespace fedgraft
