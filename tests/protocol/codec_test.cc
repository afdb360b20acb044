#include "common/protocol/codec.h"

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

Digest Filled(uint8_t byte) {
  Digest digest;
  digest.bytes.fill(byte);
  return digest;
}

RunDescriptor Descriptor() {
  RunDescriptor run;
  run.run = {"run-1"};
  run.plan = {1, 2, 0, 255};
  run.plan_hash = Filled(1);
  run.backbone_size_bytes = 14'000'000;
  run.initial_model = Filled(2);
  run.hpke_public_key = Bytes(32, 3);
  run.hpke_key_signature = Bytes(64, 4);
  run.aggregator_certificate_pem = "-----BEGIN CERTIFICATE-----\n…";
  run.takes_chacha20_poly1305 = true;
  return run;
}

Task EvaluateTask() {
  Task task;
  task.run = {"run-1"};
  task.round = {5};
  task.kind = TaskKind::kEvaluate;
  task.plan_hash = Filled(1);
  task.model = Filled(2);
  task.model_size_bytes = 3;
  task.model_inline = {7, 8, 9};
  task.progress_timeout = absl::Seconds(60);
  task.split = "val";
  task.compare_local = true;
  return task;
}

UploadHeader Header() {
  UploadHeader header;
  header.run = {"run-1"};
  header.round = {2};
  header.kind = TaskKind::kTrain;
  header.plan_hash = Filled(1);
  header.base_model = Filled(2);
  header.size_bytes = 45'000;
  header.sealed_digest = Filled(3);
  header.suite = SealSuite::kChaCha20Poly1305;
  header.signature = Bytes(64, 4);
  return header;
}

// One hostile variant of a valid message and the field that the error names.
template <typename Wire>
struct Bad {
  std::string field;
  std::function<void(Wire&)> change;
};

template <typename Wire>
void ExpectEachRefused(const Wire& valid, const std::vector<Bad<Wire>>& cases) {
  ASSERT_TRUE(FromWire(valid).ok()) << FromWire(valid).status();
  for (const Bad<Wire>& bad : cases) {
    Wire wire = valid;
    bad.change(wire);
    const absl::Status status = FromWire(wire).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.field));
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected"));
  }
}

// A message that survives parse(serialise(x)) keeps every field if its second
// wire form is the same bytes.
template <typename Wire>
void ExpectRoundTrip(const Wire& wire) {
  Wire parsed;
  ASSERT_TRUE(parsed.ParseFromString(wire.SerializeAsString()));
  const auto message = FromWire(parsed);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(ToWire(*message).SerializeAsString(), wire.SerializeAsString());
}

TEST(CodecTest, JoinRequestRoundTrips) {
  JoinRequest request;
  request.protocol_version = 9;  // a foreign version reaches the coordinator
  request.software_version = "0.1.0";
  request.capabilities = {"seal", "resume"};
  ExpectRoundTrip(ToWire(request));
  EXPECT_EQ(FromWire(ToWire(request))->protocol_version, 9u);
}

TEST(CodecTest, JoinRequestRefusesHostileFields) {
  ExpectEachRefused<pb::JoinRequest>(
      ToWire(JoinRequest()),
      {{"software_version",
        [](auto& w) { w.set_software_version(std::string(129, 'x')); }},
       {"software_version", [](auto& w) { w.set_software_version("a\nb"); }},
       {"capabilities", [](auto& w) { w.add_capabilities(""); }},
       {"capabilities", [](auto& w) {
          for (int i = 0; i < 65; ++i) w.add_capabilities("a");
        }}});
}

TEST(CodecTest, JoinReplyRoundTripsWithAndWithoutRun) {
  ExpectRoundTrip(ToWire(JoinReply{"cardio", std::nullopt}));
  ExpectRoundTrip(ToWire(JoinReply{"cardio", Descriptor()}));
  EXPECT_FALSE(FromWire(ToWire(JoinReply{"cardio", {}}))->run.has_value());
}

