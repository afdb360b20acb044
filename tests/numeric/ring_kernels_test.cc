#include "common/numeric/ring_kernels.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "common/base/bytes.h"
#include "common/numeric/ring_codec.h"
#include "gtest/gtest.h"

// Every level against the portable one, bit for bit. That the portable one is
// right is the affair of ring_codec_test, against exact arithmetic.

namespace fedgraft {
namespace {

constexpr size_t kGuard = 64;
constexpr uint8_t kCanary = 0xa5;

class RingKernelsTest : public ::testing::TestWithParam<KernelLevel> {
 protected:
  void SetUp() override {
    if (!HasKernels(GetParam())) GTEST_SKIP() << "not on this processor";
    tested_ = &KernelsOf(GetParam());
  }
  const RingKernels& portable() const {
    return KernelsOf(KernelLevel::kPortable);
  }
  const RingKernels& tested() const { return *tested_; }

 private:
  const RingKernels* tested_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Levels, RingKernelsTest,
                         ::testing::Values(KernelLevel::kPortable,
                                           KernelLevel::kAvx2,
                                           KernelLevel::kAvx512));

const int kWidths[] = {8, 12, 16, 20, 24, 32, 64};
// Every tail of every group size, and one that fills many groups.
std::vector<size_t> Counts() {
  std::vector<size_t> counts;
  for (size_t i = 0; i <= 70; ++i) counts.push_back(i);
  counts.push_back(1000);
  counts.push_back(4097);
  return counts;
}

Bytes RandomBytes(size_t size, std::mt19937_64& random) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// A buffer at an odd address with nothing of its own behind it: the input ends
// where the allocation ends (which the address sanitizer watches).
class Input {
 public:
  Input(const Bytes& content, size_t misalignment)
      : bytes_(misalignment + content.size()), misalignment_(misalignment) {
    std::copy(content.begin(), content.end(),
              bytes_.begin() + static_cast<ptrdiff_t>(misalignment));
  }
  const uint8_t* data() const { return bytes_.data() + misalignment_; }

 private:
  Bytes bytes_;
  size_t misalignment_;
};

// What `write` leaves in `size` bytes that held `before`, with canaries around.
template <typename Write>
Bytes Written(const Bytes& before, size_t misalignment, Write write) {
  Bytes bytes(misalignment + before.size() + kGuard, kCanary);
  uint8_t* const at = bytes.data() + misalignment;
  std::copy(before.begin(), before.end(), at);
  write(at);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool own = i >= misalignment && i < misalignment + before.size();
    if (own) continue;
    EXPECT_EQ(bytes[i], kCanary) << "byte " << i << " was touched";
  }
  return Bytes(at, at + before.size());
}

TEST_P(RingKernelsTest, UnpackingAndAddingEqualThePortableOnes) {
  std::mt19937_64 random(1);
  for (const int bits : kWidths) {
    for (const size_t count : Counts()) {
      for (const size_t misalignment : {0, 1, 3}) {
        SCOPED_TRACE(std::to_string(bits) + " bits, " + std::to_string(count) +
                     " words, misaligned by " + std::to_string(misalignment));
        const Bytes packed = RandomBytes(PackedBytes(bits, count), random);
        const Input input(packed, misalignment);
        const Bytes words = RandomBytes(count * 8, random);
        const Bytes lanes = RandomBytes(count * LaneBytes(bits), random);
        for (const auto kernel : {&RingKernels::unpack, &RingKernels::add}) {
          const auto run = [&](const RingKernels& kernels) {
            return Written(words, 0, [&](uint8_t* out) {
              (kernels.*kernel)(bits, input.data(), count,
                                reinterpret_cast<uint64_t*>(out));
            });
          };
          ASSERT_EQ(run(tested()), run(portable()));
        }
        for (const auto kernel :
             {&RingKernels::set_lanes, &RingKernels::add_lanes}) {
          const auto run = [&](const RingKernels& kernels) {
            return Written(lanes, misalignment, [&](uint8_t* out) {
              (kernels.*kernel)(bits, input.data(), count, out);
            });
          };
          ASSERT_EQ(run(tested()), run(portable()));
        }
      }
    }
  }
}

TEST_P(RingKernelsTest, PackingAndWideningEqualThePortableOnes) {
  std::mt19937_64 random(2);
  for (const int bits : kWidths) {
    for (const size_t count : Counts()) {
      SCOPED_TRACE(std::to_string(bits) + " bits, " + std::to_string(count));
      // Bits above the word are there and must be dropped.
      std::vector<uint64_t> words(count);
      for (uint64_t& word : words) word = random();
      const Bytes lanes = RandomBytes(count * LaneBytes(bits), random);
      const auto pack = [&](const RingKernels& kernels) {
        return Written(Bytes(PackedBytes(bits, count)), 1, [&](uint8_t* out) {
          kernels.pack(bits, words.data(), count, out);
        });
      };
      ASSERT_EQ(pack(tested()), pack(portable()));
      const auto widen = [&](const RingKernels& kernels) {
        std::vector<uint64_t> out(count);
        kernels.widen_lanes(bits, lanes.data(), count, out.data());
        return out;
      };
      ASSERT_EQ(widen(tested()), widen(portable()));
    }
  }
}

// Bits, so that zeros of either sign and the last digit count.
std::vector<uint64_t> BitsOf(const std::vector<double>& values) {
  std::vector<uint64_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(double));
  return bits;
}

