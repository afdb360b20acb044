// Uploads whose chunks are opened as they arrive: what the coordinator says of
// them is what it says of a file that it reads.

#include "aggregator/round/arrival_check.h"

#include <algorithm>
#include <memory>
#include <utility>

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

// With the digest and signature of the whole update.
TEST_F(ArrivalCheckTest, DamageOnTheWayIsFoundWhereverItIsAndSentAgain) {
  const TestUpdate whole = update_;
  const size_t size = whole.sealed.size();
  const std::pair<size_t, RefusalReason> places[] = {
      {3, RefusalReason::kBadDigest},               // the key's share
      {size - 1, RefusalReason::kBadDigest},        // the last tag
      {size / 2, RefusalReason::kBadSeal},          // words
      {kSealedEncBytes, RefusalReason::kBadSeal}};  // the head
  for (const auto& [at, reason] : places) {
    update_.sealed[at] ^= 1;
    EXPECT_EQ(RefusalOf(UploadInPieces(100'000).status()), reason) << at;
    update_ = whole;
  }
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

// One round of three sites; what disturbs it must not show in the model.
class KeptSumTest : public ::testing::Test {
 protected:
  // `inline_bytes_max`: larger updates are added up as they arrive.
  void Open(uint64_t inline_bytes_max) {
    world_ = std::make_unique<RoundWorld>();
    world_->options.upload_inline_bytes_max = inline_bytes_max;
    ASSERT_THAT(world_->Open(), IsOk());
    world_->StartRun({.rounds = 1, .quorum = 3, .expected = 3}, kExtra);
    world_->JoinAll({&a_, &b_, &c_});
  }
  Digest Model() {
    EXPECT_EQ(world_->state(), "finished");
    return world_->Snapshot().model;
  }
  Digest OfBytesInMemory() {
    Open(uint64_t{1} << 30);
    world_->Contribute({&a_, &b_, &c_});
    return Model();
  }

  const TestSite a_{"site-a"}, b_{"site-b"}, c_{"site-c"};
  std::unique_ptr<RoundWorld> world_;
};

TEST_F(KeptSumTest, GivesTheModelOfTheSpoolInAnyOrderOfArrival) {
  const Digest expected = OfBytesInMemory();
  Open(1000);
  world_->Contribute({&c_, &a_, &b_});
  EXPECT_EQ(Model(), expected);
}

TEST_F(KeptSumTest, AnUpdateThatWasRefusedHasNoPartInIt) {
  const Digest expected = OfBytesInMemory();
  Open(1000);
  world_->Contribute({&a_});
  const TestUpdate honest = world_->Answer(b_, world_->TaskOf(b_));
  Bytes sealed = honest.sealed;
  ASSERT_FALSE(sealed.empty());
  sealed[sealed.size() - 1] ^= 1;  // in its last chunk: all others were added
  const TestUpdate bad = b_.Sign(honest.header, std::move(sealed));
  EXPECT_EQ(RefusalOf(world_->Upload(b_, bad).status()),
            RefusalReason::kBadSeal);
  EXPECT_THAT(world_->Upload(b_, honest), IsOk());
  world_->Contribute({&c_});
  EXPECT_EQ(Model(), expected);
}

TEST_F(KeptSumTest, APowerFailureBetweenChunksLosesOnlyTheShortCut) {
  const Digest expected = OfBytesInMemory();
  Open(1000);
  world_->Contribute({&a_});
  const TestUpdate update = world_->Answer(b_, world_->TaskOf(b_));
  const auto begun = world_->Begin(b_, update.header, 0);
  ASSERT_THAT(begun, IsOk());
  ASSERT_THAT((*begun)->Append(ByteSpan(update.sealed).first(300'000)), IsOk());
  world_->Crash();
  ASSERT_THAT(world_->Open(), IsOk());
  if (!world_->Upload(b_, update).ok()) {
    // Some of it is still there.
    const auto held = world_->Query(b_, update.header);
    ASSERT_THAT(held, IsOk());
    auto upload = world_->Begin(b_, update.header, held->offset);
    ASSERT_THAT(upload, IsOk());
    ASSERT_THAT(
        (*upload)->Append(ByteSpan(update.sealed).subspan(held->offset)),
        IsOk());
    if (!world_->Finish(b_, update.header, *std::move(upload)).ok()) {
      EXPECT_THAT(world_->Upload(b_, update), IsOk());
    }
  }
  world_->Contribute({&c_});
  EXPECT_EQ(Model(), expected);
}

}  // namespace
}  // namespace fedgraft::testing