TEST(CodecTest, JoinReplyRefusesHostileFields) {
  using Wire = pb::JoinReply;
  ExpectEachRefused<Wire>(
      ToWire(JoinReply{"cardio", Descriptor()}),
      {{"protocol_version", [](Wire& w) { w.set_protocol_version(3); }},
       {"federation", [](Wire& w) { w.clear_federation(); }},
       {"run_id", [](Wire& w) { w.mutable_run()->set_run_id("../x"); }},
       {"run_id",
        [](Wire& w) { w.mutable_run()->set_run_id(std::string(65, 'a')); }},
       {"plan", [](Wire& w) { w.mutable_run()->clear_plan(); }},
       {"plan",
        [](Wire& w) {
          w.mutable_run()->set_plan(std::string(kPlanBytesMax + 1, 'x'));
        }},
       {"plan_hash", [](Wire& w) { w.mutable_run()->set_plan_hash("short"); }},
       {"backbone_size_bytes",
        [](Wire& w) {
          w.mutable_run()->set_backbone_size_bytes(uint64_t{1} << 63);
        }},
       {"initial_model",
        [](Wire& w) { w.mutable_run()->clear_initial_model(); }},
       {"hpke_public_key",
        [](Wire& w) {
          w.mutable_run()->set_hpke_public_key(std::string(33, 'x'));
        }},
       {"hpke_key_signature",
        [](Wire& w) {
          w.mutable_run()->set_hpke_key_signature(std::string(63, 'x'));
        }},
       {"aggregator_certificate_pem",
        [](Wire& w) { w.mutable_run()->clear_aggregator_certificate_pem(); }}});
}

TEST(CodecTest, TaskRoundTrips) {
  ExpectRoundTrip(ToWire(EvaluateTask()));
  Task train = EvaluateTask();
  train.kind = TaskKind::kTrain;
  train.split.clear();
  train.compare_local = false;
  train.model_inline.clear();
  train.model_size_bytes = 100'000'000;
  ExpectRoundTrip(ToWire(train));
  EXPECT_EQ(ToWire(train).statistics(), "");
  train.statistics = Filled(4);
  train.statistics_size_bytes = 70;
  train.training_round = {5};
  train.counted_round = {4};
  train.compared_look = Filled(9);
  ExpectRoundTrip(ToWire(train));
}

TEST(CodecTest, TaskRefusesHostileFields) {
  using Wire = pb::Task;
  ExpectEachRefused<Wire>(
      ToWire(EvaluateTask()),
      {{"run_id", [](Wire& w) { w.clear_run_id(); }},
       {"round", [](Wire& w) { w.set_round(kRoundMax + 1); }},
       {"kind", [](Wire& w) { w.clear_kind(); }},
       {"kind", [](Wire& w) { w.set_kind(static_cast<pb::TaskKind>(77)); }},
       {"plan_hash", [](Wire& w) { w.set_plan_hash(std::string(31, 'x')); }},
       {"model", [](Wire& w) { w.set_model(""); }},
       {"counted_round", [](Wire& w) { w.set_counted_round(kRoundMax + 1); }},
       {"compared_look", [](Wire& w) { w.set_compared_look("short"); }},
       {"model_size_bytes", [](Wire& w) { w.set_model_size_bytes(0); }},
       {"model_size_bytes",
        [](Wire& w) { w.set_model_size_bytes(kBlobBytesMax + 1); }},
       {"model_inline", [](Wire& w) { w.set_model_inline("12"); }},
       {"model_inline",
        [](Wire& w) {
          w.set_model_inline(std::string(kInlineModelBytesMax + 1, 'x'));
          w.set_model_size_bytes(kInlineModelBytesMax + 1);
        }},
       {"progress_timeout_ms", [](Wire& w) { w.set_progress_timeout_ms(0); }},
       {"split", [](Wire& w) { w.set_split("validation"); }},
       {"statistics", [](Wire& w) { w.set_statistics_size_bytes(7); }},
       {"statistics_size_bytes",
        [](Wire& w) { w.set_statistics_size_bytes(kBlobBytesMax + 1); }},
       {"split", [](Wire& w) { w.set_kind(pb::TASK_KIND_TRAIN); }}});
}

