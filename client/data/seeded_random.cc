#include "client/data/seeded_random.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "common/base/check.h"

namespace fedgraft {
namespace {

// One step of SplitMix64: advances `state` and returns its mixed value.
uint64_t SplitMix64(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t MixSeed(std::initializer_list<uint64_t> key) {
  uint64_t mixed = 0;
  for (const uint64_t part : key) {
    uint64_t state = mixed ^ part;
    mixed = SplitMix64(state);
  }
  return mixed;
}

uint64_t HashText(uint64_t seed, std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a offset basis and prime
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return MixSeed({seed, hash});
}

SeededRandom::SeededRandom(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix64(seed);
}

SeededRandom::SeededRandom(std::initializer_list<uint64_t> key)
    : SeededRandom(MixSeed(key)) {}

uint64_t SeededRandom::Next() {
  uint64_t* s = state_;
  const uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = std::rotl(s[3], 45);
  return result;
}

uint64_t SeededRandom::Below(uint64_t bound) {
  FG_CHECK(bound > 0);
  // Values below 2^64 mod bound would favour small remainders.
  const uint64_t reject_below = -bound % bound;
  uint64_t value = Next();
  while (value < reject_below) value = Next();
  return value % bound;
}

double SeededRandom::Normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
  const double angle = 2 * std::numbers::pi * Uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

double SeededRandom::Poisson(double mean) {
  FG_CHECK(std::isfinite(mean) && mean >= 0);
  if (mean >= 30) {
    const double count = std::round(mean + std::sqrt(mean) * Normal());
    return count < 0 ? 0 : count;
  }
  const double u = Uniform();
  double term = std::exp(-mean), sum = term, count = 0;
  // The bound stops the search where rounding keeps `sum` below `u`.
  while (u >= sum && count < 1000) {
    ++count;
    term *= mean / count;
    sum += term;
  }
  return count;
}

}  // namespace fedgraft
