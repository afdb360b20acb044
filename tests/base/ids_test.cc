#include "common/base/ids.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(SiteIdTest, TakesPlainNames) {
  for (const std::string& text :
       {std::string("a"), std::string("0"), std::string("st-mary_2"),
        std::string(63, 'x')}) {
    const auto site = SiteId::Parse(text);
    ASSERT_TRUE(site.ok()) << text;
    EXPECT_EQ(site->value, text);
  }
}

TEST(SiteIdTest, RefusesWhatCouldEscapeAPathOrALog) {
  for (const std::string& text :
       {std::string(), std::string(64, 'x'), std::string("-a"),
        std::string("_a"), std::string("A"), std::string("a/b"),
        std::string("a.b"), std::string("a b"), std::string("a\n"),
        std::string("a\0b", 3), std::string("\xc3\xa4")}) {
    EXPECT_EQ(SiteId::Parse(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(SiteIdTest, IsOrderedByItsText) {
  const std::set<SiteId> sites = {{"b"}, {"a10"}, {"a2"}};
  EXPECT_EQ(sites.begin()->value, "a10");
  EXPECT_EQ(sites.rbegin()->value, "b");
}

}  // namespace
}  // namespace fedgraft
