#include <algorithm>
#include <csignal>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"

namespace fedgraft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StartupTest, DaemonsLinkNeitherTorchNorDecoders) {
  for (const char* name : {"fedgraft-aggregator", "fedgraft-client"}) {
    const CommandResult ldd = RunCommand({"/usr/bin/ldd", BuiltProgram(name)});
    ASSERT_EQ(ldd.exit_code, 0) << ldd.err;
    EXPECT_THAT(ldd.out, HasSubstr("libgrpc")) << name;
    for (const char* foreign : {"torch", "libc10", "opencv", "libpng",
                                "libjpeg", "libtiff", "libdcm", "libzip"}) {
      EXPECT_THAT(ldd.out, Not(HasSubstr(foreign))) << name;
    }
  }
}

// The target is 100 ms; the bound here is for a machine that does other work.
TEST(StartupTest, AggregatorListensSoonAfterItsStart) {
  Federation federation(0);
  std::vector<double> ms;
  for (int i = 0; i < 10; ++i) {
    const absl::Time start = absl::Now();
    ASSERT_TRUE(federation.StartAggregator()) << federation.AggregatorLog();
    ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
    federation.aggregator()->Signal(SIGTERM);
    EXPECT_EQ(federation.aggregator()->WaitExit(absl::Seconds(5)), 0);
  }
  std::sort(ms.begin(), ms.end());
  std::printf("start to listening: median %.0f ms, slowest %.0f ms\n",
              ms[ms.size() / 2], ms.back());
  EXPECT_LT(ms[ms.size() / 2], 1000);
}

TEST(StartupTest, HelpHasExamplesAndUnknownWordsAreRefused) {
  Federation federation(0);
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"serve", "--help"},
                                             {"pki", "--help"},
                                             {"run", "--help"},
                                             {"plan", "--help"},
                                             {"status", "--help"},
                                             {"watch", "--help"},
                                             {"report", "--help"},
                                             {"export", "--help"},
                                             {"audit", "--help"}}) {
    const CommandResult help = federation.Aggregator(words);
    EXPECT_EQ(help.exit_code, 0) << words[0];
    EXPECT_THAT(help.out, HasSubstr("fedgraft-aggregator " + words[0]));
  }
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"run", "--help"},
                                             {"enroll", "--help"},
                                             {"check", "--help"},
                                             {"audit", "--help"}}) {
    const CommandResult help = federation.Client(words);
    EXPECT_EQ(help.exit_code, 0) << words[0];
    EXPECT_THAT(help.out, HasSubstr("fedgraft-client " + words[0]));
  }
  EXPECT_EQ(federation.Aggregator({"serv"}).exit_code, 2);
  EXPECT_EQ(federation.Client({"run", "--confg", "x"}).exit_code, 2);
}

}  // namespace
}  // namespace fedgraft::testing
