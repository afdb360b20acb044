// What a restart, a power failure or a full disk leaves behind.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/crypto/sha256.h"
#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::PlanSpec;
using ::fedgraft::testing::RoundWorld;
using ::fedgraft::testing::TestSite;
using ::fedgraft::testing::TestUpdate;

class RestartFixture : public ::testing::Test {
 protected:
  explicit RestartFixture(int64_t extra) : extra_(extra) {}
  void SetUp() override { ASSERT_THAT(world_.Open(), IsOk()); }
  std::vector<const TestSite*> All() const { return {&a_, &b_, &c_}; }
  static PlanSpec Spec() {
    PlanSpec spec;
    spec.rounds = 3;
    spec.quorum = 3;
    spec.evaluate_every = 2;
    return spec;
  }
  int64_t extra() const { return extra_; }
  void PowerFailure() {
    world_.Crash();
    ASSERT_THAT(world_.Open(), IsOk());
  }
  // Every honest answer until the run has ended.
  void FinishRun() {
    for (int i = 0; i < 100 && world_.state() != "finished"; ++i) {
      for (const TestSite* site : All()) {
        const auto next = world_.NextTask(*site);
        ASSERT_THAT(next, IsOk());
        if (const auto* task = std::get_if<Task>(&*next)) {
          EXPECT_THAT(world_.Upload(*site, world_.Answer(*site, *task)),
                      IsOk());
        }
      }
      world_.Run();
    }
    ASSERT_EQ(world_.state(), "finished");
  }
  // The final model of a run that nothing disturbed.
  Digest Undisturbed() {
    RoundWorld world(99);
    EXPECT_THAT(world.Open(), IsOk());
    world.StartRun(Spec(), extra());
    world.JoinAll(All());
    for (int phase = 0; phase < 5; ++phase) world.Contribute(All());
    EXPECT_EQ(world.state(), "finished");
    return world.Snapshot().model;
  }

  RoundWorld world_;
  const TestSite a_{"hospital-a"}, b_{"hospital-b"}, c_{"hospital-c"};

 private:
  const int64_t extra_;
};

constexpr int64_t kLarge = 300'000;

class RestartTest : public RestartFixture,
                    public ::testing::WithParamInterface<int64_t> {
 protected:
  RestartTest() : RestartFixture(GetParam()) {}
};
class LargeRestartTest : public RestartFixture {
 protected:
  LargeRestartTest() : RestartFixture(kLarge) {}
};

// Small updates lie in the log, large ones in spool files.
INSTANTIATE_TEST_SUITE_P(Sizes, RestartTest, ::testing::Values(0, kLarge));

TEST_P(RestartTest, APowerFailureAtEachStepChangesNothing) {
  world_.StartRun(Spec(), extra());
  PowerFailure();
  EXPECT_EQ(world_.state(), "enrolling");
  world_.JoinAll({&a_, &b_});
  PowerFailure();
  EXPECT_EQ(world_.state(), "enrolling");
  world_.JoinAll({&c_});
  EXPECT_EQ(world_.state(), "training");
  PowerFailure();
  EXPECT_EQ(world_.state(), "training");

  // After the acknowledgement of k < quorum.
  const TestUpdate update = world_.Answer(a_, world_.TaskOf(a_));
  const auto receipt = world_.Upload(a_, update);
  ASSERT_THAT(receipt, IsOk());
  PowerFailure();
  const auto query = world_.Query(a_, update.header);
  ASSERT_THAT(query, IsOk());
  ASSERT_TRUE(query->receipt.has_value());
  EXPECT_EQ(query->receipt->sequence, receipt->sequence);
  const auto next = world_.NextTask(a_);
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(std::holds_alternative<WaitMore>(*next));

  // In the middle of an upload.
  const TestUpdate half = world_.Answer(b_, world_.TaskOf(b_));
  auto upload = world_.Begin(b_, half.header, 0);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(
      (*upload)->Append(ByteSpan(half.sealed).first(half.sealed.size() / 2)),
      IsOk());
  PowerFailure();
  const auto held = world_.Query(b_, half.header);
  ASSERT_THAT(held, IsOk());
  upload = world_.Begin(b_, half.header, held->offset);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT((*upload)->Append(ByteSpan(half.sealed).subspan(held->offset)),
              IsOk());
  const auto resumed = world_.Finish(b_, half.header, *std::move(upload));
  if (!resumed.ok()) {
    // What the disk made of the unsynced half was noticed and dropped.
    EXPECT_THAT(resumed, HasCode(absl::StatusCode::kUnavailable));
    EXPECT_THAT(world_.Upload(b_, half), IsOk());
  }

  // After the last acknowledgement, before the publication.
  ASSERT_THAT(world_.Upload(c_, world_.Answer(c_, world_.TaskOf(c_))), IsOk());
  ASSERT_EQ(world_.state(), "reducing");
  PowerFailure();
  world_.Run();
  EXPECT_EQ(world_.Snapshot().round.value, 2u);
  FinishRun();
  EXPECT_EQ(world_.Snapshot().model, Undisturbed());
  PowerFailure();
  EXPECT_EQ(world_.state(), "finished");
  EXPECT_EQ(world_.coordinator().History().size(), 3u);
  const auto finished = world_.NextTask(a_);
  ASSERT_THAT(finished, IsOk());
  EXPECT_TRUE(std::holds_alternative<RunFinished>(*finished));
}

