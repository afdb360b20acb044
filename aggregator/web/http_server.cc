#include "aggregator/web/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "aggregator/web/access_token.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/loopback.h"
#include "common/net/timed_connection.h"
#include "common/runtime/thread_pool.h"
#include "httplib.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kRequestTimeout = absl::Seconds(5);
constexpr absl::Duration kAnswerTimeout = absl::Seconds(30);
constexpr const char* kHtml = "text/html; charset=utf-8";

// cpp-httplib's own sockets have no limit on a request's size or total time,
// and use select(2), which cannot take the high descriptors of a daemon with
// many sites.
class LimitedStream final : public httplib::Stream {
 public:
  explicit LimitedStream(TimedConnection& connection)
      : connection_(connection) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* out, size_t size) override {
    if (next_ == end_) {
      const size_t room = HttpServer::kRequestBytesMax - taken_;
      if (room == 0) return -1;
      const ssize_t count =
          connection_.Read(buffer_, std::min(room, sizeof(buffer_)));
      if (count <= 0) return count;
      taken_ += static_cast<size_t>(count);
      next_ = 0;
      end_ = static_cast<size_t>(count);
    }
    const size_t count = std::min(size, end_ - next_);
    std::memcpy(out, buffer_ + next_, count);
    next_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* data, size_t size) override {
    if (!std::exchange(answering_, true)) {
      connection_.SetDeadline(kAnswerTimeout);
    }
    return connection_.Write(data, size);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  socket_t socket() const override { return 0; }

 private:
  TimedConnection& connection_;
  char buffer_[4096];
  size_t next_ = 0, end_ = 0, taken_ = 0;
  bool answering_ = false;
};

// Threads of ours, and a limit: the accepting thread waits until there is room,
// so that further callers stay in the kernel's short queue.
class LimitedQueue final : public httplib::TaskQueue {
 public:
  // void in cpp-httplib 0.11, bool in later ones.
  using Accepted =
      decltype(std::declval<httplib::TaskQueue&>().enqueue(nullptr));

  LimitedQueue() : pool_(HttpServer::kThreads) {}

  Accepted enqueue(std::function<void()> work) override {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](LimitedQueue* queue)
               ABSL_EXCLUSIVE_LOCKS_REQUIRED(queue->mutex_) {
                 return queue->connections_ < HttpServer::kConnectionsMax;
               },
          this));
      ++connections_;
    }
    pool_.Run([this, work = std::move(work)] {
      work();
      absl::MutexLock lock(&mutex_);
      --connections_;
    });
    return static_cast<Accepted>(true);
  }
  void shutdown() override { pool_.Stop(); }

 private:
  absl::Mutex mutex_;
  int connections_ ABSL_GUARDED_BY(mutex_) = 0;
  ThreadPool pool_;
};

// Only the host of a Host header.
absl::string_view HostName(absl::string_view host) {
  const size_t colon = host.rfind(':');
  const size_t bracket = host.rfind(']');
  if (colon == absl::string_view::npos ||
      (bracket != absl::string_view::npos && colon < bracket)) {
    return host;
  }
  return host.substr(0, colon);
}

void Fill(int status, const std::string& text, httplib::Response& response) {
  response.status = status;
  response.set_content(text + "\n", "text/plain; charset=utf-8");
}

}  // namespace

class HttpServer::Impl final : private httplib::Server {
 public:
  Impl(const Clock& clock, HttpServer::Handler answer)
      : clock_(clock), answer_(std::move(answer)), listener_(1) {}
  ~Impl() override;

  absl::Status Start(const HttpServerOptions& options);
  int port() const { return port_; }

 private:
  bool process_and_close_socket(socket_t socket) override;
  void Serve(socket_t socket);
  void Answer(const httplib::Request& request, httplib::Response& response);
  absl::Status Bind(const std::string& address);

  // The two versions of process_request.
  template <typename Self>
  static void Process(Self& self, httplib::Stream& stream) {
    bool closed = false;
    const auto set_up = [](httplib::Request& request) {
      request.ranges.clear();                    // always the whole page
      request.headers.erase("Accept-Encoding");  // compression costs more time
    };
    if constexpr (requires {
                    self.process_request(stream, true, closed, set_up);
                  }) {
      self.process_request(stream, true, closed, set_up);
    } else {
      self.process_request(stream, "", 0, "", 0, true, closed, set_up);
    }
  }

