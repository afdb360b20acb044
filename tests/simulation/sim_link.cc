#include "tests/simulation/sim_link.h"

#include <algorithm>
#include <utility>

#include "common/protocol/codec.h"
#include "proto/federation.pb.h"

namespace fedgraft::testing {
namespace {

constexpr uint64_t kChunkBytes = 1500;

}  // namespace

SimNetwork::Answer SimLink::OnStrand(
    std::function<void(const WireAnswer&)> then) {
  return [alive = std::weak_ptr<void>(alive_), &strand = strand_,
          then = std::move(then)](WireAnswer answer) {
    if (alive.expired()) return;
    strand.Post([then, answer = std::move(answer)] { then(answer); });
  };
}

template <typename Wire, typename Value>
SimNetwork::Answer SimLink::Decoded(Reply<Value> reply) {
  return OnStrand([reply = std::move(reply)](const WireAnswer& answer) {
    if (const absl::Status status = answer.status(); !status.ok()) {
      return reply(status);
    }
    Wire wire;
    if (!wire.ParseFromString(answer.body)) {
      return reply(absl::InternalError("not the method's reply"));
    }
    reply(FromWire(wire));
  });
}

void SimLink::Join(JoinRequest request, Reply<JoinReply> reply) {
  network_.Unary(peer_, Method::kJoin, ToWire(request).SerializeAsString(),
                 Decoded<pb::JoinReply>(std::move(reply)));
}

void SimLink::NextTask(NextTaskRequest request, Reply<NextTaskReply> reply) {
  network_.Unary(peer_, Method::kNextTask, ToWire(request).SerializeAsString(),
                 Decoded<pb::NextTaskReply>(std::move(reply)));
}

void SimLink::SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) {
  network_.Unary(
      peer_, Method::kHeartbeat, ToWire(heartbeat).SerializeAsString(),
      OnStrand([reply = std::move(reply)](const WireAnswer& answer) {
        if (const absl::Status status = answer.status(); !status.ok()) {
          return reply(status);
        }
        pb::HeartbeatReply wire;
        reply(wire.ParseFromString(answer.body) && wire.cancel());
      }));
}

void SimLink::QueryUpload(UploadHeader header, Reply<UploadOffset> reply) {
  network_.Unary(peer_, Method::kQuery, ToWire(header).SerializeAsString(),
                 Decoded<pb::UploadOffsetReply>(std::move(reply)));
}

void SimLink::Report(SiteReport report, Reply<Done> reply) {
  network_.Unary(peer_, Method::kReport, ToWire(report).SerializeAsString(),
                 OnStrand([reply = std::move(reply)](const WireAnswer& answer) {
                   const absl::Status status = answer.status();
                   if (status.ok()) return reply(Done{});
                   reply(status);
                 }));
}

void SimLink::AnswerStep(SecureAnswer answer, Reply<Done> reply) {
  if (said_) said_(peer_.id, answer);
  network_.Unary(peer_, Method::kSecure, ToWire(answer).SerializeAsString(),
                 OnStrand([reply = std::move(reply)](const WireAnswer& got) {
                   const absl::Status status = got.status();
                   if (status.ok()) return reply(Done{});
                   reply(status);
                 }));
}

void SimLink::FetchBlob(Digest digest, uint64_t offset,
                        std::function<absl::Status(ByteSpan)> sink,
                        Reply<Done> reply) {
  pb::FetchBlobRequest request;
  request.set_sha256(digest.AsWire());
  request.set_offset(offset);
  // Why the sink ended the stream.
  auto failure = std::make_shared<absl::Status>();
  network_.Fetch(
      peer_, request.SerializeAsString(),
      [alive = std::weak_ptr<void>(alive_), sink = std::move(sink),
       failure](const std::string& bytes) {
        if (alive.expired()) return false;
        pb::BlobChunk chunk;
        *failure = chunk.ParseFromString(bytes)
                       ? sink(AsBytes(chunk.data()))
                       : absl::InternalError("not a BlobChunk");
        return failure->ok();
      },
      OnStrand([failure, reply = std::move(reply)](const WireAnswer& answer) {
        const absl::Status status = failure->ok() ? answer.status() : *failure;
        if (status.ok()) return reply(Done{});
        reply(status);
      }));
}

void SimLink::Submit(UploadHeader header, uint64_t offset,
                     std::shared_ptr<ReadableFile> sealed,
                     Reply<UploadReceipt> reply) {
  struct Source {
    UploadHeader header;
    std::shared_ptr<ReadableFile> sealed;
    uint64_t offset = 0;
    bool first = true;
  };
  auto source = std::make_shared<Source>(
      Source{std::move(header), std::move(sealed), offset, true});
  network_.Submit(
      peer_,
      [alive = std::weak_ptr<void>(alive_),
       source]() -> std::optional<std::string> {
        if (alive.expired()) return std::nullopt;
        const uint64_t left = source->sealed->size_bytes() - source->offset;
        if (left == 0 && !source->first) return std::nullopt;
        Bytes data(std::min(kChunkBytes, left));
        if (!source->sealed->ReadAt(source->offset, absl::MakeSpan(data))
                 .ok()) {
          return std::nullopt;
        }
        pb::SubmitChunk chunk;
        if (std::exchange(source->first, false)) {
          *chunk.mutable_header() = ToWire(source->header);
          chunk.set_offset(source->offset);
        }
        chunk.set_data(AsText(data).data(), data.size());
        source->offset += data.size();
        return chunk.SerializeAsString();
      },
      Decoded<pb::UploadReceipt>(std::move(reply)));
}

}  // namespace fedgraft::testing
