#pragma once

#include <cstdint>
#include <vector>

// Values of the project's reference set (computed in numpy and scipy).

namespace fedgraft::testing {

inline constexpr int64_t kGoldenRecords = 12;
// [12, 3], [12, 4], [12, 2]
inline const std::vector<double> kGoldenX = {
    -0.4434, -0.0117, -0.1383, 1.8529,  -0.4105, 1.1562, -1.0915, -0.3348,
    -1.7571, 0.3345,  -1.2441, 1.1065,  -0.8297, 0.6958, 0.8867,  -0.7788,
    -1.2488, -0.6514, -0.409,  0.0283,  1.2464,  0.3281, -0.8109, -1.5843,
    -0.2078, -1.2453, -0.0757, -0.6983, -0.9563, 0.3935, 0.5732,  -0.7687,
    -1.2105, 0.9973,  0.0036,  1.0189};
inline const std::vector<double> kGoldenY = {
    0.6658,  -0.5645, 0.1104,  -0.9136, 0.1168,  -1.8635, 1.1435,  2.0121,
    -0.3778, 1.0393,  -0.6818, -0.9327, -0.9137, -0.9722, 1.243,   1.084,
    0.7271,  -0.8583, -1.1809, -0.3381, 0.7039,  0.4183,  0.3024,  0.1053,
    0.7584,  -1.2461, -0.4386, -1.2317, -0.0717, 0.2716,  -0.7331, -0.1041,
    -1.1518, -1.1987, 1.2583,  0.2027,  0.4366,  -1.5845, 1.1992,  -2.2493,
    -1.3454, -0.0342, -0.8432, -0.102,  -1.1071, -1.9274, 1.3119,  0.4674};
inline const std::vector<double> kGoldenB = {
    -0.7642, -0.5414, 1.7536,  -0.2423, -0.6371, -0.2909, 0.1134, -1.558,
    -0.5302, 1.3497,  -0.6697, -1.7421, -0.7923, 0.6683,  0.4093, -1.5038,
    -0.2413, -1.7106, -0.95,   -1.1515, 0.2879,  -0.5473, 0.9721, -0.2322};
inline const std::vector<int64_t> kGoldenLabels = {0, 1, 2, 0, 1, 2,
                                                   0, 1, 2, 0, 1, 1};

inline constexpr double kGoldenCkaBiased = 0.6432870866908317;
inline constexpr double kGoldenCkaUnbiased = 0.5468891895991127;
// Column spaces of the first two columns of X, and of B.
inline constexpr double kGoldenCosines[] = {0.9622996139444049,
                                            0.9435612867386567};
inline constexpr double kGoldenAngles[] = {0.2754620966628478,
                                           0.3375729233133264};
inline constexpr double kGoldenChordal = 0.42856919064550103;
// Of X and the labels.
inline constexpr double kGoldenLogMe = -0.8152353339306188;
inline constexpr double kGoldenHScore = 0.9770011300322798;

}  // namespace fedgraft::testing
