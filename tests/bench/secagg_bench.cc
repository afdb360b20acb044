// Secure aggregation, step by step: CPU time of one thread, at one site and at
// the aggregator, over sites, words and dropouts, which are spread over the
// steps; for one size also all of them after the same step. The yardstick is
// AES-256-CTR over as many bytes as there are masks. `--full`: also what takes
// more than some seconds.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/crypto/mask_stream.h"
#include "tests/bench/table.h"
#include "tests/secagg/secagg_world.h"

namespace fedgraft::testing {
namespace {

constexpr int kWordBits = 32;
// Enough to have keystream speed without the cost of a start.
constexpr size_t kYardstickBytes = size_t{32} << 20;

double Ms(double seconds) { return 1000 * seconds; }

// Milliseconds of AES-256-CTR for as many bytes as `masks` masks have.
double AesMs(size_t masks, size_t words) {
  static const double per_byte = [] {
    const auto stream = MaskStream::Derive(Bytes(32, 1), AsBytes("bench"));
    Bytes piece(7680);  // as masks take it
    return bench::BestSeconds(3,
                              [&] {
                                MaskStream::Reader reader(*stream, 0);
                                for (size_t at = 0; at < kYardstickBytes;
                                     at += piece.size()) {
                                  reader.Read(absl::MakeSpan(piece));
                                }
                              }) /
           kYardstickBytes;
  }();
  return Ms(per_byte * static_cast<double>(masks) *
            static_cast<double>(PackedBytes(kWordBits, words)));
}

// What all sites answer in one step; `ms`: the first one's time. The others are
// on all cores, because somebody waits for this bench.
template <typename Answer>
auto Ask(const std::vector<SiteId>& sites, Answer answer, double* ms) {
  std::vector<decltype(answer(sites[0]))> answers(sites.size());
  const double begin = bench::ThreadSeconds();
  answers[0] = answer(sites[0]);
  *ms = Ms(bench::ThreadSeconds() - begin);
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (size_t core = 0; core < cores; ++core) {
    threads.emplace_back([&, core] {
      for (size_t i = 1 + core; i < sites.size(); i += cores) {
        answers[i] = answer(sites[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return answers;
}

// Takes every answer; the milliseconds of all of them.
template <typename Answers, typename Take>
double TakeAll(const std::vector<SiteId>& sites, const Answers& answers,
               Take take) {
  const double begin = bench::ThreadSeconds();
  for (size_t i = 0; i < answers.size(); ++i) {
    FG_CHECK(answers[i].ok());
    FG_CHECK(take(sites[i], *answers[i]).ok());
  }
  return Ms(bench::ThreadSeconds() - begin);
}

// Of one session, in milliseconds; of a site and of the aggregator.
struct StepTimes {
  double advertise = 0, share = 0, keys = 0, mask = 0, agree = 0, unmask = 0;
  double Sum() const {
    return advertise + share + keys + mask + agree + unmask;
  }
};

// How many sites say nothing any more after a step.
struct Dropouts {
  int after_advertise = 0, after_share = 0, after_mask = 0, after_agree = 0;

  // A remainder first where it costs most: each of its masks with every
  // survivor has to be made again.
  static Dropouts Spread(int count) {
    return {count / 4, (count + 3) / 4, (count + 2) / 4, (count + 1) / 4};
  }
  int Sum() const {
    return after_advertise + after_share + after_mask + after_agree;
  }
};

using MaybeBytes = absl::StatusOr<Bytes>;

// All that does not depend on the number of words happens once.
class Session {
 public:
  Session(int n, const Dropouts& out)
      : world_(n, {}, 1),
        sites_(world_.sites()),
        sharers_(Without(sites_, out.after_advertise)),
        survivors_(Without(sharers_, out.after_share)),
        agreeing_(Without(survivors_, out.after_mask)),
        releasing_(Without(agreeing_, out.after_agree)) {
    Advertise();
    Share();
    Mask();
    Agree();
    Unmask();
  }

  // The time of masks for so many words.
  void Measure(size_t words) {
    Bytes packed(PackedBytes(kWordBits, words));
    double begin = bench::ThreadSeconds();
    masks_->MaskWords(kWordBits, 0, words, absl::MakeSpan(packed));
    site_.mask = Ms(bench::ThreadSeconds() - begin);
    std::vector<uint64_t> sums(words);
    begin = bench::ThreadSeconds();
    removal_->FromWords(kWordBits, 0, absl::MakeSpan(sums));
    aggregator_.mask = Ms(bench::ThreadSeconds() - begin);
  }

  const StepTimes& site() const { return site_; }
  const StepTimes& aggregator() const { return aggregator_; }
  size_t site_masks() const { return sharers_.size(); }
  size_t removed_masks() const {
    return survivors_.size() * (1 + sharers_.size() - survivors_.size());
  }

 private:
  static std::vector<SiteId> Without(std::vector<SiteId> sites, int last) {
    sites.resize(sites.size() - static_cast<size_t>(last));
    return sites;
  }
  void Advertise() {
    const auto answers = Ask(
        sites_,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Advertise(member.party, world_.session);
        },
        &site_.advertise);
    aggregator_.advertise =
        TakeAll(sites_, answers, [&](const SiteId& site, const Bytes& answer) {
          FG_CHECK(world_.advertised.Check(site, world_.PublicKey(site), answer)
                       .ok());
          return world_.advertised.Put(site, answer);
        });
  }
  void Share() {
    const Bytes request = EncodeKeyList(world_.advertised.keys());
    const auto answers = Ask(
        sharers_,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Share(member.party, world_.session, request);
        },
        &site_.share);
    aggregator_.share = TakeAll(
        sharers_, answers, [&](const SiteId& site, const Bytes& answer) {
          FG_CHECK(
              world_.shared.Check(world_.advertised.keys(), site, answer).ok());
          return world_.shared.Put(site, answer);
        });
  }
  void Mask() {
    auto answers = Ask(
        survivors_, [&](const SiteId& site) { return world_.Mask(site); },
        &site_.keys);
    FG_CHECK(answers[0].ok());
    masks_ = *std::move(answers[0]);
    world_.survivors = survivors_;
  }
  void Agree() {
    const auto answers = Ask(
        agreeing_,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Agree(member.party, world_.session,
                                      EncodeSites(survivors_));
        },
        &site_.agree);
    const SecureTranscript transcript = world_.transcript();
    aggregator_.agree = TakeAll(
        agreeing_, answers, [&](const SiteId& site, const Bytes& answer) {
          const absl::Status fits = world_.agreed.Check(
              transcript, survivors_, site, world_.PublicKey(site), answer);
          world_.agreed.Put(site, answer);
          return fits;
        });
  }
  void Unmask() {
    // The first of them are enough.
    const UnmaskFacts facts = world_.facts();
    const auto threshold = static_cast<size_t>(facts.threshold);
    FG_CHECK(releasing_.size() >= threshold);
    const std::vector<SiteId> first(releasing_.begin(),
                                    releasing_.begin() + facts.threshold);
    const auto answers = Ask(
        first,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Release(
              member.party, world_.session,
              EncodeSurvivorProof(world_.ProofFor(site)));
        },
        &site_.unmask);
    aggregator_.unmask =
        TakeAll(first, answers, [&](const SiteId& site, const Bytes& answer) {
          FG_CHECK(world_.unmasked.Check(facts, site, answer).ok());
          return world_.unmasked.Put(site, answer);
        });
    const double begin = bench::ThreadSeconds();
    auto removal = world_.unmasked.Reconstruct(facts);
    FG_CHECK(removal.ok());
    removal_ = *std::move(removal);
    aggregator_.keys = Ms(bench::ThreadSeconds() - begin);
  }

  SecureWorld world_;
  // Who is there in each step; each a beginning of the one before.
  std::vector<SiteId> sites_, sharers_, survivors_, agreeing_, releasing_;
  std::optional<MaskedInput> masks_;
  std::optional<MaskRemoval> removal_;
  StepTimes site_, aggregator_;
};

std::string Short(size_t words) {
  return words >= 1000000 ? std::to_string(words / 1000000) + "M"
                          : std::to_string(words / 1000) + "k";
}

void PrintSession(const Session& session, const std::string& what,
                  size_t words) {
  const StepTimes& site = session.site();
  const double masks = AesMs(session.site_masks(), words);
  bench::PrintRow(
      what + ": a site",
      bench::Format("advertise %.1f, share %.1f, keys %.1f, mask %.1f, "
                    "agree %.1f, unmask %.1f ms",
                    site.advertise, site.share, site.keys, site.mask,
                    site.agree, site.unmask),
      bench::Format("AES-CTR %.1f ms", masks), site.Sum() / masks, "");
  const StepTimes& centre = session.aggregator();
  const double removed = AesMs(session.removed_masks(), words);
  bench::PrintRow(
      what + ": aggregator",
      bench::Format("advertise %.1f, share %.1f, agree %.1f, unmask %.1f, "
                    "secrets %.1f, masks %.1f ms",
                    centre.advertise, centre.share, centre.agree, centre.unmask,
                    centre.keys, centre.mask),
      bench::Format("AES-CTR %.1f ms", removed), centre.Sum() / removed, "");
}

// What is required of ten sites, a million words and a dropout.
void PrintRequired(const Session& session, const std::string& what,
                   size_t words) {
  const StepTimes& site = session.site();
  const double added = site.Sum() + session.aggregator().Sum();
  bench::PrintRow(what + ": work added to a round",
                  bench::Format("%.0f ms", added), "200 ms", added / 200,
                  "<= 1");
  const double masks = AesMs(session.site_masks(), words);
  bench::PrintRow(
      what + ": speed of masks at a site", bench::Format("%.1f ms", site.mask),
      bench::Format("AES-CTR %.1f ms", masks), masks / site.mask, ">= 0.5");
}

// `words_max`: of all masks of a sum, for larger ones are left out.
void Run(int n, const Dropouts& out, const std::string& when,
         const std::vector<size_t>& sizes, double words_max) {
  Session session(n, out);
  const auto removed = static_cast<double>(session.removed_masks());
  for (const size_t words : sizes) {
    if (removed * static_cast<double>(words) > words_max) continue;
    session.Measure(words);
    const std::string what =
        bench::Format("secagg n %d, m %s, %d out%s", n, Short(words).c_str(),
                      out.Sum(), out.Sum() > 0 ? when.c_str() : "");
    PrintSession(session, what, words);
    if (n == 10 && words == 1000000 && out.after_share == 1 && out.Sum() == 1) {
      PrintRequired(session, what, words);
    }
  }
}

}  // namespace
}  // namespace fedgraft::testing

int main(int argc, char** argv) {
  using fedgraft::testing::Dropouts;
  using fedgraft::testing::Run;
  const bool full = argc > 1 && std::strcmp(argv[1], "--full") == 0;
  // 2 s or a minute of keystream.
  const double words_max = full ? 1.5e11 : 5e9;
  for (const int n : {3, 10, 50, 100, 256}) {
    for (const int percent : {0, 10, 30}) {
      const int out = (n * percent + 50) / 100;
      // With three sites none may be missing.
      if ((percent > 0 && out == 0) || (n == 3 && out > 0)) continue;
      Run(n, Dropouts::Spread(out), "", {10000, 100000, 1000000, 10000000},
          words_max);
    }
  }
  Run(50, {5, 0, 0, 0}, " after advertise", {1000000}, words_max);
  Run(50, {0, 5, 0, 0}, " after share", {1000000}, words_max);
  Run(50, {0, 0, 5, 0}, " after mask", {1000000}, words_max);
  Run(50, {0, 0, 0, 5}, " after agree", {1000000}, words_max);
  Run(500, Dropouts::Spread(50), "", {100000}, words_max);
}
