#include "client/update/update_file.h"

#include "common/crypto/hpke.h"
#include "common/crypto/sealed_stream.h"
#include "common/crypto/sha256.h"
#include "common/protocol/statements.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/update/update_test_util.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

constexpr char kPath[] = "runs/r1/update-train.sealed";

class UpdateFileTest : public ::testing::Test {
 protected:
  UpdateFileTest()
      : key_(SigningKey::Generate()),
        hpke_(GenerateHpkeKeyPair()),
        sealer_(SiteId{"north"}, key_, random_, files_) {}

  static QuantizedUpdate Update() {
    const Plan plan = testing::SmallPlan();
    auto raw = RawUpdate::Create(testing::SmallLayout(),
                                 {1, 2, 3, 4, -1, -2, -3, -4}, 50);
    FG_CHECK(raw.ok());
    auto update = QuantizedUpdate::FromUpdate(
        *ClippedUpdate::Clip(*std::move(raw), plan), plan, /*rounding_seed=*/0);
    FG_CHECK(update.ok());
    return *std::move(update);
  }
  static UploadHeader Header() {
    UploadHeader header;
    header.run = RunId{"r1"};
    header.round = RoundId{3};
    header.plan_hash.bytes.fill(1);
    header.base_model.bytes.fill(2);
    return header;
  }
  absl::StatusOr<SealedUpdate> Seal() {
    return sealer_.Seal(Update(), Header(), hpke_.public_key, kPath);
  }

  testing::SimFileStore files_;
  testing::SimRandom random_{1};
  SigningKey key_;
  HpkeKeyPair hpke_;
  UpdateSealer sealer_;
};

TEST_F(UpdateFileTest, OpensForTheRunKeyUnderItsContextAndCarriesASignature) {
  const auto sealed = Seal();
  ASSERT_TRUE(sealed.ok()) << sealed.status();
  const auto file = sealed->Open(files_);
  ASSERT_TRUE(file.ok()) << file.status();
  Bytes bytes((*file)->size_bytes());
  ASSERT_TRUE((*file)->ReadAt(0, absl::MakeSpan(bytes)).ok());

  const UploadHeader& header = sealed->header();
  EXPECT_EQ(header.size_bytes, bytes.size());
  EXPECT_EQ(header.sealed_digest,
            DigestOfSealed(UpdatePayloadHead::kBytes, bytes));
  EXPECT_TRUE(VerifySignature(key_.PublicKey(),
                              UploadStatement(SiteId{"north"}, header),
                              header.signature)
                  .ok());

  const QuantizedUpdate update = Update();
  const SealedStreamShape shape{UpdatePayloadHead::kBytes,
                                update.payload().size_bytes()};
  const auto opener = SealedStreamOpener::Create(
      ByteSpan(bytes).subspan(0, kSealedEncBytes), hpke_.private_key.span(),
      AsBytes(kUpdateSealInfo), UpdateContext(SiteId{"north"}, header), shape);
  ASSERT_TRUE(opener.ok()) << opener.status();
  Bytes opened(shape.total_bytes);
  for (uint64_t chunk = 0; chunk < shape.ChunkCount(); ++chunk) {
    ASSERT_TRUE(
        opener
            ->Open(chunk,
                   ByteSpan(bytes).subspan(shape.SealedOffset(chunk),
                                           shape.SealedSize(chunk)),
                   absl::MakeSpan(opened).subspan(shape.PlainOffset(chunk),
                                                  shape.PlainSize(chunk)))
            .ok());
  }
  EXPECT_EQ(opened, testing::PayloadOf(update));
}

TEST_F(UpdateFileTest, IsFoundAgainAfterAPowerFailure) {
  const auto sealed = Seal();
  ASSERT_TRUE(sealed.ok()) << sealed.status();
  files_.Crash(7);
  const auto loaded = LoadSealedUpdate(files_, kPath);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->header().sealed_digest, sealed->header().sealed_digest);
  EXPECT_EQ(loaded->header().signature, sealed->header().signature);
  EXPECT_EQ(loaded->header().round, RoundId{3});
  EXPECT_TRUE(loaded->Open(files_).ok());
}

TEST_F(UpdateFileTest, AnUnfinishedOneIsNeverTakenForFinished) {
  ASSERT_TRUE(Seal().ok());
  const Bytes whole = files_.Content(kPath);
  for (size_t size = 0; size < whole.size(); ++size) {
    files_.SetContent(kPath, Bytes(whole.begin(), whole.begin() + size));
    ASSERT_EQ(LoadSealedUpdate(files_, kPath).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
}

TEST_F(UpdateFileTest, EveryChangedByteIsFound) {
  ASSERT_TRUE(Seal().ok());
  const Bytes whole = files_.Content(kPath);
  for (size_t i = 0; i < whole.size(); ++i) {
    Bytes damaged = whole;
    damaged[i] ^= 0x10;
    files_.SetContent(kPath, damaged);
    ASSERT_FALSE(LoadSealedUpdate(files_, kPath).ok()) << i;
  }
}

// A crash at any operation while the next update overwrites this one leaves
// the new one or none.
TEST_F(UpdateFileTest, ACrashWhileSealingLeavesAWholeUpdateOrNone) {
  int whole = 0, none = 0;
  for (uint64_t halt = 1; halt < 12; ++halt) {
    ASSERT_TRUE(Seal().ok());
    files_.HaltAfter(halt);
    UploadHeader next = Header();
    next.round = RoundId{4};
    const auto sealed = sealer_.Seal(Update(), next, hpke_.public_key, kPath);
    files_.Crash(halt);
    const auto loaded = LoadSealedUpdate(files_, kPath);
    if (loaded.ok()) {
      ++whole;
      EXPECT_TRUE(loaded->header().round == RoundId{4} || !sealed.ok());
    } else {
      ++none;
      EXPECT_FALSE(sealed.ok());
    }
  }
  EXPECT_GT(whole, 0);
  EXPECT_GT(none, 0);
}

TEST_F(UpdateFileTest, SyncsOncePerUpdateOnceItsNameIsDurable) {
  ASSERT_TRUE(Seal().ok());
  const uint64_t before = files_.syncs();
  ASSERT_TRUE(Seal().ok());
  EXPECT_EQ(files_.syncs(), before + 1);
}

TEST_F(UpdateFileTest, ReportsAFullDiskAndKeepsNothing) {
  files_.FailAppends(1);
  const auto sealed = Seal();
  EXPECT_EQ(sealed.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(LoadSealedUpdate(files_, kPath).ok());
}

TEST_F(UpdateFileTest, RefusesABadRunKey) {
  EXPECT_EQ(sealer_.Seal(Update(), Header(), Bytes(31), kPath).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LoadSealedUpdate(files_, "nowhere").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace fedgraft
