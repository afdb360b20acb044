#include "aggregator/round/journal_codec.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::MakeLayout;

Digest DigestOf(uint8_t fill) {
  Digest digest;
  digest.bytes.fill(fill);
  return digest;
}

UploadHeader SomeHeader() {
  UploadHeader header;
  header.run = {"0011aabb"};
  header.round = {3};
  header.kind = TaskKind::kEvaluate;
  header.plan_hash = DigestOf(1);
  header.base_model = DigestOf(2);
  header.size_bytes = 77;
  header.sealed_digest = DigestOf(3);
  header.signature = Bytes(64, 9);
  return header;
}

std::vector<Record> EveryRecord() {
  RunOpened opened;
  opened.run = {"0011aabb"};
  opened.plan = {1, 2, 3};
  opened.wrapped_key = {4, 5};
  opened.hpke_public_key = Bytes(32, 6);
  opened.hpke_key_signature = Bytes(64, 7);
  opened.initial_model = DigestOf(8);
  opened.initial_model_size_bytes = 3;
  opened.initial_model_inline = {7, 8, 9};
  opened.backbone_size_bytes = 123456789012;
  opened.layout = MakeLayout(4);
  RoundReduced reduced;
  reduced.round = {5};
  reduced.sites = {{"a"}, {"b-1"}};
  reduced.model = DigestOf(4);
  reduced.model_size_bytes = 100;
  reduced.model_inline = Bytes(100, 1);
  reduced.saturated = 11;
  reduced.bytes_down = 12;
  reduced.elapsed = absl::Microseconds(1234567);
  reduced.opens_next = true;
  RoundReduced gathered = reduced;
  gathered.statistics = {DigestOf(6), 33, Bytes(33, 2)};
  reduced.rule = RuleAdvanced{DigestOf(5), 3, {1, 2, 3}};
  reduced.influence = {{{"a"}, 0.5}, {{"b-1"}, 1.5}};
  EvaluationClosed evaluated;
  evaluated.round = {5};
  evaluated.sites = {{"a"}};
  evaluated.metrics = {{"auc", 0.75}, {"n", 40}};
  evaluated.opens_next = true;
  return {
      opened,
      SiteJoined{{"site-1"}},
      RoundOpened{{7}},
      ContributionAccepted{{"a"}, SomeHeader(), Bytes(77, 5), ""},
      ContributionAccepted{{"b"}, SomeHeader(), {}, "spool/x"},
      reduced,
      gathered,
      evaluated,
      RunClosed{true, "operator's wish"},
      RunPaused{true},
      SiteReported{{"a"}, {2}, {{"n", 40}, {"auc", 0.5}}},
      RemediesChosen{
          {4},
          {{{"a"}, {SiteRemedy::kPriorCorrection}},
           {{"b"}, {SiteRemedy::kPersonalModel, RemedyObstacle::kSolver}}}}};
}

TEST(JournalCodecTest, EveryRecordSurvivesARoundTrip) {
  const absl::Time time = absl::FromUnixMillis(1'700'000'000'123);
  for (const Record& record : EveryRecord()) {
    const Bytes bytes = EncodeEntry({time, record});
    const auto entry = DecodeEntry(bytes);
    ASSERT_THAT(entry, testing::IsOk()) << record.index();
    EXPECT_EQ(entry->time, time);
    EXPECT_EQ(entry->record.index(), record.index());
    // Equal bytes: equal content, and the encoding is deterministic.
    EXPECT_EQ(EncodeEntry(*entry), bytes) << record.index();
  }
}

TEST(JournalCodecTest, KeepsTheLayoutOfTheRun) {
  RunOpened opened = std::get<RunOpened>(EveryRecord()[0]);
  const auto entry = DecodeEntry(EncodeEntry({absl::UnixEpoch(), opened}));
  ASSERT_THAT(entry, testing::IsOk());
  const auto& back = std::get<RunOpened>(entry->record);
  EXPECT_EQ(back.layout.tensors(), opened.layout.tensors());
  EXPECT_EQ(back.layout.digest(), opened.layout.digest());
}

TEST(JournalCodecTest, KeepsWhatWasGathered) {
  const Record record = EveryRecord()[6];
  const auto entry = DecodeEntry(EncodeEntry({absl::UnixEpoch(), record}));
  ASSERT_THAT(entry, testing::IsOk());
  const auto& back = std::get<RoundReduced>(entry->record);
  ASSERT_TRUE(back.statistics.has_value());
  EXPECT_EQ(back.statistics->digest, DigestOf(6));
  EXPECT_EQ(back.statistics->size_bytes, 33u);
  EXPECT_EQ(back.statistics->content_inline, Bytes(33, 2));
}

TEST(JournalCodecTest, KeepsTheRulesState) {
  RoundReduced reduced;
  reduced.rule = RuleAdvanced{DigestOf(5), 3, {1, 2, 3}};
  reduced.influence = {{{"a"}, 0.5}};
  const auto entry = DecodeEntry(EncodeEntry({absl::UnixEpoch(), reduced}));
  ASSERT_THAT(entry, testing::IsOk());
  const auto& back = std::get<RoundReduced>(entry->record);
  ASSERT_TRUE(back.rule.has_value());
  EXPECT_EQ(back.rule->state, DigestOf(5));
  EXPECT_EQ(back.rule->state_size_bytes, 3u);
  EXPECT_EQ(back.rule->state_inline, (Bytes{1, 2, 3}));
  EXPECT_EQ(back.influence, reduced.influence);
}

TEST(JournalCodecTest, RefusesWhatIsNoRecord) {
  EXPECT_THAT(DecodeEntry(Bytes(40, 0xff)),
              HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(DecodeEntry(Bytes()),
              IsError(absl::StatusCode::kDataLoss, "no record"));
}

TEST(JournalCodecTest, RefusesARecordWithABadField) {
  EXPECT_THAT(
      DecodeEntry(EncodeEntry({absl::UnixEpoch(), SiteJoined{{"Not A Site"}}})),
      HasCode(absl::StatusCode::kDataLoss));
}

TEST(JournalCodecTest, CutRecordsNeverCrash) {
  for (const Record& record : EveryRecord()) {
    const Bytes bytes = EncodeEntry({absl::UnixEpoch(), record});
    for (size_t size = 0; size < bytes.size(); ++size) {
      (void)DecodeEntry(ByteSpan(bytes).first(size));
    }
  }
}

}  // namespace
}  // namespace fedgraft
