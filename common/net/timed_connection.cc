#include "common/net/timed_connection.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fedgraft {

struct TlsServer::Context {
  SSL_CTX* ssl = nullptr;
  ~Context() { SSL_CTX_free(ssl); }
};

struct TimedConnection::Tls {
  SSL* ssl = nullptr;
  ~Tls() { SSL_free(ssl); }
};

absl::StatusOr<std::unique_ptr<TlsServer>> TlsServer::Create(
    const std::string& certificate_file, const std::string& key_file) {
  auto context = std::make_unique<Context>();
  context->ssl = SSL_CTX_new(TLS_server_method());
  if (context->ssl == nullptr ||
      SSL_CTX_set_min_proto_version(context->ssl, TLS1_3_VERSION) != 1) {
    return absl::InternalError("OpenSSL cannot serve TLS 1.3");
  }
  const auto wrong = [](const std::string& file, absl::string_view what) {
    ERR_clear_error();
    return absl::FailedPreconditionError(absl::StrCat(file, " ", what));
  };
  if (SSL_CTX_use_certificate_chain_file(context->ssl,
                                         certificate_file.c_str()) != 1) {
    return wrong(certificate_file, "is not a readable PEM certificate");
  }
  if (SSL_CTX_use_PrivateKey_file(context->ssl, key_file.c_str(),
                                  SSL_FILETYPE_PEM) != 1) {
    return wrong(key_file, "is not the readable PEM key of the certificate");
  }
  if (SSL_CTX_check_private_key(context->ssl) != 1) {
    return wrong(key_file, "is the key of another certificate");
  }
  SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
  // No sessions are kept: every connection is new, and few.
  SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context->ssl, 0);
  return std::unique_ptr<TlsServer>(new TlsServer(std::move(context)));
}

TlsServer::TlsServer(std::unique_ptr<Context> context)
    : context_(std::move(context)) {}
TlsServer::~TlsServer() = default;

TimedConnection::TimedConnection(int socket, const TlsServer* tls,
                                 const Clock& clock, absl::Duration timeout)
    : socket_(socket), clock_(clock), deadline_(clock.Monotonic() + timeout) {
  const int flags = fcntl(socket_, F_GETFL);
  if (flags >= 0) fcntl(socket_, F_SETFL, flags | O_NONBLOCK);
  if (tls == nullptr) return;
  tls_ = std::make_unique<Tls>();
  tls_->ssl = SSL_new(tls->context_->ssl);
  if (tls_->ssl != nullptr && SSL_set_fd(tls_->ssl, socket_) != 1) {
    SSL_free(std::exchange(tls_->ssl, nullptr));
  }
}

TimedConnection::~TimedConnection() {
  if (tls_ != nullptr && tls_->ssl != nullptr &&
      SSL_is_init_finished(tls_->ssl)) {
    SSL_shutdown(tls_->ssl);  // says goodbye; nobody waits for the answer
  }
  ERR_clear_error();
}

void TimedConnection::SetDeadline(absl::Duration timeout) {
  deadline_ = clock_.Monotonic() + timeout;
}

bool TimedConnection::Wait(short events) const {
  while (true) {
    const absl::Duration left = deadline_ - clock_.Monotonic();
    if (left <= absl::ZeroDuration()) return false;
    const int64_t ms = absl::ToInt64Milliseconds(left) + 1;
    pollfd waiting = {socket_, events, 0};
    const int ready =
        poll(&waiting, 1, static_cast<int>(std::min<int64_t>(ms, INT_MAX)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool TimedConnection::MayRetry(int result) const {
  const int error = SSL_get_error(tls_->ssl, result);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return Wait(POLLIN);
  if (error == SSL_ERROR_WANT_WRITE) return Wait(POLLOUT);
  return false;
}

bool TimedConnection::Open() {
  if (tls_ == nullptr) return true;
  if (tls_->ssl == nullptr) return false;
  while (true) {
    const int result = SSL_accept(tls_->ssl);
    if (result == 1) return true;
    if (!MayRetry(result)) return false;
  }
}

ssize_t TimedConnection::Read(char* out, size_t size) {
  const int count = static_cast<int>(std::min<size_t>(size, INT_MAX));
  while (true) {
    if (tls_ != nullptr) {
      const int result = SSL_read(tls_->ssl, out, count);
      if (result > 0) return result;
      if (SSL_get_error(tls_->ssl, result) == SSL_ERROR_ZERO_RETURN) return 0;
      if (!MayRetry(result)) return -1;
      continue;
    }
    const ssize_t result = recv(socket_, out, size, 0);
    if (result >= 0) return result;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !Wait(POLLIN)) return -1;
  }
}

ssize_t TimedConnection::Write(const char* data, size_t size) {
  const int count = static_cast<int>(std::min<size_t>(size, INT_MAX));
  while (true) {
    if (tls_ != nullptr) {
      const int result = SSL_write(tls_->ssl, data, count);
      if (result > 0) return result;
      if (!MayRetry(result)) return -1;
      continue;
    }
    const ssize_t result = send(socket_, data, size, MSG_NOSIGNAL);
    if (result >= 0) return result;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !Wait(POLLOUT)) return -1;
  }
}

}  // namespace fedgraft
