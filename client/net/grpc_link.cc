#include "client/net/grpc_link.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/crypto/sealed_stream.h"
#include "common/net/grpc/status_bridge.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/codec.h"
#include "grpcpp/support/client_callback.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(30);
// A message carries whole sealed chunks, so that they can be opened where they
// lie; several, for the aggregator's window, which does not follow the line's
// speed, lets one message through at once, whatever its size.
constexpr uint64_t kMessageBytes = 4 * (kSealedChunkBytes + kAeadTagSize);
// Before the first of them: key and head, which go with it.
constexpr uint64_t kFirstBytes =
    kSealedEncBytes + UpdatePayloadHead::kBytes + kAeadTagSize;

// How much of what is left from `offset` on goes into one message.
uint64_t MessageBytes(uint64_t offset, uint64_t left) {
  if (offset < kFirstBytes) {
    return std::min(left, kFirstBytes - offset + kMessageBytes);
  }
  return std::min(left, kMessageBytes - (offset - kFirstBytes) % kMessageBytes);
}

}  // namespace

class GrpcLink::Calls {
 public:
  void Add(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    contexts_.insert(context);
    if (closed_) context->TryCancel();
  }
  void Remove(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    contexts_.erase(context);
  }
  void CancelAllAndWait() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
    mutex_.Await(absl::Condition(
        +[](std::set<grpc::ClientContext*>* contexts) {
          return contexts->empty();
        },
        &contexts_));
  }

 private:
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

namespace {

// Chunks that came go to the strand together: so many, or those of so long.
constexpr size_t kBatchChunks = 2;
constexpr absl::Duration kBatchTime = absl::Milliseconds(100);

// One FetchBlob stream. Batches of chunks go to the strand, and the next is
// read only after the sink has taken them. Deletes itself.
class FetchReactor final : public grpc::ClientReadReactor<pb::BlobChunk> {
 public:
  FetchReactor(Scheduler& strand, std::function<absl::Status(ByteSpan)> sink,
               std::function<void(FetchReactor&, const grpc::Status&)> done)
      : strand_(strand), sink_(std::move(sink)), done_(std::move(done)) {}

  void Start(pb::Federation::Stub& stub, pb::FetchBlobRequest request) {
    request_ = std::move(request);
    stub.async()->FetchBlob(&context, &request_, this);
    // A hold keeps OnDone away while the strand works on a batch.
    AddHold();
    StartRead(&chunks_[0]);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (ok && came_++ == 0) batch_begun_ = absl::Now();
    const bool is_full = came_ == kBatchChunks ||
                         (came_ > 0 && absl::Now() - batch_begun_ > kBatchTime);
    if (ok && !is_full) {
      StartRead(&chunks_[came_]);
    } else if (came_ == 0) {
      RemoveHold();
    } else {
      strand_.Post([this, ended = !ok] { Sink(ended); });
    }
  }

  void OnDone(const grpc::Status& status) override {
    done_(*this, status);
    delete this;
  }

  const absl::Status& sink_status() const { return sink_status_; }

  grpc::ClientContext context;

 private:
  // On the strand.
  void Sink(bool ended) {
    for (size_t i = 0; i < came_ && sink_status_.ok(); ++i) {
      sink_status_ = sink_(AsBytes(chunks_[i].data()));
    }
    came_ = 0;
    if (!sink_status_.ok()) context.TryCancel();
    if (ended || !sink_status_.ok()) {
      RemoveHold();
      return;
    }
    StartRead(&chunks_[0]);
  }

  Scheduler& strand_;
  std::function<absl::Status(ByteSpan)> sink_;
  std::function<void(FetchReactor&, const grpc::Status&)> done_;
  pb::FetchBlobRequest request_;
  std::array<pb::BlobChunk, kBatchChunks> chunks_;
  size_t came_ = 0;  // of chunks_
  absl::Time batch_begun_;
  absl::Status sink_status_;
};

// One Submit stream: sends the file from an offset, reading it on gRPC's
// threads. Deletes itself.
class SubmitReactor final : public grpc::ClientWriteReactor<pb::SubmitChunk> {
 public:
  SubmitReactor(std::shared_ptr<ReadableFile> file, uint64_t offset,
                std::function<void(SubmitReactor&, const grpc::Status&)> done)
      : file_(std::move(file)), offset_(offset), done_(std::move(done)) {}

