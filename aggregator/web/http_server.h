#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// One GET or HEAD.
struct WebRequest {
  std::string path;     // decoded: "/runs/r1"
  std::string refresh;  // the query's refresh; empty: none
};
struct WebReply {
  int status = 200;
  std::string content_type = "text/html; charset=utf-8";
  std::string body;
};

struct HttpServerOptions {
  std::string listen;  // host:port, checked by the config; port 0: any
  // Both or none: TLS 1.3.
  std::string certificate_file, key_file;
  // Empty: no token is asked, and only a request for a loopback name is
  // answered, so that no page elsewhere can read this one through a browser.
  std::string token_file;
};

// A read-only HTTP/1.1 server for a few people and one Prometheus. GET and HEAD
// only; a connection carries one request. What a stranger can make it spend is
// limited: request bytes, time for a request and for its answer, connections at
// a time, threads. It cannot block or end what else the process does.
//
// Life cycle: Start returns once it listens; the destructor cuts what is open.
// `answer` is called on its own threads, several at a time.
class HttpServer {
 public:
  using Handler = std::function<WebReply(const WebRequest&)>;

  static constexpr int kThreads = 4;
  static constexpr int kConnectionsMax = 32;
  static constexpr size_t kRequestBytesMax = 16 << 10;

  // UNAVAILABLE: it cannot listen there. FAILED_PRECONDITION: a file named in
  // `options` cannot be used. `clock` outlives it.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      const HttpServerOptions& options, const Clock& clock, Handler answer);
  ~HttpServer();

  int port() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedgraft
