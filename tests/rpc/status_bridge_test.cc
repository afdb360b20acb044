#include "common/net/grpc/status_bridge.h"

#include <string>

#include "common/protocol/messages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(StatusBridgeTest, EveryRefusalSurvivesTheWire) {
  for (int i = 1; i <= 16; ++i) {
    const auto reason = static_cast<RefusalReason>(i);
    const absl::Status sent = RefusalError(reason, "site x, round 3");
    const grpc::Status wire = ToGrpc(sent);
    EXPECT_EQ(static_cast<int>(wire.error_code()),
              static_cast<int>(sent.code()));
    const absl::Status received = FromGrpc(wire);
    EXPECT_EQ(RefusalOf(received), reason);
    EXPECT_EQ(received.code(), sent.code());
    EXPECT_THAT(std::string(received.message()),
                ::testing::HasSubstr("site x, round 3"));
  }
}

TEST(StatusBridgeTest, PlainErrorsKeepCodeAndMessage) {
  const absl::Status received =
      FromGrpc(ToGrpc(absl::UnavailableError("try later")));
  EXPECT_EQ(received, absl::UnavailableError("try later"));
  EXPECT_EQ(RefusalOf(received), std::nullopt);
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
}

// gRPC's own answer when its memory quota is full: nothing is wrong with the
// call, so it may be made again; what the other side refused stays refused.
TEST(StatusBridgeTest, ACallTurnedAwayUnreadMayBeTriedAgain) {
  const absl::Status unread =
      FromGrpc(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                            "Received RST_STREAM with error code 11"));
  EXPECT_EQ(unread.code(), absl::StatusCode::kUnavailable);
  const absl::Status refused =
      FromGrpc(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too large"));
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
}

TEST(StatusBridgeTest, HostileTextIsCutAndMadePrintable) {
  const absl::Status received = FromGrpc(grpc::Status(
      grpc::StatusCode::INTERNAL, "a\x1b[2J\n" + std::string(5000, 'b')));
  EXPECT_EQ(received.message().size(), 1024u);
  for (const char c : received.message()) EXPECT_GE(c, ' ');
}

TEST(StatusBridgeTest, GarbageInTheDetailsIsNotARefusal) {
  const absl::Status received = FromGrpc(
      grpc::Status(grpc::StatusCode::INTERNAL, "x", "\xff\xff\xff garbage"));
  EXPECT_FALSE(received.ok());
  EXPECT_EQ(RefusalOf(received), std::nullopt);
}

}  // namespace
}  // namespace fedgraft