  void Start(pb::Federation::Stub& stub, pb::UploadHeader header) {
    *chunk_.mutable_header() = std::move(header);
    chunk_.set_offset(offset_);
    // The call and its first chunk leave together.
    context.set_initial_metadata_corked(true);
    stub.async()->Submit(&context, &receipt_, this);
    WriteNext();
    StartCall();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;  // OnDone follows with the reason
    // The data stay: a string of the same size is not cleared before it is
    // written over.
    chunk_.clear_header();
    chunk_.clear_offset();
    WriteNext();
  }

  void OnDone(const grpc::Status& status) override {
    done_(*this, status);
    delete this;
  }

  const absl::Status& read_status() const { return read_status_; }
  const pb::UploadReceipt& receipt() const { return receipt_; }

  grpc::ClientContext context;

 private:
  void WriteNext() {
    const uint64_t left = file_->size_bytes() - offset_;
    if (left == 0 && !chunk_.has_header()) {
      return;  // the last write carried the half-close
    }
    std::string& data = *chunk_.mutable_data();
    data.resize(MessageBytes(offset_, left));
    read_status_ = file_->ReadAt(
        offset_,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(data.data()), data.size()));
    if (!read_status_.ok()) {
      context.TryCancel();
      return;
    }
    offset_ += data.size();
    if (offset_ == file_->size_bytes()) {
      StartWriteLast(&chunk_, grpc::WriteOptions());
    } else {
      StartWrite(&chunk_);
    }
  }

  std::shared_ptr<ReadableFile> file_;
  uint64_t offset_;
  std::function<void(SubmitReactor&, const grpc::Status&)> done_;
  pb::SubmitChunk chunk_;
  pb::UploadReceipt receipt_;
  absl::Status read_status_;
};

// Decodes what came and hands it on.
template <typename Value, typename Wire>
Reply<Wire> Decode(Reply<Value> reply) {
  return [reply = std::move(reply)](const absl::StatusOr<Wire>& wire) {
    if (wire.ok()) {
      reply(FromWire(*wire));
    } else {
      reply(wire.status());
    }
  };
}

}  // namespace

GrpcLink::GrpcLink(std::shared_ptr<grpc::Channel> channel, Scheduler& strand,
                   std::function<std::string()> diagnose)
    : calls_(std::make_shared<Calls>()),
      stub_(pb::Federation::NewStub(std::move(channel))),
      strand_(strand),
      diagnose_(std::move(diagnose)) {}

GrpcLink::~GrpcLink() { calls_->CancelAllAndWait(); }

absl::Status GrpcLink::Explain(const grpc::Status& status) const {
  absl::Status plain = FromGrpc(status);
  if (plain.code() == absl::StatusCode::kUnavailable && diagnose_) {
    const std::string reason = diagnose_();
    if (!reason.empty()) {
      return absl::UnavailableError(absl::StrCat(
          plain.message(), " (this site's certificate: ", reason, ")"));
    }
  }
  return plain;
}

template <typename WireRequest, typename WireReply, typename Start>
void GrpcLink::Unary(WireRequest request, absl::Duration deadline, Start start,
                     Reply<WireReply> reply) {
  struct Call {
    grpc::ClientContext context;
    WireRequest request;
    WireReply reply;
  };
  auto call = std::make_shared<Call>();
  call->request = std::move(request);
  call->context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  calls_->Add(&call->context);
  start(stub_->async(), call->context, call->request, call->reply,
        [this, call, calls = calls_,
         reply = std::move(reply)](grpc::Status status) {
          absl::StatusOr<WireReply> value = std::move(call->reply);
          if (!status.ok()) value = Explain(status);
          strand_.Dispatch([reply, value = std::move(value)]() mutable {
            reply(std::move(value));
          });
          // Last: the link may be destroyed as soon as no call is left.
          calls->Remove(&call->context);
        });
}

void GrpcLink::Join(JoinRequest request, Reply<JoinReply> reply) {
  Unary<pb::JoinRequest, pb::JoinReply>(
      ToWire(request), kCallDeadline,
      [](auto* stub, auto& context, auto& in, auto& out, auto done) {
        stub->Join(&context, &in, &out, std::move(done));
      },
      Decode<JoinReply, pb::JoinReply>(std::move(reply)));
}

