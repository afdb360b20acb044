#include "aggregator/store/spool.h"

#include <memory>
#include <string>
#include <vector>

#include "common/base/status_macros.h"
#include "common/crypto/sealed_stream.h"
#include "common/numeric/update_payload.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;

constexpr size_t kSmall = 5000;
constexpr size_t kLarge = 3'000'000;

Digest DigestOf(ByteSpan sealed) {
  return DigestOfSealed(UpdatePayloadHead::kBytes, sealed);
}

class SpoolTest : public ::testing::Test {
 protected:
  SpoolTest() { Restart(); }

  // A new aggregator on the same disk.
  void Restart() { spool_ = std::make_unique<Spool>(files_, options_); }

  // `size` sealed bytes of `site`, and the key they travel under.
  void MakeUpdate(size_t size, const std::string& site = "a",
                  uint64_t seed = 1) {
    content_.resize(size);
    testing::SimRandom(seed).Fill(absl::MakeSpan(content_));
    key_ = {.run = {"run-1"},
            .round = {7},
            .kind = TaskKind::kTrain,
            .site = {site},
            .sealed_digest = DigestOf(content_),
            .size_bytes = size};
  }
  ByteSpan Part(size_t begin, size_t end) const {
    return ByteSpan(content_).subspan(begin, end - begin);
  }
  std::shared_ptr<SpoolUpload> Begin(uint64_t offset) {
    auto upload = spool_->Begin(key_, offset);
    EXPECT_THAT(upload, IsOk());
    return upload.ok() ? *upload : nullptr;
  }
  // What opening every chunk finds out.
  SpoolCheck OpensAsSealed() const {
    return [this](const SpooledUpdate& update, ArrivalObserver*) {
      Bytes read(content_.size());
      FG_RETURN_IF_ERROR(update.sealed->ReadAt(0, absl::MakeSpan(read)));
      if (read == content_) return absl::OkStatus();
      return absl::DataLossError("a chunk does not open");
    };
  }
  void ExpectContent(const SpooledUpdate& update) {
    Bytes read(content_.size());
    ASSERT_EQ(update.sealed->size_bytes(), content_.size());
    ASSERT_THAT(update.sealed->ReadAt(0, absl::MakeSpan(read)), IsOk());
    EXPECT_EQ(read, content_);
    EXPECT_THAT(update.sealed->ReadAt(1, absl::MakeSpan(read)),
                HasCode(absl::StatusCode::kOutOfRange));
  }

  testing::SimFileStore files_;
  Spool::Options options_;
  std::unique_ptr<Spool> spool_;
  Bytes content_;
  SpoolKey key_;
};

TEST_F(SpoolTest, SmallUploadsStayInMemory) {
  MakeUpdate(kSmall);
  const auto upload = Begin(0);
  ASSERT_THAT(upload->Append(Part(0, 1000)), IsOk());
  ASSERT_THAT(upload->Append(Part(1000, kSmall)), IsOk());
  const auto update = upload->Finish();
  ASSERT_THAT(update, IsOk());
  ASSERT_NE(update->sealed_inline, nullptr);
  EXPECT_EQ(*update->sealed_inline, content_);
  EXPECT_EQ(update->spool_file, "");
  ExpectContent(*update);
  EXPECT_TRUE(files_.AllPaths().empty());
}

