#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {

// Squared Euclidean distances between updates, summed shard by shard.
//
// Updates are put on one grid of integers first, so that the sums are exact
// and depend neither on the order of the shards nor on their size. The grid is
// as fine as the ring's unless updates divided by their weight would be larger
// than 2^40 steps. A value beyond that counts as 2^40.
class DistanceMatrix {
 public:
  DistanceMatrix() = default;
  // `largest`: magnitude of any update's value, divided by its weight.
  DistanceMatrix(size_t updates, const RingSpec& ring, double largest);

  size_t size() const { return updates_; }
  // Adds a shard: updates[k] is of the k-th contribution, all of one length.
  // REQUIRES: size() updates, finite. Not thread-safe.
  void Add(absl::Span<const absl::Span<const double>> updates);
  // The sums of another matrix over the same updates.
  void Add(const DistanceMatrix& other);
  double Squared(size_t a, size_t b) const;

 private:
  using Sum = unsigned __int128;
  size_t PairIndex(size_t a, size_t b) const;

  size_t updates_ = 0;
  double step_ = 1;
  std::vector<Sum> sums_;  // of pairs a < b
};

}  // namespace fedgraft
