#include "common/protocol/seal_suite.h"

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(SealSuiteTest, ChaChaIsForProcessorsWithoutAesWhoseAggregatorTakesIt) {
  EXPECT_EQ(ChooseSuite(true, true), SealSuite::kAes256Gcm);
  EXPECT_EQ(ChooseSuite(true, false), SealSuite::kAes256Gcm);
  EXPECT_EQ(ChooseSuite(false, true), SealSuite::kChaCha20Poly1305);
  EXPECT_EQ(ChooseSuite(false, false), SealSuite::kAes256Gcm);
}

TEST(SealSuiteTest, NamesTheAlgorithmOfRfc9180) {
  EXPECT_EQ(AlgorithmOf(SealSuite::kAes256Gcm), AeadAlgorithm::kAes256Gcm);
  EXPECT_EQ(AlgorithmOf(SealSuite::kChaCha20Poly1305),
            AeadAlgorithm::kChaCha20Poly1305);
}

}  // namespace
}  // namespace fedgraft
