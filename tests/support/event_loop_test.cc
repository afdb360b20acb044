#include "tests/support/event_loop.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/sim_runtime.h"

namespace fedgraft::testing {
namespace {

TEST(EventLoopTest, RunsByTimeThenByOrderOfScheduling) {
  EventLoop loop;
  std::string ran;
  loop.Schedule(absl::Seconds(2), [&] { ran += 'c'; });
  loop.Schedule(absl::Seconds(1), [&] { ran += 'a'; });
  loop.Schedule(absl::Seconds(1), [&] { ran += 'b'; });
  EXPECT_TRUE(loop.RunUntilIdle());
  EXPECT_EQ(ran, "abc");
  EXPECT_EQ(loop.now() - EventLoop::Start(), absl::Seconds(2));
}

TEST(EventLoopTest, RunForStopsAtItsEnd) {
  EventLoop loop;
  int ran = 0;
  for (int i = 1; i <= 5; ++i) loop.Schedule(absl::Seconds(i), [&] { ++ran; });
  loop.RunFor(absl::Seconds(3));
  EXPECT_EQ(ran, 3);
  EXPECT_EQ(loop.now() - EventLoop::Start(), absl::Seconds(3));
}

TEST(EventLoopTest, CancelledEventsDoNotRun) {
  EventLoop loop;
  int ran = 0;
  const auto id = loop.Schedule(absl::Seconds(1), [&] { ++ran; });
  loop.Cancel(id);
  loop.Cancel(id);
  EXPECT_TRUE(loop.RunUntilIdle());
  EXPECT_EQ(ran, 0);
}

TEST(EventLoopTest, RunUntilTrueGivesUpAtTheLimit) {
  EventLoop loop;
  int ran = 0;
  std::function<void()> tick = [&] {
    ++ran;
    loop.Schedule(absl::Seconds(1), tick);
  };
  tick();
  EXPECT_TRUE(loop.RunUntilTrue([&] { return ran == 4; }, absl::Minutes(1)));
  EXPECT_FALSE(loop.RunUntilTrue([] { return false; }, absl::Seconds(10)));
  EXPECT_EQ(ran, 14);
}

// The order in which ten events of one time run.
std::string TieOrder(uint64_t seed, uint64_t* hash = nullptr) {
  EventLoop loop(seed);
  std::string ran;
  for (char c = '0'; c <= '9'; ++c) {
    loop.Schedule(absl::ZeroDuration(), [&, c] {
      ran += c;
      loop.Trace(std::string_view(&c, 1));
    });
  }
  loop.RunUntilIdle();
  if (hash != nullptr) *hash = loop.trace_hash();
  return ran;
}

TEST(EventLoopTest, TiesAreBrokenBySeed) {
  uint64_t hash[3];
  EXPECT_EQ(TieOrder(1, &hash[0]), TieOrder(1, &hash[1]));
  EXPECT_NE(TieOrder(1), TieOrder(2, &hash[2]));
  EXPECT_EQ(hash[0], hash[1]);
  EXPECT_NE(hash[0], hash[2]);
}

TEST(EventLoopTest, HookRunsAfterEveryEvent) {
  EventLoop loop;
  std::string ran;
  loop.SetAfterEvent([&] { ran += '.'; });
  loop.Schedule(absl::Seconds(1), [&] { ran += 'a'; });
  loop.Schedule(absl::Seconds(2), [&] { ran += 'b'; });
  loop.RunUntilIdle();
  EXPECT_EQ(ran, "a.b.");
}

TEST(SimSchedulerTest, KeepsTheOrderOfPostsWhateverTheTieSeed) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EventLoop loop(seed);
    SimScheduler strand(&loop);
    std::string ran;
    for (char c = '0'; c <= '9'; ++c) strand.Post([&ran, c] { ran += c; });
    loop.RunUntilIdle();
    EXPECT_EQ(ran, "0123456789");
  }
}

TEST(SimSchedulerTest, TimersFollowTheClockAndCanBeCancelled) {
  EventLoop loop;
  SimClock clock(&loop);
  SimScheduler strand(&loop);
  const absl::Time start = clock.Monotonic();
  absl::Duration ran_after = absl::ZeroDuration();
  const TimerId cancelled =
      strand.After(absl::Seconds(1), [] { FAIL() << "was cancelled"; });
  strand.After(absl::Seconds(2),
               [&] { ran_after = clock.Monotonic() - start; });
  EXPECT_NE(cancelled, 0u);
  strand.Cancel(cancelled);
  loop.RunUntilIdle();
  EXPECT_EQ(ran_after, absl::Seconds(2));
  EXPECT_EQ(clock.Wall(), absl::FromUnixSeconds(1704067202));
}

TEST(SimSchedulerTest, NothingRunsAfterKill) {
  EventLoop loop;
  auto strand = std::make_unique<SimScheduler>(&loop);
  int ran = 0;
  strand->Post([&] { ++ran; });
  strand->After(absl::Seconds(1), [&] { ++ran; });
  strand->Kill();
  strand->Post([&] { ++ran; });
  EXPECT_NE(strand->After(absl::Seconds(1), [&] { ++ran; }), 0u);
  strand.reset();
  loop.RunUntilIdle();
  EXPECT_EQ(ran, 0);
}

TEST(SimSchedulerTest, WorkMayDestroyItsOwnStrand) {
  EventLoop loop;
  auto strand = std::make_unique<SimScheduler>(&loop);
  strand->Post([&] { strand.reset(); });
  strand->Post([] { FAIL() << "the strand is gone"; });
  loop.RunUntilIdle();
  EXPECT_EQ(strand, nullptr);
}

TEST(SimExecutorTest, WorkOvertakesButNeverRunsInsideRun) {
  EventLoop loop;
  SimExecutor executor(&loop, 3);
  std::string ran;
  for (char c = '0'; c <= '9'; ++c) executor.Run([&ran, c] { ran += c; });
  EXPECT_EQ(ran, "");
  loop.RunUntilIdle();
  EXPECT_EQ(ran.size(), 10u);
  EXPECT_NE(ran, "0123456789");
}

TEST(SimRandomTest, IsSplitMix64) {
  // First outputs of the published generator for seed 1234567.
  SimRandom random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
}

}  // namespace
}  // namespace fedgraft::testing
