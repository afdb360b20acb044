#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/runtime/executor.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// The aggregator's append-only log: the truth from which it restarts. Records
// are numbered from 1 and lie in segment files `<folder>/log-<number>`
// (format: log_format.h).
//
// Group commit: what is appended while a batch is being written waits, then is
// written and synced as the next batch, on the Executor. A batch is on disk as
// a whole or not at all.
//
// Life cycle: Open replays what is there, cuts a torn tail and makes the rest
// durable; then Append until the log fails or is destroyed. After a write
// error the log stays failed, because what the disk holds is not known any
// more; opening it again finds out.
//
// Single-strand: all methods and the callbacks run on the strand. Destroying
// the log drops the callbacks that have not run; a batch that is being written
// may or may not be found by the next Open, which must not happen before that
// batch has ended (stop the Executor first).
class Log {
 public:
  struct Ports {
    FileStore& files;
    Scheduler& strand;
    Executor& executor;
    RandomSource& random;
  };
  struct Options {
    std::string folder = "log";
    // A segment that has reached this size is closed and a new one begun.
    uint64_t segment_bytes = uint64_t{64} << 20;
    uint64_t record_bytes_max = uint64_t{16} << 20;
    // A batch takes no further record once it has this size.
    uint64_t batch_bytes = uint64_t{8} << 20;
  };
  // Called for each record, in order. An error stops the replay.
  using Replay =
      std::function<absl::Status(uint64_t sequence, ByteSpan record)>;
  using Durable = std::function<void(absl::StatusOr<uint64_t> sequence)>;

  // DATA_LOSS: damage that is not a torn tail, naming file and offset.
  // UNIMPLEMENTED: a segment of another format version. Neither changes
  // anything on disk. Else what the files or `replay` answer.
  static absl::StatusOr<std::unique_ptr<Log>> Open(Ports ports, Options options,
                                                   const Replay& replay);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // `durable` runs on the strand, never inside Append, for records of the log
  // in the order of the calls: with the record's number once a power failure
  // cannot take it, or with the error. INVALID_ARGUMENT: empty or above
  // record_bytes_max (the log goes on); anything else has failed the log.
  void Append(Bytes record, Durable durable);

  // Announces that a record is likely to come within milliseconds. A record
  // that is appended meanwhile and would begin a batch waits for those that
  // were announced before it, but for kExpectedMax at most, so that they share
  // a sync. Each Expect ends with a Settle: after the Append, or without one.
  static constexpr uint64_t kExpectedMax = 8;
  void Expect() { ++expected_; }
  void Settle();

  // OK, or the error that the log has failed with.
  const absl::Status& failure() const { return failure_; }
  // Number of the first record that is not durable yet.
  uint64_t next_sequence() const { return next_sequence_; }

 private:
  class Writer;
  struct Pending {
    Bytes record;
    Durable durable;
  };

  Log(Ports ports, Options options, std::shared_ptr<Writer> writer,
      uint64_t next_sequence);
  void StartBatch();
  // Unless a batch is under way, or records are waited for.
  void StartBatchIfDue();
  void FinishBatch(std::deque<Pending> batch, const absl::Status& written);
  void Fail(const absl::Status& failure);

  const Ports ports_;
  const Options options_;
  const std::shared_ptr<Writer> writer_;
  std::deque<Pending> waiting_;
  bool writing_ = false;
  // How often each was called, and how often Settle must have been for the
  // next batch to begin.
  uint64_t expected_ = 0, settled_ = 0, settled_due_ = 0;
  absl::Status failure_;
  uint64_t next_sequence_;
  // Guards callbacks that come back after the log is gone.
  const std::shared_ptr<void> alive_ = std::make_shared<char>();
};

}  // namespace fedgraft
