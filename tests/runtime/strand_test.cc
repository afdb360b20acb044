#include "common/runtime/strand.h"

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/runtime/system_clock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// Waits until everything posted so far has run.
void Flush(ThreadStrand& strand) {
  std::promise<void> done;
  strand.Post([&] { done.set_value(); });
  done.get_future().wait();
}

TEST(ThreadStrandTest, RunsPostsInOrderOnOneThread) {
  ThreadStrand strand;
  std::vector<int> ran;  // no lock: one thread
  std::thread::id thread;
  for (int i = 0; i < 1000; ++i) {
    strand.Post([&, i] {
      if (i == 0) thread = std::this_thread::get_id();
      EXPECT_EQ(std::this_thread::get_id(), thread);
      ran.push_back(i);
    });
  }
  Flush(strand);
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(ThreadStrandTest, PostsOfManyThreadsNeverOverlap) {
  ThreadStrand strand;
  int count = 0;  // no lock: that is the claim
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) strand.Post([&] { ++count; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  Flush(strand);
  EXPECT_EQ(count, 2000);
}

TEST(ThreadStrandTest, TimersRunByDeadlineAndNotBefore) {
  ThreadStrand strand;
  SystemClock clock;
  const absl::Time start = clock.Monotonic();
  std::string ran;
  std::promise<absl::Duration> last;
  strand.After(absl::Milliseconds(20), [&] {
    ran += 'c';
    last.set_value(clock.Monotonic() - start);
  });
  strand.After(absl::Milliseconds(5), [&] { ran += 'b'; });
  strand.After(absl::Milliseconds(-5), [&] { ran += 'a'; });
  EXPECT_GE(last.get_future().get(), absl::Milliseconds(20));
  Flush(strand);
  EXPECT_EQ(ran, "abc");
}

TEST(ThreadStrandTest, CancelledTimersDoNotRun) {
  ThreadStrand strand;
  std::atomic<int> ran = 0;
  std::promise<void> done;
  strand.Post([&] {
    const TimerId far = strand.After(absl::InfiniteDuration(), [&] { ++ran; });
    // Due already, thus in the queue when it is cancelled.
    const TimerId due = strand.After(absl::ZeroDuration(), [&] { ++ran; });
    strand.Post([&, due, far] {
      strand.Cancel(far);
      strand.Cancel(due);
      strand.Cancel(12345);
      strand.After(absl::Milliseconds(1), [&] { done.set_value(); });
    });
    EXPECT_NE(far, 0u);
    EXPECT_NE(due, far);
  });
  done.get_future().wait();
  EXPECT_LE(ran, 1);  // `due` may have run before its Cancel, never after
}

TEST(ThreadStrandTest, CancelBeforeTheQueueReachesADueTimer) {
  ThreadStrand strand;
  std::promise<void> done;
  bool ran = false;
  strand.Post([&] {
    const TimerId timer =
        strand.After(absl::ZeroDuration(), [&] { ran = true; });
    strand.Cancel(timer);
    strand.After(absl::Milliseconds(1), [&] { done.set_value(); });
  });
  done.get_future().wait();
  EXPECT_FALSE(ran);
}

TEST(ThreadStrandTest, StopDropsWhatHasNotStarted) {
  auto strand = std::make_unique<ThreadStrand>();
  const auto token = std::make_shared<int>(0);
  std::atomic<int> ran = 0;
  std::promise<void> running, go_on;
  strand->Post([&, go = go_on.get_future().share()] {
    running.set_value();
    go.wait();
    ++ran;
  });
  running.get_future().wait();
  strand->Post([&ran, token] { ++ran; });
  strand->After(absl::ZeroDuration(), [&ran, token] { ++ran; });
  std::thread stopper([&] { strand->Stop(); });
  // Stop has begun once a post is dropped: its closure is gone at once.
  const auto probe = std::make_shared<int>(0);
  for (long kept = 1; probe.use_count() == kept; ++kept) {
    strand->Post([probe] {});
    std::this_thread::yield();
  }
  go_on.set_value();
  stopper.join();
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(token.use_count(), 1) << "closures are destroyed";
  strand->Post([&] { ++ran; });
  EXPECT_NE(strand->After(absl::ZeroDuration(), [&] { ++ran; }), 0u);
  strand->Stop();
  strand.reset();
  EXPECT_EQ(ran, 1);
}

TEST(ThreadStrandTest, DroppedClosuresMayPost) {
  struct PostsWhenDestroyed {
    ThreadStrand* strand;
    ~PostsWhenDestroyed() {
      strand->Post([] {});
    }
  };
  ThreadStrand strand;
  strand.After(absl::Hours(1),
               [p = std::make_shared<PostsWhenDestroyed>(&strand)] {});
  const TimerId cancelled = strand.After(
      absl::Hours(1), [p = std::make_shared<PostsWhenDestroyed>(&strand)] {});
  strand.Cancel(cancelled);
  strand.Stop();
}

TEST(ThreadStrandTest, AnIdleStrandRunsDispatchedWorkOnTheCallersThread) {
  ThreadStrand strand;
  Flush(strand);
  // Flush's own work may be about to end.
  std::thread::id thread;
  std::string ran;
  while (thread != std::this_thread::get_id()) {
    ran.clear();
    strand.Dispatch([&] {
      thread = std::this_thread::get_id();
      ran += 'a';
      strand.Post([&] { ran += 'c'; });
      strand.Dispatch([&] { ran += 'd'; });
      ran += 'b';
    });
    Flush(strand);
  }
  EXPECT_EQ(ran, "abcd");
}

TEST(ThreadStrandTest, DispatchedWorkWaitsForItsTurn) {
  ThreadStrand strand;
  std::string ran;  // no lock: the strand
  std::promise<void> running, go_on;
  strand.Post([&] {
    running.set_value();
    go_on.get_future().wait();
    ran += 'a';
  });
  running.get_future().wait();
  strand.Post([&] { ran += 'b'; });
  strand.Dispatch([&] { ran += 'c'; });
  EXPECT_EQ(ran, "");
  go_on.set_value();
  Flush(strand);
  EXPECT_EQ(ran, "abc");
}

TEST(ThreadStrandTest, PostsAndDispatchesOfManyThreadsNeverOverlap) {
  ThreadStrand strand;
  int count = 0;  // no lock: that is the claim
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        strand.Dispatch([&] { ++count; });
        strand.Post([&] { ++count; });
        strand.After(absl::ZeroDuration(), [&] { ++count; });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Flush(strand);
  Flush(strand);  // the timers were due before
  EXPECT_EQ(count, 6000);
}

// Whoever dispatches does not work for others without end.
TEST(ThreadStrandTest, HandsEndlessWorkToItsOwnThread) {
  ThreadStrand strand;
  std::atomic<bool> stop = false;
  std::promise<std::thread::id> other;
  const std::thread::id caller = std::this_thread::get_id();
  std::function<void()> again = [&] {
    if (std::this_thread::get_id() != caller && !stop) {
      stop = true;
      other.set_value(std::this_thread::get_id());
    }
    if (!stop) strand.Post(again);
  };
  strand.Dispatch(again);
  EXPECT_NE(other.get_future().get(), caller);
}

TEST(ThreadStrandTest, StopWaitsForDispatchedWork) {
  ThreadStrand strand;
  Flush(strand);
  std::promise<void> running, go_on;
  std::atomic<bool> ended = false;
  std::thread dispatcher([&] {
    strand.Dispatch([&] {
      running.set_value();
      go_on.get_future().wait();
      ended = true;
    });
  });
  running.get_future().wait();
  std::thread stopper([&] {
    strand.Stop();
    EXPECT_TRUE(ended);
  });
  go_on.set_value();
  stopper.join();
  dispatcher.join();
}

TEST(ThreadStrandTest, KnowsItsOwnThread) {
  ThreadStrand strand;
  EXPECT_FALSE(strand.IsCurrent());
  std::promise<bool> inside;
  strand.Post([&] { inside.set_value(strand.IsCurrent()); });
  EXPECT_TRUE(inside.get_future().get());
  strand.Dispatch([&] { EXPECT_TRUE(strand.IsCurrent()); });
  Flush(strand);
  EXPECT_FALSE(strand.IsCurrent());
}

}  // namespace
}  // namespace fedgraft
