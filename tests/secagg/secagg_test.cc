#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/secagg/secagg_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft::testing {
namespace {

constexpr auto kDenied = absl::StatusCode::kPermissionDenied;

struct Sum {
  std::vector<uint64_t> words;
  uint64_t weight = 0;
  bool operator==(const Sum&) const = default;
};

void Add(Sum& sum, int word_bits, const std::vector<uint64_t>& words,
         uint64_t weight) {
  sum.words.resize(words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    sum.words[i] = (sum.words[i] + words[i]) & RingSpec{word_bits, 0}.Mask();
  }
  sum.weight += weight;
}

// A whole session in which sites drop out before each step with this
// probability. True if it came to a sum; the sum is then checked.
bool RunSession(SecureWorld& world, SimRandom& random, int word_bits,
                size_t count, double dropout) {
  std::vector<SiteId> alive = world.sites();
  const auto drop = [&] {
    std::erase_if(alive, [&](const SiteId&) { return random.Chance(dropout); });
  };
  drop();
  for (const SiteId& site : alive) EXPECT_THAT(world.Advertise(site), IsOk());
  drop();
  std::vector<SiteId> shared;
  for (const SiteId& site : alive) {
    if (world.Share(site).ok()) shared.push_back(site);
  }
  Sum plain, masked;
  drop();
  for (const SiteId& site : alive) {
    const auto masks = world.Mask(site);
    if (!masks.ok()) continue;
    const PlainInput input = DrawInput(random, word_bits, count);
    const Bytes packed = MaskInput(*masks, word_bits, input);
    std::vector<uint64_t> words(count);
    UnpackWords(word_bits, packed, absl::MakeSpan(words));
    Add(plain, word_bits, input.words, input.weight);
    Add(masked, word_bits, words, masks->MaskWeight(input.weight));
    world.survivors.push_back(site);
  }
  drop();
  for (const SiteId& site : alive) (void)world.Agree(site);
  drop();
  for (const SiteId& site : alive) (void)world.Release(site);
  const auto removal = world.unmasked.Reconstruct(world.facts());
  const int threshold = world.facts().threshold;
  if (!removal.ok()) return false;
  EXPECT_GE(static_cast<int>(world.unmasked.size()), threshold);
  removal->FromWords(word_bits, 0, absl::MakeSpan(masked.words));
  Sum unmasked;
  Add(unmasked, word_bits, masked.words, removal->FromWeight(masked.weight));
  EXPECT_EQ(unmasked, plain);
  return true;
}

TEST(SecureAggregationTest, TheUnmaskedSumIsThePlainSumForAnyDropouts) {
  SimRandom random(11);
  int summed = 0, abandoned = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const int n = 3 + static_cast<int>(random.Below(7));
    SecureRules rules;
    if (random.Chance(0.5)) {
      rules.threshold =
          n / 2 + 1 +
          static_cast<int>(random.Below(static_cast<uint64_t>(n - n / 2)));
    }
    SecureWorld world(n, rules, seed);
    constexpr int kWidths[] = {8, 12, 16, 20, 24, 32, 64};
    const int word_bits = kWidths[random.Below(7)];
    const double dropout = random.Chance(0.3) ? 0 : 0.06;
    if (RunSession(world, random, word_bits, 1 + random.Below(200), dropout)) {
      ++summed;
    } else {
      EXPECT_GT(dropout, 0);
      ++abandoned;
    }
  }
  EXPECT_GT(summed, 12);
  EXPECT_GT(abandoned, 4);
}