TEST(CodecTest, NextTaskRequestRoundTripsAndIsBounded) {
  ExpectRoundTrip(ToWire(NextTaskRequest{{"run-1"}, absl::Seconds(30)}));
  ExpectRoundTrip(ToWire(NextTaskRequest{{""}, absl::ZeroDuration()}));
  ExpectEachRefused<pb::NextTaskRequest>(
      ToWire(NextTaskRequest{{"run-1"}, absl::Seconds(30)}),
      {{"poll_ms", [](auto& w) { w.set_poll_ms(600'001); }},
       {"run_id", [](auto& w) { w.set_run_id("a b"); }}});
}

TEST(CodecTest, NextTaskReplyKeepsItsAlternative) {
  RunFinished finished;
  finished.run = {"run-1"};
  finished.model = Filled(9);
  finished.model_size_bytes = 10;
  finished.rounds = 4;
  finished.stopped = true;
  const std::vector<NextTaskReply> replies = {WaitMore{}, EvaluateTask(),
                                              finished, Rejoin{}};
  for (const NextTaskReply& reply : replies) {
    ExpectRoundTrip(ToWire(reply));
    EXPECT_EQ(FromWire(ToWire(reply))->index(), reply.index());
  }
}

TEST(CodecTest, NextTaskReplyRefusesNothingAndBadInnerMessages) {
  EXPECT_TRUE(absl::IsInvalidArgument(FromWire(pb::NextTaskReply()).status()));
  pb::NextTaskReply task;
  task.mutable_task();
  EXPECT_TRUE(absl::IsInvalidArgument(FromWire(task).status()));
  pb::NextTaskReply finished;
  finished.mutable_finished()->set_run_id("run-1");
  EXPECT_TRUE(absl::IsInvalidArgument(FromWire(finished).status()));
}

TEST(CodecTest, HeartbeatRoundTripsAndBoundsProgress) {
  const Heartbeat beat{{"run-1"}, {3}, TaskKind::kTrain, 0.25f};
  ExpectRoundTrip(ToWire(beat));
  ExpectEachRefused<pb::HeartbeatRequest>(
      ToWire(beat),
      {{"progress", [](auto& w) { w.set_progress(-0.1f); }},
       {"progress", [](auto& w) { w.set_progress(1.01f); }},
       {"progress",
        [](auto& w) {
          w.set_progress(std::numeric_limits<float>::quiet_NaN());
        }},
       {"kind", [](auto& w) { w.set_kind(pb::TASK_KIND_UNSPECIFIED); }}});
}

TEST(CodecTest, UploadHeaderRoundTripsAndRefusesHostileFields) {
  using Wire = pb::UploadHeader;
  ExpectRoundTrip(ToWire(Header()));
  ExpectEachRefused<Wire>(
      ToWire(Header()),
      {{"run_id", [](Wire& w) { w.set_run_id("a/b"); }},
       {"round", [](Wire& w) { w.set_round(UINT32_MAX); }},
       {"kind", [](Wire& w) { w.set_kind(pb::TASK_KIND_UNSPECIFIED); }},
       {"plan_hash", [](Wire& w) { w.clear_plan_hash(); }},
       {"base_model", [](Wire& w) { w.set_base_model("x"); }},
       {"size_bytes", [](Wire& w) { w.set_size_bytes(0); }},
       {"size_bytes", [](Wire& w) { w.set_size_bytes(UINT64_MAX); }},
       {"sealed_digest",
        [](Wire& w) { w.set_sealed_digest(std::string(64, 'a')); }},
       {"signature", [](Wire& w) { w.clear_signature(); }},
       {"suite", [](Wire& w) { w.set_suite(static_cast<pb::SealSuite>(2)); }},
       {"suite",
        [](Wire& w) { w.set_suite(static_cast<pb::SealSuite>(-1)); }}});
}

// A header of a site that knows no suites means the one that was there first.
TEST(CodecTest, HeaderWithoutASuiteMeansAes256Gcm) {
  pb::UploadHeader wire = ToWire(Header());
  wire.clear_suite();
  const auto header = FromWire(wire);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->suite, SealSuite::kAes256Gcm);
}

TEST(CodecTest, UploadOffsetAndReceiptRoundTrip) {
  ExpectRoundTrip(ToWire(UploadReceipt{Filled(5), 77}));
  ExpectRoundTrip(ToWire(UploadOffset{123, std::nullopt}));
  ExpectRoundTrip(ToWire(UploadOffset{0, UploadReceipt{Filled(5), 77}}));
  ExpectEachRefused<pb::UploadOffsetReply>(
      ToWire(UploadOffset{0, UploadReceipt{Filled(5), 77}}),
      {{"offset", [](auto& w) { w.set_offset(UINT64_MAX); }},
       {"sealed_digest",
        [](auto& w) { w.mutable_receipt()->clear_sealed_digest(); }}});
}

TEST(CodecTest, SiteReportRoundTripsAndRefusesHostileScalars) {
  using Wire = pb::SiteReport;
  const SiteReport report{
      {"run-1"}, {4}, {{"auc", 0.9}, {"n", 120}}, "policy.epsilon_max: spent"};
  const auto back = FromWire(ToWire(report));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->declined, report.declined);
  EXPECT_EQ(back->scalars, report.scalars);
  EXPECT_EQ(back->round, report.round);
  ExpectEachRefused<Wire>(
      ToWire(report),
      {{"declined", [](Wire& w) { w.set_declined(std::string(1025, 'n')); }},
       {"declined", [](Wire& w) { w.set_declined("two\nlines"); }},
       {"scalars", [](Wire& w) { (*w.mutable_scalars())["x"] = NAN; }},
       {"scalars", [](Wire& w) { (*w.mutable_scalars())["x"] = INFINITY; }},
       {"scalars", [](Wire& w) { (*w.mutable_scalars())[""] = 1; }},
       {"scalars",
        [](Wire& w) { (*w.mutable_scalars())[std::string(129, 'n')] = 1; }},
       {"scalars", [](Wire& w) {
          for (size_t i = 0; i <= kScalarsMax; ++i) {
            (*w.mutable_scalars())[std::to_string(i)] = 1;
          }
        }}});
}

// Seeded mutations of valid bytes: whatever parses must be refused or accepted,
// never crash, and what is accepted must be writable again.
TEST(CodecTest, MutatedMessagesNeverCrash) {
  std::mt19937 random(20240601);
  const std::string reply =
      ToWire(NextTaskReply(EvaluateTask())).SerializeAsString();
  const std::string join =
      ToWire(JoinReply{"cardio", Descriptor()}).SerializeAsString();
  const std::string header = ToWire(Header()).SerializeAsString();
  const auto mutate = [&random](std::string bytes) {
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    return bytes;
  };
  int accepted = 0;
  const auto try_one = [&accepted](auto wire, const std::string& bytes) {
    if (!wire.ParseFromString(bytes)) return;
    const auto message = FromWire(wire);
    if (!message.ok()) return;
    ++accepted;
    EXPECT_TRUE(FromWire(ToWire(*message)).ok());
  };
  for (int i = 0; i < 20000; ++i) {
    try_one(pb::NextTaskReply(), mutate(reply));
    try_one(pb::JoinReply(), mutate(join));
    try_one(pb::UploadHeader(), mutate(header));
  }
  EXPECT_GT(accepted, 100);  // the mutations do reach the deep checks
}

}  // namespace
}  // namespace fedgraft
