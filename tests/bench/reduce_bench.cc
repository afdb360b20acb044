// The reduce step against its bounds: sealed contributions in files against
// the speed of AES-GCM alone, opened words against memcpy. All rates are of
// packed update bytes per second of CPU, thus per core, whatever else the
// machine does.

#include <algorithm>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/store/reduce.h"
#include "benchmark/benchmark.h"
#include "common/base/check.h"
#include "common/crypto/aead.h"
#include "common/crypto/hpke.h"
#include "common/numeric/ring_codec.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/thread_pool.h"
#include "tests/support/sim_random.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

constexpr int kSites = 10;
constexpr int kWordBits = 32;
constexpr uint64_t kWordsPerChunk = kSealedChunkBytes * 8 / kWordBits;

uint64_t PackedTotal(const benchmark::State& state) {
  return kSites * PackedBytes(kWordBits, static_cast<uint64_t>(state.range(0)));
}

// Sealed contributions in files of a folder on disk.
class Contributions {
 public:
  explicit Contributions(uint64_t count) {
    files_ = *PosixFileStore::Open(folder_.path());
    const HpkeKeyPair key = GenerateHpkeKeyPair();
    job_.ring = {.word_bits = kWordBits, .fraction_bits = 20};
    job_.count = count;
    Bytes plain = EncodeUpdateHead({.ring = job_.ring,
                                    .count = count,
                                    .weight_word = uint64_t{1} << 32,
                                    .saturated = 0,
                                    .layout = {}});
    plain.resize(plain.size() + PackedBytes(kWordBits, count));
    testing::SimRandom(1).Fill(
        absl::MakeSpan(plain).subspan(UpdatePayloadHead::kBytes));
    for (int s = 0; s < kSites; ++s) {
      job_.contributions.push_back(Seal(absl::StrCat("site-", s), key, plain));
    }
  }
  const ReduceJob& job() const { return job_; }

 private:
  SealedContribution Seal(const std::string& site, const HpkeKeyPair& key,
                          const Bytes& plain) {
    const auto file = *files_->OpenAppend(site, 0);
    Bytes enc;
    FG_CHECK(SealStream(key.public_key, {}, AsBytes(site),
                        UpdatePayloadHead::kBytes, plain,
                        [&](ByteSpan part) {
                          if (enc.empty()) enc = ToBytes(part);
                          return file->Append(part);
                        })
                 .ok());
    SealedContribution one;
    one.site = {site};
    one.sealed = *files_->OpenRead(site);
    one.opener =
        std::make_shared<const SealedStreamOpener>(*SealedStreamOpener::Create(
            enc, key.private_key.span(), {}, AsBytes(site),
            {.head_bytes = UpdatePayloadHead::kBytes,
             .total_bytes = plain.size()}));
    return one;
  }

  testing::TempFolder folder_;
  std::unique_ptr<PosixFileStore> files_;
  ReduceJob job_;
};

// Sums into floats, as a round does; second argument: workers.
void BM_ReduceSealed(benchmark::State& state) {
  const uint64_t count = static_cast<uint64_t>(state.range(0));
  const Contributions contributions(count);
  ThreadPool pool(static_cast<int>(state.range(1)));
  std::vector<float> model(count);
  const RingSpec ring = contributions.job().ring;
  const double step = ring.Step() / kSites;
  for (auto _ : state) {
    std::promise<ReduceOutcome> done;
    ReduceSums(
        pool, contributions.job(),
        [&](uint64_t begin, absl::Span<const uint64_t> sums) {
          for (size_t i = 0; i < sums.size(); ++i) {
            model[begin + i] +=
                static_cast<float>(static_cast<int32_t>(sums[i]) * step);
          }
          return absl::OkStatus();
        },
        [&](ReduceOutcome outcome) { done.set_value(std::move(outcome)); });
    FG_CHECK(done.get_future().get().status.ok());
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * PackedTotal(state)));
}
BENCHMARK(BM_ReduceSealed)
    ->Args({2'500'000, 1})
    ->Args({2'500'000, 2})
    ->Args({25'000'000, 1})
    ->Args({25'000'000, 2})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

