#include "tests/simulation/sim_server.h"

#include <utility>

#include "common/protocol/codec.h"
#include "proto/federation.pb.h"

namespace fedgraft::testing {
namespace {

absl::Status Died() {
  return absl::UnavailableError("simulated: the aggregator is down");
}

// Parses and validates; what a transport refuses before the coordinator.
template <typename Wire>
auto Decode(const std::string& bytes) -> decltype(FromWire(Wire())) {
  Wire wire;
  if (!wire.ParseFromString(bytes)) {
    return absl::InvalidArgumentError("not a message of this method");
  }
  return FromWire(wire);
}

}  // namespace

const char* MethodName(Method method) {
  switch (method) {
    case Method::kJoin:
      return "Join";
    case Method::kNextTask:
      return "NextTask";
    case Method::kHeartbeat:
      return "Heartbeat";
    case Method::kQuery:
      return "UploadOffset";
    case Method::kReport:
      return "Report";
    case Method::kSecure:
      return "AnswerStep";
    case Method::kFetch:
      return "FetchBlob";
    case Method::kSubmit:
      return "Submit";
  }
  return "?";
}

WireAnswer WireAnswer::Of(const absl::Status& status) {
  WireAnswer answer;
  answer.code = status.code();
  answer.message = std::string(status.message());
  if (const auto refusal = RefusalToWire(status)) {
    answer.refusal = refusal->SerializeAsString();
  }
  return answer;
}

WireAnswer WireAnswer::Of(std::string body) {
  WireAnswer answer;
  answer.body = std::move(body);
  return answer;
}

absl::Status WireAnswer::status() const {
  if (code == absl::StatusCode::kOk) return absl::OkStatus();
  pb::Refusal wire;
  if (!refusal.empty() && wire.ParseFromString(refusal)) {
    return RefusalFromWire(wire);
  }
  return absl::Status(code, message);
}

template <typename T>
std::function<void(absl::StatusOr<T>)> SimServer::WhileAlive(
    std::function<void(absl::StatusOr<T>)> reply) {
  return [self = shared_from_this(),
          reply = std::move(reply)](absl::StatusOr<T> value) {
    if (!self->alive()) {
      reply(Died());
    } else {
      reply(std::move(value));
    }
  };
}

void SimServer::Unary(const SitePeer& peer, Method method,
                      const std::string& request, Answer answer) {
  if (!alive()) return answer(WireAnswer::Of(Died()));
  // Encodes what the coordinator says.
  const auto encode = [answer](const auto& value) {
    if (value.ok()) {
      answer(WireAnswer::Of(ToWire(*value).SerializeAsString()));
    } else {
      answer(WireAnswer::Of(value.status()));
    }
  };
  const auto call = [&](auto message, auto invoke) {
    if (!message.ok()) return answer(WireAnswer::Of(message.status()));
    invoke(*message);
  };
  switch (method) {
    case Method::kJoin:
      return call(Decode<pb::JoinRequest>(request), [&](const auto& message) {
        coordinator_->Join(peer, message, WhileAlive<JoinReply>(encode));
      });
    case Method::kNextTask:
      return call(
          Decode<pb::NextTaskRequest>(request), [&](const auto& message) {
            const auto observed =
                [this, peer, encode](absl::StatusOr<NextTaskReply> reply) {
                  if (reply.ok() && std::holds_alternative<Task>(*reply)) {
                    observer_.Asked(peer.id, std::get<Task>(*reply));
                  }
                  encode(reply);
                };
            coordinator_->NextTask(peer, message,
                                   WhileAlive<NextTaskReply>(observed));
          });
    case Method::kHeartbeat:
      return call(Decode<pb::HeartbeatRequest>(request),
                  [&](const auto& message) {
                    coordinator_->Heard(
                        peer, message,
                        WhileAlive<bool>([answer](absl::StatusOr<bool> cancel) {
                          if (!cancel.ok()) {
                            return answer(WireAnswer::Of(cancel.status()));
                          }
                          pb::HeartbeatReply reply;
                          reply.set_cancel(*cancel);
                          answer(WireAnswer::Of(reply.SerializeAsString()));
                        }));
                  });
    case Method::kQuery:
      return call(Decode<pb::UploadHeader>(request), [&](const auto& message) {
        const auto observed = [this, peer, header = message,
                               encode](absl::StatusOr<UploadOffset> offset) {
          if (offset.ok() && offset->receipt.has_value()) {
            observer_.Acknowledged(peer.id, header, *offset->receipt);
          }
          encode(offset);
        };
        coordinator_->QueryUpload(peer, message,
                                  WhileAlive<UploadOffset>(observed));
      });
    case Method::kSecure:
      return call(Decode<pb::SecureAnswer>(request), [&](const auto& message) {
        coordinator_->AnswerStep(
            peer, message,
            WhileAlive<Done>([answer](const absl::StatusOr<Done>& done) {
              answer(done.ok() ? WireAnswer::Of(std::string())
                               : WireAnswer::Of(done.status()));
            }));
      });
    case Method::kReport:
      return call(Decode<pb::SiteReport>(request), [&](const auto& message) {
        coordinator_->Report(
            peer, message,
            WhileAlive<Done>([answer](absl::StatusOr<Done> done) {
              answer(WireAnswer::Of(done.status()));
            }));
      });
    case Method::kFetch:
    case Method::kSubmit:
      break;
  }
  answer(WireAnswer::Of(absl::UnimplementedError("not a unary method")));
}

void SimServer::OpenBlob(
    const SitePeer& peer, const std::string& request,
    std::function<void(absl::StatusOr<std::shared_ptr<ReadableFile>>, uint64_t)>
        opened) {
  if (!alive()) return opened(Died(), 0);
  pb::FetchBlobRequest wire;
  const bool parsed = wire.ParseFromString(request);
  const auto digest = Digest::FromWire(wire.sha256());
  if (!parsed || !digest.ok()) {
    return opened(absl::InvalidArgumentError("not a FetchBlobRequest"), 0);
  }
  coordinator_->OpenBlob(
      peer, *digest,
      WhileAlive<std::shared_ptr<ReadableFile>>(
          [opened, offset = wire.offset()](auto file) {
            if (file.ok() && offset > (*file)->size_bytes()) {
              file = absl::OutOfRangeError("offset beyond the blob");
            }
            opened(std::move(file), offset);
          }));
}

void SimServer::Upload::Message(const std::string& bytes,
                                std::function<void(absl::Status)> consumed) {
  if (!server_->alive()) return consumed(Died());
  auto wire = std::make_shared<pb::SubmitChunk>();
  if (!wire->ParseFromString(bytes)) {
    Broken();
    return consumed(absl::InvalidArgumentError("not a SubmitChunk"));
  }
  if (upload_ != nullptr) return consumed(Append(wire->data()));
  const auto header = FromWire(wire->header());
  if (!header.ok()) return consumed(header.status());
  header_ = *header;
  server_->coordinator_->BeginUpload(
      peer_, header_, wire->offset(),
      server_->WhileAlive<std::shared_ptr<SpoolUpload>>(
          [self = shared_from_this(), wire, consumed](auto upload) {
            if (!upload.ok()) return consumed(upload.status());
            self->upload_ = *std::move(upload);
            consumed(self->Append(wire->data()));
          }));
}

absl::Status SimServer::Upload::Append(const std::string& data) {
  if (data.empty()) return absl::OkStatus();
  const absl::Status appended = upload_->Append(AsBytes(data));
  if (!appended.ok()) {
    Broken();
    return appended;
  }
  server_->coordinator_->Moved(peer_, data.size());
  return absl::OkStatus();
}

void SimServer::Upload::End(Answer answer) {
  if (!server_->alive()) return answer(WireAnswer::Of(Died()));
  if (upload_ == nullptr || upload_->offset() != header_.size_bytes) {
    Broken();
    return answer(WireAnswer::Of(
        absl::CancelledError("the upload ended before its last byte")));
  }
  const auto observed = [self = shared_from_this(),
                         answer](absl::StatusOr<UploadReceipt> receipt) {
    if (!receipt.ok()) return answer(WireAnswer::Of(receipt.status()));
    self->server_->observer_.Acknowledged(self->peer_.id, self->header_,
                                          *receipt);
    answer(WireAnswer::Of(ToWire(*receipt).SerializeAsString()));
  };
  server_->coordinator_->FinishUpload(
      peer_, header_, std::move(upload_),
      server_->WhileAlive<UploadReceipt>(observed));
}

void SimServer::Upload::Broken() {
  if (!server_->alive() || upload_ == nullptr) return;
  server_->coordinator_->AbandonUpload(peer_, header_, std::move(upload_));
  upload_ = nullptr;
}

}  // namespace fedgraft::testing
