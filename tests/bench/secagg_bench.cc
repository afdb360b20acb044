// Secure aggregation, step by step: CPU time of one thread, at one site and at
// the aggregator, over sites, words and dropouts. Those who drop out do so
// after sharing their keys, which costs most: each of their masks with every
// survivor has to be made again. The yardstick is AES-256-CTR over as many
// bytes as there are masks. `--full`: more sites, more words (half an hour).

#include <algorithm>
#include <cstdio>
#include <cstring>
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

using MaybeBytes = absl::StatusOr<Bytes>;

class Session {
 public:
  Session(int n, size_t words, int dropped)
      : world_(n, {}, 1), words_(words), sites_(world_.sites()) {
    survivors_.assign(sites_.begin(), sites_.end() - dropped);
    Advertise();
    Share();
    Mask();
    Agree();
    Unmask();
  }

  const StepTimes& site() const { return site_; }
  const StepTimes& aggregator() const { return aggregator_; }
  size_t removed_masks() const {
    return survivors_.size() * (1 + sites_.size() - survivors_.size());
  }

 private:
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
        sites_,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Share(member.party, world_.session, request);
        },
        &site_.share);
    aggregator_.share =
        TakeAll(sites_, answers, [&](const SiteId& site, const Bytes& answer) {
          FG_CHECK(
              world_.shared.Check(world_.advertised.keys(), site, answer).ok());
          return world_.shared.Put(site, answer);
        });
  }
  void Mask() {
    const auto answers = Ask(
        survivors_, [&](const SiteId& site) { return world_.Mask(site); },
        &site_.keys);
    Bytes packed(PackedBytes(kWordBits, words_));
    const double begin = bench::ThreadSeconds();
    answers[0]->MaskWords(kWordBits, 0, words_, absl::MakeSpan(packed));
    site_.mask = Ms(bench::ThreadSeconds() - begin);
    world_.survivors = survivors_;
  }
  void Agree() {
    const auto answers = Ask(
        survivors_,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Agree(member.party, world_.session,
                                      EncodeSites(survivors_));
        },
        &site_.agree);
    const SecureTranscript transcript = world_.transcript();
    aggregator_.agree = TakeAll(
        survivors_, answers, [&](const SiteId& site, const Bytes& answer) {
          const absl::Status fits = world_.agreed.Check(
              transcript, survivors_, site, world_.PublicKey(site), answer);
          world_.agreed.Put(site, answer);
          return fits;
        });
  }
  void Unmask() {
    // The first of them are enough.
    const UnmaskFacts facts = world_.facts();
    const std::vector<SiteId> first(survivors_.begin(),
                                    survivors_.begin() + facts.threshold);
    const auto answers = Ask(
        first,
        [&](const SiteId& site) -> MaybeBytes {
          SecureMember& member = world_.at(site);
          return member.secure->Release(
              member.party, world_.session,
              EncodeSurvivorProof(world_.ProofFor(site)));
        },
        &site_.unmask);
    double begin = bench::ThreadSeconds();
    aggregator_.unmask =
        TakeAll(first, answers, [&](const SiteId& site, const Bytes& answer) {
          FG_CHECK(world_.unmasked.Check(facts, site, answer).ok());
          return world_.unmasked.Put(site, answer);
        });
    begin = bench::ThreadSeconds();
    const auto removal = world_.unmasked.Reconstruct(facts);
    FG_CHECK(removal.ok());
    aggregator_.keys = Ms(bench::ThreadSeconds() - begin);
    std::vector<uint64_t> sums(words_);
    begin = bench::ThreadSeconds();
    removal->FromWords(kWordBits, 0, absl::MakeSpan(sums));
    aggregator_.mask = Ms(bench::ThreadSeconds() - begin);
  }

  SecureWorld world_;
  size_t words_;
  std::vector<SiteId> sites_, survivors_;
  StepTimes site_, aggregator_;
};

std::string Short(size_t words) {
  return words >= 1000000 ? std::to_string(words / 1000000) + "M"
                          : std::to_string(words / 1000) + "k";
}

void Run(int n, size_t words, int dropped) {
  const Session session(n, words, dropped);
  const std::string what = bench::Format("secagg n %d, m %s, %d out", n,
                                         Short(words).c_str(), dropped);
  const StepTimes& site = session.site();
  const double masks = AesMs(static_cast<size_t>(n), words);
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
  if (n == 10 && words == 1000000 && dropped == 1) {
    const double added = site.Sum() + centre.Sum();
    bench::PrintRow(what + ": added to a round",
                    bench::Format("%.0f ms", added), "200 ms", added / 200,
                    "<= 1");
    bench::PrintRow(what + ": speed of masks at a site",
                    bench::Format("%.1f ms", site.mask),
                    bench::Format("AES-CTR %.1f ms", masks), masks / site.mask,
                    ">= 0.5");
  }
}

}  // namespace
}  // namespace fedgraft::testing

int main(int argc, char** argv) {
  using fedgraft::testing::Run;
  const bool full = argc > 1 && std::strcmp(argv[1], "--full") == 0;
  for (const int n : {3, 10, 50, 100, 256, 500}) {
    for (const size_t words : {10000, 100000, 1000000, 10000000}) {
      for (const int percent : {0, 10, 30}) {
        const int dropped = (n * percent + 50) / 100;
        // With three sites none may be missing.
        if ((percent > 0 && dropped == 0) || (n == 3 && dropped > 0)) continue;
        // Quick: one in many, so that it takes two minutes.
        const bool required = words == 100000 && percent == 10;
        const bool small = n <= 10 && (n == 10 || words >= 1000000);
        const bool middle = n <= 100 && words == 1000000 && percent != 30;
        if (!full && !required && !small && !middle) continue;
        // More than a machine of today does in minutes.
        if (static_cast<size_t>(n) * words > 500u * 1000000u) continue;
        Run(n, words, dropped);
      }
    }
  }
}
