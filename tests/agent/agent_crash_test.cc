#include "client/agent/agent_state.h"
#include "client/update/update_file.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_world.h"

// The site's process dies at every single event of a run, or the machine loses
// power at every operation of its disk, and starts again.

namespace fedgraft::testing {
namespace {

void OfferRun(AgentWorld& world) {
  world.aggregator.Offer(world.aggregator.MakeTask(1, TaskKind::kTrain));
  world.aggregator.Offer(world.aggregator.MakeTask(1, TaskKind::kEvaluate));
  world.aggregator.Offer(
      world.aggregator.MakeTask(2, TaskKind::kTrain, /*inline_model=*/false));
}

// The round whose finished update lies on the site's disk; 0: none.
uint32_t FinishedRound(AgentWorld& world) {
  const auto update =
      LoadSealedUpdate(world.files, "runs/run-1/update-train.sealed");
  return update.ok() ? update->header().round.value : 0;
}

void ExpectGoodEnd(AgentWorld& world) {
  ASSERT_TRUE(world.RunToEnd());
  ASSERT_TRUE(world.ended->ok()) << *world.ended;
  ASSERT_EQ(world.aggregator.acknowledged.size(), 3u);
  EXPECT_EQ(world.files.Content("runs/run-1/final.safetensors"),
            world.aggregator.blobs[world.aggregator.finished.model]);
}

TEST(AgentCrashTest, AFinishedUpdateIsDeliveredAndNotComputedAgain) {
  uint64_t events = 0;
  {
    AgentWorld world;
    OfferRun(world);
    world.Start();
    ASSERT_TRUE(world.RunToEnd());
    events = world.loop.events_run();
  }
  int kept = 0;
  for (uint64_t k = 1; k < events; ++k) {
    SCOPED_TRACE(k);
    AgentWorld world;
    OfferRun(world);
    world.Start();
    for (uint64_t i = 0; i < k; ++i) ASSERT_TRUE(world.loop.RunOne());
    world.Kill();
    const uint32_t finished = FinishedRound(world);
    const std::map<uint32_t, int> trained = world.trainer.trained;
    world.Start();
    ExpectGoodEnd(world);
    if (finished == 0) continue;
    ++kept;
    EXPECT_EQ(world.trainer.trained[finished], trained.at(finished));
  }
  EXPECT_GT(kept, 5);
}

TEST(AgentCrashTest, APowerFailureAtAnyDiskOperationOnlyCostsTime) {
  uint64_t operations = 0;
  {
    AgentWorld world;
    OfferRun(world);
    world.Start();
    ASSERT_TRUE(world.RunToEnd());
    operations = world.files.operations();
  }
  for (uint64_t k = 1; k <= operations; ++k) {
    SCOPED_TRACE(k);
    AgentWorld world;
    OfferRun(world);
    world.files.HaltAfter(k);
    world.Start();
    // The machine stands still: whatever the agent makes of it.
    world.loop.RunFor(absl::Seconds(2));
    world.Kill();
    world.files.Crash(k);
    if (ReadFinishedRun(world.files, RunId{"run-1"}).ok()) {
      EXPECT_EQ(world.files.Content("runs/run-1/final.safetensors"),
                world.aggregator.blobs[world.aggregator.finished.model]);
      continue;  // it would wait for the next run
    }
    world.ended.reset();
    world.Start();
    ExpectGoodEnd(world);
  }
}

}  // namespace
}  // namespace fedgraft::testing
