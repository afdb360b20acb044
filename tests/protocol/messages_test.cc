#include "common/protocol/messages.h"

#include <set>
#include <string>

#include "common/base/status_macros.h"
#include "common/protocol/codec.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

std::vector<RefusalReason> AllReasons() {
  std::vector<RefusalReason> reasons;
  for (int i = 1; i <= 16; ++i) {
    reasons.push_back(static_cast<RefusalReason>(i));
  }
  return reasons;
}

TEST(RefusalTest, CarriesReasonThroughStatusAndAnnotation) {
  for (RefusalReason reason : AllReasons()) {
    const absl::Status status = RefusalError(reason, "site north, round 3");
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(RefusalOf(status), reason);
    EXPECT_EQ(RefusalOf(Annotate(status, "submit")), reason);
    EXPECT_EQ(status.message(), "site north, round 3");
  }
}

TEST(RefusalTest, CodesFitTheReason) {
  EXPECT_TRUE(
      absl::IsPermissionDenied(RefusalError(RefusalReason::kBadSignature, "")));
  EXPECT_TRUE(
      absl::IsPermissionDenied(RefusalError(RefusalReason::kNotAllowed, "")));
  EXPECT_TRUE(absl::IsDataLoss(RefusalError(RefusalReason::kBadSeal, "")));
  EXPECT_TRUE(absl::IsDataLoss(RefusalError(RefusalReason::kBadDigest, "")));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(RefusalError(RefusalReason::kWrongRound, "")));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      RefusalError(RefusalReason::kAlreadyContributed, "")));
  EXPECT_TRUE(
      absl::IsResourceExhausted(RefusalError(RefusalReason::kStorage, "")));
  EXPECT_TRUE(
      absl::IsInvalidArgument(RefusalError(RefusalReason::kOverNorm, "")));
}

TEST(RefusalTest, OrdinaryStatusCarriesNone) {
  EXPECT_FALSE(RefusalOf(absl::OkStatus()).has_value());
  EXPECT_FALSE(RefusalOf(absl::InvalidArgumentError("x")).has_value());
}

TEST(RefusalTest, ForeignPayloadIsNotAReason) {
  for (const char* payload : {"", "0", "17", "-1", "abc", "99999999999"}) {
    absl::Status status = absl::InvalidArgumentError("x");
    status.SetPayload("fedgraft/refusal", absl::Cord(payload));
    EXPECT_FALSE(RefusalOf(status).has_value()) << payload;
  }
}

TEST(RefusalTest, NamesAreDistinctAndFollowTheWireEnum) {
  std::set<std::string> names;
  for (RefusalReason reason : AllReasons()) {
    const std::string name(RefusalName(reason));
    names.insert(name);
    std::string upper = "REFUSAL_REASON_";
    for (char c : name) upper += static_cast<char>(std::toupper(c));
    EXPECT_EQ(pb::RefusalReason_Name(static_cast<pb::RefusalReason>(reason)),
              upper);
  }
  EXPECT_EQ(names.size(), AllReasons().size());
}

TEST(RefusalTest, SurvivesTheWire) {
  for (RefusalReason reason : AllReasons()) {
    const auto wire = RefusalToWire(RefusalError(reason, "detail"));
    ASSERT_TRUE(wire.has_value());
    const absl::Status back = RefusalFromWire(*wire);
    EXPECT_EQ(back, RefusalError(reason, "detail"));
  }
  EXPECT_FALSE(RefusalToWire(absl::InternalError("x")).has_value());
}

TEST(RefusalTest, HostileDetailIsCutAndMadePrintable) {
  const auto wire = RefusalToWire(RefusalError(
      RefusalReason::kBadLayout, std::string(5000, '\xff') + "\n"));
  ASSERT_TRUE(wire.has_value());
  EXPECT_EQ(wire->detail(), std::string(kRefusalDetailBytesMax, '?'));
}

TEST(RefusalTest, WireRefusalWithUnknownReasonIsInvalid) {
  for (int reason : {0, 17, -3}) {
    pb::Refusal wire;
    wire.set_reason(static_cast<pb::RefusalReason>(reason));
    const absl::Status status = RefusalFromWire(wire);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_FALSE(RefusalOf(status).has_value());
  }
}

}  // namespace
}  // namespace fedgraft
