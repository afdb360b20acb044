#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace fedgraft {

// Draws from N(0, 1) up to the fourth moment (Irwin-Hall: a sum of twelve
// uniforms): exact integer arithmetic up to the last, correctly rounded,
// multiplication, so that no mathematical library can make two machines
// differ.
double NextNormal(std::mt19937_64& random);

// Values of one tensor, from N(0, deviation²). They depend on the seed, the
// tensor's name and the position, whatever else a plan draws.
std::vector<float> SeededTensor(uint64_t seed, std::string_view name,
                                int64_t count, double deviation);

}  // namespace fedgraft
