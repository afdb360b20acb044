#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"

// docs/SECURITY.md lists what is refused and what to do instead: both are true,
// and nothing is missing.

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

std::string SourceText(const std::string& path) {
  const char* source = std::getenv("FEDGRAFT_SOURCE_DIR");
  std::ifstream stream(
      absl::StrCat(source != nullptr ? source : ".", "/", path));
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

// What stands between backticks.
std::vector<std::string> CodeIn(const std::string& cell) {
  const std::vector<std::string> parts = absl::StrSplit(cell, '`');
  std::vector<std::string> code;
  for (size_t i = 1; i < parts.size(); i += 2) code.push_back(parts[i]);
  return code;
}

struct Refusal {
  std::vector<std::string> lines;  // of a plan
  std::string key;
  std::vector<std::string> instead;
};

// The rows of all tables that begin with "a plan with".
std::vector<Refusal> Refusals() {
  std::vector<Refusal> refusals;
  bool inside = false;
  for (const std::string& line : std::vector<std::string>(
           absl::StrSplit(SourceText("docs/SECURITY.md"), '\n'))) {
    if (absl::StartsWith(line, "| a plan with")) {
      inside = true;
    } else if (!absl::StartsWith(line, "|")) {
      inside = false;
    } else if (inside && !absl::StartsWith(line, "| ---")) {
      const std::vector<std::string> cells = absl::StrSplit(line, " | ");
      EXPECT_EQ(cells.size(), 4u) << line;
      refusals.push_back(
          {CodeIn(cells[0]), CodeIn(cells[1]).at(0), CodeIn(cells.at(3))});
    }
  }
  return refusals;
}

// The minimal plan with these lines, each in place of its own.
std::string PlanWith(const std::vector<std::string>& lines) {
  std::vector<std::string> plan = absl::StrSplit(MinimalPlan(), '\n');
  for (const std::string& line : lines) {
    const std::string key = line.substr(0, line.find(':') + 1);
    std::erase_if(plan, [&](const std::string& old) {
      return absl::StartsWith(old, key);
    });
    plan.push_back(line);
  }
  return absl::StrJoin(plan, "\n") + "\n";
}

TEST(PlanRefusalsTest, EachIsRefusedAndTheMessageSaysWhatToDoInstead) {
  const std::vector<Refusal> refusals = Refusals();
  ASSERT_GE(refusals.size(), 40u);
  for (const Refusal& refusal : refusals) {
    const std::string text = PlanWith(refusal.lines);
    SCOPED_TRACE(text);
    const auto plan = ParsePlanYaml(text, "plan.yaml");
    ASSERT_TRUE(absl::IsInvalidArgument(plan.status())) << plan.status();
    const std::string message(plan.status().message());
    // A message per line; this key's.
    std::string line;
    for (const std::string& one :
         std::vector<std::string>(absl::StrSplit(message, '\n'))) {
      if (absl::StrContains(one, refusal.key + ":"))
        absl::StrAppend(&line, one);
    }
    ASSERT_NE(line, "") << message;
    EXPECT_FALSE(refusal.instead.empty());
    for (const std::string& instead : refusal.instead) {
      EXPECT_THAT(line, HasSubstr(instead));
    }
  }
}

// Keys at which the checks refuse, as far as they are written out there.
TEST(PlanRefusalsTest, NoCheckIsMissingInTheList) {
  std::set<std::string> listed;
  for (const Refusal& refusal : Refusals()) listed.insert(refusal.key);
  const std::regex added("errors\\.Add\\(\\s*\"([a-z_.]+)\"");
  for (const char* area :
       {"privacy", "rule", "scaffold", "secure", "shift", "statistics"}) {
    const std::string code =
        SourceText(absl::StrCat("common/config/plan_checks_", area, ".cc"));
    ASSERT_NE(code, "") << area;
    for (std::sregex_iterator it(code.begin(), code.end(), added), end;
         it != end; ++it) {
      EXPECT_TRUE(listed.contains((*it)[1])) << area << ": " << (*it)[1];
    }
  }
  const std::string policy = SourceText("client/policy/site_policy.cc");
  const std::string text = SourceText("docs/SECURITY.md");
  const std::regex denied("Denied\\(\\s*\"([a-z_]+)\"");
  int policies = 0;
  for (std::sregex_iterator it(policy.begin(), policy.end(), denied), end;
       it != end; ++it) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("`policy.", (*it)[1].str(), "`")));
    ++policies;
  }
  EXPECT_GE(policies, 7);
}

}  // namespace
}  // namespace fedgraft
