#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/round/admission.h"
#include "aggregator/round/journal_codec.h"
#include "aggregator/round/memory_file.h"
#include "aggregator/store/log.h"
#include "aggregator/store/log_reader.h"
#include "common/base/status_macros.h"
#include "common/crypto/sealed_stream.h"
#include "common/runtime/posix_file_store.h"
#include "common/shift/look.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"
#include "tests/shift/plain_look.h"

// A curious aggregator looks for what one site's images add to a sketch in all
// that it has: its files, the updates that it stored, opened with the run's
// key, and the memory of its process.

namespace fedgraft::testing {
namespace {

constexpr int kSites = 4;
// Words of which it cannot be chance that their 8 bytes are there; and that of
// their 16 with the next word's, in a process's whole memory.
constexpr int64_t kTellingMin = int64_t{1} << 32;
constexpr int64_t kTellingInPairMin = int64_t{1} << 26;

bool IsAtLeast(uint64_t word, int64_t bound) {
  const auto value = static_cast<int64_t>(word);
  return value >= bound || value <= -bound;
}

// Pieces of lists of words, as they lie in memory (little-endian).
struct Fragments {
  std::unordered_set<std::string> words, pairs;

  void Add(const std::vector<uint64_t>& list) {
    for (size_t i = 0; i < list.size(); ++i) {
      const char* at = reinterpret_cast<const char*>(&list[i]);
      if (IsAtLeast(list[i], kTellingMin)) words.emplace(at, 8);
      if (i + 1 < list.size() && IsAtLeast(list[i], kTellingInPairMin) &&
          IsAtLeast(list[i + 1], kTellingInPairMin)) {
        pairs.emplace(at, 16);
      }
    }
  }
};

// How many of `pieces`, `size` bytes each, are there at any place.
size_t CountIn(std::string_view haystack, size_t size,
               const std::unordered_set<std::string>& pieces) {
  // Most places are ruled out by their first four bytes.
  std::unordered_set<uint32_t> beginnings;
  const auto begin_at = [](const char* at) {
    uint32_t word;
    std::memcpy(&word, at, sizeof(word));
    return word;
  };
  for (const std::string& piece : pieces) {
    beginnings.insert(begin_at(piece.data()));
  }
  std::unordered_set<std::string> found;
  for (size_t at = 0; at + size <= haystack.size(); ++at) {
    if (!beginnings.contains(begin_at(haystack.data() + at))) continue;
    std::string piece(haystack.substr(at, size));
    if (pieces.contains(piece)) found.insert(std::move(piece));
  }
  return found.size();
}
size_t CountWords(std::string_view haystack, const Fragments& fragments) {
  return CountIn(haystack, 8, fragments.words);
}
size_t CountPairs(std::string_view haystack, const Fragments& fragments) {
  return CountIn(haystack, 16, fragments.pairs);
}

std::string FilesUnder(const std::string& folder) {
  std::string all;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) all += ReadFileOrEmpty(entry.path());
  }
  return all;
}

// Everything that a process may have written to.
std::string MemoryOf(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::istringstream maps(ReadFileOrEmpty(folder + "/maps"));
  std::ifstream memory(folder + "/mem", std::ios::binary);
  std::string all;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(" rw") == std::string::npos) continue;
    const uint64_t begin = std::stoull(line, nullptr, 16);
    const uint64_t end =
        std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
    // Reserved but never touched pages read as zeros: piece by piece.
    std::string piece(64 << 10, '\0');
    for (uint64_t at = begin; at < end; at += piece.size()) {
      const auto size = static_cast<std::streamsize>(
          std::min<uint64_t>(piece.size(), end - at));
      memory.clear();
      memory.seekg(static_cast<std::streamoff>(at));
      memory.read(piece.data(), size);
      const auto read = static_cast<size_t>(memory.gcount());
      const bool is_empty =
          std::all_of(piece.begin(), piece.begin() + static_cast<long>(read),
                      [](char c) { return c == 0; });
      if (!is_empty) all.append(piece, 0, read);
    }
  }
  return all;
}

// One stored update, opened chunk by chunk.
absl::StatusOr<std::string> OpenUpdate(const ContributionAccepted& record,
                                       const UpdateForm& form,
                                       const RunKey& key) {
  const MemoryFile sealed(std::make_shared<const Bytes>(record.sealed_inline));
  FG_ASSIGN_OR_RETURN(
      const SealedStreamOpener opener,
      OpenSealed(record.site, record.header, form, key, sealed));
  const SealedStreamShape& shape = form.shape;
  Bytes plain(shape.total_bytes);
  for (uint64_t chunk = 0; chunk < shape.ChunkCount(); ++chunk) {
    FG_RETURN_IF_ERROR(opener.Open(
        chunk,
        ByteSpan(record.sealed_inline)
            .subspan(shape.SealedOffset(chunk), shape.SealedSize(chunk)),
        absl::MakeSpan(plain).subspan(shape.PlainOffset(chunk),
                                      shape.PlainSize(chunk))));
  }
  return std::string(AsText(plain));
}

// What there is to find, and where.
struct Evidence {
  Fragments single;  // of one site alone
  Fragments pooled;  // of the sums over all
  std::string files, opened, memory;
  int updates = 0;
};

