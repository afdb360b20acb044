#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/runtime/clock.h"

// A server's side of one accepted connection, for protocols that are not gRPC.

namespace fedgraft {

// Certificate and key for TLS 1.3; no certificate is asked of clients.
// Thread-safe.
class TlsServer {
 public:
  // PEM files, read once. FAILED_PRECONDITION naming the file: it cannot be
  // read, or the key is not the certificate's.
  static absl::StatusOr<std::unique_ptr<TlsServer>> Create(
      const std::string& certificate_file, const std::string& key_file);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

 private:
  friend class TimedConnection;
  struct Context;
  explicit TlsServer(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

// Bytes both ways, plain or through TLS, until a deadline that nothing extends:
// a peer that sends a byte now and then cannot hold on to a thread. Used from
// one thread; another may shut the socket down.
class TimedConnection {
 public:
  // Does not own `socket`, a connected socket, which it makes non-blocking.
  // `tls` null: plain. `clock` and `tls` outlive it.
  TimedConnection(int socket, const TlsServer* tls, const Clock& clock,
                  absl::Duration timeout);
  ~TimedConnection();
  TimedConnection(const TimedConnection&) = delete;
  TimedConnection& operator=(const TimedConnection&) = delete;

  // The TLS handshake; true at once without TLS. False: nothing more to do.
  bool Open();
  // How many bytes, at least one; 0: the peer is done; -1: broken or too late.
  ssize_t Read(char* out, size_t size);
  ssize_t Write(const char* data, size_t size);
  // A new deadline, for the answer.
  void SetDeadline(absl::Duration timeout);

 private:
  struct Tls;
  // Waits for poll(2)'s `events`; false: too late or broken.
  bool Wait(short events) const;
  // After a TLS call returned `result`: whether to try again.
  bool MayRetry(int result) const;

  const int socket_;
  const Clock& clock_;
  absl::Time deadline_;
  std::unique_ptr<Tls> tls_;
};

}  // namespace fedgraft
