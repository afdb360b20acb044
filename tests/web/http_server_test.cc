#include "aggregator/web/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/runtime/system_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kToken = "0123456789abcdef0123456789abcdef";

// Fifty times as fast as real time.
class FastClock : public Clock {
 public:
  absl::Time Monotonic() const override {
    return start_ + 50 * (absl::Now() - start_);
  }
  absl::Time Wall() const override { return absl::Now(); }

 private:
  const absl::Time start_ = absl::Now();
};

// A connection without any library's manners.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof(to)),
              0);
    const timeval limit = {20, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  ~RawClient() { close(socket_); }
  bool Send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t count =
          send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return false;
      sent += static_cast<size_t>(count);
    }
    return true;
  }
  std::string ReadToEnd() {
    std::string all;
    char buffer[4096];
    ssize_t count = 0;
    while ((count = recv(socket_, buffer, sizeof(buffer), 0)) > 0) {
      all.append(buffer, static_cast<size_t>(count));
    }
    return all;
  }

 private:
  const int socket_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(const HttpServerOptions& options = {"127.0.0.1:0", "", "", ""}) {
    auto server =
        HttpServer::Start(options, *clock_, [this](const WebRequest& request) {
          if (request.path == "/big") return WebReply{200, "", big_};
          return WebReply{request.path == "/" ? 200 : 404, "",
                          absl::StrCat("path ", request.path)};
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  httplib::Client Client() {
    return httplib::Client("127.0.0.1", server_->port());
  }
  std::string Raw(const std::string& bytes) {
    RawClient client(server_->port());
    client.Send(bytes);
    return client.ReadToEnd();
  }
  std::string Secret(const std::string& text) {
    const std::string path = folder_.File("token");
    std::ofstream(path) << text;
    chmod(path.c_str(), 0600);
    return path;
  }

  testing::TempFolder folder_;
  std::unique_ptr<Clock> clock_ = std::make_unique<SystemClock>();
  const std::string big_ = std::string(3 << 20, 'x');
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersGetAndHeadWithSecurityHeaders) {
  Start();
  auto client = Client();
  const auto got = client.Get("/");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "path /");
  EXPECT_THAT(got->get_header_value("Content-Security-Policy"),
              StartsWith("default-src 'none'; style-src 'unsafe-inline'; "
                         "img-src data:;"));
  EXPECT_EQ(got->get_header_value("Cache-Control"), "no-store");
  EXPECT_EQ(got->get_header_value("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(got->get_header_value("X-Frame-Options"), "DENY");
  EXPECT_THAT(got->get_header_value("Content-Type"), StartsWith("text/html"));
  const auto head = client.Head("/");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->body, "");
  EXPECT_EQ(client.Get("/nowhere")->status, 404);
}

TEST_F(HttpServerTest, NothingCanBeWritten) {
  Start();
  auto client = Client();
  EXPECT_EQ(client.Post("/", "x", "text/plain")->status, 405);
  EXPECT_EQ(client.Put("/", "x", "text/plain")->status, 405);
  EXPECT_EQ(client.Delete("/")->status, 405);
  EXPECT_EQ(client.Options("/")->status, 405);
  EXPECT_EQ(client.Patch("/", "x", "text/plain")->get_header_value("Allow"),
            "GET, HEAD");
}

TEST_F(HttpServerTest, LargeAnswersArriveWholeWhateverRangeIsAsked) {
  Start();
  auto client = Client();
  const auto got = client.Get(
      "/big", {{"Range", "bytes=0-1,4-5"}, {"Accept-Encoding", "gzip, br"}});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body.size(), big_.size());
  EXPECT_FALSE(got->has_header("Content-Encoding"));
}

TEST_F(HttpServerTest, WithoutATokenOnlyLoopbackNamesAreAnswered) {
  Start();
  EXPECT_THAT(Raw("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
              StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(Raw("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 403"));
  for (const char* host : {"localhost", "LOCALHOST:80", "127.0.0.1:8445",
                           "127.0.0.1", "[::1]:80", "[::1]"}) {
    EXPECT_THAT(Raw(absl::StrCat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n")),
                StartsWith("HTTP/1.1 200"))
        << host;
  }
}

TEST_F(HttpServerTest, WithATokenNothingIsToldWithoutIt) {
  Start({"127.0.0.1:0", "", "", Secret(kToken)});
  auto client = Client();
  EXPECT_EQ(client.Get("/")->status, 401);
  EXPECT_EQ(client.Get("/nowhere")->status, 401);
  EXPECT_EQ(client.Get("/", {{"Authorization", "Bearer wrong"}})->status, 401);
  const auto refused = client.Get("/");
  EXPECT_THAT(refused->get_header_value("WWW-Authenticate"),
              HasSubstr("Basic"));
  EXPECT_EQ(client
                .Get("/", {{"Authorization", absl::StrCat("Bearer ", kToken)},
                           {"Host", "centre.example"}})
                ->status,
            200);
  client.set_basic_auth("me", kToken);
  EXPECT_EQ(client.Get("/")->status, 200);
}

TEST_F(HttpServerTest, SpeaksTls13AndNothingBelow) {
  const std::string key = folder_.File("key"), crt = folder_.File("crt");
  ASSERT_EQ(std::system(absl::StrCat("openssl req -x509 -newkey ed25519 -nodes "
                                     "-subj /CN=localhost -days 2 -keyout ",
                                     key, " -out ", crt, " 2>/dev/null")
                            .c_str()),
            0);
  Start({"127.0.0.1:0", crt, key, Secret(kToken)});
  httplib::SSLClient client("127.0.0.1", server_->port());
  client.enable_server_certificate_verification(false);
  client.set_bearer_token_auth(kToken);
  const auto got = client.Get("/big");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->body.size(), big_.size());
  httplib::SSLClient old("127.0.0.1", server_->port());
  old.enable_server_certificate_verification(false);
  SSL_CTX_set_max_proto_version(old.ssl_context(), TLS1_2_VERSION);
  EXPECT_FALSE(old.Get("/"));
  EXPECT_EQ(Raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").find("200"),
            std::string::npos);
}

TEST_F(HttpServerTest, FilesThatDoNotFitAreErrorsThatNameThem) {
  const auto start = [&](const HttpServerOptions& options) {
    return HttpServer::Start(options, *clock_, nullptr).status();
  };
  EXPECT_THAT(start({"127.0.0.1:0", "/none.crt", "/none.key", ""}).message(),
              HasSubstr("/none.crt"));
  EXPECT_THAT(start({"127.0.0.1:0", "", "", "/none.token"}).message(),
              HasSubstr("/none.token"));
}

TEST_F(HttpServerTest, APortInUseIsUnavailable) {
  Start();
  const auto second = HttpServer::Start(
      {absl::StrCat("127.0.0.1:", server_->port()), "", "", ""}, *clock_,
      nullptr);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(HttpServerTest, RequestsBeyondTheLimitAreCut) {
  Start();
  RawClient endless(server_->port());
  endless.Send("GET / HTTP/1.1\r\nX: " + std::string(64 << 20, 'a'));
  EXPECT_THAT(endless.ReadToEnd(), ::testing::Not(HasSubstr("200")));
  std::string many = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 4000; ++i) absl::StrAppend(&many, "H", i, ": x\r\n");
  EXPECT_THAT(Raw(many + "\r\n"), ::testing::Not(HasSubstr("200 OK")));
  EXPECT_EQ(Client().Get("/")->status, 200);
}

TEST_F(HttpServerTest, GarbageIsAnsweredOrDroppedAndDoesNoHarm) {
  Start();
  for (const std::string& bytes : std::vector<std::string>{
           "\r\n\r\n", std::string(100, '\0'), "GET\r\n\r\n",
           "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02",
           "GET / HTTP/1.1\r\nRange: bytes=99999999999999999999-\r\n\r\n",
           "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
           "GET /%zz%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"}) {
    RawClient client(server_->port());
    client.Send(bytes);
  }
  EXPECT_EQ(Client().Get("/")->status, 200);
}

// Each byte comes in time, the request never does.
TEST_F(HttpServerTest, ATricklingClientIsCutAtTheDeadline) {
  clock_ = std::make_unique<FastClock>();
  Start();
  RawClient slow(server_->port());
  const absl::Time start = absl::Now();
  bool sent = slow.Send("GET / HTTP/1.1\r\nX: ");
  while (sent && absl::Now() - start < absl::Seconds(10)) {
    sent = slow.Send("a");
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_FALSE(sent);
}

TEST_F(HttpServerTest, IdleConnectionsDoNotKeepItFromStopping) {
  Start();
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < HttpServer::kConnectionsMax + 4; ++i) {
    idle.push_back(std::make_unique<RawClient>(server_->port()));
  }
  const absl::Time start = absl::Now();
  server_.reset();
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
}

}  // namespace
}  // namespace fedgraft
