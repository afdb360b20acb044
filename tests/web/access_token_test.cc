#include "aggregator/web/access_token.h"

#include <sys/stat.h>

#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToken = "0123456789abcdef0123456789abcdef";

class AccessTokenTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_.File("token");
    std::ofstream(path, std::ios::trunc) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  testing::TempFolder folder_;
};

TEST_F(AccessTokenTest, AdmitsTheTokenAsBearerOrAsAnyUsersPassword) {
  const auto token = AccessToken::Load(Write(std::string(kToken) + "\n"));
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_TRUE(token->Admits(std::string("Bearer ") + kToken));
  EXPECT_TRUE(token->Admits(std::string("bearer  ") + kToken));
  EXPECT_TRUE(token->Admits("Basic " +
                            absl::Base64Escape(std::string("me:") + kToken)));
}

TEST_F(AccessTokenTest, AdmitsNothingElse) {
  const auto token = AccessToken::Load(Write(kToken));
  ASSERT_TRUE(token.ok());
  const std::string cut = std::string(kToken).substr(1);
  for (const std::string& header : std::vector<std::string>{
           "", "Bearer", "Bearer ", kToken, "Bearer " + cut,
           std::string("Bearer ") + kToken + "0", "Basic !!!",
           "Basic " + absl::Base64Escape(kToken),
           "Basic " + absl::Base64Escape("me:" + cut),
           std::string("Digest ") + kToken}) {
    EXPECT_FALSE(token->Admits(header)) << header;
  }
}

TEST_F(AccessTokenTest, FilesThatAreNoSecretAreRefused) {
  EXPECT_THAT(AccessToken::Load(Write("short\n")).status().message(),
              HasSubstr("at least 16"));
  EXPECT_THAT(AccessToken::Load(Write(kToken, 0644)).status().message(),
              HasSubstr("chmod 600"));
  EXPECT_FALSE(AccessToken::Load(folder_.File("none")).ok());
}

}  // namespace
}  // namespace fedgraft