TEST(SecureAggregationTest, MasksAreTheSameShardByShard) {
  SecureWorld world(4, {}, 1);
  world.ShareAll(world.sites());
  world.survivors = world.sites();
  SimRandom random(5);
  for (const int word_bits : {8, 12, 20, 32, 64}) {
    const PlainInput input = DrawInput(random, word_bits, 250001);
    const Bytes packed =
        MaskInput(*world.Mask(world.sites()[1]), word_bits, input);
    // Site 1's masks again, one piece at a time and unpacked.
    std::vector<uint64_t> words(input.words.size());
    UnpackWords(word_bits, packed, absl::MakeSpan(words));
    const auto whole = world.Mask(world.sites()[1]);
    Bytes zeros(PackedBytes(word_bits, input.words.size()));
    whole->MaskWords(word_bits, 0, input.words.size(), absl::MakeSpan(zeros));
    // And in pieces that begin at any even word.
    Bytes pieces(zeros.size());
    for (uint64_t first = 0, count = 30002; first < input.words.size();
         first += count) {
      const uint64_t words_left = input.words.size() - first;
      const uint64_t piece = std::min(count, words_left);
      whole->MaskWords(
          word_bits, first, piece,
          absl::MakeSpan(pieces).subspan(PackedBytes(word_bits, first),
                                         PackedBytes(word_bits, piece)));
    }
    ASSERT_EQ(pieces, zeros) << word_bits;
    std::vector<uint64_t> masks(input.words.size());
    UnpackWords(word_bits, zeros, absl::MakeSpan(masks));
    const uint64_t ring = RingSpec{word_bits, 0}.Mask();
    for (size_t i = 0; i < words.size(); ++i) {
      ASSERT_EQ((words[i] - masks[i]) & ring, input.words[i]) << word_bits;
    }
  }
}

// Each test starts here: four sites that have shared, unless it says otherwise.
class SecureStepsTest : public ::testing::Test {
 protected:
  SecureStepsTest() : sites_(world_.sites()) {}

  void MaskAll() {
    for (const SiteId& site : sites_) EXPECT_THAT(world_.Mask(site), IsOk());
    world_.survivors = sites_;
  }
  auto ShareWith(const SiteId& site, const KeyList& keys) {
    return world_.at(site).secure->Share(world_.at(site).party, world_.session,
                                         EncodeKeyList(keys));
  }
  auto AgreeOn(const SiteId& site, const std::vector<SiteId>& survivors) {
    return world_.at(site).secure->Agree(world_.at(site).party, world_.session,
                                         EncodeSites(survivors));
  }
  auto ReleaseTo(const SiteId& site, const SurvivorProof& proof) {
    return world_.at(site).secure->Release(
        world_.at(site).party, world_.session, EncodeSurvivorProof(proof));
  }
  // Signed by those of `by`, whatever they would say to that.
  SurvivorProof Forge(const std::vector<SiteId>& survivors,
                      const std::vector<SiteId>& by, const SiteId& for_site) {
    SurvivorProof proof{survivors, {}, world_.shared.SharesFor(for_site)};
    for (const SiteId& site : by) {
      proof.signatures[site] = world_.at(site).party.key.Sign(
          SurvivorStatement(world_.transcript(), survivors));
    }
    return proof;
  }
  std::vector<SiteId> Without(size_t i) const {
    std::vector<SiteId> sites = sites_;
    sites.erase(sites.begin() + static_cast<int64_t>(i));
    return sites;
  }

  SecureWorld world_{4, {}, 3};
  const std::vector<SiteId> sites_;
};

TEST_F(SecureStepsTest, AnInventedSiteIsRefused) {
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Advertise(site), IsOk());
  // The aggregator makes a certificate, keys and a good signature for it.
  SecureWorld other(5, {}, 9);
  other.session = world_.session;
  other.Begin();
  const SiteId invented = other.sites()[4];
  ASSERT_THAT(other.Advertise(invented), IsOk());
  KeyList keys = world_.advertised.keys();
  keys.insert(*other.advertised.keys().begin());
  EXPECT_THAT(ShareWith(sites_[0], keys),
              IsError(kDenied, "not in the roster that is pinned here"));
}

