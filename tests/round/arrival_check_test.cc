// Uploads whose chunks are opened as they arrive: what the coordinator says of
// them is what it says of a file that it reads.

#include "aggregator/round/arrival_check.h"

#include <algorithm>

#include "common/numeric/update_payload.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft::testing {
namespace {

// Four sealed chunks behind the head: the uploads go to files.
constexpr int64_t kExtra = 400'000 / 4 * 4;

class ArrivalCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.options.upload_inline_bytes_max = 1000;
    ASSERT_THAT(world_.Open(), IsOk());
    world_.StartRun({.rounds = 1, .quorum = 2, .expected = 2}, kExtra);
    world_.JoinAll({&a_, &b_});
    update_ = world_.Answer(a_, world_.TaskOf(a_));
  }
  // Appends [begin, end) in pieces of `piece` bytes.
  absl::Status Append(SpoolUpload& upload, size_t begin, size_t end,
                      size_t piece) {
    for (; begin < end; begin += piece) {
      const absl::Status appended =
          upload.Append(ByteSpan(update_.sealed)
                            .subspan(begin)
                            .first(std::min(piece, end - begin)));
      if (!appended.ok()) return appended;
    }
    return absl::OkStatus();
  }
  absl::StatusOr<UploadReceipt> UploadInPieces(size_t piece) {
    auto upload = world_.Begin(a_, update_.header, 0);
    if (!upload.ok()) return upload.status();
    EXPECT_THAT(Append(**upload, 0, update_.sealed.size(), piece), IsOk());
    return world_.Finish(a_, update_.header, *std::move(upload));
  }
  // Byte `at` of the sealed bytes is another, and the site signs that.
  void Spoil(size_t at) {
    update_.sealed[at] ^= 1;
    update_ = a_.Sign(update_.header, update_.sealed);
  }

  TestSite a_{"site-a"}, b_{"site-b"};
  RoundWorld world_;
  TestUpdate update_;
};

TEST_F(ArrivalCheckTest, TakesUpdatesInPiecesOfAnySize) {
  const size_t size = update_.sealed.size();
  ASSERT_GT(size, 4 * kSealedChunkBytes);
  EXPECT_THAT(UploadInPieces(1021), IsOk());
  for (const size_t piece : {kSealedChunkBytes + kAeadTagSize, size}) {
    world_.Contribute({&b_});
    ASSERT_EQ(world_.state(), "finished");
    world_.StartRun({.rounds = 1, .quorum = 2, .expected = 2}, kExtra);
    world_.JoinAll({&a_, &b_});
    update_ = world_.Answer(a_, world_.TaskOf(a_));
    EXPECT_THAT(UploadInPieces(piece), IsOk());
  }
}

TEST_F(ArrivalCheckTest, AChunkThatDoesNotOpenIsTheSitesFault) {
  const size_t size = update_.sealed.size();
  for (const size_t at : {size_t{40}, size / 2, size - 1}) {
    Spoil(at);
    const auto refused = UploadInPieces(100'000);
    EXPECT_EQ(RefusalOf(refused.status()), RefusalReason::kBadSeal) << at;
    Spoil(at);  // as it was
  }
  EXPECT_THAT(UploadInPieces(100'000), IsOk());
}

TEST_F(ArrivalCheckTest, DamageOnTheWayIsToldFromABadSealAndSentAgain) {
  const TestUpdate whole = update_;
  update_.sealed[update_.sealed.size() / 2] ^= 1;  // the digest is the old one
  EXPECT_EQ(RefusalOf(UploadInPieces(100'000).status()),
            RefusalReason::kBadDigest);
  update_ = whole;
  EXPECT_THAT(UploadInPieces(100'000), IsOk());
}

TEST_F(ArrivalCheckTest, AStreamThatResumesGoesOnAmidAChunk) {
  {
    const auto broken = world_.Begin(a_, update_.header, 0);
    ASSERT_THAT(broken, IsOk());
    ASSERT_THAT(Append(**broken, 0, 150'000, 7777), IsOk());
    world_.coordinator().AbandonUpload(a_.peer(), update_.header, *broken);
  }
  auto upload = world_.Begin(a_, update_.header, 150'000);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(Append(**upload, 150'000, update_.sealed.size(), 99'999), IsOk());
  EXPECT_THAT(world_.Finish(a_, update_.header, *std::move(upload)), IsOk());
}

// The suite is no part of an upload's name: what was opened with another one
// says nothing.
TEST_F(ArrivalCheckTest, ChunksAreOpenedAnewForAnotherHeaderOfTheSameBytes) {
  UploadHeader other = update_.header;
  other.suite = SealSuite::kChaCha20Poly1305;
  const size_t half = update_.sealed.size() / 2;
  auto begun = world_.Begin(a_, other, 0);
  ASSERT_THAT(begun, IsOk());
  ASSERT_THAT(Append(**begun, 0, half, 50'000), IsOk());
  auto upload = world_.Begin(a_, update_.header, half);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(Append(**upload, half, update_.sealed.size(), 50'000), IsOk());
  EXPECT_THAT(world_.Finish(a_, update_.header, *std::move(upload)), IsOk());

  update_ = world_.Answer(b_, world_.TaskOf(b_));
  other = update_.header;
  other.suite = SealSuite::kChaCha20Poly1305;
  upload = world_.Begin(b_, update_.header, 0);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(Append(**upload, 0, update_.sealed.size(), 50'000), IsOk());
  EXPECT_EQ(RefusalOf(world_.Finish(b_, other, *std::move(upload)).status()),
            RefusalReason::kBadSeal);
}

TEST_F(ArrivalCheckTest, ABadHeadOrAWordOutOfRangeIsRefused) {
  const Task task = world_.TaskOf(a_);
  const ParameterLayout layout = MakeLayout(kExtra);
  ParameterVector delta(static_cast<size_t>(layout.Count()), 0.01f);
  const Bytes good = TestSite::TrainPayload(world_.plan(), layout, delta, 10);
  Bytes payload = good;
  payload[0] ^= 1;
  update_ =
      a_.Seal(world_.run(), TestSite::HeaderFor(task), payload, world_.random);
  EXPECT_EQ(RefusalOf(UploadInPieces(100'000).status()),
            RefusalReason::kBadLayout);
  payload = good;
  std::fill(payload.end() - 4, payload.end(), uint8_t{0x7f});
  update_ =
      a_.Seal(world_.run(), TestSite::HeaderFor(task), payload, world_.random);
  EXPECT_EQ(RefusalOf(UploadInPieces(100'000).status()),
            RefusalReason::kOverNorm);
}

}  // namespace
}  // namespace fedgraft::testing