TEST_P(RestartTest, AHaltAtAnyDiskOperationOfARoundLosesNothing) {
  const Digest expected = Undisturbed();
  for (uint64_t halt = 1; halt<400; halt += extra()> 0 ? 5 : 1) {
    RoundWorld world(halt);
    ASSERT_THAT(world.Open(), IsOk());
    world.StartRun(Spec(), extra());
    world.JoinAll(All());
    const uint64_t begin = world.files.operations();
    world.files.HaltAfter(halt);
    std::vector<std::pair<const TestSite*, UploadHeader>> acknowledged;
    for (int step = 0; step < 200 && world.state() != "finished"; ++step) {
      for (const TestSite* site : All()) {
        const auto next = world.NextTask(*site);
        if (!next.ok() || !std::holds_alternative<Task>(*next)) continue;
        const TestUpdate update = world.Answer(*site, std::get<Task>(*next));
        for (const auto& [who, header] : acknowledged) {
          ASSERT_FALSE(who == site && header.round == update.header.round &&
                       header.kind == update.header.kind)
              << "asked again, halt " << halt;
        }
        if (world.Upload(*site, update).ok()) {
          acknowledged.emplace_back(site, update.header);
        }
      }
      world.Run();
      if (world.state() != "storage error" && step % 20 != 19) continue;
      world.Crash();
      ASSERT_THAT(world.Open(), IsOk()) << "halt " << halt;
      world.Run();
    }
    ASSERT_EQ(world.state(), "finished") << "halt " << halt;
    ASSERT_EQ(world.Snapshot().model, expected) << "halt " << halt;
    if (world.files.operations() - begin < halt) break;  // never halted
  }
}

TEST_P(RestartTest, APausedRunStaysPaused) {
  world_.StartRun(Spec(), extra());
  world_.JoinAll(All());
  ASSERT_THAT(world_.Pause(true), IsOk());
  PowerFailure();
  EXPECT_EQ(world_.state(), "paused");
  ASSERT_THAT(world_.Pause(false), IsOk());
  FinishRun();
}

TEST_P(RestartTest, OrphansInTheSpoolAreRemoved) {
  world_.StartRun(Spec(), extra());
  world_.files.SetContent("spool/of-another-age", Bytes(10, 1));
  ASSERT_THAT(world_.Reopen(), IsOk());
  EXPECT_FALSE(world_.files.Exists("spool/of-another-age"));
}

TEST_P(RestartTest, AnotherWrappingKeyDoesNotOpenTheRun) {
  world_.StartRun(Spec(), extra());
  world_.wrapping_key = Bytes(32, 0x77);
  EXPECT_THAT(world_.Reopen(), HasCode(absl::StatusCode::kPermissionDenied));
}

TEST_P(RestartTest, AFullDiskStopsAcknowledgementsUntilARestart) {
  world_.StartRun(Spec(), extra());
  world_.JoinAll(All());
  ASSERT_THAT(world_.Upload(a_, world_.Answer(a_, world_.TaskOf(a_))), IsOk());
  const TestUpdate update = world_.Answer(b_, world_.TaskOf(b_));
  auto upload = world_.Begin(b_, update.header, 0);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT((*upload)->Append(update.sealed), IsOk());
  world_.files.FailAppends(1000);
  const auto receipt = world_.Finish(b_, update.header, *std::move(upload));
  EXPECT_EQ(RefusalOf(receipt.status()), RefusalReason::kStorage);
  EXPECT_EQ(world_.state(), "storage error");
  EXPECT_EQ(RefusalOf(world_.Report(a_, {1}, {{"n", 1}})),
            RefusalReason::kStorage);
  EXPECT_EQ(RefusalOf(world_.Query(b_, update.header).status()),
            RefusalReason::kStorage);
  world_.Run(absl::Hours(2));
  EXPECT_EQ(world_.state(), "storage error");
  // There is room again.
  world_.files.FailAppends(0);
  ASSERT_THAT(world_.Reopen(), IsOk());
  EXPECT_EQ(world_.state(), "training");
  FinishRun();
  EXPECT_EQ(world_.Snapshot().model, Undisturbed());
}

