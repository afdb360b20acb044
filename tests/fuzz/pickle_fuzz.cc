// ReadPickle: what it accepts is consistent, and no tensor reaches outside its
// storage.

#include "client/import/pickle_reader.h"
#include "tests/fuzz/fuzz_target.h"

namespace fedgraft {
namespace {

void CheckTensor(const PickledTensor& tensor) {
  FG_CHECK(tensor.shape.size() == tensor.strides.size());
  uint64_t last = tensor.offset;
  bool empty = false;
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    FG_CHECK(tensor.shape[d] >= 0 && tensor.strides[d] >= 0);
    empty = empty || tensor.shape[d] == 0;
    if (tensor.shape[d] > 1) {
      last += static_cast<uint64_t>(tensor.shape[d] - 1) *
              static_cast<uint64_t>(tensor.strides[d]);
    }
  }
  FG_CHECK(empty || last < tensor.storage.count);
}

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto pickled = ReadPickle(ByteSpan(data, size));
  if (!pickled.ok()) {
    fuzz::CheckRefusal(pickled.status(), absl::StatusCode::kInvalidArgument,
                       absl::StatusCode::kResourceExhausted);
    return 0;
  }
  ++fuzz::accepted;
  FG_CHECK(pickled->size_bytes <= size);
  FG_CHECK(pickled->root < pickled->nodes.size());
  for (const PickleNode& node : pickled->nodes) {
    for (const PickleRef ref : node.items) {
      FG_CHECK(ref < pickled->nodes.size());
    }
    if (node.kind == PickleKind::kDict) FG_CHECK(node.items.size() % 2 == 0);
    if (node.kind == PickleKind::kTensor) {
      FG_CHECK(static_cast<size_t>(node.number) < pickled->tensors.size());
    }
    if (node.kind == PickleKind::kStorage) {
      FG_CHECK(static_cast<size_t>(node.number) < pickled->storages.size());
    }
  }
  for (const PickledTensor& tensor : pickled->tensors) CheckTensor(tensor);
  return 0;
}