void GrpcLink::NextTask(NextTaskRequest request, Reply<NextTaskReply> reply) {
  Unary<pb::NextTaskRequest, pb::NextTaskReply>(
      ToWire(request), request.poll + kCallDeadline,
      [](auto* stub, auto& context, auto& in, auto& out, auto done) {
        stub->NextTask(&context, &in, &out, std::move(done));
      },
      Decode<NextTaskReply, pb::NextTaskReply>(std::move(reply)));
}

void GrpcLink::SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) {
  Unary<pb::HeartbeatRequest, pb::HeartbeatReply>(
      ToWire(heartbeat), kCallDeadline,
      [](auto* stub, auto& context, auto& in, auto& out, auto done) {
        stub->Heartbeat(&context, &in, &out, std::move(done));
      },
      [reply = std::move(reply)](absl::StatusOr<pb::HeartbeatReply> wire) {
        if (wire.ok()) {
          reply(wire->cancel());
        } else {
          reply(wire.status());
        }
      });
}

void GrpcLink::QueryUpload(UploadHeader header, Reply<UploadOffset> reply) {
  Unary<pb::UploadHeader, pb::UploadOffsetReply>(
      ToWire(header), kCallDeadline,
      [](auto* stub, auto& context, auto& in, auto& out, auto done) {
        stub->UploadOffset(&context, &in, &out, std::move(done));
      },
      Decode<UploadOffset, pb::UploadOffsetReply>(std::move(reply)));
}

void GrpcLink::Report(SiteReport report, Reply<Done> reply) {
  Unary<pb::SiteReport, pb::ReportReply>(
      ToWire(report), kCallDeadline,
      [](auto* stub, auto& context, auto& in, auto& out, auto done) {
        stub->Report(&context, &in, &out, std::move(done));
      },
      [reply = std::move(reply)](absl::StatusOr<pb::ReportReply> wire) {
        if (wire.ok()) {
          reply(Done{});
        } else {
          reply(wire.status());
        }
      });
}

void GrpcLink::AnswerStep(SecureAnswer answer, Reply<Done> reply) {
  Unary<pb::SecureAnswer, pb::SecureAnswerReply>(
      ToWire(answer), kCallDeadline,
      [](auto* stub, auto& context, auto& in, auto& out, auto done) {
        stub->AnswerStep(&context, &in, &out, std::move(done));
      },
      [reply = std::move(reply)](absl::StatusOr<pb::SecureAnswerReply> wire) {
        if (wire.ok()) {
          reply(Done{});
        } else {
          reply(wire.status());
        }
      });
}

void GrpcLink::FetchBlob(Digest digest, uint64_t offset,
                         std::function<absl::Status(ByteSpan)> sink,
                         Reply<Done> reply) {
  pb::FetchBlobRequest request;
  request.set_sha256(digest.AsWire());
  request.set_offset(offset);
  auto* reactor =
      new FetchReactor(strand_, std::move(sink),
                       [this, calls = calls_, reply = std::move(reply)](
                           FetchReactor& fetch, const grpc::Status& status) {
                         absl::StatusOr<Done> value = Done{};
                         if (!fetch.sink_status().ok()) {
                           value = fetch.sink_status();
                         } else if (!status.ok()) {
                           value = Explain(status);
                         }
                         strand_.Dispatch([reply, value] { reply(value); });
                         calls->Remove(&fetch.context);
                       });
  calls_->Add(&reactor->context);
  reactor->Start(*stub_, std::move(request));
}

void GrpcLink::Submit(UploadHeader header, uint64_t offset,
                      std::shared_ptr<ReadableFile> sealed,
                      Reply<UploadReceipt> reply) {
  auto* reactor = new SubmitReactor(
      std::move(sealed), offset,
      [this, calls = calls_, reply = std::move(reply)](
          SubmitReactor& submit, const grpc::Status& status) {
        absl::StatusOr<UploadReceipt> value = absl::UnknownError("");
        if (!submit.read_status().ok()) {
          value = submit.read_status();
        } else if (!status.ok()) {
          value = Explain(status);
        } else {
          value = FromWire(submit.receipt());
        }
        strand_.Dispatch([reply, value] { reply(value); });
        calls->Remove(&submit.context);
      });
  calls_->Add(&reactor->context);
  reactor->Start(*stub_, ToWire(header));
}

}  // namespace fedgraft