  const Clock& clock_;
  const HttpServer::Handler answer_;
  std::unique_ptr<TlsServer> tls_;
  std::optional<AccessToken> token_;
  int port_ = 0;
  absl::Mutex mutex_;
  std::set<socket_t> open_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  ThreadPool listener_;
};

absl::Status HttpServer::Impl::Bind(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
  }
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port_)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "web.listen: found \"", address, "\"; expected host:port"));
  }
  // Not two daemons on one port.
  set_socket_options([](socket_t socket) {
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  const bool bound = port_ == 0 ? (port_ = bind_to_any_port(host)) > 0
                                : bind_to_port(host, port_);
  if (!bound) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        " for the status page: the port is in use or the address is not this "
        "machine's"));
  }
  return absl::OkStatus();
}

absl::Status HttpServer::Impl::Start(const HttpServerOptions& options) {
  if (!options.certificate_file.empty()) {
    FG_ASSIGN_OR_RETURN(
        tls_, TlsServer::Create(options.certificate_file, options.key_file));
  }
  if (!options.token_file.empty()) {
    FG_ASSIGN_OR_RETURN(token_, AccessToken::Load(options.token_file));
  }
  set_default_headers({
      {"Content-Security-Policy",
       "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"Cache-Control", "no-store"},
  });
  new_task_queue = [] { return new LimitedQueue; };
  set_pre_routing_handler(
      [this](const httplib::Request& request, httplib::Response& response) {
        Answer(request, response);
        return HandlerResponse::Handled;
      });
  FG_RETURN_IF_ERROR(Bind(options.listen));
  listener_.Run([this] { listen_after_bind(); });
  // stop() reaches a server that runs, no other.
  while (!is_running()) absl::SleepFor(absl::Microseconds(50));
  return absl::OkStatus();
}

HttpServer::Impl::~Impl() {
  stop();
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    for (const socket_t socket : open_) ::shutdown(socket, SHUT_RDWR);
  }
  listener_.Stop();
}

bool HttpServer::Impl::process_and_close_socket(socket_t socket) {
  {
    absl::MutexLock lock(&mutex_);
    if (!stopping_) open_.insert(socket);
  }
  Serve(socket);
  {
    absl::MutexLock lock(&mutex_);
    open_.erase(socket);
  }
  ::shutdown(socket, SHUT_RDWR);
  close(socket);
  return true;
}

void HttpServer::Impl::Serve(socket_t socket) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
  // cpp-httplib reports some malformed requests by exceptions.
  try {
    TimedConnection connection(socket, tls_.get(), clock_, kRequestTimeout);
    if (!connection.Open()) return;
    LimitedStream stream(connection);
    Process(*this, stream);
  } catch (const std::exception& error) {
    FG_LOG_WARNING("status page: a request was dropped: {}", error.what());
  }
}

void HttpServer::Impl::Answer(const httplib::Request& request,
                              httplib::Response& response) {
  if (request.method != "GET" && request.method != "HEAD") {
    response.set_header("Allow", "GET, HEAD");
    Fill(405, "This page can only be read: GET or HEAD.", response);
    return;
  }
  if (token_.has_value()) {
    if (!token_->Admits(request.get_header_value("Authorization"))) {
      response.set_header("WWW-Authenticate",
                          "Basic realm=\"FedGraft\", charset=\"UTF-8\"");
      Fill(401,
           "The token of web.token_file is needed: as a bearer token, or "
           "as the password of any user.",
           response);
      return;
    }
  } else if (!IsLoopbackHost(HostName(request.get_header_value("Host")))) {
    Fill(403, "Without a token this page answers to localhost only.", response);
    return;
  }
  const WebReply reply =
      answer_({request.path, request.get_param_value("refresh")});
  response.status = reply.status;
  response.set_content(reply.body, reply.content_type.empty()
                                       ? kHtml
                                       : reply.content_type.c_str());
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const HttpServerOptions& options, const Clock& clock, Handler answer) {
  auto impl = std::make_unique<Impl>(clock, std::move(answer));
  FG_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return impl_->port(); }

}  // namespace fedgraft
