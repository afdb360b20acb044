#include "tests/bench/bare_mover.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server_builder.h"
#include "proto/federation.grpc.pb.h"
#include "tests/bench/table.h"

namespace fedgraft::bench {
namespace {

constexpr uint64_t kChunkBytes = 128 * 1024;

class Sink final : public pb::Federation::Service {
 public:
  explicit Sink(uint64_t down_bytes) : down_bytes_(down_bytes) {}

  grpc::Status Submit(grpc::ServerContext*,
                      grpc::ServerReader<pb::SubmitChunk>* reader,
                      pb::UploadReceipt* receipt) override {
    uint64_t bytes = 0;
    for (pb::SubmitChunk chunk; reader->Read(&chunk);) {
      bytes += chunk.data().size();
    }
    receipt->set_sequence(bytes);
    return grpc::Status::OK;
  }

  grpc::Status FetchBlob(grpc::ServerContext*, const pb::FetchBlobRequest*,
                         grpc::ServerWriter<pb::BlobChunk>* writer) override {
    pb::BlobChunk chunk;
    for (uint64_t sent = 0; sent < down_bytes_; sent += chunk.data().size()) {
      chunk.mutable_data()->resize(std::min(kChunkBytes, down_bytes_ - sent));
      if (!writer->Write(chunk)) return grpc::Status::CANCELLED;
    }
    return grpc::Status::OK;
  }

 private:
  const uint64_t down_bytes_;
};

void MoveOne(pb::Federation::Stub& stub, const BareMove& move) {
  {
    grpc::ClientContext context;
    pb::UploadReceipt receipt;
    const auto writer = stub.Submit(&context, &receipt);
    pb::SubmitChunk chunk;
    for (uint64_t sent = 0; sent < move.up_bytes; sent += chunk.data().size()) {
      chunk.mutable_data()->resize(std::min(kChunkBytes, move.up_bytes - sent));
      FG_CHECK(writer->Write(chunk));
    }
    writer->WritesDone();
    FG_CHECK(writer->Finish().ok());
    FG_CHECK(receipt.sequence() == move.up_bytes);
  }
  grpc::ClientContext context;
  const auto reader = stub.FetchBlob(&context, pb::FetchBlobRequest());
  uint64_t came = 0;
  for (pb::BlobChunk chunk; reader->Read(&chunk);) came += chunk.data().size();
  FG_CHECK(reader->Finish().ok());
  FG_CHECK(came == move.down_bytes);
}

}  // namespace

double MoveBare(const BareMove& move) {
  Sink sink(move.down_bytes);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", ServerTls(move.server), &port);
  builder.RegisterService(&sink);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  FG_CHECK(server != nullptr);

  std::vector<std::unique_ptr<pb::Federation::Stub>> stubs;
  for (const TlsFiles& files : move.clients) {
    grpc::ChannelArguments arguments;
    // A connection each, as from different machines.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port),
        ClientTls(files, [](std::string_view) { return absl::OkStatus(); }),
        arguments);
    FG_CHECK(channel->WaitForConnected(std::chrono::system_clock::now() +
                                       std::chrono::seconds(60)));
    stubs.push_back(pb::Federation::NewStub(channel));
  }
  const double begin = WallSeconds();
  std::vector<std::thread> threads;
  for (const auto& stub : stubs) {
    threads.emplace_back([&] { MoveOne(*stub, move); });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = WallSeconds() - begin;
  server->Shutdown();
  return seconds;
}

}  // namespace fedgraft::bench
