#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/store/spool.h"
#include "common/protocol/messages.h"

namespace fedgraft::testing {

enum class Method {
  kJoin,
  kNextTask,
  kHeartbeat,
  kQuery,
  kReport,
  kSecure,
  kFetch,
  kSubmit
};
const char* MethodName(Method method);

// An answer as bytes: what a transport carries of a status, or a message.
struct WireAnswer {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  std::string refusal;  // serialised pb::Refusal; empty: none
  std::string body;

  static WireAnswer Of(const absl::Status& status);
  static WireAnswer Of(std::string body);
  // As the client's end decodes it.
  absl::Status status() const;
};

// What the aggregator's side of the wire tells the checker, in the moment it
// happens at the aggregator.
class ServerObserver {
 public:
  virtual ~ServerObserver() = default;
  virtual void Acknowledged(const SiteId& site, const UploadHeader& header,
                            const UploadReceipt& receipt) = 0;
  virtual void Asked(const SiteId& site, const Task& task) = 0;
};

// The gRPC service's stand-in: bytes in, coordinator, bytes out. One per life
// of the aggregator's process; what is pending when it dies answers
// UNAVAILABLE.
class SimServer : public std::enable_shared_from_this<SimServer> {
 public:
  using Answer = std::function<void(WireAnswer)>;

  SimServer(Coordinator* coordinator, ServerObserver* observer)
      : coordinator_(coordinator), observer_(*observer) {}
  // The process died: nothing reaches the coordinator any more.
  void Die() { coordinator_ = nullptr; }
  bool alive() const { return coordinator_ != nullptr; }

  void Unary(const SitePeer& peer, Method method, const std::string& request,
             Answer answer);
  // Opens the blob that the serialised FetchBlobRequest names.
  void OpenBlob(
      const SitePeer& peer, const std::string& request,
      std::function<void(absl::StatusOr<std::shared_ptr<ReadableFile>>,
                         uint64_t offset)>
          opened);
  void Sent(const SitePeer& peer, uint64_t bytes) {
    if (alive()) coordinator_->Sent(peer, bytes);
  }

  // One Submit stream, as aggregator/net/upload_reactor does it.
  class Upload : public std::enable_shared_from_this<Upload> {
   public:
    Upload(std::shared_ptr<SimServer> server, SitePeer peer)
        : server_(std::move(server)), peer_(std::move(peer)) {}
    // Takes one serialised SubmitChunk; `consumed` gets OK once the next may
    // come, else the stream has ended with this answer.
    void Message(const std::string& bytes,
                 std::function<void(absl::Status)> consumed);
    void End(Answer answer);
    void Broken();

   private:
    absl::Status Append(const std::string& data);

    std::shared_ptr<SimServer> server_;
    SitePeer peer_;
    UploadHeader header_;
    std::shared_ptr<SpoolUpload> upload_;
  };

 private:
  friend class Upload;
  // Drops what answers after the process died.
  template <typename T>
  std::function<void(absl::StatusOr<T>)> WhileAlive(
      std::function<void(absl::StatusOr<T>)> reply);

  Coordinator* coordinator_;
  ServerObserver& observer_;
};

}  // namespace fedgraft::testing