// The bound: opening as many bytes, each once, from memory, or (argument 0)
// one chunk over and over from the cache.
void BM_AesGcmOpen(benchmark::State& state) {
  const uint64_t bytes = static_cast<uint64_t>(state.range(0));
  const uint64_t chunks = std::max<uint64_t>(bytes / kSealedChunkBytes, 1);
  const Bytes key(32, 1), nonce(12, 2);
  const Bytes plain(kSealedChunkBytes, 3);
  Bytes chunk(plain.size() + kAeadTagSize), opened(plain.size());
  FG_CHECK(AeadSeal(AeadAlgorithm::kAes256Gcm, key, nonce, {}, plain,
                    absl::MakeSpan(chunk))
               .ok());
  const std::vector<Bytes> sealed(chunks, chunk);
  for (auto _ : state) {
    for (const Bytes& one : sealed) {
      FG_CHECK(AeadOpen(AeadAlgorithm::kAes256Gcm, key, nonce, {}, one,
                        absl::MakeSpan(opened))
                   .ok());
    }
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * chunks * kSealedChunkBytes));
}
BENCHMARK(BM_AesGcmOpen)
    ->Arg(0)
    ->Arg(kSites * 10'000'000)
    ->Unit(benchmark::kMillisecond);

// The same with the reading: what a reduce does before it adds.
void BM_ReadAndOpen(benchmark::State& state) {
  const Contributions contributions(static_cast<uint64_t>(state.range(0)));
  Bytes sealed, opened;
  for (auto _ : state) {
    for (const SealedContribution& one : contributions.job().contributions) {
      const SealedStreamShape& shape = one.opener->shape();
      for (uint64_t chunk = 0; chunk < shape.ChunkCount(); ++chunk) {
        sealed.resize(shape.SealedSize(chunk));
        opened.resize(shape.PlainSize(chunk));
        FG_CHECK(one.sealed
                     ->ReadAt(shape.SealedOffset(chunk), absl::MakeSpan(sealed))
                     .ok());
        FG_CHECK(one.opener->Open(chunk, sealed, absl::MakeSpan(opened)).ok());
      }
    }
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * PackedTotal(state)));
}
BENCHMARK(BM_ReadAndOpen)->Arg(2'500'000)->Unit(benchmark::kMillisecond);

// What admission costs: one contribution opened and measured.
void BM_VerifySealed(benchmark::State& state) {
  const uint64_t count = static_cast<uint64_t>(state.range(0));
  const Contributions contributions(count);
  for (auto _ : state) {
    FG_CHECK(VerifySealedUpdate(contributions.job().contributions[0],
                                {.ring = contributions.job().ring,
                                 .count = count,
                                 .layout = {},
                                 .term_max = INT32_MAX})
                 .status()
                 .code() != absl::StatusCode::kDataLoss);
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * PackedTotal(state) / kSites));
}
BENCHMARK(BM_VerifySealed)->Arg(2'500'000)->Unit(benchmark::kMillisecond);

// Opened contributions: the adding alone, shard by shard.
void BM_ReduceOpened(benchmark::State& state) {
  const uint64_t count = static_cast<uint64_t>(state.range(0));
  const uint64_t bytes = PackedBytes(kWordBits, count);
  const std::vector<Bytes> packed(kSites, Bytes(bytes, 0x5a));
  std::vector<float> model(count);
  std::vector<uint64_t> sums(kWordsPerChunk);
  for (auto _ : state) {
    for (uint64_t begin = 0; begin < count; begin += kWordsPerChunk) {
      const uint64_t words = std::min(kWordsPerChunk, count - begin);
      sums.assign(words, 0);
      for (const Bytes& one : packed) {
        AddPacked(
            kWordBits,
            ByteSpan(one).subspan(begin * kWordBits / 8, words * kWordBits / 8),
            absl::MakeSpan(sums));
      }
      for (size_t i = 0; i < words; ++i) {
        model[begin + i] += static_cast<float>(static_cast<int32_t>(sums[i]));
      }
    }
    benchmark::DoNotOptimize(model.data());
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * PackedTotal(state)));
}
BENCHMARK(BM_ReduceOpened)
    ->Arg(2'500'000)
    ->Arg(25'000'000)
    ->Unit(benchmark::kMillisecond);

// The bound: copying the same bytes.
void BM_Memcpy(benchmark::State& state) {
  const uint64_t bytes =
      PackedBytes(kWordBits, static_cast<uint64_t>(state.range(0)));
  const std::vector<Bytes> from(kSites, Bytes(bytes, 0x5a));
  Bytes to(bytes);
  for (auto _ : state) {
    for (const Bytes& one : from) {
      std::memcpy(to.data(), one.data(), bytes);
      benchmark::DoNotOptimize(to.data());
    }
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * PackedTotal(state)));
}
BENCHMARK(BM_Memcpy)
    ->Arg(2'500'000)
    ->Arg(25'000'000)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fedgraft
