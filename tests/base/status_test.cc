#include <memory>
#include <string>

#include "absl/strings/cord.h"
#include "common/base/status_macros.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

absl::Status Fail(bool fail) {
  return fail ? absl::NotFoundError("no such site") : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<int>> MakeInt(bool fail) {
  FG_RETURN_IF_ERROR(Fail(fail));
  return std::make_unique<int>(7);
}

absl::StatusOr<int> AddTwice(bool first_fails, bool second_fails) {
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<int> a, MakeInt(first_fails));
  FG_ASSIGN_OR_RETURN(auto b, MakeInt(second_fails));
  return *a + *b;
}

TEST(StatusMacrosTest, PassValuesAndErrorsOn) {
  EXPECT_EQ(*AddTwice(false, false), 14);
  EXPECT_EQ(AddTwice(true, false).status().message(), "no such site");
  EXPECT_EQ(AddTwice(false, true).status().code(), absl::StatusCode::kNotFound);
}

TEST(AnnotateTest, KeepsCodeAndPayload) {
  absl::Status status = absl::DataLossError("bad tag");
  status.SetPayload("type.test/reason", absl::Cord("9"));
  const absl::Status annotated = Annotate(status, "site a");
  EXPECT_EQ(annotated.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(annotated.message(), "site a: bad tag");
  EXPECT_EQ(annotated.GetPayload("type.test/reason"), absl::Cord("9"));
}

TEST(AnnotateTest, LeavesOkAlone) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), "site a").ok());
}

}  // namespace
}  // namespace fedgraft
