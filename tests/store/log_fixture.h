#pragma once

#include <memory>
#include <string>
#include <vector>

#include "aggregator/store/log.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_runtime.h"

namespace fedgraft {

// A log on a simulated disk, and what it was told and answered.
class LogFixture {
 public:
  explicit LogFixture(uint64_t seed = 1) : seed_(seed), random_(seed) {
    Boot();
  }

  // A new process: opens the log and collects what it replays.
  absl::Status Open() {
    log_.reset();
    executor_->Kill();
    Boot();
    replayed_.clear();
    auto log =
        Log::Open({files_, *strand_, *executor_, random_}, options_,
                  [this](uint64_t sequence, ByteSpan record) {
                    if (sequence != replayed_.size() + 1) {
                      return absl::InternalError("records are out of order");
                    }
                    replayed_.emplace_back(AsText(record));
                    return absl::OkStatus();
                  });
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return absl::OkStatus();
  }

  // Appends; the answer goes to answers_[its number].
  size_t Append(std::string_view record) {
    const size_t number = answers_.size();
    answers_.push_back(absl::UnknownError("not answered"));
    log_->Append(ToBytes(AsBytes(record)),
                 [this, number](absl::StatusOr<uint64_t> sequence) {
                   answers_[number] = sequence;
                   order_.push_back(number);
                 });
    return number;
  }

  // Appends and waits, so that each record is a batch of its own.
  void AppendAll(const std::vector<std::string>& records) {
    for (const std::string& record : records) {
      Append(record);
      loop_.RunUntilIdle();
    }
  }

  uint64_t seed_;
  testing::EventLoop loop_;
  testing::SimRandom random_;
  testing::SimFileStore files_;
  Log::Options options_;
  std::unique_ptr<testing::SimScheduler> strand_;
  std::unique_ptr<testing::SimExecutor> executor_;
  std::unique_ptr<Log> log_;
  std::vector<std::string> replayed_;
  std::vector<absl::StatusOr<uint64_t>> answers_;
  std::vector<size_t> order_;  // of the answers

 private:
  void Boot() {
    strand_ = std::make_unique<testing::SimScheduler>(&loop_);
    executor_ = std::make_unique<testing::SimExecutor>(&loop_, seed_);
  }
};

}  // namespace fedgraft
