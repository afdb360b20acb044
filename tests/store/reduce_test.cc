#include "aggregator/store/reduce.h"

#include <algorithm>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/store/running_sum.h"
#include "aggregator/store/shard_reader.h"
#include "common/runtime/thread_pool.h"
#include "gtest/gtest.h"
#include "tests/store/sealed_fixture.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_runtime.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;

using Words = std::vector<uint64_t>;

// Collects sums; every word must come exactly once.
class Collector {
 public:
  explicit Collector(const SealedFixture& fixture)
      : mask_(fixture.ring_.Mask()),
        words_(fixture.count_),
        times_(fixture.count_) {}
  absl::Status Take(uint64_t begin, absl::Span<const uint64_t> sums) {
    for (size_t i = 0; i < sums.size(); ++i) {
      words_[begin + i] = sums[i] & mask_;
      ++times_[begin + i];
    }
    return absl::OkStatus();
  }
  SumSink Sink() {
    return [this](uint64_t begin, absl::Span<const uint64_t> sums) {
      return Take(begin, sums);
    };
  }
  const Words& words() const {
    EXPECT_TRUE(std::all_of(times_.begin(), times_.end(),
                            [](int times) { return times == 1; }));
    return words_;
  }

 private:
  const uint64_t mask_;
  Words words_;
  std::vector<int> times_;
};

// Contributions of `sites` sites, and their sum mod 2^b.
std::vector<SealedContribution> MakeContributions(SealedFixture& fixture,
                                                  int sites, Words& expected) {
  expected.assign(fixture.count_, 0);
  std::vector<SealedContribution> contributions;
  for (int s = 0; s < sites; ++s) {
    const Words words = fixture.RandomWords();
    for (size_t i = 0; i < words.size(); ++i) {
      expected[i] = (expected[i] + words[i]) & fixture.ring_.Mask();
    }
    contributions.push_back(fixture.Seal(absl::StrCat("site-", s), words));
  }
  return contributions;
}

ReduceOutcome ReduceOnPool(int workers, ReduceJob job, SumSink sink) {
  std::promise<ReduceOutcome> done;
  ThreadPool pool(workers);
  ReduceSums(pool, std::move(job), std::move(sink),
             [&](ReduceOutcome outcome) { done.set_value(outcome); });
  return done.get_future().get();
}

class ReduceTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(WordBits, ReduceTest,
                         ::testing::Values(8, 12, 16, 20, 24, 32, 64));

// Around the edges of a chunk, for every width.
TEST_P(ReduceTest, SumsAreExactForAnyCount) {
  const uint64_t per_chunk =
      kSealedChunkBytes * 8 / static_cast<uint64_t>(GetParam());
  for (const uint64_t count : {uint64_t{1}, uint64_t{7}, per_chunk - 1,
                               per_chunk, per_chunk + 1, 2 * per_chunk + 3}) {
    SealedFixture fixture(GetParam(), count);
    Words expected;
    const auto contributions = MakeContributions(fixture, 3, expected);
    Collector collector(fixture);
    const auto outcome =
        ReduceSumsHere(fixture.Job(contributions), collector.Sink());
    ASSERT_THAT(outcome.status, IsOk());
    EXPECT_EQ(collector.words(), expected);
  }
}