TEST_F(SecureStepsTest, SwappedKeysAreRefused) {
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Advertise(site), IsOk());
  const KeyList good = world_.advertised.keys();
  KeyList keys = good;
  keys.at(sites_[1]).mask_key = good.at(sites_[2]).mask_key;
  EXPECT_THAT(ShareWith(sites_[0], keys), IsError(kDenied, "not signed"));
  keys = good;
  std::swap(keys.at(sites_[1]), keys.at(sites_[2]));
  EXPECT_THAT(ShareWith(sites_[0], keys), IsError(kDenied, "not signed"));
  keys = good;
  keys.at(sites_[1]).self_commitment = Digest();
  EXPECT_THAT(ShareWith(sites_[0], keys), IsError(kDenied, "not signed"));
  // Its own keys of an earlier attempt, signed by itself.
  world_.session.attempt = 2;
  world_.Begin();
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Advertise(site), IsOk());
  keys = world_.advertised.keys();
  keys.at(sites_[0]) = good.at(sites_[0]);
  EXPECT_THAT(ShareWith(sites_[0], keys), HasCode(kDenied));
  EXPECT_THAT(ShareWith(sites_[0], world_.advertised.keys()), IsOk());
}

TEST_F(SecureStepsTest, MessagesOfAnOlderRoundAreRefused) {
  world_.ShareAll(sites_);
  const KeyList old_keys = world_.advertised.keys();
  const SealedShares old_shares = world_.shared.SharesFor(sites_[0]);
  const Bytes old_message = EncodeKeys(sites_[1], old_keys.at(sites_[1]));
  MaskAll();
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Agree(site), IsOk());
  const SurvivorProof old_proof = world_.ProofFor(sites_[0]);
  const SecureSession old_session = world_.session;

  world_.session.round = RoundId{2};
  world_.Begin();
  EXPECT_THAT(world_.advertised.Check(sites_[1], world_.PublicKey(sites_[1]),
                                      old_message),
              HasCode(kDenied));
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Advertise(site), IsOk());
  KeyList mixed = world_.advertised.keys();
  mixed.at(sites_[1]) = old_keys.at(sites_[1]);
  EXPECT_THAT(ShareWith(sites_[0], mixed), IsError(kDenied, "not signed"));
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Share(site), IsOk());
  MaskAll();
  EXPECT_THAT(ReleaseTo(sites_[0], old_proof), IsError(kDenied, "not signed"));
  // Old shares do not open, so nothing of them is released.
  SurvivorProof proof = Forge(sites_, sites_, sites_[0]);
  proof.shares = old_shares;
  const auto released = ReleaseTo(sites_[0], proof);
  ASSERT_THAT(released, IsOk());
  EXPECT_EQ(DecodeReleasedShares(*released)->size(), 1u);  // its own
  // The old session is gone at the site.
  world_.session = old_session;
  EXPECT_THAT(ReleaseTo(sites_[0], old_proof),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SecureStepsTest, TwoStoriesOfTheSurvivorsAreRefused) {
  world_.ShareAll(sites_);
  MaskAll();
  EXPECT_THAT(AgreeOn(sites_[0], sites_), IsOk());
  EXPECT_THAT(AgreeOn(sites_[0], Without(3)),
              IsError(kDenied, "another set of survivors"));
  // Neither with everybody's signatures, nor after a crash: the seed of site 3
  // and its mask key would both be known.
  world_.at(sites_[0]).Restart();
  EXPECT_THAT(ReleaseTo(sites_[0], Forge(Without(3), Without(3), sites_[0])),
              IsError(kDenied, "another set of survivors"));
  EXPECT_THAT(ReleaseTo(sites_[0], Forge(sites_, sites_, sites_[0])), IsOk());
}

TEST_F(SecureStepsTest, OneKindOfShareIsReleasedForEachSite) {
  world_.ShareAll(sites_);
  MaskAll();
  world_.survivors = Without(1);
  for (const SiteId& site : world_.survivors) {
    ASSERT_THAT(world_.Agree(site), IsOk());
  }
  const auto released = ReleaseTo(sites_[0], world_.ProofFor(sites_[0]));
  ASSERT_THAT(released, IsOk());
  const ReleasedShares shares = *DecodeReleasedShares(*released);
  ASSERT_EQ(shares.size(), 4u);
  for (const SiteId& site : sites_) {
    EXPECT_EQ(shares.at(site).kind,
              site == sites_[1] ? ShareKind::kMaskKey : ShareKind::kSelf);
  }
  // Then the other story, with signatures of all.
  EXPECT_THAT(ReleaseTo(sites_[0], Forge(sites_, sites_, sites_[0])),
              IsError(kDenied, "another set of survivors"));
  // And again what was asked before: the same answer.
  world_.at(sites_[0]).Restart();
  EXPECT_EQ(*ReleaseTo(sites_[0], world_.ProofFor(sites_[0])), *released);
  // An aggregator does not take the other kind either.
  ReleasedShares both = shares;
  both.at(sites_[1]).kind = ShareKind::kSelf;
  EXPECT_FALSE(world_.unmasked
                   .Check(world_.facts(), sites_[0], EncodeReleasedShares(both))
                   .ok());
}

TEST_F(SecureStepsTest, SurvivorsNeedSignaturesOfTheThreshold) {
  world_.ShareAll(sites_);
  MaskAll();
  const std::vector<SiteId> two = {sites_[0], sites_[1]};
  EXPECT_THAT(ReleaseTo(sites_[0], Forge(sites_, two, sites_[0])),
              IsError(kDenied, "signatures of at least 3"));
  SurvivorProof forged = Forge(sites_, Without(3), sites_[0]);
  forged.signatures.begin()->second[5] ^= 1;
  EXPECT_THAT(ReleaseTo(sites_[0], forged), IsError(kDenied, "not signed by"));
  // Two survivors are no cohort, whoever signs.
  EXPECT_THAT(ReleaseTo(sites_[0], Forge(two, two, sites_[0])),
              IsError(kDenied, "at least 3 of the 4 sites"));
  EXPECT_THAT(AgreeOn(sites_[0], Without(0)),
              IsError(kDenied, "this site is not among them"));
  EXPECT_THAT(AgreeOn(sites_[0], two), HasCode(kDenied));
  EXPECT_THAT(AgreeOn(sites_[0], sites_), IsOk());
}

TEST_F(SecureStepsTest, ASiteThatWasAwayWhenOthersAgreedMayStillRelease) {
  world_.ShareAll(sites_);
  MaskAll();
  for (const SiteId& site : Without(0)) {
    ASSERT_THAT(world_.Agree(site), IsOk());
  }
  EXPECT_THAT(world_.Release(sites_[0]), IsOk());
  EXPECT_THAT(AgreeOn(sites_[0], Without(1)), HasCode(kDenied));
}

TEST_F(SecureStepsTest, AnotherListOfKeysInTheSessionIsRefused) {
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Advertise(site), IsOk());
  KeyList fewer = world_.advertised.keys();
  fewer.erase(sites_[3]);
  EXPECT_THAT(ShareWith(sites_[0], fewer), IsOk());
  EXPECT_THAT(ShareWith(sites_[0], world_.advertised.keys()),
              IsError(kDenied, "another list of keys"));
  world_.at(sites_[0]).Restart();
  EXPECT_THAT(ShareWith(sites_[0], world_.advertised.keys()),
              IsError(kDenied, "another list of keys"));
}

TEST_F(SecureStepsTest, StepsOutOfOrderAreRefused) {
  const auto kEarly = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(world_.Share(sites_[0]), HasCode(kEarly));
  ASSERT_THAT(world_.Advertise(sites_[0]), IsOk());
  EXPECT_THAT(world_.Mask(sites_[0]), HasCode(kEarly));
  EXPECT_THAT(AgreeOn(sites_[0], sites_), HasCode(kEarly));
  EXPECT_THAT(ReleaseTo(sites_[0], SurvivorProof()), HasCode(kEarly));
}

