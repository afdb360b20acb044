#include "aggregator/store/log.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/store/log_format.h"
#include "aggregator/store/log_reader.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {

// What writes batches: lives on the Executor, one call at a time.
class Log::Writer {
 public:
  Writer(FileStore& files, RandomSource& random, const Options& options)
      : files_(files), random_(random), options_(options) {}

  // Cuts a torn tail and makes all before it durable: a process that was
  // killed may have left whole batches that only the page cache holds, and
  // what is replayed from now on counts as acknowledged.
  absl::Status Start(const LogEnd& end) {
    number_ = end.segment;
    next_sequence_ = end.next_sequence;
    if (end.valid_bytes == 0) return MakeSegment();
    salt_ = end.salt;
    FG_ASSIGN_OR_RETURN(file_, files_.OpenAppend(Path(), end.valid_bytes));
    FG_RETURN_IF_ERROR(file_->Sync());
    return files_.SyncFolder(options_.folder);
  }

  absl::Status Write(const std::vector<ByteSpan>& records) {
    if (file_->size_bytes() >= options_.segment_bytes) {
      ++number_;
      FG_RETURN_IF_ERROR(MakeSegment());
    }
    FG_RETURN_IF_ERROR(
        file_->Append(EncodeBatch(salt_, next_sequence_, records)));
    FG_RETURN_IF_ERROR(file_->Sync());
    next_sequence_ += records.size();
    return absl::OkStatus();
  }

 private:
  std::string Path() const {
    return absl::StrCat(options_.folder, "/", SegmentName(number_));
  }

  absl::Status MakeSegment() {
    Bytes salt(sizeof(salt_));
    random_.Fill(absl::MakeSpan(salt));
    salt_ = 0;
    for (const uint8_t byte : salt) salt_ = salt_ << 8 | byte;
    FG_ASSIGN_OR_RETURN(file_, files_.OpenAppend(Path(), 0));
    FG_RETURN_IF_ERROR(file_->Append(EncodeSegmentHeader(
        {.salt = salt_, .number = number_, .first_sequence = next_sequence_})));
    FG_RETURN_IF_ERROR(file_->Sync());
    return files_.SyncFolder(options_.folder);
  }

  FileStore& files_;
  RandomSource& random_;
  const Options options_;
  std::unique_ptr<WritableFile> file_;
  uint64_t number_ = 1;
  uint32_t salt_ = 0;
  uint64_t next_sequence_ = 1;
};

absl::StatusOr<std::unique_ptr<Log>> Log::Open(Ports ports, Options options,
                                               const Replay& replay) {
  FG_ASSIGN_OR_RETURN(const LogEnd end,
                      ReadLog(ports.files, options.folder, replay));
  if (end.torn_bytes > 0) {
    FG_LOG_WARNING("log: {} torn bytes cut after record {}", end.torn_bytes,
                   end.next_sequence - 1);
  }
  auto writer = std::make_shared<Writer>(ports.files, ports.random, options);
  FG_RETURN_IF_ERROR(writer->Start(end));
  return std::unique_ptr<Log>(
      new Log(ports, options, std::move(writer), end.next_sequence));
}

Log::Log(Ports ports, Options options, std::shared_ptr<Writer> writer,
         uint64_t next_sequence)
    : ports_(ports),
      options_(std::move(options)),
      writer_(std::move(writer)),
      next_sequence_(next_sequence) {}

Log::~Log() = default;

void Log::Append(Bytes record, Durable durable) {
  absl::Status refused = failure_;
  if (record.empty() || record.size() > options_.record_bytes_max) {
    refused = absl::InvalidArgumentError(
        absl::StrCat("a log record has 1 to ", options_.record_bytes_max,
                     " bytes, this one has ", record.size()));
  }
  if (!refused.ok()) {
    ports_.strand.Post([alive = std::weak_ptr<void>(alive_), refused,
                        durable = std::move(durable)] {
      if (!alive.expired()) durable(refused);
    });
    return;
  }
  if (waiting_.empty()) {
    settled_due_ = std::min(expected_, settled_ + kExpectedMax);
  }
  waiting_.push_back({std::move(record), std::move(durable)});
  StartBatchIfDue();
}

void Log::Settle() {
  ++settled_;
  StartBatchIfDue();
}

void Log::StartBatchIfDue() {
  if (!writing_ && !waiting_.empty() && settled_ >= settled_due_) StartBatch();
}

void Log::StartBatch() {
  auto batch = std::make_shared<std::deque<Pending>>();
  for (uint64_t bytes = 0; !waiting_.empty() && bytes < options_.batch_bytes;) {
    bytes += waiting_.front().record.size();
    batch->push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  writing_ = true;
  ports_.executor.Run([this, alive = std::weak_ptr<void>(alive_),
                       writer = writer_, &strand = ports_.strand, batch] {
    std::vector<ByteSpan> records;
    records.reserve(batch->size());
    for (const Pending& pending : *batch) records.push_back(pending.record);
    const absl::Status written = writer->Write(records);
    strand.Dispatch([this, alive, batch, written] {
      if (!alive.expired()) FinishBatch(std::move(*batch), written);
    });
  });
}

void Log::FinishBatch(std::deque<Pending> batch, const absl::Status& written) {
  writing_ = false;
  if (!written.ok()) {
    for (Pending& pending : waiting_) batch.push_back(std::move(pending));
    waiting_.clear();
    Fail(written);
  }
  const uint64_t first_sequence = next_sequence_;
  if (written.ok()) next_sequence_ += batch.size();
  // The next batch is under way while these callbacks run.
  StartBatchIfDue();
  const std::weak_ptr<void> alive = alive_;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (written.ok()) {
      batch[i].durable(first_sequence + i);
    } else {
      batch[i].durable(written);
    }
    if (alive.expired()) return;  // the callback destroyed the log
  }
}

void Log::Fail(const absl::Status& failure) {
  failure_ = failure;
  FG_LOG_ERROR("log: no further record can be written: {}", failure.ToString());
}

}  // namespace fedgraft
