#include "common/runtime/blob_store.h"

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/runtime/file_digest.h"
#include "common/runtime/posix_file_store.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;

constexpr char kSpare[] = "blobs/partial/spare";

class BlobStoreTest : public ::testing::Test {
 protected:
  BlobStoreTest() : content_(3 << 20) {
    testing::SimRandom(5).Fill(absl::MakeSpan(content_));
    digest_ = Sha256(content_);
  }
  ByteSpan Part(size_t begin, size_t end) const {
    return ByteSpan(content_).subspan(begin, end - begin);
  }
  // Stores content_[0, end) and lets the writer go.
  void PutPart(size_t end) {
    const auto writer = *blobs_.BeginPut(digest_, content_.size());
    ASSERT_THAT(writer->Append(Part(writer->offset(), end)), IsOk());
  }
  std::string Partial() const { return "blobs/partial/" + digest_.Hex(); }

  testing::SimFileStore files_;
  BlobStore blobs_{files_, "blobs"};
  Bytes content_;
  Digest digest_;
};

TEST_F(BlobStoreTest, PutIsDurableAndIdempotent) {
  EXPECT_EQ(*blobs_.Put(content_), digest_);
  EXPECT_EQ(*blobs_.Put(content_), digest_);
  files_.Crash(1);
  const auto file = *blobs_.Open(digest_);
  Bytes read(content_.size());
  ASSERT_THAT(file->ReadAt(0, absl::MakeSpan(read)), IsOk());
  EXPECT_EQ(read, content_);
  EXPECT_THAT(blobs_.Verify(digest_), IsOk());
  EXPECT_TRUE(blobs_.Has(digest_));
}

TEST_F(BlobStoreTest, PiecesMakeOneBlobAndGoOnWhereAnAttemptStopped) {
  const std::vector<ByteSpan> pieces = {Part(0, 1000), Part(1000, 1000),
                                        Part(1000, content_.size())};
  for (const size_t held : {0, 500, 1000, 2000}) {
    if (held > 0) PutPart(held);
    EXPECT_EQ(*blobs_.PutPieces(pieces), digest_) << held;
    EXPECT_THAT(blobs_.Verify(digest_), IsOk());
    ASSERT_THAT(blobs_.Remove(digest_), IsOk());
  }
}

TEST_F(BlobStoreTest, KeepsTheEmptyBlob) {
  const Digest empty = *blobs_.Put({});
  EXPECT_EQ(empty, Sha256({}));
  EXPECT_EQ((*blobs_.Open(empty))->size_bytes(), 0u);
}

TEST_F(BlobStoreTest, UnknownBlobsAreNotFoundByName) {
  EXPECT_FALSE(blobs_.Has(digest_));
  const auto unknown = IsError(absl::StatusCode::kNotFound, digest_.Hex());
  EXPECT_THAT(blobs_.Open(digest_), unknown);
  EXPECT_THAT(blobs_.Verify(digest_), unknown);
  EXPECT_THAT(blobs_.Remove(digest_), unknown);
}

TEST_F(BlobStoreTest, ListsCompleteBlobsOnly) {
  const Digest one = *blobs_.Put(AsBytes("one"));
  const Digest two = *blobs_.Put(AsBytes("two"));
  PutPart(10);
  files_.SetContent("blobs/notes.txt", {});
  EXPECT_EQ(*blobs_.List(),
            (std::vector<Digest>{std::min(one, two), std::max(one, two)}));
  ASSERT_THAT(blobs_.Remove(one), IsOk());
  EXPECT_EQ(*blobs_.List(), std::vector<Digest>{two});
}

TEST_F(BlobStoreTest, TakesPiecesAndHidesTheBlobUntilItIsVerified) {
  const auto writer = *blobs_.BeginPut(digest_, content_.size());
  for (size_t begin = 0; begin < content_.size(); begin += 1000) {
    ASSERT_EQ(writer->offset(), begin);
    ASSERT_THAT(
        writer->Append(Part(begin, std::min(begin + 1000, content_.size()))),
        IsOk());
  }
  EXPECT_FALSE(blobs_.Has(digest_));
  ASSERT_THAT(writer->Finish(), IsOk());
  EXPECT_THAT(blobs_.Verify(digest_), IsOk());
  EXPECT_THAT(blobs_.BeginPut(digest_, content_.size()),
              HasCode(absl::StatusCode::kAlreadyExists));
}

TEST_F(BlobStoreTest, ResumesWhereItStopped) {
  PutPart(1000);
  PutPart(2'000'000);
  files_.KillProcess();
  BlobStore restarted(files_, "blobs");
  const auto writer = *restarted.BeginPut(digest_, content_.size());
  EXPECT_EQ(writer->offset(), 2'000'000u);
  EXPECT_THAT(writer->Finish(),
              IsError(absl::StatusCode::kFailedPrecondition, "only 2000000"));
  ASSERT_THAT(writer->Append(Part(2'000'000, content_.size())), IsOk());
  ASSERT_THAT(writer->Finish(), IsOk());
  EXPECT_THAT(restarted.Verify(digest_), IsOk());
  EXPECT_FALSE(files_.Exists(Partial()));
}

TEST_F(BlobStoreTest, WhatAPowerFailureTearsIsFoundAtTheEndAndFetchedAgain) {
  int torn = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    testing::SimFileStore files;
    BlobStore blobs(files, "blobs");
    {
      const auto writer = *blobs.BeginPut(digest_, content_.size());
      ASSERT_THAT(writer->Append(Part(0, 1'000'000)), IsOk());
      ASSERT_THAT(files.SyncFolder("blobs/partial"), IsOk());
    }
    files.Crash(seed);
    for (int attempt = 0; !blobs.Has(digest_); ++attempt) {
      ASSERT_LT(attempt, 2);
      const auto writer = *blobs.BeginPut(digest_, content_.size());
      ASSERT_THAT(writer->Append(Part(writer->offset(), content_.size())),
                  IsOk());
      const absl::Status finished = writer->Finish();
      if (finished.ok()) break;
      EXPECT_THAT(finished, HasCode(absl::StatusCode::kDataLoss));
      ++torn;
    }
    EXPECT_THAT(blobs.Verify(digest_), IsOk());
  }
  EXPECT_GT(torn, 0);
}

TEST_F(BlobStoreTest, PutReplacesWhatAnEarlierAttemptTore) {
  files_.SetContent(Partial(), Bytes(100, 0xee));
  EXPECT_EQ(*blobs_.Put(content_), digest_);
  EXPECT_THAT(blobs_.Verify(digest_), IsOk());
}

TEST_F(BlobStoreTest, RefusesWrongBytesAndStartsAgain) {
  auto writer = *blobs_.BeginPut(digest_, content_.size());
  Bytes wrong = content_;
  wrong[12345] ^= 1;
  ASSERT_THAT(writer->Append(wrong), IsOk());
  EXPECT_THAT(writer->Append(Bytes{1}), HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(writer->Finish(),
              IsError(absl::StatusCode::kDataLoss, digest_.Short()));
  EXPECT_FALSE(blobs_.Has(digest_));
  writer.reset();
  EXPECT_EQ((*blobs_.BeginPut(digest_, content_.size()))->offset(), 0u);
}

TEST_F(BlobStoreTest, PartialFileThatIsTooLongIsDropped) {
  files_.SetContent(Partial(), Bytes(content_.size() + 1));
  EXPECT_EQ((*blobs_.BeginPut(digest_, content_.size()))->offset(), 0u);
}

TEST_F(BlobStoreTest, OneWriterAtATime) {
  auto writer = *blobs_.BeginPut(digest_, content_.size());
  EXPECT_THAT(blobs_.BeginPut(digest_, content_.size()),
              HasCode(absl::StatusCode::kFailedPrecondition));
  writer.reset();
  EXPECT_THAT(blobs_.BeginPut(digest_, content_.size()), IsOk());
}

TEST_F(BlobStoreTest, FullDiskIsReportedAndLeavesWhatArrived) {
  files_.SetCapacity(2'000'000);
  EXPECT_THAT(blobs_.Put(content_),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(blobs_.Has(digest_));
  files_.SetCapacity(UINT64_MAX);
  EXPECT_THAT(blobs_.Put(content_), IsOk());
}

// The name may be there only because the machine did not lose power yet.
TEST_F(BlobStoreTest, WhatAKilledProcessLeftIsDurableOnceItIsPutAgain) {
  for (uint64_t halt = 1; halt < 12; ++halt) {
    testing::SimFileStore files;
    files.HaltAfter(halt);
    (void)BlobStore(files, "blobs").Put(Part(0, 1000));
    files.KillProcess();
    const auto again = BlobStore(files, "blobs").Put(Part(0, 1000));
    ASSERT_THAT(again, IsOk()) << "halt " << halt;
    files.Crash(halt);
    EXPECT_TRUE(BlobStore(files, "blobs").Has(*again)) << "halt " << halt;
  }
}

TEST_F(BlobStoreTest, WritesOverARecycledBlobUnlessItIsOpen) {
  const Digest large = *blobs_.Put(content_);
  const Bytes other(content_.rbegin(), content_.rend());
  auto reader = *blobs_.Open(large);
  ASSERT_THAT(blobs_.Recycle(large), IsOk());
  EXPECT_FALSE(blobs_.Has(large));
  EXPECT_TRUE(files_.Exists(kSpare));
  for (int i = 0; i < 2; ++i) {
    const Digest digest = *blobs_.Put(other);
    EXPECT_THAT(blobs_.Verify(digest), IsOk());
    EXPECT_EQ(files_.Exists(kSpare), reader != nullptr);
    if (reader == nullptr) continue;
    Bytes read(content_.size());
    ASSERT_THAT(reader->ReadAt(0, absl::MakeSpan(read)), IsOk());
    EXPECT_EQ(read, content_);
    reader.reset();
    ASSERT_THAT(blobs_.Remove(digest), IsOk());
  }
}

TEST_F(BlobStoreTest, KeepsOneSpareOfALargeBlobAndDropsIt) {
  const Digest small = *blobs_.Put(AsBytes("one"));
  const Digest one = *blobs_.Put(content_);
  const Digest two = *blobs_.Put(Part(0, 2'000'000));
  ASSERT_THAT(blobs_.Recycle(small), IsOk());
  EXPECT_FALSE(files_.Exists(kSpare));
  ASSERT_THAT(blobs_.Recycle(one), IsOk());
  ASSERT_THAT(blobs_.Recycle(two), IsOk());
  EXPECT_EQ(files_.Content(kSpare), content_);
  EXPECT_EQ(*blobs_.List(), std::vector<Digest>{});
  EXPECT_THAT(blobs_.Recycle(two), HasCode(absl::StatusCode::kNotFound));
  blobs_.DropSpare();
  EXPECT_FALSE(files_.Exists(kSpare));
}

TEST_F(BlobStoreTest, WhatIsThereAlreadyIsNotWrittenOverTheSpareAsWell) {
  const Digest spare = *blobs_.Put(content_);
  const Digest other = *blobs_.Put(Part(1, content_.size()));
  ASSERT_THAT(blobs_.Recycle(spare), IsOk());
  EXPECT_EQ(*blobs_.Put(Part(1, content_.size())), other);
  EXPECT_THAT(blobs_.Verify(other), IsOk());
  EXPECT_EQ(*blobs_.List(), std::vector<Digest>{other});
}

TEST_F(BlobStoreTest, AHaltAtAnyOperationOverASpareLeavesNoWrongBlob) {
  const Bytes other(content_.rbegin(), content_.rend());
  for (uint64_t halt = 1; halt < 20; ++halt) {
    testing::SimFileStore files;
    BlobStore blobs(files, "blobs");
    const Digest before = *blobs.Put(content_);
    files.HaltAfter(halt);
    (void)blobs.Recycle(before);
    const auto put = blobs.Put(other);
    files.KillProcess();
    files.Crash(halt);
    BlobStore restarted(files, "blobs");
    const auto left = restarted.List();
    ASSERT_THAT(left, IsOk());
    for (const Digest& digest : *left) {
      EXPECT_THAT(restarted.Verify(digest), IsOk()) << "halt " << halt;
    }
    EXPECT_TRUE(!put.ok() || restarted.Has(*put)) << "halt " << halt;
    restarted.DropSpare();
    EXPECT_FALSE(files.Exists(kSpare));
    EXPECT_THAT(restarted.Verify(*restarted.Put(other)), IsOk());
  }
}

// Readers that opened a blob before it was recycled never see what is written
// over it.
TEST_F(BlobStoreTest, WhoReadsWhileBlobsAreWrittenOverReadsWhatItOpened) {
  constexpr int kBlobs = 60;
  testing::TempFolder folder;
  const auto files = *PosixFileStore::Open(folder.path());
  BlobStore blobs(*files, "blobs");
  std::mutex mutex;
  Digest newest;  // guarded by mutex
  std::atomic<bool> done = false;
  std::atomic<int> read = 0, wrong = 0;
  const auto read_on = [&] {
    while (!done) {
      Digest wanted;
      {
        std::lock_guard lock(mutex);
        wanted = newest;
      }
      const auto file = blobs.Open(wanted);
      if (!file.ok()) continue;  // recycled by now
      const auto found = DigestOfFile(**file);
      wrong += !found.ok() || *found != wanted;
      ++read;
    }
  };
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) readers.emplace_back(read_on);
  Bytes content((1 << 20) + 5);
  for (int i = 0; i < kBlobs; ++i) {
    testing::SimRandom(i).Fill(absl::MakeSpan(content));
    const auto digest = blobs.Put(content);
    ASSERT_THAT(digest.status(), IsOk());
    Digest before = *digest;
    {
      std::lock_guard lock(mutex);
      std::swap(newest, before);
    }
    if (i > 0) {
      EXPECT_THAT(blobs.Recycle(before), IsOk());
    }
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(read, 0);
  EXPECT_EQ(wrong, 0);
}

TEST_F(BlobStoreTest, VerifyFindsADamagedBlob) {
  ASSERT_THAT(blobs_.Put(content_), IsOk());
  Bytes damaged = content_;
  damaged.back() ^= 0x40;
  files_.SetContent("blobs/" + digest_.Hex(), damaged);
  EXPECT_THAT(blobs_.Verify(digest_),
              IsError(absl::StatusCode::kDataLoss, digest_.Short()));
}

}  // namespace
}  // namespace fedgraft
