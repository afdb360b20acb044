// What a durable record costs: strand → pool → write and sync → strand. The
// bound is the disk's own sync.

#include <future>
#include <memory>

#include "aggregator/store/log.h"
#include "benchmark/benchmark.h"
#include "common/base/check.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/strand.h"
#include "common/runtime/thread_pool.h"
#include "tests/support/sim_random.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

// `range(0)` records of `range(1)` bytes, appended together.
void BM_LogAppend(benchmark::State& state) {
  const testing::TempFolder folder;
  const auto files = *PosixFileStore::Open(folder.path());
  testing::SimRandom random(1);
  ThreadPool pool(2);
  ThreadStrand strand;
  std::unique_ptr<Log> log =
      *Log::Open({*files, strand, pool, random}, Log::Options(),
                 [](uint64_t, ByteSpan) { return absl::OkStatus(); });
  const Bytes record(static_cast<size_t>(state.range(1)), 7);
  for (auto _ : state) {
    std::promise<void> done;
    strand.Post([&] {
      for (int64_t i = 1; i <= state.range(0); ++i) {
        const bool last = i == state.range(0);
        log->Append(record, [&done, last](absl::StatusOr<uint64_t> sequence) {
          FG_CHECK(sequence.ok());
          if (last) done.set_value();
        });
      }
    });
    done.get_future().wait();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  pool.Stop();
  strand.Stop();
}
BENCHMARK(BM_LogAppend)
    ->Args({1, 200})
    ->Args({3, 50'000})
    ->Args({100, 200})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void BM_DiskSync(benchmark::State& state) {
  const testing::TempFolder folder;
  const auto files = *PosixFileStore::Open(folder.path());
  const auto file = *files->OpenAppend("file", 0);
  const Bytes record(200, 7);
  for (auto _ : state) {
    FG_CHECK(file->Append(record).ok());
    FG_CHECK(file->Sync().ok());
  }
}
BENCHMARK(BM_DiskSync)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace fedgraft
