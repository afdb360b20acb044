#include "tests/integration/tcp_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "common/base/check.h"

namespace fedgraft::testing {
namespace {

constexpr int kTickMs = 5;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

void SetUp(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(fd, F_SETFL, O_NONBLOCK);
}

// One direction. Bytes wait here when the receiver is slow.
struct Pipe {
  int from = -1, to = -1;
  std::array<uint8_t, 64 * 1024> buffer;
  size_t begin = 0, end = 0;

  bool empty() const { return begin == end; }
  // False: the sender is gone.
  bool Fill(size_t most) {
    const ssize_t n =
        recv(from, buffer.data(), std::min(most, buffer.size()), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    begin = 0;
    end = static_cast<size_t>(n);
    return n > 0;
  }
  // False: the receiver is gone.
  bool Drain() {
    const ssize_t n =
        send(to, buffer.data() + begin, end - begin, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    begin += static_cast<size_t>(n);
    return true;
  }
};

}  // namespace

struct TcpProxy::Connection {
  int site = -1, aggregator = -1;
  Pipe up, down;

  Connection(int site_fd, int aggregator_fd)
      : site(site_fd), aggregator(aggregator_fd) {
    up.from = down.to = site;
    up.to = down.from = aggregator;
  }
  ~Connection() {
    close(site);
    close(aggregator);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
};

TcpProxy::TcpProxy()
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  FG_CHECK(listener_ >= 0 && bind(listener_, plain, size) == 0 &&
           listen(listener_, 64) == 0 &&
           getsockname(listener_, plain, &size) == 0);
  port_ = ntohs(address.sin_port);
  fcntl(listener_, F_SETFL, O_NONBLOCK);
  thread_ = std::thread([this] { Loop(); });
}

TcpProxy::~TcpProxy() {
  stop_ = true;
  thread_.join();
  connections_.clear();
  close(listener_);
}

void TcpProxy::Accept() {
  const int site = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (site < 0) return;
  const int aggregator = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(target_);
  if (target_ == 0 ||
      connect(aggregator, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    close(aggregator);
    close(site);
    return;
  }
  SetUp(site);
  SetUp(aggregator);
  connections_.emplace_back(site, aggregator);
}

void TcpProxy::Loop() {
  while (!stop_) {
    std::vector<pollfd> polled = {{listener_, POLLIN, 0}};
    for (Connection& connection : connections_) {
      const bool held = allowance_ <= 0;
      for (Pipe* pipe : {&connection.up, &connection.down}) {
        const bool may_read =
            pipe->empty() && !(pipe == &connection.up && held);
        polled.push_back({may_read ? pipe->from : -1, POLLIN, 0});
        polled.push_back({pipe->empty() ? -1 : pipe->to, POLLOUT, 0});
      }
    }
    if (poll(polled.data(), polled.size(), kTickMs) <= 0) continue;
    size_t next = 1;
    for (auto it = connections_.begin(); it != connections_.end();) {
      bool alive = true;
      for (Pipe* pipe : {&it->up, &it->down}) {
        const bool up = pipe == &it->up;
        const bool readable = polled[next++].revents != 0;
        const bool writable = polled[next++].revents != 0;
        const int64_t allowance = allowance_;
        if (readable && (!up || allowance > 0)) {
          alive &= pipe->Fill(up ? static_cast<size_t>(allowance) : SIZE_MAX);
          if (up) {
            const auto got = static_cast<int64_t>(pipe->end - pipe->begin);
            bytes_up_ += got;
            if (allowance_ != INT64_MAX) allowance_ -= got;
          }
        }
        if (alive && !pipe->empty() && (readable || writable)) {
          alive &= pipe->Drain();
        }
      }
      it = alive ? std::next(it) : connections_.erase(it);
    }
    if (polled[0].revents != 0) Accept();
  }
}

}  // namespace fedgraft::testing
