#include "tests/support/sim_file_store.h"

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft::testing {
namespace {

constexpr uint64_t kAll = UINT64_MAX;

// A durable file with this text.
void MakeFile(SimFileStore& store, std::string_view path,
              std::string_view text) {
  ASSERT_THAT(WriteAtomically(store, path, AsBytes(text)), IsOk());
}

std::string TextOf(const SimFileStore& store, std::string_view path) {
  return std::string(AsText(store.Content(path)));
}

TEST(SimFileStoreTest, SyncedBytesSurviveAndUnsyncedOnesMayNot) {
  std::set<size_t> sizes;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimFileStore store;
    MakeFile(store, "log", "start");
    auto file = *store.OpenAppend("log", kAll);
    ASSERT_THAT(file->Append(AsBytes("kept")), IsOk());
    ASSERT_THAT(file->Sync(), IsOk());
    ASSERT_THAT(file->Append(AsBytes("lost?")), IsOk());
    store.Crash(seed);
    const std::string text = TextOf(store, "log");
    EXPECT_EQ(text.substr(0, 9), "startkept");
    sizes.insert(text.size());
    EXPECT_THAT(file->Append(AsBytes("x")),
                HasCode(absl::StatusCode::kUnavailable));
  }
  EXPECT_EQ(sizes, (std::set<size_t>{9, 10, 11, 12, 13, 14}));
}

TEST(SimFileStoreTest, TornBytesDiffer) {
  int torn = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimFileStore store;
    MakeFile(store, "log", "");
    auto file = *store.OpenAppend("log", kAll);
    ASSERT_THAT(file->Append(AsBytes("abcdefgh")), IsOk());
    store.Crash(seed);
    const std::string text = TextOf(store, "log");
    torn += text != std::string("abcdefgh").substr(0, text.size());
  }
  EXPECT_GT(torn, 5);
  EXPECT_LT(torn, 40);
}

TEST(SimFileStoreTest, NamesNeedAFolderSync) {
  int survived = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimFileStore store;
    auto synced = *store.OpenAppend("a/synced", 0);
    ASSERT_THAT(synced->Append(AsBytes("x")), IsOk());
    ASSERT_THAT(synced->Sync(), IsOk());
    ASSERT_THAT(store.SyncFolder("a"), IsOk());
    auto unsynced = *store.OpenAppend("a/unsynced", 0);
    ASSERT_THAT(unsynced->Append(AsBytes("x")), IsOk());
    ASSERT_THAT(unsynced->Sync(), IsOk());
    store.Crash(seed);
    EXPECT_TRUE(store.Exists("a/synced"));
    survived += store.Exists("a/unsynced");
  }
  EXPECT_GT(survived, 10);
  EXPECT_LT(survived, 40);
}

TEST(SimFileStoreTest, RemovalMayBeUndoneByACrash) {
  std::set<bool> exists;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimFileStore store;
    MakeFile(store, "f", "x");
    ASSERT_THAT(store.Remove("f"), IsOk());
    EXPECT_FALSE(store.Exists("f"));
    store.Crash(seed);
    exists.insert(store.Exists("f"));
  }
  EXPECT_EQ(exists.size(), 2u);
}

TEST(SimFileStoreTest, InterruptedReplacementLeavesOldOrNew) {
  std::set<std::string> seen;
  for (uint64_t halt = 1; halt <= 4; ++halt) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      SimFileStore store;
      MakeFile(store, "f", "old");
      store.HaltAfter(halt);  // append, sync, rename
      const absl::Status written = WriteAtomically(store, "f", AsBytes("new"));
      EXPECT_EQ(written.ok(), halt == 4);
      store.Crash(seed);
      seen.insert(TextOf(store, "f"));
      if (written.ok()) {
        EXPECT_EQ(TextOf(store, "f"), "new");
      }
    }
  }
  EXPECT_EQ(seen, (std::set<std::string>{"new", "old"}));
}

TEST(SimFileStoreTest, UnsyncedTruncationMayBeUndone) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimFileStore store;
    MakeFile(store, "f", "abcdef");
    auto file = *store.OpenAppend("f", 2);
    EXPECT_EQ(file->size_bytes(), 2u);
    store.Crash(seed);
    seen.insert(TextOf(store, "f"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"ab", "abcdef"}));
}

TEST(SimFileStoreTest, UnsyncedOverwritingLeavesAMixOfOldAndNew) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimFileStore store;
    MakeFile(store, "f", "abc");
    auto file = *store.OpenOverwrite("f", 3);
    ASSERT_THAT(file->Append(AsBytes("A")), IsOk());
    ASSERT_THAT(file->Append(AsBytes("BC")), IsOk());
    if (seed % 2 == 0) {
      ASSERT_THAT(file->Sync(), IsOk());
      store.Crash(seed);
      EXPECT_EQ(TextOf(store, "f"), "ABC");
      continue;
    }
    // Its cut part is what was durable.
    if (seed % 3 == 0) {
      EXPECT_THAT(store.OpenAppend("f", 2), IsOk());
    }
    store.Crash(seed);
    seen.insert(TextOf(store, "f"));
  }
  for (const std::string text : {"ABC", "aBC", "AbC", "abC", "Abc", "AB"}) {
    EXPECT_TRUE(seen.contains(text)) << text;
  }
}

TEST(SimFileStoreTest, KilledProcessLosesNoBytesButItsOpenFiles) {
  SimFileStore store;
  auto file = *store.OpenAppend("f", 0);
  ASSERT_THAT(file->Append(AsBytes("abc")), IsOk());
  store.KillProcess();
  EXPECT_EQ(TextOf(store, "f"), "abc");
  EXPECT_THAT(file->Sync(), HasCode(absl::StatusCode::kUnavailable));
}

TEST(SimFileStoreTest, FaultsAreOrdinaryErrors) {
  SimFileStore store;
  auto file = *store.OpenAppend("f", 0);
  store.FailAppends(1);
  EXPECT_THAT(file->Append(AsBytes("abcd")),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(file->Sync().ok()) << "stays failed";
  EXPECT_EQ(TextOf(store, "f"), "ab");

  file = *store.OpenAppend("f", 0);
  store.FailSyncs(1);
  ASSERT_THAT(file->Append(AsBytes("abcd")), IsOk());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(file->Sync().ok()) << "stays failed";

  file = *store.OpenAppend("f", 0);
  store.SetCapacity(6);
  ASSERT_THAT(file->Append(AsBytes("abcd")), IsOk());
  EXPECT_THAT(file->Append(AsBytes("efgh")),
              HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(SimFileStoreTest, ListsPlainFilesOfOneFolder) {
  SimFileStore store;
  for (const char* path : {"b", "a", "x/c", "x/y/d", "xy"}) {
    ASSERT_THAT(store.OpenAppend(path, 0), IsOk());
  }
  EXPECT_EQ(*store.List(""), (std::vector<std::string>{"a", "b", "xy"}));
  EXPECT_EQ(*store.List("x"), (std::vector<std::string>{"c"}));
  EXPECT_EQ(*store.List("nothing"), std::vector<std::string>{});
}

}  // namespace
}  // namespace fedgraft::testing
