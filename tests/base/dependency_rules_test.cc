// The dependency rules of ARCHITECTURE.md, as a test over the source text.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

namespace fs = std::filesystem;

struct Include {
  std::string file;  // relative to the source tree
  std::string what;  // the included path
};

bool Starts(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

std::string SourceDir() {
  const char* dir = std::getenv("FEDGRAFT_SOURCE_DIR");
  return dir == nullptr ? "" : dir;
}

std::vector<Include> AllIncludes() {
  static const std::regex kInclude("^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"]");
  std::vector<Include> includes;
  for (const char* top : {"common", "aggregator", "client"}) {
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(SourceDir()) / top)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc") continue;
      const std::string file =
          fs::relative(entry.path(), SourceDir()).generic_string();
      std::ifstream in(entry.path());
      std::smatch match;
      for (std::string line; std::getline(in, line);) {
        if (std::regex_search(line, match, kInclude)) {
          includes.push_back({file, match[1]});
        }
      }
    }
  }
  return includes;
}

class DependencyRulesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (SourceDir().empty()) {
      GTEST_SKIP() << "FEDGRAFT_SOURCE_DIR is not set (ctest sets it)";
    }
    includes_ = AllIncludes();
    ASSERT_GT(includes_.size(), 500u) << "the source tree was not found";
  }

  // Every include for which `matches` holds must be in a file that `allowed`
  // accepts.
  void ExpectOnlyIn(const std::function<bool(const std::string&)>& matches,
                    const std::function<bool(const std::string&)>& allowed) {
    for (const Include& include : includes_) {
      if (matches(include.what)) {
        EXPECT_TRUE(allowed(include.file))
            << include.file << " includes " << include.what;
      }
    }
  }

  std::vector<Include> includes_;
};

TEST_F(DependencyRulesTest, ClientAndAggregatorNeverIncludeEachOther) {
  ExpectOnlyIn([](const auto& what) { return Starts(what, "client/"); },
               [](const auto& file) { return Starts(file, "client/"); });
  ExpectOnlyIn([](const auto& what) { return Starts(what, "aggregator/"); },
               [](const auto& file) { return Starts(file, "aggregator/"); });
}

TEST_F(DependencyRulesTest, TorchOnlyInTheTrainer) {
  ExpectOnlyIn(
      [](const auto& what) {
        return Starts(what, "torch/") || Starts(what, "ATen/") ||
               Starts(what, "c10/");
      },
      [](const auto& file) {
        return Starts(file, "client/model/") || Starts(file, "client/train/");
      });
}

TEST_F(DependencyRulesTest, ImageDecodersAndZipOnlyInClientDataSources) {
  ExpectOnlyIn(
      [](const auto& what) {
        return Starts(what, "opencv2/") || Starts(what, "dcmtk/") ||
               what == "zip.h";
      },
      [](const auto& file) {
        return Starts(file, "client/data/") && file.ends_with(".cc");
      });
}

TEST_F(DependencyRulesTest, GrpcOnlyInNetFolders) {
  ExpectOnlyIn(
      [](const auto& what) {
        return Starts(what, "grpcpp/") || what.ends_with(".grpc.pb.h");
      },
      [](const auto& file) { return file.find("/net/") != std::string::npos; });
}

TEST_F(DependencyRulesTest, OpenSslOnlyInCryptoSourcesNetAndPki) {
  ExpectOnlyIn(
      [](const auto& what) { return Starts(what, "openssl/"); },
      [](const auto& file) {
        return (Starts(file, "common/crypto/") && file.ends_with(".cc")) ||
               Starts(file, "common/net/") ||
               Starts(file, "aggregator/admin/pki");
      });
}

TEST_F(DependencyRulesTest, HttpOnlyInTheStatusPagesServer) {
  ExpectOnlyIn(
      [](const auto& what) { return what == "httplib.h"; },
      [](const auto& file) { return file == "aggregator/web/http_server.cc"; });
}

TEST_F(DependencyRulesTest, ThreadsOnlyThroughRuntime) {
  ExpectOnlyIn(
      [](const auto& what) { return what == "thread" || what == "pthread.h"; },
      [](const auto& file) {
        return Starts(file, "common/runtime/") ||
               // The trainer is a process of its own; a child's pipe is read
               // by a thread that posts to the strand.
               Starts(file, "client/train/") || Starts(file, "client/agent/");
      });
}

}  // namespace
}  // namespace fedgraft
