// ReadNpyHeader, and the integers behind an accepted header.

#include <cstring>

#include "client/data/npy.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const ByteSpan file(data, size);
  size_t offset = 0;
  const auto header = ReadNpyHeader([&](absl::Span<uint8_t> out) {
    if (out.size() > file.size() - offset) return absl::DataLossError("end");
    if (!out.empty()) std::memcpy(out.data(), data + offset, out.size());
    offset += out.size();
    return absl::OkStatus();
  });
  if (!header.ok()) {
    fuzz::CheckRefusal(header.status(), absl::StatusCode::kInvalidArgument,
                       absl::StatusCode::kDataLoss);
    return 0;
  }
  ++fuzz::accepted;
  FG_CHECK(header->header_bytes == offset);
  (void)header->ToString();
  if (!header->shape.empty()) {
    FG_CHECK(header->data_bytes == header->shape[0] * header->row_bytes());
  }
  if (header->kind != 'f') {
    const ByteSpan values = file.subspan(offset);
    const size_t count =
        values.size() / static_cast<size_t>(header->item_bytes);
    for (size_t i = 0; i < count; ++i) (void)NpyInteger(*header, values, i);
  }
  return 0;
}