TEST_P(RingKernelsTest, MeasuringEqualsThePortableOne) {
  std::mt19937_64 random(3);
  for (const int bits : {8, 12, 16, 20, 24, 32}) {
    for (const size_t count : Counts()) {
      const Bytes lanes = RandomBytes(count * LaneBytes(bits), random);
      const auto run = [&](const RingKernels& kernels) {
        TermTotals totals;
        kernels.measure_lanes(bits, lanes.data(), count / 8 * 8, &totals);
        kernels.measure_lanes(bits, lanes.data(), count, &totals);
        std::vector<double> all(totals.squares, totals.squares + 8);
        all.insert(all.end(), totals.largest, totals.largest + 8);
        return BitsOf(all);
      };
      ASSERT_EQ(run(tested()), run(portable())) << bits << " " << count;
    }
  }
}

TEST_P(RingKernelsTest, QuantisingEqualsThePortableOne) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal;
  for (const int bits : kWidths) {
    const int fraction_bits = bits > 50 ? 30 : bits - 5;
    const GridScale grid = {
        .scale = 0.7,
        .grid = std::ldexp(1.0, fraction_bits),
        .term_max = int64_t{1} << (bits > 50 ? 50 : bits - 2),
        .mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1};
    for (const size_t count : Counts()) {
      std::vector<float> floats(count);
      for (float& value : floats) value = 4 * normal(random);
      if (count > 5) {
        floats[0] = -0.0f;
        floats[1] = std::numeric_limits<float>::max();
        floats[2] = std::numeric_limits<float>::lowest();
        floats[3] = std::numeric_limits<float>::denorm_min();
        floats[4] = static_cast<float>(1.5 / grid.grid / grid.scale);
      }
      const std::vector<double> doubles(floats.begin(), floats.end());
      const RoundingDraw draw = {random(), random() >> 20};
      const auto run = [&](const RingKernels& kernels) {
        std::vector<uint64_t> all;
        std::vector<uint64_t> words(count);
        std::vector<double> errors(count);
        const auto keep = [&](uint64_t saturated) {
          all.push_back(saturated);
          all.insert(all.end(), words.begin(), words.end());
          const auto error_bits = BitsOf(errors);
          all.insert(all.end(), error_bits.begin(), error_bits.end());
        };
        keep(kernels.quantize_floats(floats.data(), count, grid, words.data(),
                                     errors.data()));
        keep(kernels.quantize_doubles(doubles.data(), count, grid, words.data(),
                                      errors.data()));
        keep(kernels.quantize_stochastic(floats.data(), count, grid, draw,
                                         words.data(), errors.data()));
        std::vector<double> sums(2 * TermTotals::kLanes);
        kernels.sum_squares(errors.data(), count, sums.data());
        kernels.sum_squares_floats(floats.data(), count,
                                   sums.data() + TermTotals::kLanes);
        all.push_back(kernels.largest_magnitude(floats.data(), count));
        const auto sum_bits = BitsOf(sums);
        all.insert(all.end(), sum_bits.begin(), sum_bits.end());
        std::vector<double> back(count);
        kernels.dequantize(bits, std::ldexp(1.0, -fraction_bits), words.data(),
                           count, back.data());
        const auto back_bits = BitsOf(back);
        all.insert(all.end(), back_bits.begin(), back_bits.end());
        return all;
      };
      ASSERT_EQ(run(tested()), run(portable())) << bits << " " << count;
    }
  }
}

}  // namespace
}  // namespace fedgraft
