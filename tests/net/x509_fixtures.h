#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/crypto/ed25519.h"

namespace fedgraft::testing {

// A file of tests/vectors/x509. REQUIRES: FEDGRAFT_SOURCE_DIR is set, or the
// working folder is the source tree.
inline std::string X509Fixture(const std::string& name) {
  const char* root = std::getenv("FEDGRAFT_SOURCE_DIR");
  std::ifstream file(std::string(root == nullptr ? "." : root) +
                     "/tests/vectors/x509/" + name);
  FG_CHECK(file.good());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The keys behind the fixtures: 1 CA, 2 other CA, 10 site, 11 aggregator,
// 12 another site.
inline SigningKey FixtureKey(uint8_t seed) {
  auto key = SigningKey::FromSeed(Bytes(32, seed));
  FG_CHECK(key.ok());
  return *std::move(key);
}

}  // namespace fedgraft::testing