TEST_F(SpoolTest, LargeUploadsAreDurableInTheirFileOnceFinished) {
  MakeUpdate(kLarge);
  const auto upload = Begin(0);
  for (size_t begin = 0; begin < kLarge; begin += 100'000) {
    ASSERT_THAT(upload->Append(Part(begin, begin + 100'000)), IsOk());
  }
  const auto update = upload->Finish();
  ASSERT_THAT(update, IsOk());
  EXPECT_EQ(update->sealed_inline, nullptr);
  EXPECT_EQ(update->spool_file,
            "spool/run-1.7.train.a." + key_.sealed_digest.Hex().substr(0, 16));
  ExpectContent(*update);
  files_.Crash(3);
  Restart();
  EXPECT_EQ(files_.Content(update->spool_file), content_);
  EXPECT_EQ((*spool_->Open(update->spool_file))->size_bytes(), kLarge);
}

TEST_F(SpoolTest, ResumesAfterADisconnect) {
  for (const size_t size : {kSmall, kLarge}) {
    MakeUpdate(size);
    auto first = Begin(0);
    ASSERT_THAT(first->Append(Part(0, 1234)), IsOk());
    first.reset();
    EXPECT_EQ(*spool_->Offset(key_), 1234u);
    const auto second = Begin(1234);
    ASSERT_THAT(second->Append(Part(1234, size)), IsOk());
    EXPECT_EQ(second->offset(), size);
    EXPECT_THAT(second->Finish(), IsOk());
    spool_->Discard(key_);
  }
}

TEST_F(SpoolTest, ResumesALargeUploadAfterARestart) {
  MakeUpdate(kLarge);
  ASSERT_THAT(Begin(0)->Append(Part(0, 2'000'000)), IsOk());
  files_.KillProcess();
  Restart();
  EXPECT_EQ(*spool_->Offset(key_), 2'000'000u);
  const auto upload = Begin(2'000'000);
  ASSERT_THAT(upload->Append(Part(2'000'000, kLarge)), IsOk());
  const auto update = upload->Finish();
  ASSERT_THAT(update, IsOk());
  ExpectContent(*update);
}

TEST_F(SpoolTest, SmallUploadsStartAgainAfterARestart) {
  MakeUpdate(kSmall);
  ASSERT_THAT(Begin(0)->Append(Part(0, 1234)), IsOk());
  Restart();
  EXPECT_EQ(*spool_->Offset(key_), 0u);
}

TEST_F(SpoolTest, WhatAPowerFailureTearsIsAskedForAgain) {
  int torn = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    MakeUpdate(kLarge);
    ASSERT_THAT(Begin(0)->Append(Part(0, 2'000'000)), IsOk());
    ASSERT_THAT(files_.SyncFolder("spool"), IsOk());
    files_.Crash(seed);
    Restart();
    for (int attempt = 0; attempt < 2; ++attempt) {
      const uint64_t offset = *spool_->Offset(key_);
      EXPECT_LE(offset, 2'000'000u);
      const auto upload = Begin(offset);
      ASSERT_THAT(upload->Append(Part(offset, kLarge)), IsOk());
      const auto update = upload->Finish(OpensAsSealed());
      if (update.ok()) {
        ExpectContent(*update);
        break;
      }
      ASSERT_EQ(attempt, 0);
      EXPECT_THAT(update, HasCode(absl::StatusCode::kUnavailable));
      EXPECT_EQ(*spool_->Offset(key_), 0u);
      ++torn;
    }
    spool_->Discard(key_);
  }
  EXPECT_GT(torn, 0);
}

TEST_F(SpoolTest, OffsetMustBeWhatIsHeld) {
  for (const size_t size : {kSmall, kLarge}) {
    MakeUpdate(size);
    ASSERT_THAT(Begin(0)->Append(Part(0, 100)), IsOk());
    for (const uint64_t offset : {0, 99, 101}) {
      EXPECT_THAT(spool_->Begin(key_, offset),
                  IsError(absl::StatusCode::kOutOfRange, "at byte 100"));
    }
    spool_->Discard(key_);
  }
}

TEST_F(SpoolTest, NewerStreamTakesOver) {
  MakeUpdate(kLarge);
  const auto stale = Begin(0);
  ASSERT_THAT(stale->Append(Part(0, 100)), IsOk());
  const auto current = Begin(100);
  EXPECT_THAT(stale->Append(Part(100, 200)),
              IsError(absl::StatusCode::kAborted, "another stream"));
  EXPECT_THAT(stale->Finish(), HasCode(absl::StatusCode::kAborted));
  ASSERT_THAT(current->Append(Part(100, kLarge)), IsOk());
  EXPECT_THAT(current->Finish(), IsOk());
}

TEST_F(SpoolTest, AnotherDigestSupersedes) {
  MakeUpdate(kLarge, "a", 1);
  const SpoolKey old_key = key_;
  const auto old = Begin(0);
  ASSERT_THAT(old->Append(Part(0, 100)), IsOk());
  MakeUpdate(kLarge, "a", 2);
  const auto current = Begin(0);
  EXPECT_THAT(old->Append(Part(0, 1)), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(*spool_->Offset(old_key), 0u);
  EXPECT_EQ(files_.AllPaths().size(), 1u);
  ASSERT_THAT(current->Append(content_), IsOk());
  EXPECT_THAT(current->Finish(), IsOk());
}

TEST_F(SpoolTest, RefusesBytesBeyondTheAnnouncedSize) {
  MakeUpdate(kSmall);
  const auto upload = Begin(0);
  EXPECT_THAT(upload->Append(Bytes(kSmall + 1)),
              IsError(absl::StatusCode::kOutOfRange, "announced with 5000"));
  EXPECT_THAT(upload->Append(content_), IsOk());
  EXPECT_THAT(upload->Append(Bytes(1)), HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(upload->Finish(), IsOk());
  EXPECT_THAT(upload->Finish(), IsOk()) << "the same answer";
  EXPECT_THAT(upload->Append({}), HasCode(absl::StatusCode::kAborted));
}

TEST_F(SpoolTest, AsksTheCheckBeforeTheBytesCountAndReturnsItsRefusal) {
  for (const size_t size : {kSmall, kLarge}) {
    MakeUpdate(size, "checked");
    const auto upload = Begin(0);
    ASSERT_THAT(upload->Append(Part(0, size)), IsOk());
    int asked = 0;
    const auto refuse = [&](const SpooledUpdate& update,
                            ArrivalObserver*) -> absl::Status {
      ++asked;
      ExpectContent(update);
      return absl::PermissionDeniedError("not signed");
    };
    EXPECT_THAT(upload->Finish(refuse),
                IsError(absl::StatusCode::kPermissionDenied, "not signed"));
    EXPECT_EQ(asked, 1);
    const auto accept = [&](const SpooledUpdate& update, ArrivalObserver*) {
      ++asked;
      ExpectContent(update);
      return absl::OkStatus();
    };
    EXPECT_THAT(upload->Finish(accept), IsOk());
    EXPECT_THAT(upload->Finish(accept), IsOk());
    EXPECT_EQ(asked, 3) << "finished or not, the check is asked";
    spool_->Discard(key_);
  }
}

TEST_F(SpoolTest, MissingBytesKeepWhatArrived) {
  MakeUpdate(kSmall);
  const auto upload = Begin(0);
  ASSERT_THAT(upload->Append(Part(0, 10)), IsOk());
  EXPECT_THAT(upload->Finish(),
              IsError(absl::StatusCode::kFailedPrecondition, "only 10"));
  ASSERT_THAT(upload->Append(Part(10, kSmall)), IsOk());
  EXPECT_THAT(upload->Finish(), IsOk());
}

TEST_F(SpoolTest, WrongBytesAreDroppedNamingBothDigests) {
  for (const size_t size : {kSmall, kLarge}) {
    MakeUpdate(size);
    Bytes wrong = content_;
    wrong[17] ^= 1;
    const auto upload = Begin(0);
    ASSERT_THAT(upload->Append(wrong), IsOk());
    EXPECT_THAT(upload->Finish(),
                IsError(absl::StatusCode::kDataLoss,
                        "expected digest " + key_.sealed_digest.Short() +
                            ", got " + DigestOf(wrong).Short()));
    EXPECT_EQ(upload->offset(), 0u);
    ASSERT_THAT(upload->Append(content_), IsOk());
    EXPECT_THAT(upload->Finish(), IsOk());
    spool_->Discard(key_);
  }
}

TEST_F(SpoolTest, FullDiskKeepsWhatArrivedBefore) {
  MakeUpdate(kLarge);
  const auto upload = Begin(0);
  ASSERT_THAT(upload->Append(Part(0, 1'000'000)), IsOk());
  files_.FailAppends(1);
  EXPECT_THAT(upload->Append(Part(1'000'000, 2'000'000)),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(upload->Append(Part(1'000'000, 2'000'000)).ok());
  const auto again = Begin(1'000'000);
  ASSERT_THAT(again->Append(Part(1'000'000, kLarge)), IsOk());
  const auto update = again->Finish();
  ASSERT_THAT(update, IsOk());
  ExpectContent(*update);
}

TEST_F(SpoolTest, FailedSyncIsNotFinishedAndMayBeTriedAgain) {
  MakeUpdate(kLarge);
  const auto upload = Begin(0);
  ASSERT_THAT(upload->Append(content_), IsOk());
  files_.FailSyncs(1);
  EXPECT_THAT(upload->Finish(), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Begin(kLarge)->Finish(), IsOk());
}

TEST_F(SpoolTest, DiscardRemovesTheFileAndEndsItsHolders) {
  MakeUpdate(kLarge);
  const auto upload = Begin(0);
  ASSERT_THAT(upload->Append(content_), IsOk());
  spool_->Discard(key_);
  EXPECT_THAT(upload->Finish(), HasCode(absl::StatusCode::kAborted));
  EXPECT_TRUE(files_.AllPaths().empty());
  spool_->Discard(key_);

  const auto finished = Begin(0);
  ASSERT_THAT(finished->Append(content_), IsOk());
  ASSERT_THAT(finished->Finish(), IsOk());
  spool_->Discard(key_);
  EXPECT_TRUE(files_.AllPaths().empty());
}

TEST_F(SpoolTest, ReleaseKeepsTheFileForItsContribution) {
  MakeUpdate(kLarge);
  const auto upload = Begin(0);
  ASSERT_THAT(upload->Append(content_), IsOk());
  const auto update = *upload->Finish();
  spool_->Release(key_);
  ExpectContent(update);
  EXPECT_TRUE(files_.Exists(update.spool_file));
  EXPECT_THAT(spool_->Remove(update.spool_file), IsOk());
  EXPECT_THAT(spool_->Remove(update.spool_file), IsOk()) << "gone already";
  EXPECT_FALSE(files_.Exists(update.spool_file));
}

TEST_F(SpoolTest, WritesOverRecycledFilesOfAnySize) {
  MakeUpdate(kLarge);
  auto upload = Begin(0);
  ASSERT_THAT(upload->Append(content_), IsOk());
  const std::string file = upload->Finish()->spool_file;
  spool_->Release(key_);
  for (const size_t size : {kLarge, kLarge - 500'000, kLarge + 700'000}) {
    ASSERT_THAT(spool_->Recycle(file), IsOk());
    MakeUpdate(size, "b", size);
    EXPECT_EQ(*spool_->Offset(key_), 0u);
    upload = Begin(0);
    ASSERT_THAT(upload->Append(Part(0, 1'500'000)), IsOk());
    // A new stream goes on with what came.
    upload = Begin(*spool_->Offset(key_));
    ASSERT_THAT(upload->Append(Part(1'500'000, size)), IsOk());
    const auto update = upload->Finish();
    ASSERT_THAT(update, IsOk());
    EXPECT_EQ(update->spool_file, file);
    spool_->Release(key_);
    files_.Crash(size);
    ExpectContent({nullptr, file, *spool_->Open(file)});
  }
  ASSERT_THAT(spool_->Recycle(file), IsOk());
  spool_->DropSpares();
  EXPECT_TRUE(files_.AllPaths().empty());
}

// The old bytes lie where the new ones go, so only the sync tells them apart.
TEST_F(SpoolTest, AHaltAtAnyOperationOverARecycledFileLosesNothingFinished) {
  constexpr size_t kPart = 500'000;
  int finished = 0, unfinished = 0;
  for (uint64_t halt = 1; finished < 3; ++halt) {
    MakeUpdate(kLarge, "a", halt);
    auto upload = Begin(0);
    ASSERT_THAT(upload->Append(content_), IsOk());
    const std::string file = upload->Finish()->spool_file;
    spool_->Release(key_);
    ASSERT_THAT(spool_->Recycle(file), IsOk());
    MakeUpdate(kLarge, "b", 1000 + halt);
    upload = Begin(0);
    files_.HaltAfter(halt);
    absl::Status appended;
    for (size_t begin = 0; begin < kLarge && appended.ok(); begin += kPart) {
      appended = upload->Append(Part(begin, begin + kPart));
    }
    const bool is_kept = appended.ok() && upload->Finish().ok();
    files_.Crash(halt);
    Restart();
    if (is_kept) {
      ++finished;
      ExpectContent({nullptr, file, *spool_->Open(file)});
    } else {
      ++unfinished;
      EXPECT_EQ(*spool_->Offset(key_), 0u) << "halt " << halt;
    }
    ASSERT_THAT(spool_->RemoveExcept({}), IsOk());
    EXPECT_TRUE(files_.AllPaths().empty()) << "halt " << halt;
  }
  EXPECT_GE(unfinished, 7);  // six parts and the sync
}

// Half of it are another update's bytes.
TEST_F(SpoolTest, AnUnfinishedUploadOverARecycledFileStartsAnewAfterARestart) {
  MakeUpdate(kLarge);
  auto upload = Begin(0);
  ASSERT_THAT(upload->Append(content_), IsOk());
  const std::string file = upload->Finish()->spool_file;
  spool_->Release(key_);
  ASSERT_THAT(spool_->Recycle(file), IsOk());
  MakeUpdate(kLarge, "b", 2);
  upload = Begin(0);
  ASSERT_THAT(upload->Append(Part(0, 1'500'000)), IsOk());
  upload.reset();
  Restart();
  EXPECT_EQ(*spool_->Offset(key_), 0u);
  ASSERT_THAT(spool_->RemoveExcept({}), IsOk());
  EXPECT_FALSE(files_.Exists(file));
}

TEST_F(SpoolTest, RemoveExceptKeepsTheNamedAndTheCurrent) {
  std::vector<std::string> paths;
  for (const char* site : {"a", "b", "c"}) {
    MakeUpdate(kLarge, site);
    const auto upload = Begin(0);
    ASSERT_THAT(upload->Append(content_), IsOk());
    paths.push_back(upload->Finish()->spool_file);
    if (site[0] != 'c') spool_->Release(key_);
  }
  ASSERT_THAT(spool_->RemoveExcept({paths[0]}), IsOk());
  EXPECT_EQ(files_.AllPaths(), (std::vector<std::string>{paths[0], paths[2]}));
  Restart();
  ASSERT_THAT(spool_->RemoveExcept({}), IsOk());
  EXPECT_TRUE(files_.AllPaths().empty());
}

TEST_F(SpoolTest, LimitsAreStated) {
  options_.upload_bytes_max = kLarge;
  options_.sessions_max = 2;
  Restart();
  const auto exhausted = HasCode(absl::StatusCode::kResourceExhausted);
  MakeUpdate(kLarge + 1);
  EXPECT_THAT(spool_->Begin(key_, 0), exhausted);
  for (const char* site : {"a", "b"}) {
    MakeUpdate(kSmall, site);
    EXPECT_THAT(spool_->Begin(key_, 0), IsOk());
  }
  MakeUpdate(kSmall, "c");
  EXPECT_THAT(spool_->Begin(key_, 0), exhausted);
  MakeUpdate(kSmall, "a", 2);  // supersedes, adds none
  EXPECT_THAT(spool_->Begin(key_, 0), IsOk());
}

TEST_F(SpoolTest, SmallUploadsGoToFilesWhenMemoryIsFull) {
  options_.memory_bytes_max = 2 * kSmall;
  Restart();
  for (const char* site : {"a", "b", "c"}) {
    MakeUpdate(kSmall, site);
    ASSERT_THAT(Begin(0)->Append(content_), IsOk());
  }
  EXPECT_EQ(files_.AllPaths().size(), 1u);
  const auto update = Begin(kSmall)->Finish();
  ASSERT_THAT(update, IsOk());
  EXPECT_EQ(update->sealed_inline, nullptr);
  ExpectContent(*update);
  // A discarded one gives its memory back.
  MakeUpdate(kSmall, "a");
  spool_->Discard(key_);
  MakeUpdate(kSmall, "d");
  Begin(0);
  EXPECT_EQ(files_.AllPaths().size(), 1u);
}

TEST_F(SpoolTest, KnowsWhichUploadsBeginWithoutTheDisk) {
  options_.memory_bytes_max = 2 * kSmall;
  Restart();
  MakeUpdate(kLarge, "large");
  EXPECT_FALSE(spool_->BeginsInMemory(key_));
  MakeUpdate(kSmall, "a");
  EXPECT_TRUE(spool_->BeginsInMemory(key_));
  Begin(0);
  // Another upload of this site would have to give way.
  EXPECT_FALSE(spool_->BeginsInMemory(key_));
  MakeUpdate(kSmall, "b");
  Begin(0);
  MakeUpdate(kSmall, "c");
  EXPECT_FALSE(spool_->BeginsInMemory(key_)) << "memory is full";
}

TEST_F(SpoolTest, RefusesIdsThatAreNoFileNames) {
  for (const char* bad : {"", "../x", "a/b", "a.b", "a b"}) {
    MakeUpdate(kSmall);
    key_.run.value = bad;
    EXPECT_THAT(spool_->Begin(key_, 0),
                HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(spool_->Offset(key_),
                HasCode(absl::StatusCode::kInvalidArgument));
    MakeUpdate(kSmall, bad);
    EXPECT_THAT(spool_->Begin(key_, 0),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
  MakeUpdate(0);
  EXPECT_THAT(spool_->Begin(key_, 0),
              HasCode(absl::StatusCode::kInvalidArgument));
}

// Puts together what it sees.
class Recorder : public ArrivalObserver {
 public:
  void See(ByteSpan bytes) override {
    seen.insert(seen.end(), bytes.begin(), bytes.end());
  }
  Bytes seen;
};

class SpoolObserverTest : public SpoolTest {
 protected:
  std::shared_ptr<SpoolUpload> BeginSeen(uint64_t offset,
                                         std::shared_ptr<Recorder> recorder) {
    auto upload = spool_->Begin(key_, offset, std::move(recorder));
    EXPECT_THAT(upload, IsOk());
    return upload.ok() ? *upload : nullptr;
  }
  // Who has seen all, in the eyes of the check.
  ArrivalObserver* Seen(SpoolUpload& upload) {
    ArrivalObserver* seen = nullptr;
    EXPECT_THAT(upload.Finish([&](const SpooledUpdate&, ArrivalObserver* who) {
      seen = who;
      return absl::OkStatus();
    }),
                IsOk());
    return seen;
  }
};

TEST_F(SpoolObserverTest, TheFirstStreamsObserverSeesAllBytesOfAFile) {
  MakeUpdate(kLarge);
  const auto first = std::make_shared<Recorder>();
  const auto second = std::make_shared<Recorder>();
  ASSERT_THAT(BeginSeen(0, first)->Append(Part(0, 1000)), IsOk());
  const auto upload = BeginSeen(1000, second);
  ASSERT_THAT(upload->Append(Part(1000, kLarge)), IsOk());
  EXPECT_EQ(Seen(*upload), first.get());
  EXPECT_EQ(first->seen, content_);
  EXPECT_TRUE(second->seen.empty());
}

TEST_F(SpoolObserverTest, NobodyHasSeenWhatCameBeforeARestart) {
  MakeUpdate(kLarge);
  ASSERT_THAT(BeginSeen(0, std::make_shared<Recorder>())->Append(Part(0, 1000)),
              IsOk());
  Restart();
  const auto upload = BeginSeen(1000, std::make_shared<Recorder>());
  ASSERT_THAT(upload->Append(Part(1000, kLarge)), IsOk());
  EXPECT_EQ(Seen(*upload), nullptr);
}

TEST_F(SpoolObserverTest, AnUploadThatStartsAgainIsSeenAnew) {
  MakeUpdate(kLarge);
  const auto before = std::make_shared<Recorder>();
  const auto damaged = BeginSeen(0, before);
  ASSERT_THAT(damaged->Append(Part(0, kLarge - 1)), IsOk());
  ASSERT_THAT(damaged->Append(Bytes{static_cast<uint8_t>(~content_.back())}),
              IsOk());
  EXPECT_THAT(damaged->Finish(), HasCode(absl::StatusCode::kDataLoss));
  const auto after = std::make_shared<Recorder>();
  const auto upload = BeginSeen(0, after);
  ASSERT_THAT(upload->Append(Part(0, kLarge)), IsOk());
  EXPECT_EQ(Seen(*upload), after.get());
  EXPECT_EQ(after->seen, content_);
}

TEST_F(SpoolObserverTest, BytesInMemoryAreQuickToReadAndNotWatched) {
  MakeUpdate(kSmall);
  const auto upload = BeginSeen(0, std::make_shared<Recorder>());
  ASSERT_THAT(upload->Append(Part(0, kSmall)), IsOk());
  EXPECT_EQ(Seen(*upload), nullptr);
}

}  // namespace
}  // namespace fedgraft