TEST(ReduceSumsTest, AreTheSameForAnyOrderThreadsAndTurns) {
  SealedFixture fixture(32, 200'000);
  Words expected;
  auto contributions = MakeContributions(fixture, 5, expected);
  for (int order = 0; order < 4; ++order) {
    std::rotate(contributions.begin(), contributions.begin() + order,
                contributions.end());
    for (const int workers : {1, 2, 5}) {
      ReduceJob job = fixture.Job(contributions);
      job.shards_per_turn = static_cast<uint64_t>(order);  // 0 counts as 1
      Collector collector(fixture);
      ASSERT_THAT(ReduceOnPool(workers, job, collector.Sink()).status, IsOk());
      EXPECT_EQ(collector.words(), expected);
    }
  }
}

TEST(ReduceSumsTest, BytesInMemoryAreOpenedWhereTheyLieAndStay) {
  SealedFixture fixture(32, 40'000);
  Words expected;
  auto contributions = MakeContributions(fixture, 3, expected);
  for (SealedContribution& one : contributions) {
    one.in_memory =
        std::make_shared<const Bytes>(fixture.files_.Content(one.site.value));
  }
  for (int times = 0; times < 2; ++times) {
    Collector collector(fixture);
    ASSERT_THAT(
        ReduceSumsHere(fixture.Job(contributions), collector.Sink()).status,
        IsOk());
    EXPECT_EQ(collector.words(), expected);
  }
  Bytes changed = *contributions[1].in_memory;
  changed.back() ^= 1;
  contributions[1].in_memory = std::make_shared<const Bytes>(changed);
  Collector collector(fixture);
  const auto outcome =
      ReduceSumsHere(fixture.Job(contributions), collector.Sink());
  EXPECT_THAT(outcome.status, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_EQ(outcome.site, contributions[1].site);
}

TEST(ReduceSumsTest, SumsThatWereKeptComeWithoutTheirMasks) {
  SealedFixture fixture(24, 100'000);
  Words expected;
  const auto contributions = MakeContributions(fixture, 2, expected);
  const ShardPlan plan(fixture.ring_, fixture.count_);
  RunningSum sum(fixture.ring_, fixture.count_);
  ShardReader reader;
  std::set<Digest> digests;
  for (size_t i = 0; i < contributions.size(); ++i) {
    for (uint64_t shard = plan.shards(); shard-- > 0;) {
      const auto packed = reader.Open(contributions[i], plan.Chunk(shard));
      ASSERT_THAT(packed, IsOk());
      sum.Add(shard, *packed);
    }
    Digest digest;
    digest.bytes.fill(static_cast<uint8_t>(i));
    digests.insert(digest);
    sum.Count(digest);
  }
  const auto lanes = sum.Take(digests);
  ASSERT_TRUE(lanes.has_value());
  ReduceJob job = fixture.Job(contributions);
  job.unmask = [](uint64_t begin, absl::Span<uint64_t> sums) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] -= begin + i;
  };
  for (size_t i = 0; i < expected.size(); ++i) {
    expected[i] = (expected[i] - i) & fixture.ring_.Mask();
  }
  Collector collector(fixture);
  std::promise<ReduceOutcome> done;
  ThreadPool pool(2);
  ReduceKeptSums(pool, std::move(job),
                 {reinterpret_cast<const uint8_t*>(lanes->data()),
                  lanes->size() * sizeof(float)},
                 collector.Sink(),
                 [&](ReduceOutcome outcome) { done.set_value(outcome); });
  ASSERT_THAT(done.get_future().get().status, IsOk());
  EXPECT_EQ(collector.words(), expected);
}

TEST(ReduceSumsTest, RunInTurnsOnASimulatedExecutor) {
  SealedFixture fixture(32, 200'000);  // 7 shards
  Words expected;
  ReduceJob job = fixture.Job(MakeContributions(fixture, 2, expected));
  job.shards_per_turn = 1;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    testing::EventLoop loop(seed);
    testing::SimExecutor executor(&loop, seed);
    Collector collector(fixture);
    int calls = 0;
    ReduceSums(executor, job, collector.Sink(), [&](ReduceOutcome outcome) {
      ++calls;
      EXPECT_THAT(outcome.status, IsOk());
    });
    EXPECT_EQ(calls, 0);
    loop.RunUntilIdle();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(loop.events_run(), 9u);  // a turn per shard, a last per worker
    EXPECT_EQ(collector.words(), expected);
  }
}

TEST(ReduceSumsTest, KilledExecutorFreesTheJob) {
  SealedFixture fixture(32, 200'000);
  Words expected;
  testing::EventLoop loop;
  testing::SimExecutor executor(&loop, 1);
  ReduceJob job = fixture.Job(MakeContributions(fixture, 1, expected));
  job.shards_per_turn = 1;
  const std::weak_ptr<const ReadableFile> file = job.contributions[0].sealed;
  ReduceSums(
      executor, std::move(job),
      [](uint64_t, absl::Span<const uint64_t>) { return absl::OkStatus(); },
      [](ReduceOutcome) { FAIL() << "the process is gone"; });
  loop.RunOne();
  executor.Kill();
  EXPECT_TRUE(file.expired());
}

TEST(ReduceSumsTest, ChangedBytesNameSiteAndChunk) {
  SealedFixture fixture(32, 100'000);
  Words expected;
  auto contributions = MakeContributions(fixture, 3, expected);
  const uint64_t offset =
      contributions[1].opener->shape().SealedOffset(2) + 12345;
  Bytes damaged = fixture.files_.Content("site-1");
  damaged[offset] ^= 1;
  fixture.files_.SetContent("site-1", damaged);
  contributions[1] = fixture.Reopen(contributions[1]);
  for (const int workers : {1, 2}) {
    Collector collector(fixture);
    const ReduceOutcome outcome =
        ReduceOnPool(workers, fixture.Job(contributions), collector.Sink());
    EXPECT_THAT(outcome.status,
                IsError(absl::StatusCode::kDataLoss, "site site-1, chunk 2"));
    EXPECT_EQ(outcome.site, SiteId{"site-1"});
  }
}

TEST(ReduceSumsTest, CutFileNamesItsSite) {
  SealedFixture fixture(32, 100'000);
  Words expected;
  auto contributions = MakeContributions(fixture, 2, expected);
  Bytes cut = fixture.files_.Content("site-0");
  cut.pop_back();
  fixture.files_.SetContent("site-0", cut);
  contributions[0] = fixture.Reopen(contributions[0]);
  Collector collector(fixture);
  const ReduceOutcome outcome =
      ReduceSumsHere(fixture.Job(contributions), collector.Sink());
  EXPECT_THAT(outcome.status,
              IsError(absl::StatusCode::kDataLoss, "site site-0"));
}

TEST(ReduceSumsTest, ErrorOfTheSinkEndsTheReduceWithoutASite) {
  SealedFixture fixture(32, 200'000);
  Words expected;
  const auto contributions = MakeContributions(fixture, 2, expected);
  std::atomic<int> calls = 0;
  const ReduceOutcome outcome = ReduceOnPool(
      2, fixture.Job(contributions), [&](uint64_t, absl::Span<const uint64_t>) {
        ++calls;
        return absl::InvalidArgumentError("no weight");
      });
  EXPECT_THAT(outcome.status,
              IsError(absl::StatusCode::kInvalidArgument, "no weight"));
  EXPECT_EQ(outcome.site, std::nullopt);
  EXPECT_LE(calls, 2);
}

TEST(ReduceSumsTest, RefusesNothingAndOtherShapes) {
  SealedFixture fixture(32, 1000);
  Words expected;
  Collector collector(fixture);
  EXPECT_THAT(ReduceSumsHere(fixture.Job({}), collector.Sink()).status,
              HasCode(absl::StatusCode::kInvalidArgument));
  ReduceJob job = fixture.Job(MakeContributions(fixture, 2, expected));
  job.count = 999;
  const ReduceOutcome outcome = ReduceOnPool(2, job, collector.Sink());
  EXPECT_THAT(outcome.status,
              IsError(absl::StatusCode::kInvalidArgument, "site-0"));
}

TEST(ReduceWordsTest, HandsOverEveryContributionInOrder) {
  SealedFixture fixture(24, 90'000);
  std::vector<Words> words;
  std::vector<SealedContribution> contributions;
  for (int s = 0; s < 3; ++s) {
    words.push_back(fixture.RandomWords());
    contributions.push_back(
        fixture.Seal(absl::StrCat("site-", s), words.back()));
  }
  std::vector<Words> seen(3, Words(fixture.count_));
  const WordsSink sink =
      [&](uint64_t begin, absl::Span<const absl::Span<const uint64_t>> shard) {
        EXPECT_EQ(shard.size(), 3u);
        for (size_t s = 0; s < shard.size(); ++s) {
          std::copy(shard[s].begin(), shard[s].end(),
                    seen[s].begin() + static_cast<ptrdiff_t>(begin));
        }
        return absl::OkStatus();
      };
  ASSERT_THAT(ReduceWordsHere(fixture.Job(contributions), sink).status, IsOk());
  EXPECT_EQ(seen, words);

  seen.assign(3, Words(fixture.count_));
  std::promise<ReduceOutcome> done;
  ThreadPool pool(2);
  ReduceWords(pool, fixture.Job(contributions), sink,
              [&](ReduceOutcome outcome) { done.set_value(outcome); });
  ASSERT_THAT(done.get_future().get().status, IsOk());
  EXPECT_EQ(seen, words);
}

TEST(ReduceTest, HeadsAndTheirWeights) {
  SealedFixture fixture(32, 10);
  UpdatePayloadHead half = fixture.Head();
  half.weight_word = WeightWord(0.5);
  half.saturated = 3;
  const auto read = ReadHead(fixture.Seal("a", half, fixture.RandomWords()));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->weight_word, half.weight_word);
  EXPECT_EQ(read->saturated, 3u);
  EXPECT_EQ(WeightOfWord(SumOfWeights({*read, fixture.Head()})), 1.5);
}

}  // namespace
}  // namespace fedgraft
