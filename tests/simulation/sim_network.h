#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aggregator/round/coordinator.h"
#include "tests/simulation/sim_server.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

struct NetworkFaults {
  double drop = 0;       // of each message: the caller sees UNAVAILABLE
  double duplicate = 0;  // of each request: it arrives twice
  double corrupt = 0;    // of each piece of bulk bytes: one bit flips
  absl::Duration delay_min = absl::Microseconds(50);
  absl::Duration delay_max = absl::Microseconds(300);
  absl::Duration timeout_max = absl::Seconds(3);  // until a loss is noticed
};

// What lies between sites and aggregator: protocol bytes with seeded faults.
// Calls answer exactly once, on the loop, also if either end dies.
class SimNetwork {
 public:
  using Answer = std::function<void(WireAnswer)>;

  SimNetwork(EventLoop* loop, uint64_t seed) : loop_(*loop), random_(seed) {}

  void SetFaults(const NetworkFaults& faults) { faults_ = faults; }
  // The aggregator's process; null while it is down.
  void SetServer(std::shared_ptr<SimServer> server) {
    server_ = std::move(server);
  }
  // Nothing passes between this site and the aggregator.
  void Partition(const SiteId& site) { partitioned_.insert(site); }
  void Heal(const SiteId& site) { partitioned_.erase(site); }
  void HealAll() { partitioned_.clear(); }

  void Unary(const SitePeer& peer, Method method, std::string request,
             Answer answer);
  // `sink` gets serialised BlobChunks, in order; false ends the stream.
  void Fetch(const SitePeer& peer, std::string request,
             std::function<bool(std::string)> sink, Answer answer);
  // `next` makes the stream's messages: nullopt at its end.
  void Submit(const SitePeer& peer,
              std::function<std::optional<std::string>()> next, Answer answer);

  uint64_t messages() const { return messages_; }

 private:
  struct FetchStream;
  struct SubmitStream;

  // True if a message of this site is lost now.
  bool Lost(const SitePeer& peer);
  void Later(std::function<void()> event) {
    loop_.Schedule(random_.Between(faults_.delay_min, faults_.delay_max),
                   std::move(event));
  }
  void AnswerLost(Answer answer);
  // Flips a bit of the bulk bytes in a serialised chunk, now and then.
  void MayCorrupt(const SitePeer& peer, std::string& data);
  void PumpFetch(std::shared_ptr<FetchStream> stream);
  void PumpSubmit(std::shared_ptr<SubmitStream> stream);
  void Trace(const SitePeer& peer, Method method, size_t size);

  EventLoop& loop_;
  SimRandom random_;
  NetworkFaults faults_;
  std::shared_ptr<SimServer> server_;
  std::set<SiteId> partitioned_;
  // Streams of a site are not hit twice in a row: a site may give up on that.
  std::set<SiteId> spared_;
  uint64_t messages_ = 0;
};

}  // namespace fedgraft::testing
