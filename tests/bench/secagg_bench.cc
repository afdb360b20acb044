// Secure aggregation, step by step: milliseconds per site and at the
// aggregator, over sites and words, with one dropout after sharing; and the
// speed of masks against bare AES-256-CTR. One thread.

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "common/crypto/mask_stream.h"
#include "tests/secagg/secagg_world.h"

namespace fedgraft::testing {
namespace {

constexpr int kWordBits = 32;

class Stopwatch {
 public:
  // Milliseconds since the last call, or since it was made.
  double Lap() {
    const absl::Time now = absl::Now();
    return absl::ToDoubleMilliseconds(now - std::exchange(last_, now));
  }

 private:
  absl::Time last_ = absl::Now();
};

void Session(int n, size_t count) {
  SecureWorld world(n, {}, 1);
  const std::vector<SiteId> sites = world.sites();
  const double per_site = n;
  Stopwatch watch;
  for (const SiteId& site : sites) (void)world.Advertise(site);
  const double advertise = watch.Lap() / per_site;
  for (const SiteId& site : sites) (void)world.Share(site);
  const double share = watch.Lap() / per_site;
  // The masks of one site: all take the same time.
  const auto masks = world.Mask(sites[0]);
  for (const SiteId& site : sites) {
    if (site != sites[0]) (void)world.Mask(site);
  }
  watch.Lap();
  std::vector<uint8_t> packed(PackedBytes(kWordBits, count));
  masks->MaskWords(kWordBits, count, absl::MakeSpan(packed));
  const double mask = watch.Lap();
  world.survivors.assign(sites.begin(), sites.end() - 1);
  for (const SiteId& site : world.survivors) (void)world.Agree(site);
  const double agree = watch.Lap() / (per_site - 1);
  size_t released = 0;
  for (const SiteId& site : world.survivors) {
    if (++released > static_cast<size_t>(world.facts().threshold)) break;
    (void)world.Release(site);
  }
  const double release = watch.Lap() / world.facts().threshold;
  const auto removal = world.unmasked.Reconstruct(world.facts());
  const double reconstruct = watch.Lap();
  std::vector<uint64_t> sums(count);
  if (removal.ok()) removal->FromWords(kWordBits, 0, absl::MakeSpan(sums));
  const double remove = watch.Lap();
  std::printf(
      "n %3d m %8zu | per site: advertise %.2f share %.2f mask %.1f agree %.2f "
      "release %.2f | aggregator: reconstruct %.2f remove %.1f ms%s\n",
      n, count, advertise, share, mask, agree, release, reconstruct, remove,
      removal.ok() ? "" : " FAILED");
}

void MaskSpeed() {
  constexpr size_t kBytes = size_t{64} << 20;
  Bytes bytes(kBytes);
  const auto stream = MaskStream::Derive(Bytes(32, 1), AsBytes("bench"));
  const auto keystream = [&] {
    // Piece by piece, as masks take it.
    Bytes piece(7680);
    MaskStream::Reader reader(*stream, 0);
    for (size_t at = 0; at < kBytes; at += piece.size()) {
      reader.Read(absl::MakeSpan(piece));
    }
  };
  SecureWorld world(3, {}, 1);
  world.ShareAll(world.sites());
  const auto masks = world.Mask(world.sites()[0]);
  keystream();
  masks->MaskWords(kWordBits, kBytes / 4, absl::MakeSpan(bytes));
  Stopwatch watch;
  keystream();
  const double aes = watch.Lap();
  masks->MaskWords(kWordBits, kBytes / 4, absl::MakeSpan(bytes));
  const double mask = watch.Lap() / 3;  // one of its own, two of pairs
  const double gib = static_cast<double>(kBytes) / (1 << 30) * 1000;
  std::printf("AES-256-CTR %.2f GiB/s, mask %.2f GiB/s: %.0f %%\n", gib / aes,
              gib / mask, 100 * aes / mask);
}

}  // namespace
}  // namespace fedgraft::testing

int main() {
  using fedgraft::testing::Session;
  fedgraft::testing::MaskSpeed();
  for (const int n : {3, 10, 32, 100, 255}) {
    for (const size_t count : {size_t{10000}, size_t{1000000}}) {
      Session(n, count);
    }
  }
  Session(10, 10000000);
}
