// The reduce step against its bounds: opened words against memcpy of as many
// bytes, sealed contributions in files against AES-256-GCM opening alone, for
// several grids of sites × parameters and for every word width. CPU time of
// one thread, best of a few: thus per core. Usage: reduce_grid_bench [quick]

#include <algorithm>
#include <cstring>
#include <vector>

#include "aggregator/store/reduce.h"
#include "common/base/check.h"
#include "common/crypto/aead.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/ring_sum.h"
#include "tests/bench/contributions.h"
#include "tests/bench/table.h"

namespace fedgraft::bench {
namespace {

struct Grid {
  int sites;
  uint64_t count;
};

// Sums go where a round's go: scaled into floats.
void Apply(const RingSpec& ring, absl::Span<const uint64_t> sums,
           float* model) {
  double values[1024];
  for (size_t i = 0; i < sums.size(); i += 1024) {
    const auto part = sums.subspan(i, 1024);
    DequantizeWords(ring, part, absl::MakeSpan(values, part.size()));
    for (size_t j = 0; j < part.size(); ++j) {
      model[i + j] += static_cast<float>(0.1 * values[j]);
    }
  }
}

// Spool::Options::inline_bytes_max.
constexpr uint64_t kInlineBytes = uint64_t{1} << 20;

// More would only cost memory: the caches hold less.
constexpr size_t kDistinctBytes = size_t{128} << 20;

// GB per second of packed bytes.
double OpenedRate(const Grid& grid, int word_bits, int times) {
  const RingSpec ring = {word_bits, 4};
  const size_t bytes = PackedBytes(word_bits, grid.count);
  const size_t distinct = std::min<size_t>(static_cast<size_t>(grid.sites),
                                           kDistinctBytes / bytes + 1);
  const std::vector<Bytes> packed(distinct, Bytes(bytes, 0x5a));
  const size_t shard = kSealedChunkBytes * 8 / static_cast<size_t>(word_bits);
  std::vector<float> model(grid.count);
  std::vector<uint64_t> sums;
  RingSum sum;
  const double seconds = BestSeconds(times, [&] {
    for (size_t begin = 0; begin < grid.count; begin += shard) {
      const size_t words = std::min<size_t>(shard, grid.count - begin);
      sum.Reset(word_bits, words);
      for (int s = 0; s < grid.sites; ++s) {
        sum.Add(ByteSpan(packed[static_cast<size_t>(s) % distinct])
                    .subspan(PackedBytes(word_bits, begin),
                             PackedBytes(word_bits, words)));
      }
      sums.resize(words);
      sum.Get(absl::MakeSpan(sums));
      Apply(ring, sums, model.data() + begin);
    }
  });
  return static_cast<double>(bytes) * grid.sites / seconds / 1e9;
}

double MemcpyRate(const Grid& grid, int word_bits, int times) {
  const size_t bytes = PackedBytes(word_bits, grid.count);
  const size_t distinct = std::min<size_t>(static_cast<size_t>(grid.sites),
                                           kDistinctBytes / bytes + 1);
  const std::vector<Bytes> from(distinct, Bytes(bytes, 0x5a));
  Bytes to(bytes);
  const double seconds = BestSeconds(times, [&] {
    for (int s = 0; s < grid.sites; ++s) {
      std::memcpy(to.data(), from[static_cast<size_t>(s) % distinct].data(),
                  bytes);
      // So that no copy can be left out.
      asm volatile("" : : "r"(to.data()) : "memory");
    }
  });
  return static_cast<double>(bytes) * grid.sites / seconds / 1e9;
}

// One chunk after the other from memory that no cache holds.
double AesGcmRate(int times) {
  const Bytes key(32, 1), nonce(12, 2), plain(kSealedChunkBytes, 3);
  Bytes chunk(plain.size() + kAeadTagSize), opened(plain.size());
  FG_CHECK(AeadSeal(AeadAlgorithm::kAes256Gcm, key, nonce, {}, plain,
                    absl::MakeSpan(chunk))
               .ok());
  const std::vector<Bytes> sealed(kDistinctBytes / chunk.size(), chunk);
  const double seconds = BestSeconds(times, [&] {
    for (const Bytes& one : sealed) {
      FG_CHECK(AeadOpen(AeadAlgorithm::kAes256Gcm, key, nonce, {}, one,
                        absl::MakeSpan(opened))
                   .ok());
    }
  });
  return static_cast<double>(plain.size() * sealed.size()) / seconds / 1e9;
}

struct Sealed {
  double rate, rss_mb;
};
Sealed SealedRate(const Grid& grid, bool in_memory, int times) {
  const Contributions contributions(grid.sites, grid.count, 32, in_memory);
  const ReduceJob& job = contributions.job();
  ResetPeakRss();
  std::vector<float> model(grid.count);
  const double seconds = BestSeconds(times, [&] {
    const ReduceOutcome outcome = ReduceSumsHere(
        job, [&](uint64_t begin, absl::Span<const uint64_t> sums) {
          Apply(job.ring, sums, model.data() + begin);
          return absl::OkStatus();
        });
    FG_CHECK(outcome.status.ok());
  });
  return {static_cast<double>(contributions.packed_bytes()) / seconds / 1e9,
          PeakRssMb()};
}

std::string Name(const Grid& grid) {
  return grid.count % 1'000'000 == 0
             ? Format("%d x %lu M", grid.sites,
                      static_cast<unsigned long>(grid.count / 1'000'000))
             : Format("%d x %lu", grid.sites,
                      static_cast<unsigned long>(grid.count));
}

void Run(bool quick) {
  const int times = quick ? 2 : 5;
  const std::vector<Grid> grids =
      quick ? std::vector<Grid>{{10, 1'000'000}, {1000, 7'850}}
            : std::vector<Grid>{
                  {10, 25'000'000}, {100, 1'000'000}, {1000, 7'850}};
  const double aes = AesGcmRate(times);
  for (const Grid& grid : grids) {
    const double copy = MemcpyRate(grid, 32, times);
    const double opened = OpenedRate(grid, 32, times);
    PrintRow("reduce, opened words, " + Name(grid), Format("%.2f GB/s", opened),
             Format("memcpy %.2f GB/s", copy), opened / copy, ">= 0.60");
    // As an aggregator holds them: small ones in memory. From files a read of
    // 31 KB takes half as long as their opening.
    const bool is_small = 4 * grid.count < kInlineBytes;
    for (const bool in_memory : {true, false}) {
      if (in_memory && !is_small) continue;
      const Sealed sealed = SealedRate(grid, in_memory, times);
      PrintRow(
          Format("reduce, sealed %s, ", in_memory ? "in memory" : "files") +
              Name(grid),
          Format("%.2f GB/s, peak RSS %.0f MB", sealed.rate, sealed.rss_mb),
          Format("AES-256-GCM %.2f GB/s", aes), sealed.rate / aes,
          in_memory == is_small ? ">= 0.70" : "");
    }
  }
  for (const int bits : {8, 12, 16, 20, 24, 32, 64}) {
    const Grid grid = {10, quick ? 500'000u : 2'500'000u};
    const double copy = MemcpyRate(grid, bits, times);
    const double opened = OpenedRate(grid, bits, times);
    PrintRow(Format("reduce, opened words of %d bits, ", bits) + Name(grid),
             Format("%.2f GB/s", opened), Format("memcpy %.2f GB/s", copy),
             opened / copy, bits == 32 ? ">= 0.60" : "");
  }
}

}  // namespace
}  // namespace fedgraft::bench

int main(int argc, char**) { fedgraft::bench::Run(argc > 1); }