TEST_F(SecureStepsTest, ACrashBetweenStepsChangesNoAnswer) {
  const auto twice = [this](auto step) {
    for (const SiteId& site : sites_) {
      ASSERT_THAT(step(site), IsOk());
      world_.at(site).files.Crash(7);
      world_.at(site).Restart();
    }
  };
  twice([this](const SiteId& site) { return world_.Advertise(site); });
  const KeyList keys = world_.advertised.keys();
  for (const SiteId& site : sites_) {
    const auto again = world_.at(site).secure->Advertise(world_.at(site).party,
                                                         world_.session);
    EXPECT_EQ(*again, EncodeKeys(site, keys.at(site)));
  }
  twice([this](const SiteId& site) { return world_.Share(site); });
  const auto shares = ShareWith(sites_[0], keys);
  EXPECT_EQ(DecodeSealedShares(*shares)->at(sites_[1]),
            world_.shared.SharesFor(sites_[1]).at(sites_[0]));
  const PlainInput input{{1, 2, 3}, 4};
  const Bytes masked = MaskInput(*world_.Mask(sites_[0]), 32, input);
  world_.at(sites_[0]).Restart();
  EXPECT_EQ(MaskInput(*world_.Mask(sites_[0]), 32, input), masked);
}

TEST_F(SecureStepsTest, WhatCannotBeMadeDurableIsNotSaid) {
  world_.at(sites_[0]).files.FailSyncs(1);
  EXPECT_FALSE(world_.Advertise(sites_[0]).ok());
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Advertise(site), IsOk());
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Share(site), IsOk());
  MaskAll();
  world_.at(sites_[0]).files.FailSyncs(1);
  EXPECT_FALSE(AgreeOn(sites_[0], sites_).ok());
  // Nothing was said, so the other story is as good as the first.
  world_.survivors = Without(3);
  EXPECT_THAT(AgreeOn(sites_[0], world_.survivors), IsOk());
}

TEST_F(SecureStepsTest, ASmallChangeOfTheCohortIsRefused) {
  const auto run = [this](uint32_t attempt, const std::vector<SiteId>& who) {
    world_.session.attempt = attempt;
    world_.Begin();
    world_.ShareAll(sites_);
    MaskAll();
    world_.survivors = who;
    absl::Status status;
    for (const SiteId& site : who) status.Update(world_.Agree(site));
    for (const SiteId& site : who) status.Update(world_.Release(site));
    return status;
  };
  EXPECT_THAT(run(1, sites_), IsOk());
  EXPECT_THAT(run(2, sites_), IsOk());
  EXPECT_THAT(run(3, Without(2)),
              IsError(kDenied, "it would expose " + sites_[2].value));
}

TEST_F(SecureStepsTest, AFalseShareIsFoundWithOneMoreThanTheThreshold) {
  world_.ShareAll(sites_);
  MaskAll();
  for (const SiteId& site : sites_) ASSERT_THAT(world_.Agree(site), IsOk());
  ReleasedShares bad =
      *DecodeReleasedShares(*ReleaseTo(sites_[1], world_.ProofFor(sites_[1])));
  for (auto& [site, released] : bad) released.share[3] ^= 0x10;
  ASSERT_THAT(world_.Release(sites_[0]), IsOk());
  ASSERT_THAT(world_.unmasked.Put(sites_[1], EncodeReleasedShares(bad)),
              IsOk());
  EXPECT_FALSE(world_.unmasked.Reconstruct(world_.facts()).ok());  // too few
  ASSERT_THAT(world_.Release(sites_[2]), IsOk());
  EXPECT_THAT(world_.unmasked.Reconstruct(world_.facts()),
              IsError(absl::StatusCode::kUnavailable, "do not give"));
  ASSERT_THAT(world_.Release(sites_[3]), IsOk());
  EXPECT_THAT(world_.unmasked.Reconstruct(world_.facts()), IsOk());
}

