#include "common/runtime/thread_pool.h"

#include <atomic>
#include <future>
#include <memory>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(ThreadPoolTest, RunsEverythingBeforeItStops) {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool(3);
    EXPECT_EQ(pool.Workers(), 3);
    for (int i = 0; i < 1000; ++i) pool.Run([&] { ++ran; });
  }
  EXPECT_EQ(ran, 1000);
}

TEST(ThreadPoolTest, WorkersRunAtTheSameTime) {
  ThreadPool pool(2);
  std::promise<void> first, second;
  pool.Run([&] {
    first.set_value();
    second.get_future().wait();
  });
  pool.Run([&] {
    first.get_future().wait();
    second.set_value();
  });
  pool.Stop();  // returns only if both met
}

TEST(ThreadPoolTest, WorkMayHandItselfOverAgain) {
  ThreadPool pool(1);
  std::promise<int> done;
  std::function<void(int)> step = [&](int n) {
    if (n == 100) return done.set_value(n);
    pool.Run([&step, n] { step(n + 1); });
  };
  step(0);
  EXPECT_EQ(done.get_future().get(), 100);
}

// Only the last piece may have to wait for the worker that handed it over.
TEST(ThreadPoolTest, WorkersWakeOthersForMoreThanOnePiece) {
  ThreadPool pool(2);
  std::promise<void> first, met;
  pool.Run([&] {
    pool.Run([&] { first.set_value(); });
    pool.Run([] {});
    first.get_future().wait();
    met.set_value();
  });
  met.get_future().wait();  // only if another worker took the first piece
}

TEST(ThreadPoolTest, DropsWhatComesAfterStop) {
  ThreadPool pool(2);
  pool.Stop();
  pool.Run([] { FAIL() << "stopped"; });
  pool.Stop();
}

TEST(ThreadPoolTest, ZeroMeansOnePerCore) {
  ThreadPool pool(0);
  EXPECT_GE(pool.Workers(), 1);
}

}  // namespace
}  // namespace fedgraft