class Replay {
 public:
  explicit Replay(Evidence& evidence) : evidence_(evidence) {}

  absl::Status Apply(uint64_t sequence, ByteSpan record) {
    FG_ASSIGN_OR_RETURN(JournalEntry entry, DecodeEntry(record));
    if (const auto* opened = std::get_if<RunOpened>(&entry.record)) {
      FG_ASSIGN_OR_RETURN(
          key_, OpenRunKey(opened->run, AsBytes(std::string(32, 'k')),
                           opened->wrapped_key, opened->hpke_public_key));
    }
    const auto* update = std::get_if<ContributionAccepted>(&entry.record);
    if (update != nullptr && update->header.kind == TaskKind::kSketch) {
      FG_RETURN_IF_ERROR(Take(*update));
    }
    if (const auto* closed = std::get_if<SketchClosed>(&entry.record)) {
      const RunFacts& run = *state_.run();
      FG_ASSIGN_OR_RETURN(const Look look, Look::Decode(run.plan, *run.layout,
                                                        closed->pooled_inline));
      for (const auto& stage : look.stages()) {
        evidence_.pooled.Add(stage);
      }
    }
    return state_.Apply(std::move(entry), sequence);
  }

 private:
  absl::Status Take(const ContributionAccepted& update) {
    const RunFacts& run = *state_.run();
    const ModelRef& pooled_ref = state_.look().pooled;
    const Bytes pooled =
        pooled_ref.size_bytes == 0 ? Bytes() : *pooled_ref.inline_bytes;
    FG_ASSIGN_OR_RETURN(Look look, Look::Decode(run.plan, *run.layout, pooled));
    // As the null trainer drew the site's records.
    const uint64_t seed = update.site.value.back() - '0' + 1u;
    FG_ASSIGN_OR_RETURN(
        const std::vector<uint64_t> words,
        look.Pack(PlainLook(seed, run.plan, *run.layout, pooled)));
    evidence_.single.Add(words);
    const UpdateForm form =
        MakeSketchForm(state_, std::make_shared<const Look>(std::move(look)));
    FG_ASSIGN_OR_RETURN(const std::string plain,
                        OpenUpdate(update, form, *key_));
    evidence_.opened += plain;
    ++evidence_.updates;
    return absl::OkStatus();
  }

  Evidence& evidence_;
  RunState state_;
  std::shared_ptr<const RunKey> key_;
};

Evidence LookAndSearch(bool masked) {
  Federation federation(kSites);
  if (masked) federation.PinRosters();
  EXPECT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.architecture = "identity";
  plan.rounds = 1;
  plan.quorum = kSites;
  plan.more = absl::StrCat("shift: {every: 1}\nprivacy: {secure_aggregation: ",
                           "{mode: \"", masked ? "on" : "off", "\"}}\n");
  const CommandResult start = federation.RunStart(plan);
  EXPECT_EQ(start.exit_code, 0) << start.err;
  EXPECT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();

  Evidence evidence;
  evidence.memory = MemoryOf(federation.aggregator()->pid());
  evidence.files = FilesUnder(federation.Path("aggregator"));
  const auto files = PosixFileStore::Open(federation.Path("aggregator"));
  EXPECT_TRUE(files.ok()) << files.status();
  Replay replay(evidence);
  const absl::Status read =
      ReadLog(**files, Log::Options().folder,
              [&replay](uint64_t sequence, ByteSpan record) {
                return replay.Apply(sequence, record);
              })
          .status();
  EXPECT_TRUE(read.ok()) << read;
  // Moments, the head's steps, a summary and the verdicts of each.
  EXPECT_GE(evidence.updates, 3 * kSites);
  EXPECT_GT(evidence.single.words.size(), 20u);
  EXPECT_GT(evidence.single.pairs.size(), 50u);
  EXPECT_GT(evidence.pooled.words.size(), 20u);
  EXPECT_GT(evidence.memory.size(), 1u << 20);
  return evidence;
}

TEST(SecureSketchTest, TheAggregatorHasNoSketchOfASingleSite) {
  const Evidence evidence = LookAndSearch(/*masked=*/true);
  EXPECT_EQ(CountWords(evidence.files, evidence.single), 0u);
  EXPECT_EQ(CountWords(evidence.opened, evidence.single), 0u);
  for (const std::string& place :
       {evidence.files, evidence.opened, evidence.memory}) {
    EXPECT_EQ(CountPairs(place, evidence.single), 0u);
  }
  // The search finds what there is.
  EXPECT_EQ(CountWords(evidence.files, evidence.pooled),
            evidence.pooled.words.size());
  EXPECT_GT(CountPairs(evidence.memory, evidence.pooled), 0u);
}

TEST(SecureSketchTest, WithoutMasksTheRunsKeyOpensEachSitesSketch) {
  const Evidence evidence = LookAndSearch(/*masked=*/false);
  EXPECT_EQ(CountWords(evidence.opened, evidence.single),
            evidence.single.words.size());
  EXPECT_EQ(CountPairs(evidence.opened, evidence.single),
            evidence.single.pairs.size());
  // On disk they are sealed.
  EXPECT_EQ(CountWords(evidence.files, evidence.single), 0u);
}

}  // namespace
}  // namespace fedgraft::testing
