#include "tests/simulation/sim_network.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/federation.pb.h"

namespace fedgraft::testing {
namespace {

constexpr uint64_t kChunkBytes = 1500;

WireAnswer Unreachable() {
  return WireAnswer::Of(absl::UnavailableError("simulated: connection lost"));
}

}  // namespace

struct SimNetwork::FetchStream {
  SitePeer peer;
  std::shared_ptr<SimServer> server;
  std::shared_ptr<ReadableFile> file;
  uint64_t offset = 0;
  uint64_t sent_bytes = 0;
  std::function<bool(std::string)> sink;
  Answer answer;
};

struct SimNetwork::SubmitStream {
  SitePeer peer;
  std::shared_ptr<SimServer> server;
  std::shared_ptr<SimServer::Upload> upload;
  std::function<std::optional<std::string>()> next;
  Answer answer;
};

void SimNetwork::Trace(const SitePeer& peer, Method method, size_t size) {
  ++messages_;
  loop_.Trace(peer.id.value);
  loop_.Trace(MethodName(method));
  loop_.Trace(size);
}

bool SimNetwork::Lost(const SitePeer& peer) {
  return partitioned_.contains(peer.id) || random_.Chance(faults_.drop);
}

void SimNetwork::AnswerLost(Answer answer) {
  loop_.Schedule(random_.Between(absl::Milliseconds(10), faults_.timeout_max),
                 [answer = std::move(answer)] { answer(Unreachable()); });
}

void SimNetwork::MayCorrupt(const SitePeer& peer, std::string& data) {
  if (data.empty() || !random_.Chance(faults_.corrupt)) return;
  if (spared_.erase(peer.id) > 0) return;
  spared_.insert(peer.id);
  data[random_.Below(data.size())] ^= static_cast<char>(1 << random_.Below(8));
}

void SimNetwork::Unary(const SitePeer& peer, Method method, std::string request,
                       Answer answer) {
  Trace(peer, method, request.size());
  if (Lost(peer)) return AnswerLost(std::move(answer));
  const bool twice = random_.Chance(faults_.duplicate);
  const auto arrive = [this, peer, method, request](Answer to) {
    if (server_ == nullptr) return to(Unreachable());
    server_->Unary(peer, method, request, std::move(to));
  };
  if (twice) Later([arrive] { arrive([](const WireAnswer&) {}); });
  Later([this, peer, method, arrive, answer = std::move(answer)] {
    arrive([this, peer, method, answer](WireAnswer reply) {
      Trace(peer, method, reply.body.size());
      if (Lost(peer)) return AnswerLost(answer);
      Later([answer, reply = std::move(reply)] { answer(reply); });
    });
  });
}

void SimNetwork::Fetch(const SitePeer& peer, std::string request,
                       std::function<bool(std::string)> sink, Answer answer) {
  Trace(peer, Method::kFetch, request.size());
  if (Lost(peer)) return AnswerLost(std::move(answer));
  auto stream = std::make_shared<FetchStream>();
  stream->peer = peer;
  stream->sink = std::move(sink);
  stream->answer = std::move(answer);
  Later([this, stream, request = std::move(request)] {
    stream->server = server_;
    if (server_ == nullptr) return stream->answer(Unreachable());
    server_->OpenBlob(
        stream->peer, request,
        [this, stream](absl::StatusOr<std::shared_ptr<ReadableFile>> file,
                       uint64_t offset) {
          if (!file.ok()) {
            const WireAnswer refused = WireAnswer::Of(file.status());
            return Later([stream, refused] { stream->answer(refused); });
          }
          stream->file = *std::move(file);
          stream->offset = offset;
          Later([this, stream] { PumpFetch(stream); });
        });
  });
}

void SimNetwork::PumpFetch(std::shared_ptr<FetchStream> stream) {
  const uint64_t left = stream->file->size_bytes() - stream->offset;
  Bytes data(std::min(kChunkBytes, left));
  if (Lost(stream->peer) || !stream->server->alive() ||
      !stream->file->ReadAt(stream->offset, absl::MakeSpan(data)).ok()) {
    return AnswerLost(stream->answer);
  }
  if (left == 0) {
    stream->server->Sent(stream->peer, stream->sent_bytes);
    return stream->answer(WireAnswer());
  }
  stream->offset += data.size();
  stream->sent_bytes += data.size();
  pb::BlobChunk chunk;
  chunk.set_data(AsText(data).data(), data.size());
  MayCorrupt(stream->peer, *chunk.mutable_data());
  const std::string wire = chunk.SerializeAsString();
  Trace(stream->peer, Method::kFetch, wire.size());
  if (!stream->sink(wire)) {
    return stream->answer(
        WireAnswer::Of(absl::CancelledError("the site ended the stream")));
  }
  Later([this, stream] { PumpFetch(stream); });
}

void SimNetwork::Submit(const SitePeer& peer,
                        std::function<std::optional<std::string>()> next,
                        Answer answer) {
  auto stream = std::make_shared<SubmitStream>();
  stream->peer = peer;
  stream->next = std::move(next);
  stream->answer = std::move(answer);
  Later([this, stream] {
    stream->server = server_;
    if (server_ == nullptr) return AnswerLost(stream->answer);
    stream->upload =
        std::make_shared<SimServer::Upload>(stream->server, stream->peer);
    PumpSubmit(stream);
  });
}

void SimNetwork::PumpSubmit(std::shared_ptr<SubmitStream> stream) {
  if (Lost(stream->peer)) {
    stream->upload->Broken();
    return AnswerLost(stream->answer);
  }
  std::optional<std::string> message = stream->next();
  const auto respond = [this, stream](WireAnswer answer) {
    if (Lost(stream->peer)) return AnswerLost(stream->answer);
    Later([stream, answer = std::move(answer)] { stream->answer(answer); });
  };
  if (!message.has_value()) return stream->upload->End(respond);
  pb::SubmitChunk chunk;
  if (chunk.ParseFromString(*message)) {
    MayCorrupt(stream->peer, *chunk.mutable_data());
    message = chunk.SerializeAsString();
  }
  Trace(stream->peer, Method::kSubmit, message->size());
  stream->upload->Message(
      *message, [this, stream, respond](const absl::Status& consumed) {
        if (!consumed.ok()) return respond(WireAnswer::Of(consumed));
        Later([this, stream] { PumpSubmit(stream); });
      });
}

}  // namespace fedgraft::testing