TEST_F(LargeRestartTest, ADiskFullInTheSpoolCostsOneAttempt) {
  world_.StartRun(Spec(), extra());
  world_.JoinAll(All());
  const TestUpdate update = world_.Answer(a_, world_.TaskOf(a_));
  world_.files.FailAppends(1);
  EXPECT_THAT(world_.Upload(a_, update),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(world_.Upload(a_, update), IsOk());
}

// Every update of the second round goes over one of the first round's files.
TEST_F(LargeRestartTest, APowerFailureAmidFilesWrittenOverTakesNoOldBytes) {
  const Digest expected = Undisturbed();
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    RoundWorld world(seed);
    ASSERT_THAT(world.Open(), IsOk());
    world.StartRun(Spec(), extra());
    world.JoinAll(All());
    world.Contribute(All());
    ASSERT_EQ(world.Snapshot().round.value, 2u);
    const auto in_spool = [&] {
      std::vector<std::string> paths = world.files.AllPaths();
      std::erase_if(paths, [](const std::string& path) {
        return path.rfind("spool/", 0) != 0;
      });
      return paths;
    };
    const std::vector<std::string> spares = in_spool();
    ASSERT_EQ(spares.size(), All().size());
    // One is acknowledged, one complete but not durable, one half there.
    const TestUpdate whole = world.Answer(a_, world.TaskOf(a_));
    ASSERT_THAT(world.Upload(a_, whole), IsOk());
    const TestUpdate open[] = {world.Answer(b_, world.TaskOf(b_)),
                               world.Answer(c_, world.TaskOf(c_))};
    const TestSite* const sites[] = {&b_, &c_};
    for (const int i : {0, 1}) {
      auto upload = world.Begin(*sites[i], open[i].header, 0);
      ASSERT_THAT(upload, IsOk());
      const ByteSpan sealed(open[i].sealed);
      ASSERT_THAT((*upload)->Append(sealed.first(sealed.size() / (i + 1))),
                  IsOk());
    }
    ASSERT_EQ(in_spool(), spares);
    world.Crash();
    ASSERT_THAT(world.Open(), IsOk());
    EXPECT_EQ(in_spool().size(), 1u) << "seed " << seed;
    const auto known = world.Query(a_, whole.header);
    ASSERT_THAT(known, IsOk());
    EXPECT_TRUE(known->receipt.has_value()) << "seed " << seed;
    for (const int i : {0, 1}) {
      const auto query = world.Query(*sites[i], open[i].header);
      ASSERT_THAT(query, IsOk());
      EXPECT_EQ(query->offset, 0u) << "seed " << seed;
      ASSERT_THAT(world.Upload(*sites[i], open[i]), IsOk());
    }
    for (int i = 0; i < 5 && world.state() != "finished"; ++i) {
      world.Run();
      if (world.state() != "finished") world.Contribute(All());
    }
    ASSERT_EQ(world.state(), "finished") << "seed " << seed;
    EXPECT_EQ(world.Snapshot().model, expected) << "seed " << seed;
  }
}

TEST_F(LargeRestartTest, APublicationThatFindsNoRoomIsTriedAgain) {
  world_.StartRun(Spec(), extra());
  world_.JoinAll(All());
  std::vector<TestUpdate> updates;
  for (const TestSite* site : All()) {
    ASSERT_THAT(
        world_.Upload(*site, world_.Answer(*site, world_.TaskOf(*site))),
        IsOk());
  }
  ASSERT_EQ(world_.state(), "reducing");
  world_.files.FailAppends(1);
  world_.Run(absl::Seconds(5));
  EXPECT_EQ(world_.Snapshot().round.value, 1u);
  EXPECT_EQ(world_.state(), "storage error");
  world_.Run(absl::Seconds(10));
  EXPECT_EQ(world_.Snapshot().round.value, 2u);
  FinishRun();
  EXPECT_EQ(world_.Snapshot().model, Undisturbed());
}

TEST_P(RestartTest, ADamagedLogIsRefusedNotRepaired) {
  world_.StartRun(Spec(), extra());
  world_.JoinAll(All());
  world_.Contribute(All());
  world_.Kill();
  std::string log;
  for (const std::string& path : world_.files.AllPaths()) {
    if (path.rfind("log/", 0) == 0) log = path;
  }
  Bytes content = world_.files.Content(log);
  content[content.size() / 3] ^= 0x40;
  world_.files.SetContent(log, content);
  EXPECT_THAT(world_.Open(), HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedgraft
