#include "common/runtime/file_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "common/runtime/posix_file_store.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;

constexpr uint64_t kAll = UINT64_MAX;

// What every implementation of the port does.
class FileStoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  FileStoreTest() {
    if (GetParam() == "posix") {
      store_ = *PosixFileStore::Open(folder_.path());
    } else {
      store_ = std::make_unique<testing::SimFileStore>();
    }
  }
  void Write(std::string_view path, std::string_view text) {
    ASSERT_THAT(WriteAtomically(*store_, path, AsBytes(text)), IsOk());
  }
  std::string Read(std::string_view path) {
    const auto content = ReadAll(*store_, path);
    return content.ok() ? std::string(AsText(*content))
                        : content.status().ToString();
  }

  testing::TempFolder folder_;
  std::unique_ptr<FileStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Stores, FileStoreTest,
                         ::testing::Values("posix", "simulated"),
                         [](const auto& info) { return info.param; });

TEST_P(FileStoreTest, AppendsBehindWhatIsThere) {
  Write("a/b/c", "one");
  auto file = *store_->OpenAppend("a/b/c", kAll);
  EXPECT_EQ(file->size_bytes(), 3u);
  ASSERT_THAT(file->Append(AsBytes(" two")), IsOk());
  ASSERT_THAT(file->Append({}), IsOk());
  ASSERT_THAT(file->Sync(), IsOk());
  EXPECT_EQ(file->size_bytes(), 7u);
  EXPECT_EQ(Read("a/b/c"), "one two");
}

TEST_P(FileStoreTest, OpenAppendKeepsOnlyTheGivenBytes) {
  Write("f", "abcdef");
  EXPECT_EQ((*store_->OpenAppend("f", 10))->size_bytes(), 6u);
  EXPECT_EQ((*store_->OpenAppend("f", 4))->size_bytes(), 4u);
  EXPECT_EQ(Read("f"), "abcd");
  EXPECT_EQ((*store_->OpenAppend("f", 0))->size_bytes(), 0u);
}

TEST_P(FileStoreTest, OpenOverwriteKeepsWhatItDoesNotReach) {
  Write("f", "abcdef");
  {
    auto file = *store_->OpenOverwrite("f", 5);
    EXPECT_EQ(file->size_bytes(), 0u);
    ASSERT_THAT(file->Append(AsBytes("AB")), IsOk());
    ASSERT_THAT(file->Append(AsBytes("C")), IsOk());
    ASSERT_THAT(file->Sync(), IsOk());
    EXPECT_EQ(file->size_bytes(), 3u);
  }
  EXPECT_EQ(Read("f"), "ABCde");
  auto longer = *store_->OpenOverwrite("f", 8);
  ASSERT_THAT(longer->Append(AsBytes("12345678")), IsOk());
  EXPECT_EQ(Read("f"), "12345678");
  auto made = *store_->OpenOverwrite("x/y/new", 8);
  ASSERT_THAT(made->Append(AsBytes("new")), IsOk());
  EXPECT_EQ(Read("x/y/new"), "new");
}

TEST_P(FileStoreTest, OpenScratchWritesOverWhatIsThereAndCutsTheRest) {
  Write("f", "abcdef");
  auto file = *store_->OpenScratch("f", 4);
  EXPECT_EQ(file->size_bytes(), 0u);
  ASSERT_THAT(file->Append(AsBytes("WXYZ")), IsOk());
  EXPECT_EQ(file->size_bytes(), 4u);
  EXPECT_EQ(Read("f"), "WXYZ");
}

TEST_P(FileStoreTest, ReadsAnyRangeAndRefusesToReadPastTheEnd) {
  Write("f", "abcdef");
  const auto file = *store_->OpenRead("f");
  EXPECT_EQ(file->size_bytes(), 6u);
  Bytes out(3);
  ASSERT_THAT(file->ReadAt(2, absl::MakeSpan(out)), IsOk());
  EXPECT_EQ(AsText(out), "cde");
  EXPECT_THAT(file->ReadAt(4, absl::MakeSpan(out)),
              HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(file->ReadAt(6, {}), IsOk());
}

TEST_P(FileStoreTest, OpenFilesOutliveTheirName) {
  Write("f", "abc");
  const auto file = *store_->OpenRead("f");
  ASSERT_THAT(store_->Remove("f"), IsOk());
  Bytes out(3);
  EXPECT_THAT(file->ReadAt(0, absl::MakeSpan(out)), IsOk());
  EXPECT_EQ(AsText(out), "abc");
}

TEST_P(FileStoreTest, RenameReplacesAcrossFolders) {
  Write("x/new", "new");
  Write("y/old", "old");
  ASSERT_THAT(store_->Rename("x/new", "y/old"), IsOk());
  EXPECT_EQ(Read("y/old"), "new");
  EXPECT_EQ(*store_->List("x"), std::vector<std::string>{});
  EXPECT_EQ(*store_->List("y"), std::vector<std::string>{"old"});
}

TEST_P(FileStoreTest, MissingFilesAreNotFoundByName) {
  EXPECT_THAT(store_->OpenRead("no/such"),
              IsError(absl::StatusCode::kNotFound, "no/such"));
  EXPECT_THAT(store_->Remove("no-such"),
              IsError(absl::StatusCode::kNotFound, "no-such"));
  EXPECT_THAT(store_->Rename("no-such", "to"),
              HasCode(absl::StatusCode::kNotFound));
  EXPECT_EQ(*store_->List("no-such"), std::vector<std::string>{});
}

TEST_P(FileStoreTest, RefusesPathsThatLeaveTheStore) {
  for (const std::string& path :
       {std::string(), std::string("/etc/passwd"), std::string("../f"),
        std::string("a/../f"), std::string("a/.."), std::string("./f"),
        std::string("a//f"), std::string("a/"), std::string("a\0b", 3)}) {
    const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(store_->OpenRead(path), refused) << path;
    EXPECT_THAT(store_->OpenAppend(path, 0), refused) << path;
    EXPECT_THAT(store_->Remove(path), refused) << path;
    EXPECT_THAT(store_->Rename(path, "f"), refused) << path;
    EXPECT_THAT(store_->Rename("f", path), refused) << path;
    if (path.empty()) continue;  // the root folder
    EXPECT_THAT(store_->List(path), refused) << path;
    EXPECT_THAT(store_->SyncFolder(path), refused) << path;
  }
  EXPECT_THAT(store_->SyncFolder(""), IsOk());
}

TEST(PosixFileStoreTest, ListsPlainFilesSortedAndFollowsNoLink) {
  testing::TempFolder folder;
  const auto store = *PosixFileStore::Open(folder.File("new/root"));
  for (const char* path : {"b", "a", "x/c"}) {
    ASSERT_THAT(store->OpenAppend(path, 0), IsOk());
  }
  std::filesystem::create_symlink("/etc/hostname",
                                  folder.File("new/root/link"));
  EXPECT_EQ(*store->List(""), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(store->OpenRead("link").ok());
  EXPECT_FALSE(store->OpenAppend("link", kAll).ok());
  EXPECT_FALSE(store->OpenRead("x").ok()) << "a folder is no file";
}

TEST(PosixFileStoreTest, MakesFilesForTheOwnerOnly) {
  testing::TempFolder folder;
  const auto store = *PosixFileStore::Open(folder.File("root"));
  ASSERT_THAT(WriteAtomically(*store, "sub/key", AsBytes("secret")), IsOk());
  struct stat info;
  ASSERT_EQ(stat(folder.File("root/sub/key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(folder.File("root/sub").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(folder.File("root").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST(PosixFileStoreTest, OpenNamesTheFolderThatCannotBe) {
  testing::TempFolder folder;
  const auto store = *PosixFileStore::Open(folder.path());
  ASSERT_THAT(store->OpenAppend("file", 0), IsOk());
  const auto under_file = PosixFileStore::Open(folder.File("file/root"));
  ASSERT_FALSE(under_file.ok());
  EXPECT_NE(under_file.status().message().find(folder.File("file/root")),
            std::string::npos);
}

TEST(PosixFileStoreTest, FullDiskIsResourceExhaustedAndStays) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  const auto store = *PosixFileStore::Open("/dev");
  const auto file = *store->OpenAppend("full", kAll);
  EXPECT_THAT(file->Append(AsBytes("abc")),
              IsError(absl::StatusCode::kResourceExhausted, "/dev/full"));
  EXPECT_THAT(file->Sync(), HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(PosixFileStoreTest, WritesMoreThanOneWritebackStep) {
  testing::TempFolder folder;
  const auto store = *PosixFileStore::Open(folder.path());
  const auto file = *store->OpenAppend("large", 0);
  Bytes block(1 << 20);
  for (int i = 0; i < 20; ++i) {
    std::fill(block.begin(), block.end(), static_cast<uint8_t>(i));
    ASSERT_THAT(file->Append(block), IsOk());
  }
  ASSERT_THAT(file->Sync(), IsOk());
  const auto content = *ReadAll(*store, "large");
  ASSERT_EQ(content.size(), 20u << 20);
  for (size_t i = 0; i < content.size(); i += 4099) {
    ASSERT_EQ(content[i], i >> 20);
  }
}

}  // namespace
}  // namespace fedgraft