// What the aggregator sees of one update is uniform: chi-square over bytes of
// the masked words of a constant update, 255 degrees of freedom. Seeded; the
// limit is the 1 - 1e-6 quantile.
TEST_F(SecureStepsTest, AMaskedUpdateIsUniform) {
  world_.ShareAll(sites_);
  for (const int word_bits : {12, 32}) {
    PlainInput input;
    input.words.assign(200000, 5);
    const Bytes masked = MaskInput(*world_.Mask(sites_[2]), word_bits, input);
    std::vector<double> seen(256);
    for (uint8_t byte : masked) ++seen[byte];
    const double expected = static_cast<double>(masked.size()) / 256;
    double chi_square = 0;
    for (double count : seen) {
      chi_square += (count - expected) * (count - expected) / expected;
    }
    EXPECT_LT(chi_square, 377) << word_bits;
    EXPECT_GT(chi_square, 160) << word_bits;
  }
}

TEST_F(SecureStepsTest, AWrongMessageIsRefusedByTheAggregator) {
  world_.ShareAll(sites_);
  const auto& keys = world_.advertised.keys();
  const Bytes mine = EncodeKeys(sites_[0], keys.at(sites_[0]));
  EXPECT_FALSE(
      world_.advertised.Check(sites_[1], world_.PublicKey(sites_[1]), mine)
          .ok());
  EXPECT_FALSE(
      world_.advertised.Check(sites_[0], world_.PublicKey(sites_[1]), mine)
          .ok());
  Bytes cut = mine;
  cut.resize(cut.size() - 3);
  EXPECT_FALSE(
      world_.advertised.Check(sites_[0], world_.PublicKey(sites_[0]), cut)
          .ok());
  SealedShares shares = *DecodeSealedShares(*ShareWith(sites_[0], keys));
  shares.erase(sites_[3]);
  EXPECT_FALSE(
      world_.shared.Check(keys, sites_[0], EncodeSealedShares(shares)).ok());
  shares[sites_[3]] = Bytes(81);
  EXPECT_FALSE(
      world_.shared.Check(keys, sites_[0], EncodeSealedShares(shares)).ok());
  shares[sites_[3]] = Bytes(80);
  EXPECT_TRUE(
      world_.shared.Check(keys, sites_[0], EncodeSealedShares(shares)).ok());
  shares[sites_[0]] = Bytes(80);
  EXPECT_FALSE(
      world_.shared.Check(keys, sites_[0], EncodeSealedShares(shares)).ok());
}

TEST(SecureRulesTest, TheThresholdIsAlwaysAMajority) {
  EXPECT_EQ(SecureRules{}.Threshold(3), 3);
  EXPECT_EQ(SecureRules{}.Threshold(4), 3);
  EXPECT_EQ(SecureRules{}.Threshold(10), 7);
  EXPECT_EQ((SecureRules{2, 3}.Threshold(3)), 2);
  EXPECT_EQ((SecureRules{2, 3}.Threshold(9)), 5);
  EXPECT_EQ((SecureRules{2, 3}.SurvivorsMin(3)), 3);
  EXPECT_EQ((SecureRules{6, 3}.SurvivorsMin(10)), 6);
}

TEST(SecureSessionTest, EveryPartNamesTheSession) {
  const SecureSession session{RunId{"r"},       Digest(), RoundId{1},
                              TaskKind::kTrain, Digest(), 1};
  std::vector<SecureSession> others(6, session);
  others[0].run.value = "s";
  others[1].plan_hash.bytes[0] = 1;
  others[2].round.value = 2;
  others[3].kind = TaskKind::kEvaluate;
  others[4].base_model.bytes[0] = 1;
  others[5].attempt = 2;
  for (const SecureSession& other : others) {
    EXPECT_NE(other.Id(), session.Id());
  }
}

}  // namespace
}  // namespace fedgraft::testing
