#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <thread>

namespace fedgraft::testing {

// A relay on loopback between sites and the aggregator: gives sites one
// address although a restarted aggregator listens elsewhere, and can hold back
// what sites send, so that a test can stop the world in the middle of an
// upload. Relays on a thread of its own until destroyed. The setters may be
// called from any thread.
class TcpProxy {
 public:
  TcpProxy();
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  int port() const { return port_; }
  // Where new connections go. 0: they are closed at once.
  void SetTarget(int port) { target_ = port; }
  // From now on at most this many bytes go from sites to the aggregator.
  void HoldAfter(int64_t bytes) { allowance_ = bytes; }
  void Release() { allowance_ = INT64_MAX; }
  // Bytes from sites to the aggregator since the start.
  int64_t bytes_up() const { return bytes_up_; }

 private:
  struct Connection;
  void Loop();
  void Accept();

  int listener_;
  int port_ = 0;
  std::atomic<int> target_{0};
  std::atomic<int64_t> allowance_{INT64_MAX};
  std::atomic<int64_t> bytes_up_{0};
  std::atomic<bool> stop_{false};
  std::list<Connection> connections_;
  std::thread thread_;
};

}  // namespace fedgraft::testing
